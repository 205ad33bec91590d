//! A compressed message that comes in, as far as it is (RFC 7692, section 7.2.2). It grows in steps, for each of
//! which there must be room before. Called by `frames`, which counts.

use flate2::{Decompress, FlushDecompress, Status};

use crate::close::CloseCode;

/// What the library takes while a message is inflated: its window, and tables.
const STATE_BYTES: usize = 48 * 1024;

/// A message grows by at least so much.
const GROWTH_BYTES_MIN: usize = 1024;

/// What a sender leaves out at the end of each message.
pub(super) const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

pub(in crate::native) struct Inflater {
    /// Made when there is room for it.
    inflate: Option<Decompress>,
    /// What has come last, and how much of it was taken.
    input: Vec<u8>,
    taken: usize,
    received: usize,
    output: Vec<u8>,
    /// A larger message is refused.
    bytes_max: usize,
    /// Whether nothing can be made of what has come that was not.
    is_done: bool,
    is_ended: bool,
}

impl Inflater {
    /// For a message of up to so many bytes.
    pub(in crate::native) fn new(bytes_max: usize) -> Self {
        Self {
            inflate: None,
            input: Vec::new(),
            taken: 0,
            received: 0,
            output: Vec::new(),
            bytes_max,
            is_done: true,
            is_ended: false,
        }
    }

    /// How many bytes have come, as they are on the wire.
    pub(in crate::native) fn received(&self) -> usize {
        self.received
    }

    /// More has come.
    pub(in crate::native) fn put(&mut self, bytes: &[u8], unmask: impl FnOnce(&mut [u8])) {
        if bytes.is_empty() {
            return;
        }
        self.received += bytes.len();
        let start = self.input.len() - self.taken;
        self.append(bytes);
        unmask(&mut self.input[start..]);
    }

    /// Nothing more comes. May be said again.
    pub(in crate::native) fn end(&mut self) {
        if !std::mem::replace(&mut self.is_ended, true) {
            self.append(&TAIL);
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.input.drain(..std::mem::take(&mut self.taken));
        self.input.extend_from_slice(bytes);
        self.is_done = false;
    }

    /// So many bytes have to be held for it to go on; `None` if there is nothing to go on with.
    pub(in crate::native) fn wanted(&self) -> Option<u64> {
        (!self.is_done).then(|| (STATE_BYTES + self.input.capacity() + self.output.len() + self.growth()) as u64)
    }

    fn growth(&self) -> usize {
        let left = self.input.len() - self.taken;
        // One more than there may be is too much.
        GROWTH_BYTES_MIN.max(2 * left).max(self.output.len()).min(self.bytes_max + 1 - self.output.len())
    }

    /// Goes on for as long as there is room.
    ///
    /// # Errors
    ///
    /// What the peer is to be told.
    pub(in crate::native) fn run(&mut self) -> Result<(), CloseCode> {
        self.output.reserve_exact(self.growth());
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(false));
        loop {
            let (input, before) = (&self.input[self.taken..], inflate.total_in());
            let status = inflate.decompress_vec(input, &mut self.output, FlushDecompress::None);
            let status = status.map_err(|_| CloseCode::InvalidDeflate)?;
            let taken = usize::try_from(inflate.total_in() - before).map_err(|_| CloseCode::InvalidDeflate)?;
            self.taken += taken;
            if self.output.len() > self.bytes_max {
                return Err(CloseCode::FrameTooLarge);
            }
            let (is_taken, has_room) = (self.taken == self.input.len(), self.output.len() < self.output.capacity());
            match status {
                // A block that says that it is the last may be followed by others all the same.
                Status::StreamEnd => inflate.reset(false),
                Status::Ok | Status::BufError if has_room && !is_taken && taken == 0 => {
                    return Err(CloseCode::InvalidDeflate);
                }
                Status::Ok | Status::BufError => {}
            }
            if is_taken && has_room {
                self.is_done = true;
                return Ok(());
            }
            if !has_room {
                return Ok(());
            }
        }
    }

    /// The message, of which all was taken.
    pub(in crate::native) fn into_message(self) -> Vec<u8> {
        self.output
    }
}
