//! A Rust service in a LiveStore store: it reads the log, pushes an event, and follows what others push.
//!
//! Start a server (`livestore-sync`), then `cargo run -p example-rust-client`; a URL and a store id may be given.
//! Whatever apps push to the store then appears here, and what is pushed here in the apps.

use std::convert::Infallible;
use std::error::Error;

use livestore_sync_client::protocol::{Cursor, SeqNum};
use livestore_sync_client::{NewEvent, Page, SyncClient};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "http://localhost:8787".to_owned());
    let store_id = args.next().unwrap_or_else(|| "example".to_owned());
    let client = SyncClient::builder(url, store_id)
        // Asked for at each connection, so that a token that has expired is replaced.
        .payload_provider(async || Ok::<_, Infallible>(json!({ "authToken": "insecure-token-change-me" })))
        .client_id("rust-example")
        .start()?;

    let mut head = SeqNum::ROOT;
    let mut backend_id = None;
    let mut pull = client.pull(None);
    while let Some(page) = pull.next().await {
        let page = page?;
        show(&page);
        head = page.events.last().map_or(head, |pulled| pulled.event.seq_num);
        backend_id = page.backend_id;
    }
    println!("the log ends at {head}");

    // Others may push at the same time: the event goes after theirs.
    let todo = NewEvent::new("v1.TodoCreated", json!({ "id": format!("after-{head}"), "text": "Made in Rust" }))?;
    let appended = client.append([todo]).await?;
    println!("stored as event {}", appended[0].seq_num);

    println!("what comes now, until you press Ctrl-C:");
    let mut live = client.live_pull(Cursor { backend_id, seq_num: head });
    while let Some(page) = live.next().await {
        show(&page?);
    }
    Ok(())
}

fn show(page: &Page) {
    for pulled in &page.events {
        let event = &pulled.event;
        println!("{} {} {} ({})", event.seq_num, event.name, event.args.as_json(), event.client_id);
    }
}
