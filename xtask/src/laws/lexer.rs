//! Rust source as words and marks with their lines, without comments and literals. Called by `source`.
//!
//! No parser: what the laws look for can be told from words, `::` and brackets, and a parser would have to be
//! downloaded and built before the first step can run.

/// A word, `::`, or a single other character.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// An identifier, keyword or number.
    Word(String),
    /// `::`
    Path,
    /// Any other character.
    Mark(char),
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Counted from 1.
    pub(super) line: usize,
}

impl Token {
    pub(super) fn is(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }

    pub(super) fn word(&self) -> Option<&str> {
        if let Kind::Word(word) = &self.kind { Some(word) } else { None }
    }
}

pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: source, line: 1, tokens: Vec::new() };
    while lexer.step() {}
    lexer.tokens
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    /// Takes what comes next; false at the end.
    fn step(&mut self) -> bool {
        let Some(next) = self.rest.chars().next() else { return false };
        if self.rest.starts_with("//") {
            self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.skip(block_comment(self.rest));
        } else if let Some(length) = string(self.rest) {
            self.skip(length);
        } else if next == '\'' {
            self.skip(quote(self.rest));
        } else if is_word(next) {
            // `r#type` is the word `type`.
            self.skip(if self.rest.starts_with("r#") { 2 } else { 0 });
            let length = word_length(self.rest);
            self.push(Kind::Word(self.rest[..length].into()), length);
        } else if self.rest.starts_with("::") {
            self.push(Kind::Path, 2);
        } else if next.is_whitespace() {
            self.skip(next.len_utf8());
        } else {
            self.push(Kind::Mark(next), next.len_utf8());
        }
        true
    }

    fn push(&mut self, kind: Kind, length: usize) {
        self.tokens.push(Token { kind, line: self.line });
        self.skip(length);
    }

    fn skip(&mut self, length: usize) {
        let (skipped, rest) = self.rest.split_at(length);
        self.line += skipped.matches('\n').count();
        self.rest = rest;
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn word_length(text: &str) -> usize {
    text.find(|character| !is_word(character)).unwrap_or(text.len())
}

/// How long the comment is that begins here; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(found) = text[at..].find(['/', '*']) {
        at += found;
        let (by, length) = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        at += length;
        depth = depth.saturating_add_signed(by);
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// How long the string literal is that begins here, if one does: plain, byte, C or raw.
fn string(text: &str) -> Option<usize> {
    let prefix = ["", "b", "c", "r", "br", "cr"].into_iter().find(|prefix| {
        let hashes = if prefix.ends_with('r') { "#" } else { "" };
        text.strip_prefix(prefix).is_some_and(|rest| rest.trim_start_matches(hashes_of(hashes)).starts_with('"'))
    })?;
    let open = text.find('"')? + 1;
    if prefix.ends_with('r') {
        let close = format!("\"{}", &text[prefix.len()..open - 1]);
        return Some(text[open..].find(&close).map_or(text.len(), |at| open + at + close.len()));
    }
    Some(open + closed_by(&text[open..], '"'))
}

/// `#` may only stand before the quote of a raw string.
fn hashes_of(allowed: &str) -> &[char] {
    if allowed.is_empty() { &[] } else { &['#'] }
}

/// How far it is behind the next quote that no backslash precedes.
fn closed_by(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + character.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// How long the character literal or the lifetime is that begins here.
fn quote(text: &str) -> usize {
    let mut characters = text[1..].chars();
    match (characters.next(), characters.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => 1 + closed_by(&text[1..], '\''),
        _ => 1 + word_length(&text[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, tokens};

    fn words(source: &str) -> Vec<(String, usize)> {
        let word = |token: super::Token| match token.kind {
            Kind::Word(word) => Some((word, token.line)),
            _ => None,
        };
        tokens(source).into_iter().filter_map(word).collect()
    }

    #[test]
    fn comments_and_literals_are_left_out() {
        let source = "a // crate::x\n/* crate::y /* nested */ z */ b \"crate::\\\"q\" c r#\"crate::\"r\"# d b\"e\" f";
        let expected = [("a", 1), ("b", 2), ("c", 2), ("d", 2), ("f", 2)];
        assert_eq!(words(source), expected.map(|(word, line)| (word.to_owned(), line)));
    }

    #[test]
    fn lifetimes_are_no_characters() {
        let source = "fn f<'a>(x: &'a str) { '\"'; '\\''; 'x'; } g";
        let words: Vec<_> = words(source).into_iter().map(|(word, _)| word).collect();
        assert_eq!(words, ["fn", "f", "x", "str", "g"]);
    }

    #[test]
    fn raw_words_are_words() {
        assert_eq!(words("r#type"), [("type".to_owned(), 1)]);
    }

    #[test]
    fn an_escaped_quote_or_line_break_keeps_a_string_open() {
        assert_eq!(words("\"one \\\n two \\\" three\" four"), [("four".to_owned(), 2)]);
    }
}
