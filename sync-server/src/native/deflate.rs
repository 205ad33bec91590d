//! Compression of messages (permessage-deflate, RFC 7692), without anything that is kept between two: an idle
//! connection costs nothing for it. Called by `http` to agree on it, by `outbox` for what goes out and by `frames` for
//! what comes in; it touches no socket.
//!
//! What is sent is one envelope per receiver around a shared body. Only the body is compressed, once for all of them,
//! into blocks that end at a byte: so it can stand between an envelope's two halves, which are blocks that hold
//! their bytes as they are.

mod inflater;
mod negotiation;

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};

pub(super) use self::inflater::Inflater;
pub(super) use self::negotiation::{ANSWER, is_acceptable};

/// Smaller bodies go as they are: they fit into a packet or two.
const PACKED_BYTES_MIN: usize = 1024;

/// The fastest: JSON of events gets six times smaller, and the next levels take half as long again for a fifth less.
const LEVEL: u32 = 1;

/// Larger messages go without blocks where these make them no smaller. Small ones are deflated all the same, at six bytes
/// each: Node inflates beside its other work, so that messages which arrive together are taken in one turn each, as
/// from workerd, which deflates all. Published 0.4.0 stores that commit at the same time depend on it (see PROTOCOL.md).
const WHOLE_BYTES_MAX: usize = 4096;

/// What a block holds that is not compressed.
const STORED_BYTES_MAX: usize = 65_535;

/// Ends a message: the first byte of an empty block, whose others are left out.
const END: u8 = 0;

thread_local! {
    // It takes 380 kB, so each thread has one, and no connection.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(LEVEL), false));
}

/// A body as blocks that can be followed by others. `None` where that is not worth it.
pub(super) fn pack(body: &str) -> Option<Vec<u8>> {
    if body.len() < PACKED_BYTES_MIN {
        return None;
    }
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        let (mut packed, mut taken) = (Vec::new(), 0);
        loop {
            // What is not a good deal smaller needs no more room than that to be found out.
            let growth = (body.len() / 4).min(body.len() - packed.len());
            if growth == 0 {
                return None;
            }
            packed.reserve_exact(growth);
            compress.compress_vec(&body.as_bytes()[taken..], &mut packed, FlushCompress::Sync).ok()?;
            taken = usize::try_from(compress.total_in()).ok()?;
            if taken == body.len() && packed.len() < packed.capacity() {
                packed.shrink_to_fit();
                return Some(packed);
            }
            if packed.len() >= body.len() {
                return None;
            }
        }
    })
}

/// A deflated message in place of these parts: around their body, where that is packed, or of blocks that hold what it
/// holds as it is. `None` where it is better sent without any of this.
pub(super) fn message(parts: &[Bytes; 3], packed: Option<Bytes>) -> Option<[Bytes; 3]> {
    packed.and_then(|packed| around(parts, packed)).or_else(|| whole(parts))
}

/// `None` if it is no smaller.
fn around([head, body, tail]: &[Bytes; 3], packed: Bytes) -> Option<[Bytes; 3]> {
    let mut end = stored(tail);
    end.push(END);
    let parts = [stored(head).into(), packed, end.into()];
    (bytes(&parts) < head.len() + body.len() + tail.len()).then_some(parts)
}

/// `None` if it is large.
fn whole(parts: &[Bytes; 3]) -> Option<[Bytes; 3]> {
    (bytes(parts) <= WHOLE_BYTES_MAX).then(|| {
        let mut blocks = stored(&parts.concat());
        blocks.push(END);
        [blocks.into(), Bytes::new(), Bytes::new()]
    })
}

fn bytes(parts: &[Bytes; 3]) -> usize {
    parts.iter().map(Bytes::len).sum()
}

/// Blocks that hold bytes as they are.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut blocks = Vec::with_capacity(bytes.len() + 8);
    for block in bytes.chunks(STORED_BYTES_MAX) {
        // A chunk is no longer than that.
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        blocks.push(0);
        blocks.extend(length.to_le_bytes());
        blocks.extend((!length).to_le_bytes());
        blocks.extend(block);
    }
    blocks
}

#[cfg(test)]
mod tests;
