//! Compression of messages (permessage-deflate, RFC 7692): what is offered, what the server may answer, and the bytes.
//! Called by `handshake`, `frames` and `socket`; it reads and writes nothing.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What is offered: each message is compressed by itself, so that nothing is kept between two.
pub(super) const OFFER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

const NAME: &str = "permessage-deflate";

/// Messages below are sent as they are: little would be saved.
pub(super) const MESSAGE_BYTES_MIN: usize = 1024;

/// What ends each compressed message and is not sent.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// How much is inflated in one step.
const STEP_BYTES: usize = 8 * 1024;

/// What cannot be inflated.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InflateError {
    /// It becomes larger than it may.
    TooLarge,
    Corrupt,
}

/// What the server has agreed to, by the values of its `Sec-WebSocket-Extensions`: `None` for no compression.
///
/// # Errors
///
/// It answers what was not offered.
pub(super) fn agreed<'a>(
    offered: bool,
    answer: impl IntoIterator<Item = &'a str>,
) -> Result<Option<Inflater>, &'static str> {
    let mut extensions = answer.into_iter().flat_map(|value| value.split(',')).map(str::trim).filter(|e| !e.is_empty());
    let Some(extension) = extensions.next() else { return Ok(None) };
    let mut parts = extension.split(';').map(str::trim);
    if !offered || parts.next() != Some(NAME) || extensions.next().is_some() {
        return Err("the server uses a WebSocket extension that was not offered");
    }
    let mut seen = Vec::new();
    for part in parts {
        let (name, value) =
            part.split_once('=').map_or((part, None), |(name, value)| (name.trim(), Some(value.trim())));
        let value = value.map(|value| value.trim_matches('"'));
        let legal = match name {
            "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
            // A server may choose a smaller window for itself. How small ours is was not offered as its choice.
            "server_max_window_bits" => matches!(value, Some("8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")),
            _ => false,
        };
        if !legal || seen.contains(&name) {
            return Err("the server answers the offer of compression with what was not offered");
        }
        seen.push(name);
    }
    // A server that owes this and does not say it is taken at its word, at the price of a window kept for it.
    Ok(Some(Inflater::new(!seen.contains(&"server_no_context_takeover"))))
}

/// The messages of one server.
#[derive(Debug)]
pub(super) struct Inflater {
    /// Whether a message may refer to those before it.
    keeps_window: bool,
    state: Option<Decompress>,
}

impl Inflater {
    fn new(keeps_window: bool) -> Self {
        Self { keeps_window, state: None }
    }

