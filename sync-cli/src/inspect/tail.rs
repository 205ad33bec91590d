//! `inspect tail`.

use std::convert::Infallible;
use std::time::Duration;

use super::args::TailArgs;
use super::choose::Store;
use super::database::Database;
use super::error::Error;
use super::events::Printer;
use super::output::{self, Output};
use super::rows::{self, Filter};

/// How long until it looks again. SQLite tells nobody when another process commits.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Prints events as they are stored, until it is stopped, or the output or the file goes away.
pub(super) fn follow(
    database: &mut Database,
    store: &Store,
    args: &TailArgs,
    output: &mut Output,
) -> Result<Infallible, Error> {
    let events = store.events().map_err(|problem| Error::NoTable { store: store.id.clone(), problem })?;
    let mut filter = Filter { since: args.since, name: args.name.as_deref() };
    let mut after = match args.since {
        Some(since) => events.after(since),
        None => database.read(|connection| rows::before_last(connection, events, args.lines, filter.name))?,
    };
    let mut printer = Printer::new();
    loop {
        while let Some(page) = database.read(|connection| rows::page(connection, events, after, filter))? {
            after = page.end;
            printer.print(&page.rows, output)?;
            output.flush()?;
        }
        wait();
        if !database.path().exists() {
            return Err(Error::Gone(database.path().into()));
        }
        let head = database.read(|connection| rows::head(connection, events))?.unwrap_or(events.start());
        if began_anew(head, after, args.since) {
            output::note("the store began anew");
            after = events.start();
            filter.since = None;
        }
    }
}

/// Whether events that were there are not any more. One may ask for those after an event to come.
fn began_anew(head: i64, after: i64, since: Option<i64>) -> bool {
    head < after && since != Some(after)
}

#[expect(clippy::disallowed_methods, reason = "what it waits for is another process, which does not call")]
fn wait() {
    std::thread::sleep(POLL_INTERVAL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_whose_events_are_gone_began_anew() {
        assert!(!began_anew(5, 5, None));
        assert!(!began_anew(6, 5, None));
        assert!(began_anew(4, 5, None));
        assert!(began_anew(i64::MIN, 5, None));
        assert!(!began_anew(i64::MIN, i64::MIN, None));
        assert!(!began_anew(4, 100, Some(100)), "what was asked for is yet to come");
        assert!(began_anew(4, 101, Some(100)));
    }
}
