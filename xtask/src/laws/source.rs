//! What one source file uses, declares and switches on. Called by `tree`. Knows nothing of the table.
//!
//! Test code is left out: items behind `#[cfg(test)]`, and with them the files of such modules.

use super::lexer::{Kind, Token, tokens};

/// What the laws need to know of a file.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) paths: Vec<Path>,
    /// `mod name;`, with the inline modules around it.
    pub(super) modules: Vec<Vec<String>>,
    /// `mod name {` of the file's top level.
    pub(super) inline: Vec<String>,
    pub(super) macros: Vec<String>,
    /// Lines with a `cfg` that asks for the target.
    pub(super) switches: Vec<usize>,
}

/// A path, of a `use` or of an expression or type.
#[derive(Debug, PartialEq)]
pub(super) struct Path {
    pub(super) line: usize,
    /// With the first one as written: `crate`, `self`, `super`, a crate, …; `*` for a glob.
    pub(super) segments: Vec<String>,
    /// Whether it begins with `::`, so that its first segment is a crate.
    pub(super) global: bool,
    /// The inline modules that it stands in.
    pub(super) inside: Vec<String>,
    /// For a `use`: the name that it brings into scope.
    pub(super) name: Option<String>,
}

/// What a `cfg` asks the target by.
const TARGET: [&str; 9] = [
    "target_arch",
    "target_env",
    "target_family",
    "target_has_atomic",
    "target_os",
    "target_pointer_width",
    "target_vendor",
    "unix",
    "windows",
];

pub(super) fn read(text: &str) -> Source {
    let tokens = tokens(text);
    let mut reader = Reader { tokens: &tokens, at: 0, depth: 0, inside: Vec::new(), source: Source::default() };
    while reader.at < tokens.len() {
        reader.step();
    }
    reader.source
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    /// Of braces.
    depth: usize,
    /// The inline modules around, with the depth that each began at.
    inside: Vec<(String, usize)>,
    source: Source,
}

