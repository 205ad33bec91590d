//! Whole stores of `livestore-sync-client`, driven by lines of JSON on stdin and answered on stdout, as the interop
//! suite drives the published packages (`tests/interop/lib/driver.mjs`).

mod todos;

use std::collections::HashMap;
use std::error::Error;

use livestore_sync_client::local::LocalStore;
use livestore_sync_client::{NewEvent, Protocol, SyncClient};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Call {
    id: u64,
    method: String,
    args: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpenOptions {
    url: String,
    store_id: String,
    client_id: String,
    /// `ws` and `http` are those of 0.4, `cf` is 0.3.
    kind: ProtocolName,
    payload: Option<Value>,
    /// Where the file stays; without it, it goes with the process.
    directory: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ProtocolName {
    Cf,
    Ws,
    Http,
}

#[derive(Deserialize)]
struct Committed {
    name: String,
    args: Value,
}

/// The open stores, by handle, and the folders of those that are not to stay.
#[derive(Default)]
struct Stores {
    opened: u64,
    open: HashMap<u64, (LocalStore, Option<TempDir>)>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut stores = Stores::default();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    println!("{}", json!({ "ready": true }));
    while let Some(line) = lines.next_line().await? {
        let Call { id, method, args } = serde_json::from_str(&line)?;
        let reply = match stores.call(&method, &args).await {
            Ok(value) => json!({ "id": id, "value": value }),
            Err(error) => json!({ "id": id, "error": error.to_string() }),
        };
        println!("{reply}");
    }
    Ok(())
}

impl Stores {
    async fn call(&mut self, method: &str, args: &[Box<RawValue>]) -> Result<Value> {
        match (method, args) {
            ("openStore", [options]) => Ok(self.open(serde_json::from_str(options.get())?).await?.into()),
            ("commit", [handle, events]) => {
                let events: Vec<Committed> = serde_json::from_str(events.get())?;
                let events = events.into_iter().map(|event| NewEvent::new(event.name, event.args));
                self.get(handle)?.commit(events.collect::<serde_json::Result<Vec<_>>>()?).await?;
                Ok(Value::Null)
            }
            ("rows", [handle]) => Ok(self.get(handle)?.query(todos::rows).await?.into()),
            ("syncState", [handle]) => {
                let status = self.get(handle)?.status();
                let head = status.head.get();
                Ok(json!({
                    "pending": status.pending,
                    "upstreamHead": head,
                    "localHead": head + i64::try_from(status.pending)?,
                    "sync": format!("{:?}", status.sync),
                    "connection": format!("{:?}", status.connection),
                }))
            }
            ("closeStore", [handle]) => {
                let (store, _folder) = self.open.remove(&number(handle)?).ok_or("no open store with this handle")?;
                store.close().await;
                Ok(Value::Null)
            }
            _ => Err(format!("there is no {method} with {} arguments", args.len()).into()),
        }
    }

    async fn open(&mut self, options: OpenOptions) -> Result<u64> {
        let protocol = match options.kind {
            ProtocolName::Cf => Protocol::V03,
            ProtocolName::Ws => Protocol::V04Ws,
            ProtocolName::Http => Protocol::V04Http,
        };
        let mut client = SyncClient::builder(options.url, &options.store_id).protocol(protocol);
        if let Some(payload) = options.payload {
            client = client.payload(payload);
        }
        let (folder, temporary) = match options.directory {
            Some(folder) => (folder.into(), None),
            None => {
                let temporary = tempfile::tempdir()?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let file = folder.join(format!("{}.db", options.store_id));
        let store = LocalStore::open(file, client.start()?, todos::options().client_id(options.client_id)).await?;
        self.opened += 1;
        self.open.insert(self.opened, (store, temporary));
        Ok(self.opened)
    }

    fn get(&self, handle: &RawValue) -> Result<&LocalStore> {
        let (store, _) = self.open.get(&number(handle)?).ok_or("no open store with this handle")?;
        Ok(store)
    }
}

fn number(handle: &RawValue) -> serde_json::Result<u64> {
    serde_json::from_str(handle.get())
}
