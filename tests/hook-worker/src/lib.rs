//! A sync worker for tests, never deployed: what its hooks do depends on the name of the first event of
//! a push. See `entry.mjs` for the rest.
#![cfg(target_family = "wasm")]

mod surroundings;

use std::time::Duration;

use livestore_sync_server::worker::{ObjectOptions, Storage, WorkerOptions, make_worker};
use livestore_sync_server::{Connection, HookError, HookFns, Identity, make_durable_object};
use serde::Deserialize;
use worker::{Context, Delay, Env, Request, Response, Result, event};

/// Answered by a rejection that tells what the hook sees.
const REPORT: &str = "test.report";

/// Answered after [`SLOW`].
const WAIT: &str = "test.wait";

/// Brings the wasm instance down.
const PANIC: &str = "test.panic";

/// Longer than a test waits for anything.
const SLOW: Duration = Duration::from_secs(60);

make_durable_object! {
    /// The object of one store.
    pub struct WebSocketServer;
    options = |env: &Env| {
        let storage = match env.var("LIVESTORE_SYNC_STORAGE").map(|storage| storage.to_string()).as_deref() {
            Ok("do-sqlite") => Storage::DurableObject,
            _ => Storage::D1 { binding: "DB".to_owned() },
        };
        ObjectOptions::new().storage(storage).forward_headers(&["cookie", "x-test"]).hooks(HookFns::new().on_push(
            async |push, context| match push.batch[0].name.as_str() {
                REPORT => Err(HookError::new(report(&context.connection))),
                WAIT => {
                    Delay::from(SLOW).await;
                    Ok(())
                }
                PANIC => {
                    // Behind an await, so that no call of JavaScript's is on the stack that could report it.
                    Delay::from(Duration::from_millis(10)).await;
                    panic!("as the test asked");
                }
                _ => Ok(()),
            },
        ))
    };
}

#[derive(Deserialize)]
struct Payload {
    identity: Option<Identity>,
}

fn report(connection: &Connection) -> String {
    serde_json::json!({
        "connection": connection.id.to_string(),
        "connectedAt": connection.connected_at(),
        "payload": connection.payload,
        "headers": connection.headers,
        "identity": connection.identity,
    })
    .to_string()
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> Result<Response> {
    // Who a client says it is, it is.
    let hooks = HookFns::new().authenticate(async |connection| {
        let payload = connection.payload_as::<Payload>();
        Ok(payload.ok().and_then(|payload| payload.identity).unwrap_or_default())
    });
    make_worker(WorkerOptions::new().hooks(hooks)).fetch(request, env, context).await
}
