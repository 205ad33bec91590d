//! The door: takes connections from the listener, finds a place for each, and turns away those for whom there is
//! none. Called by `server`; what is said on a connection is `connection`'s.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{Server, connection};
use crate::hooks::Hooks;
use crate::request::Refused;

/// How long to wait when the system gives no connections, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Connections at once that are told why they get no place; further ones are hung up on.
const REFUSALS_MAX: usize = 64;

/// How long such a connection has for its request and its answer.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes that the system may keep for a socket beside those that are on their way: what is behind them, such as the
/// answer to a ping, can still be put first, and a slow link shows soon that it moves.
const UNSENT_BYTES_MAX: u32 = 32 * 1024;

/// Serves what the listener brings until the server stops.
pub(super) async fn run<H: Hooks>(server: &Server<H>, listener: TcpListener) {
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let stopping = &server.0.stopping;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => take_in(server, stream, address, &refusals),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections, trying again in a second");
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
}

fn take_in<H: Hooks>(server: &Server<H>, stream: TcpStream, address: SocketAddr, refusals: &Arc<Semaphore>) {
    if let Err(error) = prepare(&stream) {
        tracing::debug!(%error, "cannot set options of a connection");
    }
    match server.0.places.take(Some(address.ip())) {
        Ok(place) => {
            let connection = connection::serve(server.clone(), stream, address, place);
            server.0.connections.spawn(connection);
        }
        Err(refused) => {
            // Without a permit the stream is dropped, which hangs up.
            if let Ok(permit) = Arc::clone(refusals).try_acquire_owned() {
                tracing::warn!(%address, reason = refused.text, "refusing a connection");
                server.0.connections.spawn(async move {
                    let _ = timeout(REFUSAL_TIMEOUT, refuse(stream, refused)).await;
                    drop(permit);
                });
            }
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    // Small frames must not wait for the acknowledgements of those before them.
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    Ok(())
}

/// Errors that say nothing of the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

/// Says why, once the client has asked: some take an answer before that for a fault.
async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin, refused: Refused) -> io::Result<()> {
    let mut buffer = [0; 1024];
    let mut end = [0; 4];
    while end != *b"\r\n\r\n" {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        for byte in &buffer[..read] {
            end = [end[1], end[2], end[3], *byte];
            if end == *b"\r\n\r\n" {
                break;
            }
        }
    }
    let Refused { status, text } = refused;
    let answer = format!(
        "HTTP/1.1 {status} Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // What is still unread when a connection ends would take the answer with it.
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
