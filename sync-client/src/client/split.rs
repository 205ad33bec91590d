//! Answers over http are one JSON array whose elements come over time. Called by `http`.

/// Cuts the elements out of a JSON array while it arrives. What is no array is one element.
#[derive(Debug)]
pub(super) struct Split {
    bytes_max: usize,
    element: Vec<u8>,
    depth: usize,
    in_text: bool,
    escaped: bool,
    array: bool,
    begun: bool,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message has more than {bytes_max} bytes")]
pub(super) struct TooLarge {
    bytes_max: usize,
}

impl Split {
    /// For elements of at most so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, element: Vec::new(), depth: 0, in_text: false, escaped: false, array: false, begun: false }
    }

    /// The elements that are complete with these bytes.
    ///
    /// # Errors
    ///
    /// When one is too large, complete or not.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLarge> {
        let mut elements = Vec::new();
        for &byte in bytes {
            if !self.begun {
                if byte.is_ascii_whitespace() {
                    continue;
                }
                self.begun = true;
                if byte == b'[' {
                    self.array = true;
                    continue;
                }
            }
            if self.ends(byte) {
                elements.extend(self.finish());
            } else if self.element.len() < self.bytes_max {
                self.element.push(byte);
            } else {
                return Err(TooLarge { bytes_max: self.bytes_max });
            }
        }
        Ok(elements)
    }

    /// The last element, if anything is left.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        let element = std::mem::take(&mut self.element);
        (!element.trim_ascii().is_empty()).then_some(element)
    }

    /// Whether this byte stands behind an element of the array.
    fn ends(&mut self, byte: u8) -> bool {
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' | b'[' => self.depth += 1,
            b',' if self.array && self.depth == 0 => return true,
            b']' if self.array && self.depth == 0 => return true,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_wherever_the_bytes_are_cut() {
        for (text, expected) in [
            (r#"[{"a":[1,2]},{"b":"],\"["}]"#, vec![r#"{"a":[1,2]}"#, r#"{"b":"],\"["}"#]),
            ("  [ ]", vec![]),
            (r#"{"a":"[1,2],"}"#, vec![r#"{"a":"[1,2],"}"#]),
            ("", vec![]),
        ] {
            for size in 1..=text.len().max(1) {
                let mut split = Split::new(16);
                let parts = text.as_bytes().chunks(size);
                let mut elements: Vec<_> = parts.flat_map(|part| split.feed(part).unwrap()).collect();
                elements.extend(split.finish());
                let elements: Vec<_> =
                    elements.iter().map(|element| std::str::from_utf8(element).unwrap().trim()).collect();
                assert_eq!(elements, expected, "{text} in pieces of {size}");
            }
        }
    }

    #[test]
    fn no_element_is_larger_than_allowed() {
        let text = br#"[{"a":1},{"a":22},"#;
        assert_eq!(Split::new(8).feed(text).unwrap().len(), 2);
        assert_eq!(Split::new(7).feed(text), Err(TooLarge { bytes_max: 7 }));
        assert!(Split::new(7).feed(&text[..17]).is_err(), "before its end is seen");
    }
}
