//! A WebSocket with time limits. Called by the clients of each generation; knows no messages.

use std::fmt;

use futures_util::SinkExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};

use crate::{Server, short, within};

/// A raw WebSocket. It reads only when asked to, so it can play a client that does not.
pub struct Socket {
    ws: WebSocketStream<TcpStream>,
    /// A server that the suite started lives for as long as its clients.
    _server: Server,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A text frame.
    Text(String),
    /// A close frame: code (`None`: a frame without one) and reason.
    Close(Option<u16>, String),
    /// The connection ended without a close frame.
    Lost(String),
}

impl fmt::Display for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&short(text)),
            Self::Close(code, reason) => write!(f, "a close frame {code:?} {reason:?}"),
            Self::Lost(why) => write!(f, "the end of the connection ({why})"),
        }
    }
}

impl Socket {
    /// Opens a socket, or panics with the server's answer.
    pub async fn open(server: &Server, path: &str, headers: &[(&str, &str)]) -> Self {
        let url = format!("ws://{}{}", server.authority(), server.path(path));
        let uri = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
        let request = headers
            .iter()
            .fold(ClientRequestBuilder::new(uri), |request, (name, value)| request.with_header(*name, *value));
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let connecting = async {
            let stream = TcpStream::connect(server.authority()).await.expect("the server accepts connections");
            stream.set_nodelay(true).expect("a TCP option");
            tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await
        };
        match within("a WebSocket to open", connecting).await {
            Ok((ws, _)) => Self { ws, _server: server.clone() },
            Err(error) => panic!("{} did not open: {error}", short(&url)),
        }
    }

    async fn send_message(&mut self, message: Message) {
        // A socket that the server has closed still has its close frame to read.
        let _ = within("the server to take a frame", self.ws.send(message)).await;
    }

    /// Sends a text frame.
    pub async fn send(&mut self, text: impl Into<String>) {
        self.send_message(Message::text(text.into())).await;
    }

    /// Sends a binary frame.
    pub async fn send_binary(&mut self, bytes: impl Into<Vec<u8>>) {
        self.send_message(Message::binary(bytes.into())).await;
    }

    /// Sends a text frame with any bytes.
    pub async fn send_as_text(&mut self, bytes: impl Into<Vec<u8>>) {
        let frame = Frame::message(bytes.into(), OpCode::Data(Data::Text), true);
        self.send_message(Message::Frame(frame)).await;
    }

    /// Sends a text message in several frames.
    pub async fn send_fragments(&mut self, parts: &[&str]) {
        for (index, part) in parts.iter().enumerate() {
            let opcode = OpCode::Data(if index == 0 { Data::Text } else { Data::Continue });
            let frame = Frame::message(part.as_bytes().to_vec(), opcode, index + 1 == parts.len());
            self.send_message(Message::Frame(frame)).await;
        }
    }

    /// Sends a WebSocket ping and waits for its pong.
    pub async fn ping(&mut self, data: &[u8]) {
        self.send_message(Message::Ping(data.to_vec().into())).await;
        loop {
            match self.next_message("a WebSocket pong").await {
                Some(Ok(Message::Pong(pong))) => return assert_eq!(&pong[..], data),
                // The server may ask, too.
                Some(Ok(Message::Ping(_))) => {}
                other => panic!("expected a WebSocket pong, got {other:?}"),
            }
        }
    }

    /// Sends a close frame, without a code where there is none.
    pub async fn send_close(&mut self, close: Option<(u16, &str)>) {
        let frame = close.map(|(code, reason)| CloseFrame { code: code.into(), reason: reason.into() });
        self.send_message(Message::Close(frame)).await;
    }

    async fn next_message(&mut self, awaited: &str) -> Option<Result<Message, tokio_tungstenite::tungstenite::Error>> {
        within(awaited, futures_next(&mut self.ws)).await
    }

    /// The next text frame or the end; pings are answered on the way.
    pub async fn next(&mut self, awaited: &str) -> Incoming {
        loop {
            return match self.next_message(awaited).await {
                Some(Ok(Message::Text(text))) => Incoming::Text(text.as_str().to_owned()),
                Some(Ok(Message::Close(frame))) => {
                    // Sends the other half of the handshake; a server may have gone without waiting for it.
                    let _ = within("the closing handshake", self.ws.flush()).await;
                    match frame {
                        Some(frame) => Incoming::Close(Some(frame.code.into()), frame.reason.as_str().to_owned()),
                        None => Incoming::Close(None, String::new()),
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(other)) => panic!("expected {awaited}, got {other:?}"),
                Some(Err(error)) => Incoming::Lost(error.to_string()),
                None => Incoming::Lost("end of stream".into()),
            };
        }
    }

    /// The next text frame.
    pub async fn next_text(&mut self, awaited: &str) -> String {
        match self.next(awaited).await {
            Incoming::Text(text) => text,
            other => panic!("expected {awaited}, got {other}"),
        }
    }

    /// The close frame that must come next: code and reason.
    pub async fn expect_close(&mut self) -> (Option<u16>, String) {
        match self.next("a close frame").await {
            Incoming::Close(code, reason) => (code, reason),
            other => panic!("expected a close frame, got {other}"),
        }
    }

    /// The close frame, after whatever is still on its way.
    pub async fn skip_to_close(&mut self) -> (Option<u16>, String) {
        loop {
            match self.next("a close frame").await {
                Incoming::Text(_) => {}
                Incoming::Close(code, reason) => return (code, reason),
                Incoming::Lost(why) => panic!("expected a close frame, got the end of the connection ({why})"),
            }
        }
    }

    /// Tears the TCP connection down without a close frame.
    pub fn cut(self) {
        drop(self);
    }
}

async fn futures_next(
    ws: &mut WebSocketStream<TcpStream>,
) -> Option<Result<Message, tokio_tungstenite::tungstenite::Error>> {
    std::future::poll_fn(|cx| futures_util::Stream::poll_next(std::pin::Pin::new(&mut *ws), cx)).await
}
