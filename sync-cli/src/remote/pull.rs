//! The command `pull`: the log as lines of JSON, as `inspect events` prints them.

use livestore_sync_client::protocol::{Cursor, PulledEvent, SeqNum};
use livestore_sync_client::{Page, SyncClient};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Failure;
use super::args::Pull;
use super::progress::Progress;
use crate::inspect::{Output, Style};

pub(super) async fn run(args: &Pull, client: &SyncClient) -> Result<(), Failure> {
    let mut output = Output::stdout(Some(Style::Json));
    let mut progress = Progress::new();
    let mut count = 0;
    let since = args.since.map(|since| i64::try_from(since).ok().and_then(|since| SeqNum::new(since).ok()));
    let cursor = since.map(|since| Cursor { backend_id: None, seq_num: since.unwrap_or(SeqNum::MAX) });
    let mut print = |page: Page| {
        count += page.events.len();
        for pulled in &page.events {
            output.json(&line(pulled))?;
        }
        progress.show(|| format!("{count} events, {} to come", page.remaining));
        output.flush()
    };
    if args.live {
        let mut live = client.live_pull(cursor);
        while let Some(page) = live.next().await {
            print(page?)?;
        }
    } else {
        let mut pull = client.pull(cursor);
        while let Some(page) = pull.next().await {
            print(page?)?;
        }
    }
    Ok(())
}

/// An event as `inspect` prints it.
fn line(pulled: &PulledEvent) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Line<'a> {
        seq_num: SeqNum,
        parent_seq_num: SeqNum,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        args: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        created_at: Option<&'a str>,
        client_id: &'a str,
        session_id: &'a str,
    }
    let event = &pulled.event;
    let line = Line {
        seq_num: event.seq_num,
        parent_seq_num: event.parent_seq_num,
        name: &event.name,
        args: event.args.as_stored().and_then(|args| serde_json::from_str(args).ok()),
        created_at: pulled.created_at.as_deref(),
        client_id: &event.client_id,
        session_id: &event.session_id,
    };
    serde_json::to_string(&line).expect("events have a JSON form")
}
