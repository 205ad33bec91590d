//! A server that compresses the messages of WebSockets (permessage-deflate), in front of one that need not: it takes
//! them apart and hands them on. Made of the compression library and of tungstenite's frames, not of the client's code.

use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// What ends a compressed message, and is not sent.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// What has come and gone, of all connections.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// What clients offered when they connected.
    pub offers: Vec<String>,
    /// What clients sent, in bytes of frames.
    pub received: usize,
    /// What they were sent.
    pub sent: usize,
    /// How long those of their messages were that came compressed, ...
    pub compressed: Vec<usize>,
    /// ... and those that did not.
    pub plain: Vec<usize>,
}

/// The server in front.
#[derive(Debug)]
pub struct Compressing {
    /// Where clients connect to.
    pub address: SocketAddr,
    traffic: Arc<Mutex<Traffic>>,
}

impl Compressing {
    /// In front of this server. It gives every offer the same answer; an empty one is none.
    ///
    /// # Panics
    ///
    /// When there is no port for it.
    pub async fn start(server: SocketAddr, answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let traffic = Arc::<Mutex<Traffic>>::default();
        let all = Arc::clone(&traffic);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let peer = Peer { client, buffer: BytesMut::new(), traffic: Arc::clone(&all) };
                tokio::spawn(peer.serve(server, answer));
            }
        });
        Self { address, traffic }
    }

    /// What has come and gone.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        lock(&self.traffic).clone()
    }
}

fn lock(traffic: &Mutex<Traffic>) -> MutexGuard<'_, Traffic> {
    traffic.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One client.
struct Peer {
    client: TcpStream,
    buffer: BytesMut,
    traffic: Arc<Mutex<Traffic>>,
}

impl Peer {
    async fn serve(mut self, server: SocketAddr, answer: &'static str) {
        let Some((target, key)) = self.head().await else { return };
        let upstream = TcpStream::connect(server).await.expect("the server is there");
        let request = format!("ws://{server}{target}").into_client_request().expect("a request");
        let (mut upstream, _) = tokio_tungstenite::client_async(request, upstream).await.expect("a socket");
        let extension =
            if answer.is_empty() { String::new() } else { format!("sec-websocket-extensions: {answer}\r\n") };
        let accept = derive_accept_key(key.as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-accept: {accept}\r\n{extension}\r\n"
        );
        self.client.write_all(head.as_bytes()).await.expect("the client is there");

        let mut inflate = Decompress::new(false);
        let mut deflate = Compress::new(Compression::fast(), false);
        loop {
            while let Some((header, payload)) = self.frame() {
                let message = match header.opcode {
                    OpCode::Data(_) => self.text(&header, &payload, &mut inflate, answer),
                    OpCode::Control(Control::Ping) => Message::Ping(payload.into()),
                    OpCode::Control(_) => return,
                };
                upstream.send(message).await.expect("the server is there");
            }
            tokio::select! {
                read = self.client.read_buf(&mut self.buffer) => match read {
                    Ok(bytes) if bytes > 0 => lock(&self.traffic).received += bytes,
                    _ => return,
                },
                message = upstream.next() => {
                    let frames = match message {
                        Some(Ok(Message::Text(text))) => frames(text.as_bytes(), &mut deflate, answer),
                        Some(Ok(Message::Pong(payload))) => frame(OpCode::Control(Control::Pong), true, false, &payload),
                        Some(Ok(Message::Ping(payload))) => frame(OpCode::Control(Control::Ping), true, false, &payload),
                        _ => return,
                    };
                    lock(&self.traffic).sent += frames.len();
                    if self.client.write_all(&frames).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// The request's target and its key.
    async fn head(&mut self) -> Option<(String, String)> {
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break String::from_utf8(self.buffer.split_to(end + 4).to_vec()).expect("a head is text");
            }
            self.client.read_buf(&mut self.buffer).await.ok().filter(|bytes| *bytes > 0)?;
        };
        let target = head.split(' ').nth(1).expect("a target").to_owned();
        let headers = || head.lines().filter_map(|line| line.split_once(": "));
        let header = |wanted: &str| headers().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let offer = header("sec-websocket-extensions").map_or("", |(_, offer)| offer);
        lock(&self.traffic).offers.push(offer.to_owned());
        Some((target, header("sec-websocket-key")?.1.to_owned()))
    }

    /// The next frame, if it is whole.
    fn frame(&mut self) -> Option<(FrameHeader, Vec<u8>)> {
        let mut cursor = Cursor::new(&self.buffer[..]);
        let (header, length) = FrameHeader::parse(&mut cursor).expect("a frame")?;
        let start = usize::try_from(cursor.position()).expect("it is in the buffer");
        let length = usize::try_from(length).expect("it fits");
        if self.buffer.len() < start + length {
            return None;
        }
        self.buffer.advance(start);
        let mask = header.mask.expect("clients mask");
        let payload = self.buffer.split_to(length);
        let unmasked = payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        Some((header, unmasked))
    }

    fn text(&self, header: &FrameHeader, payload: &[u8], inflate: &mut Decompress, answer: &str) -> Message {
        assert!(header.is_final, "this client sends whole messages");
        if !header.rsv1 {
            lock(&self.traffic).plain.push(payload.len());
            return Message::text(String::from_utf8(payload.to_vec()).expect("text"));
        }
        assert!(!answer.is_empty(), "compression was not agreed on");
        let mut text = Vec::with_capacity(4 << 20);
        let input = [payload, &TAIL].concat();
        inflate.reset(false);
        inflate.decompress_vec(&input, &mut text, FlushDecompress::Sync).expect("it is compressed");
        lock(&self.traffic).compressed.push(text.len());
        Message::text(String::from_utf8(text).expect("text"))
    }
}

/// A message of the server's: compressed, and in two frames, where compression was agreed on.
fn frames(text: &[u8], deflate: &mut Compress, answer: &str) -> Vec<u8> {
    if answer.is_empty() {
        return frame(OpCode::Data(Data::Text), true, false, text);
    }
    if answer.contains("server_no_context_takeover") {
        deflate.reset();
    }
    let mut deflated = Vec::with_capacity(text.len() + 1024);
    deflate.compress_vec(text, &mut deflated, FlushCompress::Sync).expect("it fits");
    let deflated = deflated.strip_suffix(&TAIL).expect("it was flushed");
    let (first, second) = deflated.split_at(deflated.len() / 2);
    let first = frame(OpCode::Data(Data::Text), false, true, first);
    [first, frame(OpCode::Data(Data::Continue), true, false, second)].concat()
}

/// A frame of a server's.
#[must_use]
pub fn frame(opcode: OpCode, is_final: bool, rsv1: bool, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader { opcode, is_final, rsv1, ..FrameHeader::default() };
    let mut bytes = Vec::with_capacity(10 + payload.len());
    // A vector takes everything.
    let _ = header.format(payload.len() as u64, &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}
