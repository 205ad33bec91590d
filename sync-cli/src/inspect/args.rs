//! The command line of `inspect`. Values only; `inspect` acts on them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::output::Style;

/// Look into the databases that a server has on this machine.
///
/// Opens them read-only, also while `wrangler dev` or the native server runs on them.
///
/// Without --path it looks for the local databases of wrangler (D1 and the SQLite of Durable
/// Objects) in `.wrangler/state`, in this folder or the nearest one above that has it, and for the
/// native server's data folder: LIVESTORE_SYNC_DATA, else `./data`.
///
/// On a terminal it prints tables, into a pipe one line of JSON per item.
///
/// Exit codes: 0, all is well; 1, `verify` found a fault; 2, something could not be read or found.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Inspect {
    /// Where to look: a database file, a data folder, a `.wrangler` folder or the one that it is in,
    /// or the folder given to `wrangler dev --persist-to`
    #[arg(long, short, global = true, value_name = "PATH")]
    pub(super) path: Option<PathBuf>,

    /// Print one line of JSON per item, on a terminal, too
    #[arg(long, global = true)]
    json: bool,

    /// Print tables, into a pipe, too
    #[arg(long, global = true, conflicts_with = "json")]
    table: bool,

    #[command(subcommand)]
    pub(super) what: What,
}

const EXAMPLES: &str = "\
Examples:
  livestore-sync inspect stores
  livestore-sync inspect events my-store --since 120 --name 'v1.Todo*'
  livestore-sync inspect events my-store --limit 0 | jq -r .name | sort | uniq -c
  livestore-sync inspect tail my-store
  livestore-sync inspect verify --path backup.sqlite";

#[derive(Subcommand)]
pub(super) enum What {
    /// List the stores: id, table, head, events, bytes, last write
    ///
    /// `bytes` is the size of the events' texts (names, args, times, client and session ids) in
    /// UTF-8, without what SQLite adds. It is counted event by event, which takes a moment on a large
    /// store. The last write is when the server stored the event at the head.
    ///
    /// The published sync-cf servers do not record store ids in D1, only table names, in which each
    /// character of the id other than A-Z, a-z and 0-9 is `_`. Ids that no file tells are shown so,
    /// marked with `*`; the other commands take the real id nonetheless.
    Stores,
    /// Print the events of a store
    ///
    /// As JSON an event has `seqNum`, `parentSeqNum`, `name`, `args` (as the client wrote it; left out
    /// where it gave none), `createdAt`, `clientId` and `sessionId`. Args that are no JSON are given as a
    /// string, with what is wrong in `argsError`.
    Events(EventsArgs),
    /// Print the last events of a store, then further ones as they are stored
    Tail(TailArgs),
    /// Check that the events of each store are one chain
    ///
    /// Checks that sequence numbers ascend from 1; that each parent is the event before (numbers may be
    /// left out, as LiveStore does); that args are JSON, times are times and texts are UTF-8; and that
    /// the registry of stores agrees with the tables.
    Verify {
        /// The store's id; all stores if it is not given
        store: Option<String>,
    },
}

#[derive(Args)]
pub(super) struct EventsArgs {
    /// The store's id
    pub(super) store: String,

    /// Only events after this sequence number
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(super) since: Option<i64>,

    /// At most this many events; 0 is all
    #[arg(long, value_name = "N", default_value_t = EVENTS_DEFAULT)]
    pub(super) limit: u64,

    /// Only events with such a name, as SQLite's GLOB has it: `*` any text, `?` any character, `[a-z]` one of these
    #[arg(long, value_name = "GLOB")]
    pub(super) name: Option<String>,
}

#[derive(Args)]
pub(super) struct TailArgs {
    /// The store's id
    pub(super) store: String,

    /// Begin after this sequence number, instead of with the last events
    #[arg(long, value_name = "N", allow_negative_numbers = true, conflicts_with = "lines")]
    pub(super) since: Option<i64>,

    /// How many of the last events to begin with
    #[arg(long, short = 'n', value_name = "N", default_value_t = LINES_DEFAULT)]
    pub(super) lines: u32,

    /// Only events with such a name, as SQLite's GLOB has it: `*` any text, `?` any character, `[a-z]` one of these
    #[arg(long, value_name = "GLOB")]
    pub(super) name: Option<String>,
}

/// Events that `events` prints if nothing else is asked for.
const EVENTS_DEFAULT: u64 = 100;
/// Events that `tail` begins with.
const LINES_DEFAULT: u32 = 10;

impl Inspect {
    pub(super) fn style(&self) -> Option<Style> {
        match (self.json, self.table) {
            (true, _) => Some(Style::Json),
            (_, true) => Some(Style::Table),
            _ => None,
        }
    }
}
