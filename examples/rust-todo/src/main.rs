//! A todo list in a terminal. It works offline, and syncs with every LiveStore app that has the same events:
//! `cargo run -p example-rust-todo -- [URL [STORE [FILE]]]`, with a server from `cargo run --release`.

mod todos;

use std::error::Error;

use futures_util::StreamExt;
use livestore_sync_client::SyncClient;
use livestore_sync_client::local::{Change, LocalStore};
use todos::Command;
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "http://localhost:8787".to_owned());
    let store_id = args.next().unwrap_or_else(|| "todos".to_owned());
    let file = args.next().unwrap_or_else(|| format!("{store_id}.db"));
    let client = SyncClient::builder(url, store_id).start()?;
    let store = LocalStore::open(&file, client, todos::options()).await?;

    let mut changes = store.changes();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    show(&store).await?;
    loop {
        tokio::select! {
            line = lines.next_line() => match line?.as_deref().map(Command::parse) {
                None | Some(Ok(Command::Quit)) => break,
                Some(Ok(command)) => run(&store, command).await?,
                Some(Err(problem)) => println!("{problem}"),
            },
            Some(change) = changes.next() => match change {
                Change::Received(_) | Change::Reset | Change::Missed { .. } => show(&store).await?,
                Change::Rejected { reason, .. } => println!("the server refuses this: {reason}"),
                Change::Stopped(reason) => println!("sync has stopped: {reason:?}"),
                _ => {}
            },
        }
    }
    store.close().await;
    Ok(())
}

async fn run(store: &LocalStore, command: Command) -> Result<(), Box<dyn Error>> {
    let todos = store.query(todos::list).await?;
    let now =
        store.query(|sqlite| sqlite.query_row("SELECT strftime('%FT%TZ')", [], |row| row.get::<_, String>(0))).await?;
    match command.event(&todos, uuid::Uuid::new_v4().to_string(), &now) {
        Ok(event) => drop(store.commit(event).await?),
        Err(problem) => println!("{problem}"),
    }
    show(store).await
}

async fn show(store: &LocalStore) -> Result<(), Box<dyn Error>> {
    for (n, todo) in (1..).zip(store.query(todos::list).await?) {
        println!("{n:>3} {todo}");
    }
    let status = store.status();
    println!("    {} to be synced; {:?}", status.pending, status.connection);
    Ok(())
}
