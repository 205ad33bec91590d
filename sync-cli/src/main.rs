//! `livestore-sync`: the sync server as one binary.

mod backup;
mod cli;
mod inspect;
mod remote;

use std::process::ExitCode;

use clap::Parser;
use livestore_sync_server::native::Server;
use tokio::net::TcpListener;

use cli::{Cli, Command, Serve};

fn main() -> ExitCode {
    match Cli::parse().command() {
        Command::Serve(serve) => start(serve),
        Command::Inspect(inspect) => inspect.run(),
        Command::Backup(backup) => backup.run(),
        Command::Restore(restore) => restore.run(),
        Command::Push(push) => push.run(),
        Command::Pull(pull) => pull.run(),
    }
}

fn start(serve: Serve) -> ExitCode {
    cli::start_logging(&serve);
    // Each connection is a file; the usual soft limit would stop at a thousand.
    #[cfg(unix)]
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    match runtime.block_on(run(serve)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(text: &str) -> ExitCode {
    eprintln!("livestore-sync: {text}");
    ExitCode::FAILURE
}

async fn run(serve: Serve) -> Result<(), String> {
    let server = Server::builder(&serve.data)
        .synchronous(serve.synchronous.into())
        .limits(serve.limits())
        .enable_cors(serve.cors)
        .build()
        .map_err(|error| error.to_string())?;
    let listener = TcpListener::bind(&serve.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", serve.listen))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let stop = stop_signal().map_err(|error| format!("cannot handle signals: {error}"))?;
    println!("listening on http://{address}");
    tracing::info!(%address, data = %serve.data.display(), "serving");
    server.serve(listener, stop).await.map_err(|error| format!("cannot serve: {error}"))?;
    tracing::info!("stopped");
    Ok(())
}

#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    Ok(async {
        // Without a handler the system stops the process itself.
        let _ = tokio::signal::ctrl_c().await;
    })
}
