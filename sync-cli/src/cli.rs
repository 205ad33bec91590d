//! The command line: what `main` is asked for. Values only.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use livestore_sync_server::event_log::Synchronous;
use livestore_sync_server::{Limits, one_line};
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format;

use crate::auth::Auth;
use crate::backup::{Backup, Restore};
use crate::inspect::Inspect;
use crate::log::Log;
use crate::remote::{Pull, Push};
use crate::token::Token;

/// The variable that names the data folder, and the folder without it.
pub(crate) const DATA_VARIABLE: &str = "LIVESTORE_SYNC_DATA";
pub(crate) const DATA_DEFAULT: &str = "./data";

/// The sync server for LiveStore apps.
///
/// Without a command it serves. Point a LiveStore app at it: `makeWsSync({ url: 'http://localhost:8787' })`
/// (0.4) or `makeCfSync({ url: 'ws://localhost:8787' })` (0.3).
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve LiveStore clients
    Serve(Serve),
    Inspect(Inspect),
    Backup(Backup),
    Restore(Restore),
    Push(Push),
    Pull(Pull),
    Token(Token),
}

#[derive(Args)]
pub(crate) struct Serve {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, env = "LIVESTORE_SYNC_LISTEN", default_value = "127.0.0.1:8787")]
    pub(crate) listen: String,

    /// Folder for the data file; made if it does not exist
    #[arg(long, env = DATA_VARIABLE, default_value = DATA_DEFAULT)]
    pub(crate) data: PathBuf,

    /// When a push is acknowledged: `full` once the disk has it; `normal` survives a crash of the
    /// server, but a loss of power may undo acknowledged pushes; `off` may also corrupt the file then
    #[arg(long, env = "LIVESTORE_SYNC_SYNCHRONOUS", default_value = "full")]
    pub(crate) synchronous: SynchronousArg,

    /// Web pages that may use the server, by their origin: `https://app.example`, `http://localhost:*`, `*` for all.
    /// May be given several times, or with commas. Without it: pages of the server's own host and, on a loopback
    /// address, all pages from one
    #[arg(long, env = "LIVESTORE_SYNC_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',', value_parser = origin)]
    pub(crate) allow_origin: Vec<String>,

    /// All web pages may use the server: the same as `--allow-origin '*'`
    #[arg(long, env = "LIVESTORE_SYNC_CORS", value_parser = boolean)]
    pub(crate) cors: bool,

    /// Proxies in front of this server, whose X-Forwarded-For is believed; what clients put before it is not
    #[arg(long, env = "LIVESTORE_SYNC_TRUSTED_PROXIES", default_value_t = 0)]
    pub(crate) trusted_proxies: usize,

    /// Whether WebSocket messages are compressed for clients that offer it: `on` or `off`
    #[arg(
        long,
        env = "LIVESTORE_SYNC_COMPRESSION",
        value_name = "ON|OFF",
        value_parser = on_unless_off,
        action = ArgAction::Set,
        default_value = "on"
    )]
    pub(crate) compression: bool,

    /// Largest WebSocket frame or HTTP body, in bytes
    #[arg(long, env = "LIVESTORE_SYNC_MAX_FRAME_BYTES", default_value_t = Limits::native().frame_bytes_max)]
    max_frame_bytes: usize,

    /// Most connections at once
    #[arg(long, env = "LIVESTORE_SYNC_MAX_CONNECTIONS", default_value_t = Limits::native().connections_max)]
    max_connections: usize,

    /// Most connections at once from one address; not with --trusted-proxies, since all come from the proxy's
    #[arg(
        long,
        env = "LIVESTORE_SYNC_MAX_CONNECTIONS_PER_ADDRESS",
        default_value_t = Limits::native().connections_per_address_max
    )]
    max_connections_per_address: usize,

    /// Most WebSockets to one store at once; without it, as many as to all
    #[arg(long, env = "LIVESTORE_SYNC_MAX_CONNECTIONS_PER_STORE", value_name = "N")]
    max_connections_per_store: Option<usize>,

    /// Most WebSockets of one user (of a token) to one store at once; without it, as many as to all
    #[arg(long, env = "LIVESTORE_SYNC_MAX_CONNECTIONS_PER_USER", value_name = "N")]
    max_connections_per_user: Option<usize>,

    /// Most stores in the data file
    #[arg(long, env = "LIVESTORE_SYNC_MAX_STORES", default_value_t = Limits::native().stores_max)]
    max_stores: u32,

    /// Bytes that one connection may make the server hold; a client that reads too slowly is closed above it
    #[arg(long, env = "LIVESTORE_SYNC_MAX_CONNECTION_BYTES", default_value_t = Limits::native().connection_bytes_max)]
    max_connection_bytes: usize,

    /// Bytes that all connections of one store may make the server hold
    #[arg(long, env = "LIVESTORE_SYNC_MAX_STORE_BYTES", default_value_t = Limits::native().store_bytes_max)]
    max_store_bytes: usize,

    /// Bytes of memory that the server may take, a quarter of them for what connections make it hold; without it, half
    /// of what the machine or the container has
    #[arg(long, env = "LIVESTORE_SYNC_MAX_MEMORY")]
    max_memory: Option<usize>,

    /// What to log to stderr: error, warn, info, debug or trace
    #[arg(long, env = "LIVESTORE_SYNC_LOG_LEVEL", default_value = "info")]
    log_level: tracing::Level,

    /// How to log: `pretty` for people, `json` for machines
    #[arg(long, env = "LIVESTORE_SYNC_LOG_FORMAT", default_value = "pretty")]
    log_format: LogFormat,

    /// Seconds that a connection stays after its token has expired; pushes are refused at once
    #[arg(long, env = "LIVESTORE_SYNC_EXPIRY_GRACE", value_name = "SECONDS", default_value_t = Limits::native().expiry_grace.as_secs())]
    expiry_grace: u64,

    #[command(flatten)]
    pub(crate) auth: Auth,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum SynchronousArg {
    Full,
    Normal,
    Off,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Pretty,
    Json,
}

