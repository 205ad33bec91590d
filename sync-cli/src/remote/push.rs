//! The command `push`: lines of standard input into events, and those to the end of the log. How they get there while
//! others push is the client's business (`SyncClient::append_events`); this file tells people what was stored.

use std::io::{self, BufRead};

use livestore_sync_client::protocol::{Args, Event, SeqNum};
use livestore_sync_client::{AppendError, InvalidBatch, PUSH_EVENTS_MAX, PushError, SyncClient, chunks};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::mpsc;

use super::Failure;
use super::args::Push;
use super::progress::Progress;
use crate::inspect::note;

/// Why a push ended early, and how much was stored before.
#[derive(Debug, thiserror::Error)]
pub(super) enum PushFailure {
    #[error("line {line}: {message} ({pushed} events were pushed)")]
    Line { line: usize, message: String, pushed: usize },
    #[error("cannot read standard input: {error} ({pushed} events were pushed)")]
    Input { error: io::Error, pushed: usize },
    #[error("{error} ({pushed} events were pushed{})", if *.doubtful > 0 { format!(", {doubtful} may be") } else { String::new() })]
    Push { error: PushError, pushed: usize, doubtful: usize },
}

/// A line of standard input.
struct Line {
    number: usize,
    text: io::Result<String>,
}

/// An event as people write it, or as `pull` and `inspect` print it. A member that is unknown is a mistake.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Given {
    name: String,
    #[serde(default)]
    args: Args,
    client_id: Option<String>,
    session_id: Option<String>,
    #[serde(rename = "seqNum")]
    _seq_num: Option<IgnoredAny>,
    #[serde(rename = "parentSeqNum")]
    _parent_seq_num: Option<IgnoredAny>,
    #[serde(rename = "createdAt")]
    _created_at: Option<IgnoredAny>,
}

pub(super) async fn run(args: &Push, client: &SyncClient) -> Result<(), Failure> {
    let mut lines = read_lines();
    let mut progress = Progress::new();
    let mut pushed = 0;
    loop {
        let mut waiting = Vec::with_capacity(PUSH_EVENTS_MAX);
        if lines.recv_many(&mut waiting, PUSH_EVENTS_MAX).await == 0 {
            break;
        }
        let mut batch = Vec::new();
        let mut broken = None;
        for line in waiting {
            match parse(line, args, client.session_id(), pushed) {
                Ok(event) => batch.extend(event),
                Err(failure) => {
                    broken = Some(failure);
                    break;
                }
            }
        }
        let appended = client.append_events(batch).await.map_err(|error| PushFailure::of(error, pushed))?;
        pushed += appended.len();
        if let Some(failure) = broken {
            return Err(failure.after(pushed).into());
        }
        if let Some(last) = appended.last() {
            progress.show(|| format!("{pushed} events, the head is {}", last.seq_num));
        }
    }
    note(&format!("pushed {pushed} events"));
    Ok(())
}

impl PushFailure {
    /// What has happened after so many events were pushed.
    fn of(AppendError { stored, in_doubt, source, .. }: AppendError, pushed: usize) -> Self {
        Self::Push { error: source, pushed: pushed + stored, doubtful: in_doubt }
    }

    /// So many events were pushed after all.
    fn after(self, count: usize) -> Self {
        match self {
            Self::Line { line, message, .. } => Self::Line { line, message, pushed: count },
            Self::Input { error, .. } => Self::Input { error, pushed: count },
            Self::Push { error, doubtful, .. } => Self::Push { error, pushed: count, doubtful },
        }
    }
}

/// Reads standard input in a thread of its own, as far ahead as a push is long.
fn read_lines() -> mpsc::Receiver<Line> {
    let (sender, receiver) = mpsc::channel(PUSH_EVENTS_MAX);
    std::thread::spawn(move || {
        for (index, text) in io::stdin().lock().lines().enumerate() {
            // Where a file comes from an editor that marks its encoding, the mark comes first.
            let text = if index == 0 { text.map(without_mark) } else { text };
            let failed = text.is_err();
            if sender.blocking_send(Line { number: index + 1, text }).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

fn without_mark(text: String) -> String {
    text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)
}

/// `None` for an empty line.
fn parse(line: Line, args: &Push, session_id: &str, pushed: usize) -> Result<Option<Event>, PushFailure> {
    let text = line.text.map_err(|error| PushFailure::Input { error, pushed })?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    let refused = |message| PushFailure::Line { line: line.number, message, pushed };
    let given: Given = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    let event = Event {
        name: given.name,
        args: given.args,
        // Other numbers are given when it is appended.
        seq_num: SeqNum::new(1).unwrap_or_default(),
        parent_seq_num: SeqNum::ROOT,
        client_id: given.client_id.unwrap_or_else(|| args.client_id.clone()),
        session_id: given.session_id.unwrap_or_else(|| session_id.to_owned()),
    };
    // Here, while it is known which line it is.
    chunks(vec![event.clone()]).map_err(|error| refused(too_large(&error)))?;
    Ok(Some(event))
}

fn too_large(error: &InvalidBatch) -> String {
    match error {
        InvalidBatch::TooLarge { bytes, .. } => format!("the event has {bytes} bytes, which no push can hold"),
        other => other.to_string(),
    }
}
