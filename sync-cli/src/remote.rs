//! `livestore-sync push` and `pull`: a shell as a client of any sync server. Called by `main` with the parsed
//! arguments; everything that speaks to the server is in `livestore-sync-client`.

mod args;
mod progress;
mod pull;
mod push;

use std::process::ExitCode;

use livestore_sync_client::{ConnectionState, OfflineReason, SyncClient};

use self::args::Server;
pub(crate) use self::args::{Pull, Push};
use crate::inspect::{Error as OutputError, note};

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Config(#[from] livestore_sync_client::ConfigError),
    #[error("generation 0.3 has no http transport")]
    NoTransport,
    #[error("{0}")]
    Refused(OfflineReason),
    #[error("{0}")]
    Pull(#[from] livestore_sync_client::PullError),
    #[error("{0}")]
    Push(#[from] push::PushFailure),
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl Push {
    pub(crate) fn run(self) -> ExitCode {
        run(self.server.clone(), async |client| push::run(&self, &client).await)
    }
}

impl Pull {
    pub(crate) fn run(self) -> ExitCode {
        run(self.server.clone(), async |client| pull::run(&self, &client).await)
    }
}

fn run(server: Server, command: impl AsyncFnOnce(SyncClient) -> Result<(), Failure>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            note(&format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        let client = server.start()?;
        let result = tokio::select! {
            result = command(client.clone()) => result,
            refusal = report_connection(&client) => Err(refusal),
        };
        client.close().await;
        result
    });
    // A thread may be reading standard input, which nothing ends.
    runtime.shutdown_background();
    match result {
        // A closed pipe is a reader that has seen enough, as with `| head`.
        Ok(()) | Err(Failure::Output(OutputError::Closed)) => ExitCode::SUCCESS,
        Err(failure) => {
            note(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Says when the server is away, and ends if it refuses the first connection: waiting does not help then.
async fn report_connection(client: &SyncClient) -> Failure {
    let mut state = client.connection();
    let mut was_connected = false;
    let mut shown = None;
    while state.changed().await.is_ok() {
        let now = state.borrow_and_update().clone();
        match now {
            ConnectionState::Connected => {
                if shown.take().is_some() {
                    note("connected");
                }
                was_connected = true;
            }
            ConnectionState::Offline { reason: reason @ OfflineReason::Refused { status: 200..500, .. } }
                if !was_connected =>
            {
                return Failure::Refused(reason);
            }
            ConnectionState::Offline { reason } if shown.as_ref() != Some(&reason) => {
                note(&reason.to_string());
                shown = Some(reason);
            }
            _ => {}
        }
    }
    std::future::pending().await
}
