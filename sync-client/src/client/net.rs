//! The connection below WebSocket and http: TCP, and TLS where the URL asks for it. Called by `socket` and `http`.

use std::io;

use hyper::http::Uri;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::tls::Tls;

/// A stream of bytes, encrypted or not.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Opens a connection to the URI's host.
pub(super) async fn connect(uri: &Uri, tls: &Tls) -> io::Result<Box<dyn Io>> {
    let secure = matches!(uri.scheme_str(), Some("wss" | "https"));
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await?;
    // Frames are small and answers are waited for: holding them back to fill packets would only add latency.
    stream.set_nodelay(true)?;
    if secure { tls.connect(host, stream).await } else { Ok(Box::new(stream)) }
}
