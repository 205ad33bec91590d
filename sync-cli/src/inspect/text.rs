//! Text from databases, made safe to look at: whoever may push an event chooses its name.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a terminal would obey this character instead of showing it, or show others in another order.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text with such characters as escapes.
pub(super) fn safe(text: &str) -> String {
    cut(text, usize::MAX)
}

/// As [`safe`], and cut to a number of characters; `…` is the last of them if some are missing.
pub(super) fn cut(text: &str, width: usize) -> String {
    let mut shown = String::new();
    let mut room = width;
    // Where to cut if the rest turns out too long.
    let mut last = 0;
    for c in text.chars() {
        let escape = is_unsafe(c).then(|| c.escape_default());
        let needed = escape.as_ref().map_or(1, ExactSizeIterator::len);
        if needed > room {
            shown.truncate(last);
            if width > 0 {
                shown.push('…');
            }
            return shown;
        }
        room -= needed;
        match escape {
            Some(escape) => shown.extend(escape),
            None => shown.push(c),
        }
        if room > 0 {
            last = shown.len();
        }
    }
    shown
}

/// JSON with such characters as JSON's escapes: in valid JSON they are inside of strings.
pub(super) fn safe_json(json: &str) -> Cow<'_, str> {
    if !json.contains(is_unsafe) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            // JSON has these between its tokens only.
            '\t' => escaped.push(' '),
            c if is_unsafe(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(escaped, "\\u{unit:04x}").expect("a String takes everything");
                }
            }
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Valid JSON on one line: line breaks are between its tokens only.
pub(super) fn one_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\n', '\r']) { Cow::Owned(json.replace(['\n', '\r'], " ")) } else { Cow::Borrowed(json) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        for (text, shown) in [
            ("todoCreated", "todoCreated"),
            ("ünïcödé 🚀 \\ \"", "ünïcödé 🚀 \\ \""),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{7f}\u{9b}\0", "\\u{7f}\\u{9b}\\u{0}"),
            ("\u{202e}abc\u{2066}", "\\u{202e}abc\\u{2066}"),
        ] {
            assert_eq!(safe(text), shown);
        }
    }

    #[test]
    fn long_text_is_cut() {
        for (text, width, shown) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("abcd", 1, "…"),
            ("abcd", 0, ""),
            ("", 0, ""),
            ("äöüß", 4, "äöüß"),
            ("äöüßx", 4, "äöü…"),
            ("ab\nc", 5, "ab\\nc"),
            ("ab\ncd", 5, "ab\\n…"),
            ("abc\n", 5, "abc\\n"),
            ("abcd\n", 5, "abcd…"),
            ("a\u{1b}", 3, "a…"),
        ] {
            assert_eq!(cut(text, width), shown, "{text:?} in {width}");
        }
    }

    #[test]
    fn json_stays_the_same_value() {
        let json = "{\"a\u{9b}\u{7f}\":\t\"\u{202e}ü\"}";
        let escaped = safe_json(json);
        assert_eq!(escaped, r#"{"a\u009b\u007f": "\u202eü"}"#);
        let value = |json: &str| serde_json::from_str::<serde_json::Value>(json).expect("JSON");
        assert_eq!(value(&escaped), value(json));
        assert!(matches!(safe_json("{\"a\":1}"), Cow::Borrowed(_)));
    }

    #[test]
    fn lines_of_json_are_one() {
        assert_eq!(one_line("{\n  \"a\": [\r\n]}"), "{   \"a\": [  ]}");
        assert!(matches!(one_line(r#"{"a":"\n"}"#), Cow::Borrowed(_)));
    }
}
