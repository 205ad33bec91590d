//! `livestore-sync`: the sync server as one binary.

mod auth;
mod backup;
mod cli;
mod inspect;
mod log;
mod remote;
mod token;

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use livestore_sync_server::native::{self, Server};
use tokio::net::TcpListener;

use cli::{Cli, Command, Serve};
use log::Log;

fn main() -> ExitCode {
    match Cli::parse().command() {
        Command::Serve(serve) => start(serve),
        Command::Inspect(inspect) => inspect.run(),
        Command::Backup(backup) => backup.run(),
        Command::Restore(restore) => restore.run(),
        Command::Push(push) => push.run(),
        Command::Pull(pull) => pull.run(),
        Command::Token(token) => token.run(),
    }
}

fn start(serve: Serve) -> ExitCode {
    let log = Log::start();
    let code = serve_logged(serve, &log);
    log.finish();
    code
}

fn serve_logged(serve: Serve, log: &Log) -> ExitCode {
    cli::start_logging(&serve, log);
    // The standard one writes to stderr itself, and waits where nobody reads.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a panic")));
    // Each connection is a file; the usual soft limit would stop at a thousand.
    #[cfg(unix)]
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) if files < needed_files(serve.limits().connections_max) => tracing::warn!(
            files,
            connections = serve.limits().connections_max,
            "the limit of open files is lower than the connections that may be: raise it (ulimit -n, LimitNOFILE) or \
             lower --max-connections"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(log, &format!("cannot start: {error}")),
    };
    match runtime.block_on(run(serve)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(log, &error),
    }
}

/// Files that may be open at once with so many connections: these, and those of the database and the runtime.
#[cfg(unix)]
fn needed_files(connections: usize) -> u64 {
    const OTHER_FILES: u64 = 100;
    OTHER_FILES.saturating_add(connections as u64)
}

fn fail(log: &Log, text: &str) -> ExitCode {
    log.line(format!("livestore-sync: {text}\n").into_bytes());
    ExitCode::FAILURE
}

/// Tells whoever started this where it serves. Whether anybody reads it, and when, is nothing to wait for.
fn announce(address: SocketAddr) {
    let write = move || drop(writeln!(std::io::stdout(), "listening on http://{address}"));
    // Without a thread it is not told, and everything else goes on.
    let _ = std::thread::Builder::new().name("announce".into()).spawn(write);
}

async fn run(serve: Serve) -> Result<(), String> {
    outlive_signals().map_err(|error| format!("cannot handle signals: {error}"))?;
    let server = Server::builder(&serve.data)
        .synchronous(serve.synchronous.into())
        .hooks(serve.auth.hooks()?)
        .limits(serve.limits())
        .enable_cors(serve.cors)
        .trusted_proxies(serve.trusted_proxies)
        .compression(serve.compression);
    let server = serve.allow_origin.iter().fold(server, native::Builder::allow_origin);
    let server = server.build().map_err(|error| error.to_string())?;
    let listener = TcpListener::bind(&serve.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", serve.listen))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let stop = stop_signal().map_err(|error| format!("cannot handle signals: {error}"))?;
    announce(address);
    tracing::info!(%address, data = %serve.data.display(), "serving");
    server.serve(listener, stop).await.map_err(|error| format!("cannot serve: {error}"))?;
    tracing::info!("stopped");
    Ok(())
}

/// A file that reaches a limit of its size is an error of that write, and not the end of the process. (The standard
/// library sees to the same for pipes.)
#[cfg(unix)]
fn outlive_signals() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    // The handler stays for good.
    signal(SignalKind::from_raw(libc::SIGXFSZ)).map(drop)
}

#[cfg(not(unix))]
fn outlive_signals() -> std::io::Result<()> {
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
