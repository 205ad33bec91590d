//! Frames for many receivers as they cross into JavaScript: one text with all that differs between them, the numbers
//! at which it is cut, and each shared body once. Pure; `fan_out` hands them over.

use std::sync::Arc;

/// In place of a body, where a frame has none.
const NO_BODY: u32 = u32::MAX;

/// Frames, in the order in which they are to be sent.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// Heads and tails, one after another.
    pub(super) envelopes: String,
    /// For each frame the lengths of its head and of its tail, in UTF-16 units as JavaScript counts, and which body
    /// stands between them.
    pub(super) cuts: Vec<u32>,
    pub(super) bodies: Vec<Arc<str>>,
}

impl Packed {
    pub(super) fn push(&mut self, head: &str, body: Option<&Arc<str>>, tail: &str) {
        let body = body.map_or(NO_BODY, |body| self.place(body));
        self.envelopes.push_str(head);
        self.envelopes.push_str(tail);
        self.cuts.extend([units(head), units(tail), body]);
    }

    fn place(&mut self, body: &Arc<str>) -> u32 {
        // Few: one per spelling of each chunk of a commit, and the latest is the likeliest.
        let known = self.bodies.iter().rposition(|known| Arc::ptr_eq(known, body));
        let place = known.unwrap_or_else(|| {
            self.bodies.push(Arc::clone(body));
            self.bodies.len() - 1
        });
        place as u32
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cuts.is_empty()
    }
}

fn units(text: &str) -> u32 {
    if text.is_ascii() { text.len() as u32 } else { text.encode_utf16().count() as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_apart_where_they_were_put_together() {
        let bodies: [Arc<str>; 2] = ["one".into(), "two".into()];
        let frames = [("a[", Some(0), "]"), ("é🚀[", Some(1), ",7]"), ("ack", None, ""), ("b[", Some(1), "]")];
        let mut packed = Packed::default();
        assert!(packed.is_empty());
        for (head, body, tail) in frames {
            packed.push(head, body.map(|body: usize| &bodies[body]), tail);
        }
        assert!(!packed.is_empty());
        assert_eq!(packed.bodies, bodies, "each once");
        let units: Vec<u16> = packed.envelopes.encode_utf16().collect();
        let mut from = 0;
        for ((head, body, tail), cut) in frames.into_iter().zip(packed.cuts.chunks(3)) {
            let mut part = |units_long: u32| {
                let end = from + units_long as usize;
                let part = String::from_utf16(&units[from..end]).expect("whole characters");
                from = end;
                part
            };
            assert_eq!((part(cut[0]), part(cut[1])), (head.to_owned(), tail.to_owned()));
            assert_eq!(cut[2], body.map_or(NO_BODY, |body| body as u32));
        }
        assert_eq!(from, units.len());
    }
}
