//! The reading side of a WebSocket (RFC 6455): bytes in, whole messages and control frames out. Each byte of a
//! message that is not whole yet is taken from the connection's budget, and what is read is never more than that
//! message and a small buffer. Called by `socket`; it writes nothing, and knows nothing of what messages mean.

use std::io::Cursor;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, sleep, sleep_until};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::connection::SHORT_SILENCE_MAX;
use super::deflate::Inflater;
use crate::budget::{Budget, Held};
use crate::close::CloseCode;

/// What is read at once from a connection that says little ...
const READ_BYTES_MIN: usize = 1024;
/// ... and from one that says much.
const READ_BYTES_MAX: usize = 16 * 1024;

/// A message grows by at least so much, where so much was announced.
const GROWTH_BYTES_MIN: usize = 64 * 1024;

/// What a control frame may carry.
const CONTROL_BYTES_MAX: u64 = 125;

/// How long a message may wait for room in the budgets.
const ROOM_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is looked whether there is some, and whether a message that stands still is in the way of others.
const ROOM_INTERVAL: Duration = Duration::from_millis(100);

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A whole message; binary ones are taken as text.
    Text(String),
    Ping(Bytes),
    Pong(Bytes),
    /// With the payload that goes back: the peer's code and reason.
    Close(Bytes),
}

/// The frame whose payload is being read.
struct Frame {
    opcode: OpCode,
    is_final: bool,
    mask: [u8; 4],
    left: usize,
}

impl Frame {
    fn is_control(&self) -> bool {
        matches!(self.opcode, OpCode::Control(_))
    }
}

/// A message as far as it is.
enum Message {
    Plain(Vec<u8>),
    Deflated(Box<Inflater>),
}

impl Message {
    /// How many bytes of it have come.
    fn received(&self) -> usize {
        match self {
            Self::Plain(bytes) => bytes.len(),
            Self::Deflated(inflater) => inflater.received(),
        }
    }
}

/// What stands in the buffer.
enum Step {
    Complete(Incoming),
    /// Nothing whole: read on.
    More,
    /// So many bytes need room first.
    NoRoom(u64),
}

