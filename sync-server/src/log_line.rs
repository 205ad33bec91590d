//! What a line of the log must look like. Pure; `worker::log` writes it, natively the app's subscriber.

/// One line, whatever is in it: store ids, reasons and much else come from clients, and must not look like lines of
/// your own. What would break a line, or move a terminal's cursor, is escaped. For subscribers that write text; the
/// binary `livestore-sync` uses it.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn nothing_breaks_a_line() {
        for (text, line) in [
            ("INFO push store_id=notes", "INFO push store_id=notes"),
            ("a\nERROR b\r\u{1b}[31m\u{2028}c\u{85}", r"a\nERROR b\r\u{1b}[31m\u{2028}c\u{85}"),
            ("é🚀\\\"", "é🚀\\\""),
        ] {
            assert_eq!(one_line(text), line);
        }
    }
}
