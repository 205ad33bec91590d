//! `livestore-sync inspect`: reads the databases of servers on this machine, and never writes.

mod args;
mod catalog;
mod chain;
mod choose;
mod database;
mod error;
mod events;
mod json;
mod output;
mod places;
mod rows;
mod stores;
mod table;
mod tail;
mod text;
mod verify;

use std::process::ExitCode;

pub(crate) use self::args::Inspect;
use self::args::What;
use self::catalog::Catalog;
pub(crate) use self::error::Error;
pub(crate) use self::output::{Output, Style, note};
pub(crate) use self::verify::faults;

/// The exit code when `verify` found a fault.
const EXIT_FAULT: u8 = 1;
/// The exit code when something could not be read or asked for; clap's, too.
const EXIT_FAILURE: u8 = 2;

impl Inspect {
    pub(crate) fn run(self) -> ExitCode {
        let mut output = Output::stdout(self.style());
        let result = self.look(&mut output).and_then(|code| match output.flush() {
            Ok(()) | Err(Error::Closed) => Ok(code),
            Err(error) => Err(error),
        });
        let code = match result {
            Ok(code) => code,
            // Whoever reads has seen enough, as with `| head`.
            Err(Error::Closed) => 0,
            Err(error) => {
                output::note(&error.to_string());
                self.failure(&error)
            }
        };
        ExitCode::from(code)
    }

    fn look(&self, output: &mut Output) -> Result<u8, Error> {
        let mut catalog = Catalog::open(&places::find(self.path.as_deref())?)?;
        for problem in &catalog.unreadable {
            output::note(&problem.to_string());
        }
        match &self.what {
            What::Stores => stores::print(&mut catalog, output)?,
            What::Events(args) => {
                let (file, store) = catalog.choose(&args.store)?;
                events::print(&mut file.database, &store, args, output)?;
                return Ok(0);
            }
            What::Tail(args) => {
                let (file, store) = catalog.choose(&args.store)?;
                match tail::follow(&mut file.database, &store, args, output)? {}
            }
            What::Verify { store } => {
                if !verify::print(&mut catalog, store.as_deref(), output)? {
                    return Ok(EXIT_FAULT);
                }
            }
        }
        Ok(catalog.unreadable.iter().map(|error| self.failure(error)).min().unwrap_or(0))
    }

    /// A damaged file is what `verify` looks for.
    fn failure(&self, error: &Error) -> u8 {
        if matches!(self.what, What::Verify { .. }) && error.is_corrupt() { EXIT_FAULT } else { EXIT_FAILURE }
    }
}
