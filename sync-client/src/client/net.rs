//! The connection below WebSocket and http: TCP, and TLS where the URL asks for it. Called by `socket` and `http`.

use std::io;
use std::sync::Arc;

use hyper::http::Uri;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

use super::activity::{Activity, Counted};
use super::tls::Tls;

/// What the system may hold of what is sent, about. Without a limit it takes a whole push at once, and for as long as a
/// slow link then needs for it nothing is seen to move. With it, links of 64 kbit/s and more show life every few
/// seconds.
const SEND_BUFFER_BYTES: u32 = 32 * 1024;

/// A stream of bytes, encrypted or not.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Opens a connection to the URI's host. Its bytes are counted as they travel.
pub(super) async fn connect(uri: &Uri, tls: &Tls, activity: Arc<Activity>) -> io::Result<Box<dyn Io>> {
    let secure = matches!(uri.scheme_str(), Some("wss" | "https"));
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = open(host, port).await?;
    // Frames are small and answers are waited for: holding them back to fill packets would only add latency.
    stream.set_nodelay(true)?;
    let stream = Counted::new(stream, activity);
    if secure { tls.connect(host, stream).await } else { Ok(Box::new(stream)) }
}

/// Tries the host's addresses one after the other.
async fn open(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in tokio::net::lookup_host((host, port)).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
