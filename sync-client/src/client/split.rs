/// Cuts the elements out of a JSON array while it arrives. What is no array is one element.
#[derive(Debug, Default)]
pub(super) struct Split {
    element: Vec<u8>,
    depth: usize,
    in_text: bool,
    escaped: bool,
    array: bool,
    begun: bool,
}

impl Split {
    /// The elements that are complete with these bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
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
            } else {
                self.element.push(byte);
            }
        }
        elements
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
                let mut split = Split::default();
                let mut elements: Vec<_> = text.as_bytes().chunks(size).flat_map(|part| split.feed(part)).collect();
                elements.extend(split.finish());
                let elements: Vec<_> =
                    elements.iter().map(|element| std::str::from_utf8(element).unwrap().trim()).collect();
                assert_eq!(elements, expected, "{text} in pieces of {size}");
            }
        }
    }
}
