//! The frames of a WebSocket (RFC 6455), as a client reads and writes them: bytes in, whole messages and control frames
//! out, and one message as one frame. Called by `socket`, which moves them.

use std::io::{self, Cursor};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::deflate::{InflateError, Inflater};

/// What is read at once.
const READ_BYTES: usize = 16 * 1024;

/// What a control frame may carry.
const CONTROL_BYTES_MAX: u64 = 125;

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Text(String),
    /// Servers of LiveStore send text only.
    Binary,
    Ping(Bytes),
    Pong,
    /// With the server's code and reason.
    Close(Bytes),
}

/// Why nothing more can be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the stream has ended")]
    Ended,
    #[error("the server violates the WebSocket protocol: {0}")]
    Protocol(&'static str),
    #[error("a message is larger than the {0} bytes that are taken")]
    TooLarge(usize),
    #[error("a message is no UTF-8")]
    Utf8,
    #[error("a message cannot be decompressed")]
    Deflate,
}

impl FrameError {
    /// What the server is told, where it is its fault.
    pub(super) fn close_code(&self) -> Option<u16> {
        match self {
            Self::Io(_) | Self::Ended => None,
            Self::Protocol(_) => Some(1002),
            Self::Utf8 | Self::Deflate => Some(1007),
            Self::TooLarge(_) => Some(1009),
        }
    }
}

/// A message as far as it is.
struct Message {
    is_text: bool,
    is_deflated: bool,
    bytes: Vec<u8>,
    /// What was announced of it, as it is sent.
    wire_bytes: usize,
}

/// The frames of a stream.
pub(super) struct Frames<R> {
    stream: R,
    buffer: BytesMut,
    message: Option<Message>,
    /// Where compression was agreed on.
    inflater: Option<Inflater>,
    bytes_max: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// Messages of up to so many bytes, compressed and not. `read` is what has come already.
    pub(super) fn new(stream: R, read: &[u8], inflater: Option<Inflater>, bytes_max: usize) -> Self {
        Self { stream, buffer: BytesMut::from(read), message: None, inflater, bytes_max }
    }

    /// The next that is whole. After an error there is no other.
    pub(super) async fn next(&mut self) -> Result<Incoming, FrameError> {
        loop {
            let (header, length) = self.header().await?;
            match header.opcode {
                OpCode::Control(control) => {
                    let payload = self.control(&header, length).await?;
                    return match control {
                        Control::Ping => Ok(Incoming::Ping(payload)),
                        Control::Pong => Ok(Incoming::Pong),
                        Control::Close => Ok(Incoming::Close(payload)),
                        Control::Reserved(_) => Err(FrameError::Protocol("an unknown control frame")),
                    };
                }
                OpCode::Data(data) => {
                    self.begin(data, &header, length)?;
                    self.data(length).await?;
                    if header.is_final
                        && let Some(message) = self.message.take()
                    {
                        return self.complete(message);
                    }
                }
            }
        }
    }

    async fn header(&mut self) -> Result<(FrameHeader, u64), FrameError> {
        loop {
            let mut cursor = Cursor::new(&self.buffer[..]);
            let parsed =
                FrameHeader::parse(&mut cursor).map_err(|_| FrameError::Protocol("a frame without a meaning"))?;
            if let Some((header, length)) = parsed {
                // It stands in the buffer.
                self.buffer.advance(cursor.position() as usize);
                if header.mask.is_some() {
                    return Err(FrameError::Protocol("a masked frame"));
                }
                if header.rsv2 || header.rsv3 {
                    return Err(FrameError::Protocol("a reserved bit"));
                }
                return Ok((header, length));
            }
            self.read().await?;
        }
    }

    async fn control(&mut self, header: &FrameHeader, length: u64) -> Result<Bytes, FrameError> {
        if !header.is_final || header.rsv1 || length > CONTROL_BYTES_MAX {
            return Err(FrameError::Protocol("a control frame that is compressed, too large, or in parts"));
        }
        while (self.buffer.len() as u64) < length {
            self.read().await?;
        }
        Ok(self.buffer.split_to(length as usize).freeze())
    }

    /// A frame of a message: its first or a later one.
    fn begin(&mut self, data: Data, header: &FrameHeader, length: u64) -> Result<(), FrameError> {
        let is_text = match (data, &self.message) {
            (Data::Continue, Some(_)) if !header.rsv1 => None,
            (Data::Text, None) => Some(true),
            (Data::Binary, None) => Some(false),
            _ => return Err(FrameError::Protocol("a frame that is out of order")),
        };
        if header.rsv1 && self.inflater.is_none() {
            return Err(FrameError::Protocol("a compressed message, which was not agreed on"));
        }
        let message = self.message.get_or_insert_with(|| Message {
            is_text: is_text.unwrap_or_default(),
            is_deflated: header.rsv1,
            bytes: Vec::new(),
            wire_bytes: 0,
        });
        let whole = usize::try_from(length).ok().and_then(|length| message.wire_bytes.checked_add(length));
        message.wire_bytes =
            whole.filter(|whole| *whole <= self.bytes_max).ok_or(FrameError::TooLarge(self.bytes_max))?;
        Ok(())
    }

    /// The payload of such a frame, as it comes.
    async fn data(&mut self, mut left: u64) -> Result<(), FrameError> {
        while left > 0 {
            if self.buffer.is_empty() {
                self.read().await?;
            }
            let Some(message) = &mut self.message else { return Ok(()) };
            let part = self.buffer.split_to(usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len()));
            left -= part.len() as u64;
            match &mut self.inflater {
                Some(inflater) if message.is_deflated => inflater
                    .inflate(&part, &mut message.bytes, self.bytes_max)
                    .map_err(|error| inflate_error(&error, self.bytes_max))?,
                _ => message.bytes.extend_from_slice(&part),
            }
        }
        Ok(())
    }

    fn complete(&mut self, mut message: Message) -> Result<Incoming, FrameError> {
        if let Some(inflater) = self.inflater.as_mut().filter(|_| message.is_deflated) {
            let finished = inflater.finish(&mut message.bytes, self.bytes_max);
            finished.map_err(|error| inflate_error(&error, self.bytes_max))?;
        }
        if !message.is_text {
            return Ok(Incoming::Binary);
        }
        String::from_utf8(message.bytes).map(Incoming::Text).map_err(|_| FrameError::Utf8)
    }

    async fn read(&mut self) -> Result<(), FrameError> {
        self.buffer.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(FrameError::Ended),
            _ => Ok(()),
        }
    }
}

fn inflate_error(error: &InflateError, bytes_max: usize) -> FrameError {
    match error {
        InflateError::TooLarge => FrameError::TooLarge(bytes_max),
        InflateError::Corrupt => FrameError::Deflate,
    }
}

/// A frame of a client's: whole, and masked.
pub(super) fn frame(opcode: OpCode, is_deflated: bool, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let header = FrameHeader { opcode, rsv1: is_deflated, mask: Some(mask), ..FrameHeader::default() };
    let mut frame = Vec::with_capacity(header.len(payload.len() as u64) + payload.len());
    // A vector takes everything.
    let _ = header.format(payload.len() as u64, &mut frame);
    let start = frame.len();
    frame.extend_from_slice(payload);
    frame[start..].iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    frame
}

/// What a close frame says.
pub(super) fn close_reason(payload: &[u8]) -> (u16, String) {
    match payload.split_first_chunk() {
        Some((code, reason)) => (u16::from_be_bytes(*code), String::from_utf8_lossy(reason).into_owned()),
        // "No status", which is never sent.
        None => (1005, String::new()),
    }
}

#[cfg(test)]
mod tests;