/// A flag as a variable says it. Empty is what a variable is that was meant to be unset.
fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" | "" => Ok(false),
        _ => Err("expected 1, 0, true, false, yes, no, on or off".to_owned()),
    }
}

/// The same for a setting that is on where nothing is said.
fn on_unless_off(text: &str) -> Result<bool, String> {
    if text.trim().is_empty() { Ok(true) } else { boolean(text) }
}

impl From<SynchronousArg> for Synchronous {
    fn from(arg: SynchronousArg) -> Self {
        match arg {
            SynchronousArg::Full => Self::Full,
            SynchronousArg::Normal => Self::Normal,
            SynchronousArg::Off => Self::Off,
        }
    }
}

impl Cli {
    /// The command; without one it serves.
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

impl Serve {
    pub(crate) fn limits(&self) -> Limits {
        let limits = Limits::native()
            .with_frame_bytes_max(self.max_frame_bytes)
            .with_connections_max(self.max_connections)
            .with_connections_per_address_max(self.max_connections_per_address)
            .with_connections_per_store_max(self.max_connections_per_store.unwrap_or(usize::MAX))
            .with_connections_per_user_max(self.max_connections_per_user.unwrap_or(usize::MAX))
            .with_stores_max(self.max_stores)
            .with_connection_bytes_max(self.max_connection_bytes)
            .with_store_bytes_max(self.max_store_bytes)
            .with_expiry_grace(Duration::from_secs(self.expiry_grace));
        match self.max_memory {
            Some(bytes) => limits.with_memory_bytes_max(bytes),
            None => limits,
        }
    }
}

/// What browsers call an origin, or a pattern of such.
fn origin(text: &str) -> Result<String, &'static str> {
    let is_origin = text.split_once("://").is_some_and(|(_, host)| !host.trim_end_matches('/').contains('/'));
    if is_origin || matches!(text, "*" | "null") {
        Ok(text.to_owned())
    } else {
        Err("an origin is a scheme and a host, such as https://app.example or http://localhost:5173")
    }
}

pub(crate) fn start_logging(serve: &Serve, log: &Log) {
    let logging = tracing_subscriber::fmt()
        .with_writer(log.clone())
        // It would say so on stderr itself, and panic if it cannot.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(serve.log_level);
    let fields = format::debug_fn(|writer, field, value| {
        let value = one_line(&format!("{value:?}"));
        match field.name() {
            "message" => write!(writer, "{value}"),
            name => write!(writer, "{name}={value}"),
        }
    });
    match serve.log_format {
        LogFormat::Pretty => logging.fmt_fields(fields.delimited(" ")).init(),
        LogFormat::Json => logging.json().init(),
    }
}

#[cfg(test)]
mod tests {
    use super::{boolean, on_unless_off};

    #[test]
    fn flags_in_variables_are_said_in_many_ways() {
        for text in ["1", "true", "TRUE", "yes", "Yes", "on", " 1 "] {
            assert_eq!(boolean(text), Ok(true), "{text:?}");
        }
        for text in ["0", "false", "False", "no", "off", "OFF", "", " "] {
            assert_eq!(boolean(text), Ok(false), "{text:?}");
        }
        for text in ["2", "ja", "tru", "-"] {
            assert!(boolean(text).is_err() && on_unless_off(text).is_err(), "{text:?}");
        }
        for (text, expected) in [("on", true), ("off", false), ("0", false), ("", true), (" ", true)] {
            assert_eq!(on_unless_off(text), Ok(expected), "{text:?}");
        }
    }
}
