//! The sync server inside an existing axum app: `/` and `/health` are the app's own, LiveStore
//! clients connect to `http://localhost:8787/sync` with the payload `{ "authToken": "..." }`.

use axum::Router;
use axum::routing::get;
use livestore_sync_server::native::Server;
use livestore_sync_server::{HookError, HookFns};
use serde::Deserialize;
use subtle::ConstantTimeEq;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    auth_token: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hooks = HookFns::new()
        .validate_payload_as(async |payload: Payload, _connection| {
            // A real app verifies a signed token and looks up whether its user may use this store.
            let is_right = payload.auth_token.as_bytes().ct_eq(b"insecure-token-change-me");
            if is_right.into() { Ok(()) } else { Err(HookError::new("unknown token")) }
        })
        .on_push(async |push, context| {
            let foreign = push.batch.iter().find(|event| event.name.starts_with("admin."));
            println!("{} events for {}", push.batch.len(), context.connection.store_id);
            foreign.map_or(Ok(()), |event| Err(HookError::new(format!("you may not push {}", event.name))))
        });
    let sync = Server::builder("./data").hooks(hooks).enable_cors(true).build()?;

    let app = Router::new()
        .route("/", get(async || "The app's own page"))
        .route("/health", get(async || "ok"))
        .nest("/sync", sync.router());

    let listener = tokio::net::TcpListener::bind("127.0.0.1:8787").await?;
    let stop = sync.clone();
    let shutdown = async move {
        // Without a signal handler the app is stopped the hard way, which loses nothing either.
        let _ = tokio::signal::ctrl_c().await;
        stop.shutdown().await;
    };
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await?;
    Ok(())
}
