//! One HTTP request per connection, written by hand so that it can be as wrong as a test wants.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Server, within};

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers, as they came.
    pub headers: Vec<(String, String)>,
    /// The body, without its transfer coding.
    pub body: Vec<u8>,
}

impl Response {
    /// A header by its name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The media type without its parameters.
    #[must_use]
    pub fn media_type(&self) -> &str {
        self.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.text()).unwrap_or_else(|error| panic!("{error}: {}", crate::short(self.text())))
    }
}

/// Sends a request and reads the whole answer. `target` is the path and query.
pub async fn request(server: &Server, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut head = format!("{method} {} HTTP/1.1\r\nhost: {}\r\n", server.path(target), server.authority());
    let upgrade = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
    head.push_str(if upgrade { "connection: upgrade\r\n" } else { "connection: close\r\n" });
    if !body.is_empty() || method == "POST" || method == "PUT" {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    raw(server, &[head.as_bytes(), body].concat(), &format!("the answer to {method} {target}")).await
}

/// Sends these bytes and reads one answer.
pub async fn raw(server: &Server, bytes: &[u8], awaited: &str) -> Response {
    let exchange = async {
        let stream = TcpStream::connect(server.authority()).await.expect("the server accepts connections");
        let (mut read, mut write) = stream.into_split();
        // A server may answer before it has read a body that it does not want.
        let sending = async { drop(write.write_all(bytes).await) };
        let receiving = async {
            let mut answer = Vec::new();
            let mut buffer = vec![0; 64 * 1024];
            loop {
                if let Some(response) = parse(&answer, false) {
                    return response;
                }
                match read.read(&mut buffer).await {
                    Ok(count) if count > 0 => answer.extend_from_slice(&buffer[..count]),
                    end => {
                        return parse(&answer, true).unwrap_or_else(|| {
                            panic!("no HTTP answer ({end:?}): {}", crate::short(&String::from_utf8_lossy(&answer)))
                        });
                    }
                }
            }
        };
        tokio::pin!(sending, receiving);
        tokio::select! {
            response = &mut receiving => response,
            () = &mut sending => receiving.await,
        }
    };
    within(awaited, exchange).await
}

fn parse(bytes: &[u8], ended: bool) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).expect("headers are text");
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().expect("a status code");
    let headers = lines
        .map(|line| line.split_once(':').expect("a header line"))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut response = Response { status, headers, body: Vec::new() };
    let rest = &bytes[end + 4..];
    let body = if status == 101 || status == 204 {
        Some(Vec::new())
    } else if response.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        // Looked at once, not again with every read.
        if rest.ends_with(b"0\r\n\r\n") { unchunk(rest) } else { None }
    } else if let Some(length) = response.header("content-length") {
        let length: usize = length.parse().expect("a content length");
        rest.get(..length).map(<[u8]>::to_vec)
    } else {
        ended.then(|| rest.to_vec())
    };
    response.body = body?;
    Some(response)
}

/// `None` while the last chunk is not there.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).expect("a chunk size");
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).expect("a chunk size");
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(line + 2..line + 2 + size)?);
        rest = rest.get(line + 2 + size + 2..)?;
    }
}
