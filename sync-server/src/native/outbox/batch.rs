//! Frames that are written together: what was queued becomes the bytes on the wire, compressed where that was agreed
//! on. Made by the outbox outside of its queue's lock, written by `writer`.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::sync::OwnedSemaphorePermit;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::End;
use crate::budget::Held;
use crate::frame::{Frame, HeldOnce};
use crate::native::deflate;
use crate::native::frames::header;

/// A frame with what it takes of the budget and, if it had to wait for it, of the queue: given back when it is
/// written.
pub(super) struct Text {
    pub(super) frame: Frame,
    pub(super) held: Held,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// What is to go out.
pub(super) enum Part {
    Text(Text),
    Control(Control, Bytes),
}

impl Part {
    /// Its size, in bytes, before it is compressed.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.frame.len(),
            Self::Control(_, payload) => payload.len(),
        }
    }
}

/// Frames that are written together, and the room that they take until they are.
#[derive(Default)]
pub(in crate::native) struct Batch {
    parts: VecDeque<Bytes>,
    bytes: usize,
    held: Vec<(Held, Option<OwnedSemaphorePermit>, Option<Arc<HeldOnce>>)>,
}

impl Batch {
    /// What goes out, compressed where the peer takes that.
    pub(super) fn new(parts: Vec<Part>, deflate: bool) -> Self {
        let mut batch = Self::default();
        for part in parts {
            match part {
                Part::Text(text) => batch.push_text(text, deflate),
                Part::Control(control, payload) => batch.push(OpCode::Control(control), false, [payload]),
            }
        }
        batch
    }

    /// The frame that says why.
    pub(in crate::native) fn close(end: End) -> Self {
        let payload = match end {
            End::Answer(payload) => payload,
            End::Code(code) => [&code.number().to_be_bytes(), code.reason().as_bytes()].concat().into(),
        };
        Self::new(vec![Part::Control(Control::Close, payload)], false)
    }

    fn push<const N: usize>(&mut self, opcode: OpCode, is_deflated: bool, payload: [Bytes; N]) {
        let header = header(opcode, is_deflated, payload.iter().map(Bytes::len).sum());
        for part in [header].into_iter().chain(payload).filter(|part| !part.is_empty()) {
            self.bytes += part.len();
            self.parts.push_back(part);
        }
    }

    fn push_text(&mut self, Text { frame, held, permit }: Text, deflate: bool) {
        let packed = if deflate { frame.packed(deflate::pack) } else { None };
        let (plain, shared) = frame.into_parts();
        let text = OpCode::Data(Data::Text);
        match if deflate { deflate::message(&plain, packed) } else { None } {
            Some(deflated) => self.push(text, true, deflated),
            None => self.push(text, false, plain),
        }
        self.held.push((held, permit, shared));
    }
}

impl Buf for Batch {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&[], |part| part)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(&self.parts).map(|(slice, part)| *slice = IoSlice::new(part));
        filled.count()
    }

    fn advance(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some(part) = self.parts.front_mut() {
            if part.len() > count {
                return part.advance(count);
            }
            count -= part.len();
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_in_parts() {
        let frame =
            Text { frame: "abc".to_owned().into(), held: crate::budget::Budget::process(3).nothing(), permit: None };
        let parts = vec![Part::Text(frame), Part::Control(Control::Ping, Bytes::new())];
        let mut batch = Batch::new(parts, false);
        let mut slices = [IoSlice::new(b""); 8];
        assert_eq!(batch.chunks_vectored(&mut slices), 3);
        let mut got = Vec::new();
        while batch.has_remaining() {
            got.push(batch.chunk()[0]);
            batch.advance(1);
        }
        assert_eq!(got, b"\x81\x03abc\x89\x00");
    }
}