    /// Takes a part of a message, and appends what it becomes, up to so many bytes altogether.
    pub(super) fn inflate(
        &mut self,
        mut part: &[u8],
        message: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<(), InflateError> {
        let state = self.state.get_or_insert_with(|| Decompress::new(false));
        let mut step = [0; STEP_BYTES];
        loop {
            let (taken, given) = (state.total_in(), state.total_out());
            let status = state.decompress(part, &mut step, FlushDecompress::Sync).map_err(|_| InflateError::Corrupt)?;
            // Both are at most the lengths of what was given.
            let taken = (state.total_in() - taken) as usize;
            let given = (state.total_out() - given) as usize;
            part = &part[taken..];
            if message.len() + given > bytes_max {
                return Err(InflateError::TooLarge);
            }
            message.extend_from_slice(&step[..given]);
            if status == Status::StreamEnd {
                // A block that says it is the last one is legal, and need not be.
                state.reset(false);
            } else if given < step.len() {
                return if part.is_empty() { Ok(()) } else { Err(InflateError::Corrupt) };
            }
        }
    }

    /// The end of a message.
    pub(super) fn finish(&mut self, message: &mut Vec<u8>, bytes_max: usize) -> Result<(), InflateError> {
        self.inflate(&TAIL, message, bytes_max)?;
        if !self.keeps_window {
            self.state = None;
        }
        Ok(())
    }
}

/// A message as it is sent compressed, where that makes it smaller.
pub(super) fn deflate(message: &[u8]) -> Option<Vec<u8>> {
    if message.len() < MESSAGE_BYTES_MIN {
        return None;
    }
    let mut state = Compress::new(Compression::default(), false);
    // What has no room in it would not be smaller.
    let mut deflated = Vec::with_capacity(message.len());
    state.compress_vec(message, &mut deflated, FlushCompress::Sync).ok()?;
    let whole = state.total_in() == message.len() as u64 && deflated.len() < deflated.capacity();
    let length = deflated.strip_suffix(&TAIL).filter(|_| whole)?.len();
    deflated.truncate(length);
    Some(deflated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflate(inflater: &mut Inflater, message: &[u8], bytes_max: usize) -> Result<Vec<u8>, InflateError> {
        let mut inflated = Vec::new();
        // As it comes from the network: in pieces.
        for part in message.chunks(3) {
            inflater.inflate(part, &mut inflated, bytes_max)?;
        }
        inflater.finish(&mut inflated, bytes_max)?;
        Ok(inflated)
    }

    #[test]
    fn what_a_server_may_answer() {
        for (answer, keeps_window) in [
            (OFFER, false),
            ("permessage-deflate", true),
            ("permessage-deflate;server_no_context_takeover", false),
            ("permessage-deflate; client_no_context_takeover", true),
            ("permessage-deflate; server_no_context_takeover; server_max_window_bits=8", false),
            (r#"permessage-deflate ; server_max_window_bits = "15" ; server_no_context_takeover"#, false),
        ] {
            let inflater = agreed(true, [answer]).unwrap().expect(answer);
            assert_eq!(inflater.keeps_window, keeps_window, "{answer}");
            agreed(false, [answer]).expect_err(answer);
        }
        for nothing in [&[][..], &[""], &[" , "]] {
            assert!(agreed(true, nothing.iter().copied()).unwrap().is_none());
            assert!(agreed(false, nothing.iter().copied()).unwrap().is_none());
        }
        for answer in [
            &["permessage-bzip2"][..],
            &["permessage-deflate", "permessage-deflate"],
            &["permessage-deflate, x-other"],
            &["permessage-deflate; client_max_window_bits=10"],
            &["permessage-deflate; server_max_window_bits"],
            &["permessage-deflate; server_max_window_bits=7"],
            &["permessage-deflate; server_max_window_bits=016"],
            &["permessage-deflate; server_no_context_takeover=1"],
            &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
            &["permessage-deflate; window"],
        ] {
            agreed(true, answer.iter().copied()).expect_err(answer[0]);
        }
    }

    /// Those of RFC 7692, 7.2.3.
    #[test]
    fn the_examples_of_the_standard_are_inflated() {
        let max = usize::MAX;
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        let last_block = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        for keeps_window in [false, true] {
            let mut inflater = Inflater::new(keeps_window);
            for message in [&hello[..], &stored, &last_block, &two_blocks, &hello] {
                assert_eq!(inflate(&mut inflater, message, max).unwrap(), b"Hello", "{message:x?}");
            }
            let referring = inflate(&mut inflater, &again, max);
            assert_eq!(referring.ok().as_deref(), keeps_window.then_some(&b"Hello"[..]));
        }
    }

    #[test]
    fn what_is_deflated_is_inflated_again_and_smaller() {
        let mut inflater = Inflater::new(false);
        let text = (0..20_000).map(|n| format!(r#"{{"n":{n}}},"#)).collect::<String>().into_bytes();
        for length in [MESSAGE_BYTES_MIN, STEP_BYTES, STEP_BYTES + 1, text.len()] {
            let deflated = deflate(&text[..length]).unwrap();
            assert!(deflated.len() < length / 2);
            assert_eq!(inflate(&mut inflater, &deflated, length).unwrap(), &text[..length]);
        }
        assert_eq!(deflate(&text[..MESSAGE_BYTES_MIN - 1]), None);
    }

    #[test]
    fn what_does_not_become_smaller_is_not_deflated() {
        let mut noise = vec![0; 100_000];
        getrandom::fill(&mut noise).unwrap();
        assert_eq!(deflate(&noise), None);
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let max = 1 << 20;
        let zeros = vec![0; max + 1];
        let mut inflater = Inflater::new(false);
        let whole = deflate(&zeros[..max]).unwrap();
        assert_eq!(inflate(&mut inflater, &whole, max).unwrap().len(), max);
        let bomb = deflate(&zeros).unwrap();
        assert!(bomb.len() < 2048);
        let mut inflated = Vec::new();
        assert_eq!(inflater.inflate(&bomb, &mut inflated, max), Err(InflateError::TooLarge));
        assert!(inflated.len() <= max && inflated.capacity() <= 2 * max);
    }

    #[test]
    fn what_is_not_deflate_is_corrupt() {
        let mut inflater = Inflater::new(false);
        assert_eq!(inflate(&mut inflater, &[0xFF; 10], usize::MAX), Err(InflateError::Corrupt));
    }
}
