//! Frames for many receivers as they cross into JavaScript: each text once, however many get it, and of texts that
//! differ only what does, around bodies that are there once. Pure; `fan_out` hands them over.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// In place of a body, where a frame has none.
const NO_BODY: u32 = u32::MAX;

/// Frames of live pulls differ by the ids that clients give their requests, which count from nought: so most of them
/// are one of these last few.
const RECENT: usize = 8;

/// Frames, in the order in which they are to be sent.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// For each frame, which text it is.
    pub(super) frames: Vec<u32>,
    /// Heads and tails of texts, one after another.
    pub(super) envelopes: String,
    /// For each text the lengths of its head and of its tail, in UTF-16 units as JavaScript counts, and which body
    /// stands between them.
    pub(super) cuts: Vec<u32>,
    pub(super) bodies: Vec<Arc<str>>,
    /// Where each of the last texts begins in `envelopes`, where its tail does, and its body.
    recent: VecDeque<Text>,
}

#[derive(Debug)]
struct Text {
    place: u32,
    head: Range<usize>,
    tail: Range<usize>,
    body: u32,
}

impl Packed {
    pub(super) fn push(&mut self, head: &str, body: Option<&Arc<str>>, tail: &str) {
        let body = body.map_or(NO_BODY, |body| self.place(body));
        let is_same = |text: &&Text| {
            text.body == body
                && self.envelopes[text.head.clone()] == *head
                && self.envelopes[text.tail.clone()] == *tail
        };
        let known = self.recent.iter().find(is_same).map(|text| text.place);
        let place = known.unwrap_or_else(|| self.add(head, body, tail));
        self.frames.push(place);
    }

    fn add(&mut self, head: &str, body: u32, tail: &str) -> u32 {
        let place = (self.cuts.len() / 3) as u32;
        let (from, middle) = (self.envelopes.len(), self.envelopes.len() + head.len());
        self.envelopes.push_str(head);
        self.envelopes.push_str(tail);
        self.cuts.extend([units(head), units(tail), body]);
        self.recent.truncate(RECENT - 1);
        self.recent.push_front(Text { place, head: from..middle, tail: middle..middle + tail.len(), body });
        place
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
        self.frames.is_empty()
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
        let frames = [
            ("a[", Some(0), "]"),
            ("é🚀[", Some(1), ",7]"),
            ("ack", None, ""),
            ("b[", Some(1), "]"),
            ("é🚀[", Some(1), ",7]"),
            ("ack", None, ""),
            ("é🚀[", Some(0), ",7]"),
        ];
        let mut packed = Packed::default();
        assert!(packed.is_empty());
        for (head, body, tail) in frames {
            packed.push(head, body.map(|body: usize| &bodies[body]), tail);
        }
        assert!(!packed.is_empty());
        assert_eq!(packed.bodies, bodies, "each once");
        let units: Vec<u16> = packed.envelopes.encode_utf16().collect();
        let mut from = 0;
        let mut part = |units_long: u32| {
            let end = from + units_long as usize;
            let part = String::from_utf16(&units[from..end]).expect("whole characters");
            from = end;
            part
        };
        let texts: Vec<_> = packed.cuts.chunks(3).map(|cut| (part(cut[0]), cut[2], part(cut[1]))).collect();
        assert_eq!(packed.frames.len(), frames.len());
        for ((head, body, tail), place) in frames.into_iter().zip(packed.frames) {
            let expected = (head.to_owned(), body.map_or(NO_BODY, |body| body as u32), tail.to_owned());
            assert_eq!(texts[place as usize], expected);
        }
        assert_eq!(texts.len(), 5, "what is the same is there once");
        // Among the last few; it is looked for no further.
        for (between, expected) in [(RECENT - 1, RECENT), (RECENT, RECENT + 2)] {
            let mut packed = Packed::default();
            let heads = (0..between).map(|n| n.to_string());
            let heads = std::iter::once("same".to_owned()).chain(heads).chain(["same".to_owned()]);
            heads.for_each(|head| packed.push(&head, None, ""));
            assert_eq!((packed.frames.len(), packed.cuts.len() / 3), (between + 2, expected), "{between}");
        }
        assert_eq!(from, units.len());
    }
}