impl Reader<'_> {
    fn step(&mut self) {
        let token = &self.tokens[self.at];
        match &token.kind {
            Kind::Mark('#') if self.is(1, '[') => {
                let end = self.closing(self.at + 1);
                if is_test(&self.tokens[self.at + 2..end]) {
                    self.at = end + 1;
                    self.skip_item();
                    return;
                }
            }
            Kind::Mark('{') => self.depth += 1,
            Kind::Mark('}') => {
                self.depth = self.depth.saturating_sub(1);
                self.inside.pop_if(|(_, depth)| *depth == self.depth);
            }
            Kind::Word(word) => match (word.as_str(), self.word(1)) {
                // `impl Trait + use<'a>` imports nothing.
                ("use", _) if !self.is(1, '<') => return self.read_use(),
                ("mod", Some(name)) => self.read_mod(name.to_owned()),
                ("macro_rules", None) => self.source.macros.extend(self.word(2).map(str::to_owned)),
                ("cfg" | "cfg_attr", _) => self.read_cfg(token.line),
                _ if self.begins_path() => return self.read_path(false),
                _ => {}
            },
            Kind::Path if self.begins_path() && self.word(1).is_some() => {
                self.at += 1;
                return self.read_path(true);
            }
            _ => {}
        }
        self.at += 1;
    }

    fn token(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead)
    }

    fn is(&self, ahead: usize, mark: char) -> bool {
        self.token(ahead).is_some_and(|token| token.is(mark))
    }

    fn word(&self, ahead: usize) -> Option<&str> {
        self.token(ahead).and_then(Token::word)
    }

    fn is_path(&self, ahead: usize) -> bool {
        self.token(ahead).is_some_and(|token| token.kind == Kind::Path)
    }

    /// Whether a path begins here: `a::`, or `::a` with nothing before it that it would belong to.
    fn begins_path(&self) -> bool {
        let before = self.at.checked_sub(1).map(|at| &self.tokens[at]);
        let continues = match (&self.tokens[self.at].kind, before) {
            (Kind::Path, Some(before)) => {
                let arrow = self.at > 1 && ['-', '='].iter().any(|mark| self.tokens[self.at - 2].is(*mark));
                before.word().is_some_and(|word| !is_keyword(word)) || (before.is('>') && !arrow)
            }
            (_, Some(before)) => before.kind == Kind::Path || before.is('.'),
            (_, None) => false,
        };
        !continues && (self.is_path(0) || self.is_path(1))
    }

    fn read_path(&mut self, global: bool) {
        let line = self.tokens[self.at].line;
        let mut segments: Vec<_> = self.word(0).map(str::to_owned).into_iter().collect();
        self.at += 1;
        while self.is_path(0) && self.word(1).is_some() {
            segments.extend(self.word(1).map(str::to_owned));
            self.at += 2;
        }
        self.add(line, segments, global, None);
    }

    fn read_use(&mut self) {
        self.at += 1;
        let global = self.is_path(0);
        self.at += usize::from(global);
        self.read_use_tree(&[], global);
    }

    /// `a::b`, `a::{…}`, `a::*`, `a as b`, up to the comma, brace or semicolon behind it.
    fn read_use_tree(&mut self, before: &[String], global: bool) {
        let mut segments = before.to_vec();
        while let Some(token) = self.token(0).cloned() {
            match &token.kind {
                Kind::Path => self.at += 1,
                Kind::Mark('{') => {
                    while !self.is(0, '}') && self.at < self.tokens.len() {
                        self.at += 1;
                        if !self.is(0, '}') {
                            self.read_use_tree(&segments, global);
                        }
                    }
                    self.at += 1;
                    return;
                }
                Kind::Word(word) if word != "as" => {
                    segments.push(word.clone());
                    self.at += 1;
                }
                Kind::Mark('*') => {
                    segments.push("*".into());
                    self.at += 1;
                }
                _ => break,
            }
        }
        let renamed = self.word(0) == Some("as");
        let mut name = segments.last().cloned();
        // `use a::b::{self}` brings `b`.
        if segments.len() > 1 && name.as_deref() == Some("self") {
            segments.pop();
            name = segments.last().cloned();
        }
        if renamed {
            name = self.word(1).map(str::to_owned);
            self.at += 2;
        }
        let line = self.at.checked_sub(1).map_or(1, |at| self.tokens[at].line);
        self.add(line, segments, global, name);
    }

    fn add(&mut self, line: usize, segments: Vec<String>, global: bool, name: Option<String>) {
        let inside = self.inside.iter().map(|(name, _)| name.clone()).collect();
        self.source.paths.push(Path { line, segments, global, inside, name });
    }

    fn read_mod(&mut self, name: String) {
        let inside: Vec<_> = self.inside.iter().map(|(name, _)| name.clone()).collect();
        if self.is(2, ';') {
            self.source.modules.push([inside, vec![name]].concat());
        } else if self.is(2, '{') {
            if inside.is_empty() {
                self.source.inline.push(name.clone());
            }
            self.inside.push((name, self.depth));
        }
    }

    /// `cfg(…)`, `cfg!(…)`, `cfg_attr(…)`.
    fn read_cfg(&mut self, line: usize) {
        let open = self.at + 1 + usize::from(self.is(1, '!'));
        if self.tokens.get(open).is_some_and(|token| token.is('(')) {
            let condition = &self.tokens[open..self.closing(open)];
            if condition.iter().filter_map(Token::word).any(|word| TARGET.contains(&word)) {
                self.source.switches.push(line);
            }
        }
    }

    /// Where the bracket that opens there closes.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        for (at, token) in self.tokens.iter().enumerate().skip(open) {
            match token.kind {
                Kind::Mark('(' | '[' | '{') => depth += 1,
                Kind::Mark(')' | ']' | '}') => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return at;
            }
        }
        self.tokens.len()
    }

    /// Goes behind the item, field, variant or statement that begins here.
    fn skip_item(&mut self) {
        while self.is(0, '#') {
            self.at = self.closing(self.at + 1) + 1;
        }
        if self.word(0) == Some("pub") {
            self.at += 1;
            if self.is(0, '(') {
                self.at = self.closing(self.at) + 1;
            }
        }
        let by_semicolon = matches!(self.word(0), Some("use" | "let" | "static" | "type"))
            || (self.word(0) == Some("const") && self.word(1) != Some("fn"));
        // In a list, as a field or an arm: commas in an item's `<A, B>` do not end it.
        let by_comma = !by_semicolon && self.word(0).is_none_or(|word| !is_keyword(word));
        let start = self.at;
        while let Some(token) = self.token(0) {
            // A block as a statement, or that of an arm.
            let block = self.at == start || self.tokens[self.at - 1].is('>');
            match token.kind {
                Kind::Mark('{') if !by_semicolon && (!by_comma || block) => {
                    self.at = self.closing(self.at) + 1;
                    return;
                }
                Kind::Mark('(' | '[' | '{') => self.at = self.closing(self.at) + 1,
                // The end of what it stands in.
                Kind::Mark(')' | ']' | '}') => return,
                Kind::Mark(';') => {
                    self.at += 1;
                    return;
                }
                Kind::Mark(',') if by_comma => {
                    self.at += 1;
                    return;
                }
                _ => self.at += 1,
            }
        }
    }
}

/// Whether an attribute, without its brackets, is `cfg(test)` or `cfg(all(test, …))`.
fn is_test(attribute: &[Token]) -> bool {
    let Some(rest) = strip(attribute, "cfg") else { return false };
    if rest.first().and_then(Token::word) == Some("test") {
        return true;
    }
    let mut depth = 0_usize;
    strip(rest, "all").unwrap_or_default().iter().any(|token| {
        match token.kind {
            Kind::Mark('(') => depth += 1,
            Kind::Mark(')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.word() == Some("test")
    })
}

/// What is behind `name(`.
fn strip<'a>(tokens: &'a [Token], name: &str) -> Option<&'a [Token]> {
    match tokens {
        [word, open, rest @ ..] if word.word() == Some(name) && open.is('(') => Some(rest),
        _ => None,
    }
}

/// Words that items begin with, or that stand before a path without belonging to it.
fn is_keyword(word: &str) -> bool {
    const KEYWORDS: [&str; 28] = [
        "as",
        "async",
        "await",
        "const",
        "dyn",
        "else",
        "enum",
        "extern",
        "fn",
        "for",
        "if",
        "impl",
        "in",
        "let",
        "macro_rules",
        "match",
        "mod",
        "move",
        "mut",
        "pub",
        "ref",
        "return",
        "static",
        "struct",
        "trait",
        "type",
        "unsafe",
        "where",
    ];
    KEYWORDS.contains(&word)
}

#[cfg(test)]
mod tests;