/// The frames of a stream.
pub(super) struct Frames<R> {
    stream: R,
    buffer: BytesMut,
    read_bytes: usize,
    frame: Option<Frame>,
    /// The message as far as it is; `None` between two.
    message: Option<Message>,
    control: Vec<u8>,
    budget: Budget,
    /// What the message takes.
    held: Held,
    bytes_max: usize,
    /// Whether messages may be compressed.
    deflate: bool,
    /// When the message last grew.
    grown: Instant,
    no_room_since: Option<Instant>,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// Messages of up to so many bytes, which may be compressed if that was agreed on.
    pub(super) fn new(stream: R, bytes_max: usize, budget: Budget, deflate: bool) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            read_bytes: READ_BYTES_MIN,
            frame: None,
            message: None,
            control: Vec::new(),
            held: budget.nothing(),
            budget,
            bytes_max,
            deflate,
            grown: Instant::now(),
            no_room_since: None,
        }
    }

    /// The next that is whole; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// What the peer is to be told, after which nothing may be read any more.
    ///
    /// # Cancel safety
    ///
    /// Dropped, nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Option<Incoming>, CloseCode> {
        if self.message.is_none() {
            // Nobody wanted the last message.
            drop(self.take_held());
        }
        loop {
            match self.step()? {
                Step::Complete(incoming) => return Ok(Some(incoming)),
                Step::NoRoom(bytes) => self.wait_for_room(bytes).await?,
                Step::More => {
                    let is_amid = self.held.bytes() > 0;
                    let look_at = (self.grown + SHORT_SILENCE_MAX).max(Instant::now() + ROOM_INTERVAL);
                    let read = tokio::select! {
                        biased;
                        read = self.read() => read,
                        () = sleep_until(look_at), if is_amid => match self.is_in_the_way() {
                            true => return Err(CloseCode::NoRoom),
                            false => true,
                        },
                    };
                    if !read {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// What the last message takes: to be given back when it is something else, or gone.
    pub(super) fn take_held(&mut self) -> Held {
        std::mem::replace(&mut self.held, self.budget.nothing())
    }

    /// Reads to the end of the stream, whatever comes.
    pub(super) async fn discard(&mut self) {
        self.message = None;
        drop(self.take_held());
        loop {
            self.buffer.clear();
            if !self.read().await {
                return;
            }
        }
    }

    /// Since when a message has been begun and did not go on.
    pub(super) fn unfinished_since(&self) -> Option<Instant> {
        (self.message.is_some() || self.frame.is_some() || !self.buffer.is_empty()).then_some(self.grown)
    }

    /// Whether there was something to read.
    async fn read(&mut self) -> bool {
        if self.buffer.is_empty() {
            // An idle connection keeps no more than what it needs to notice the next frame.
            self.buffer = BytesMut::with_capacity(self.read_bytes);
        } else {
            self.buffer.reserve(self.read_bytes);
        }
        // A connection that breaks off is no violation of anything.
        let read = self.stream.read_buf(&mut self.buffer).await.unwrap_or(0);
        if read > 0 && self.message.is_none() {
            // Amid a message, only its own bytes are its going on.
            self.grown = Instant::now();
        }
        let wanted = if read < self.read_bytes { READ_BYTES_MIN } else { READ_BYTES_MAX };
        self.read_bytes = wanted;
        read > 0
    }

    /// Whether a message that stands still has the room that others wait for.
    fn is_in_the_way(&self) -> bool {
        self.budget.is_short() && self.grown.elapsed() >= SHORT_SILENCE_MAX
    }

    async fn wait_for_room(&mut self, bytes: u64) -> Result<(), CloseCode> {
        let since = *self.no_room_since.get_or_insert_with(Instant::now);
        while let Err(exceeded) = self.held.grow(bytes) {
            let (held, all) = (self.held.bytes(), self.held.bytes() + bytes);
            let patience = match () {
                () if self.budget.possible(all) < all => Duration::ZERO,
                // Who has room for a part and waits for more stands in the way of others that do the same.
                () if held > 0 && self.budget.is_short() => SHORT_SILENCE_MAX,
                () => ROOM_TIMEOUT,
            };
            if since.elapsed() >= patience {
                tracing::info!(%exceeded, "closing a connection for whose message there is no room");
                return Err(CloseCode::NoRoom);
            }
            sleep(ROOM_INTERVAL).await;
        }
        self.no_room_since = None;
        Ok(())
    }

    /// Takes what the buffer has.
    fn step(&mut self) -> Result<Step, CloseCode> {
        loop {
            let Some(mut frame) = self.frame.take() else {
                match self.header()? {
                    Some(frame) => self.frame = Some(frame),
                    None => return Ok(Step::More),
                }
                continue;
            };
            let taken = frame.left.min(self.buffer.len());
            let bytes = &self.buffer[..taken];
            let target = match &mut self.message {
                _ if frame.is_control() => Some(&mut self.control),
                Some(Message::Deflated(inflater)) => {
                    inflater.put(bytes, |bytes| unmask(bytes, frame.mask));
                    None
                }
                Some(Message::Plain(message)) => {
                    let growth = frame.left.min(message.len().max(GROWTH_BYTES_MIN)).max(taken);
                    let held = self.held.bytes();
                    if ((message.len() + taken) as u64) > held {
                        let wanted = (message.len() + growth) as u64 - held;
                        if self.held.grow(wanted).is_err() {
                            self.frame = Some(frame);
                            return Ok(Step::NoRoom(wanted));
                        }
                    }
                    if message.capacity() < message.len() + taken {
                        message.reserve_exact(growth);
                    }
                    Some(message)
                }
                // A frame of data begins one.
                None => return Err(CloseCode::ProtocolError),
            };
            if let Some(target) = target {
                let start = target.len();
                target.extend_from_slice(bytes);
                unmask(&mut target[start..], frame.mask);
            }
            if taken > 0 {
                self.grown = Instant::now();
            }
            self.buffer.advance(taken);
            frame.left -= taken;
            frame.mask.rotate_left(taken % 4);
            if let Some(wanted) = self.inflate(&frame)? {
                self.frame = Some(frame);
                return Ok(Step::NoRoom(wanted));
            }
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok(Step::More);
            }
            if let Some(incoming) = self.complete(&frame)? {
                return Ok(Step::Complete(incoming));
            }
        }
    }

    /// Makes what it can of a compressed message, whose frame this is. Returns how many bytes need room first.
    fn inflate(&mut self, frame: &Frame) -> Result<Option<u64>, CloseCode> {
        let Some(Message::Deflated(inflater)) = self.message.as_mut().filter(|_| !frame.is_control()) else {
            return Ok(None);
        };
        if frame.is_final && frame.left == 0 {
            inflater.end();
        }
        while let Some(needed) = inflater.wanted() {
            let wanted = needed.saturating_sub(self.held.bytes());
            if self.held.grow(wanted).is_err() {
                return Ok(Some(wanted));
            }
            inflater.run()?;
        }
        Ok(None)
    }

    /// The header at the start of the buffer, once it is whole.
    fn header(&mut self) -> Result<Option<Frame>, CloseCode> {
        let mut cursor = Cursor::new(&self.buffer[..]);
        // It knows no more than that the opcode is a reserved one.
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| CloseCode::ProtocolError)?;
        let Some((header, length)) = parsed else { return Ok(None) };
        let header_bytes = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        let FrameHeader { is_final, rsv1, rsv2, rsv3, opcode, mask } = header;
        // The first frame of a message says whether it is compressed; and a client must mask.
        let may_be_deflated = self.deflate && matches!(opcode, OpCode::Data(Data::Text | Data::Binary));
        let is_reserved = rsv2 || rsv3 || (rsv1 && !may_be_deflated);
        let Some(mask) = mask.filter(|_| !is_reserved) else { return Err(CloseCode::ProtocolError) };
        let in_order = match opcode {
            OpCode::Control(_) => is_final && length <= CONTROL_BYTES_MAX,
            OpCode::Data(Data::Continue) => self.message.is_some(),
            OpCode::Data(_) => self.message.is_none(),
        };
        if !in_order {
            return Err(CloseCode::ProtocolError);
        }
        let before = self.message.as_ref().map_or(0, Message::received);
        let left = usize::try_from(length).ok().filter(|left| left.saturating_add(before) <= self.bytes_max);
        let left = if matches!(opcode, OpCode::Control(_)) { usize::try_from(length).ok() } else { left };
        let left = left.ok_or(CloseCode::FrameTooLarge)?;
        if matches!(opcode, OpCode::Data(_)) && self.message.is_none() {
            let bytes_max = self.bytes_max;
            let deflated = || Message::Deflated(Box::new(Inflater::new(bytes_max)));
            self.message = Some(if rsv1 { deflated() } else { Message::Plain(Vec::new()) });
        }
        self.buffer.advance(header_bytes);
        self.grown = Instant::now();
        Ok(Some(Frame { opcode, is_final, mask, left }))
    }

    /// What a frame that has ended makes whole.
    fn complete(&mut self, frame: &Frame) -> Result<Option<Incoming>, CloseCode> {
        let control = match frame.opcode {
            OpCode::Data(_) if !frame.is_final => return Ok(None),
            OpCode::Data(_) => {
                let message = match self.message.take() {
                    Some(Message::Plain(message)) => message,
                    Some(Message::Deflated(inflater)) => inflater.into_message(),
                    None => Vec::new(),
                };
                self.held.shrink_to(message.capacity() as u64);
                let text = String::from_utf8(message).map_err(|_| CloseCode::InvalidUtf8)?;
                return Ok(Some(Incoming::Text(text)));
            }
            OpCode::Control(control) => control,
        };
        let payload = Bytes::from(std::mem::take(&mut self.control));
        match control {
            Control::Ping => Ok(Some(Incoming::Ping(payload))),
            Control::Pong => Ok(Some(Incoming::Pong(payload))),
            Control::Close => check_close(&payload).map(|()| Some(Incoming::Close(payload))),
            Control::Reserved(_) => Err(CloseCode::ProtocolError),
        }
    }
}

/// Whether a close frame says what it may: nothing, or a code of those that are sent and a reason.
fn check_close(payload: &[u8]) -> Result<(), CloseCode> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(()) } else { Err(CloseCode::ProtocolError) };
    };
    if !matches!(u16::from_be_bytes(*code), 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(CloseCode::ProtocolError);
    }
    std::str::from_utf8(reason).map(|_| ()).map_err(|_| CloseCode::InvalidUtf8)
}

fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    if mask == [0; 4] {
        return;
    }
    let [a, b, c, d] = mask;
    let key = [a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d];
    // In words, as the compiler makes them of it.
    for word in bytes.chunks_mut(key.len()) {
        word.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
    }
}

/// A frame of the server's: whole, and without a mask.
pub(super) fn header(opcode: OpCode, is_deflated: bool, bytes: usize) -> Bytes {
    let header = FrameHeader { opcode, rsv1: is_deflated, ..FrameHeader::default() };
    let mut written = Vec::with_capacity(10);
    // A vector takes everything.
    let _ = header.format(bytes as u64, &mut written);
    written.into()
}

#[cfg(test)]
mod tests;
