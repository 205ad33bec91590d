//! JSON text to MessagePack, for calls between Durable Objects.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{FIRST_RECORD, MsgpackError, RECORD_EXTENSION, RECORDS_MAX};

/// Writes a message that is given as JSON text.
///
/// # Errors
///
/// [`MsgpackError::Json`].
pub fn from_json(json: &str) -> Result<Vec<u8>, MsgpackError> {
    let tokens = Parser { json, at: 0 }.tokens()?;
    let mut writer = Writer { out: Vec::with_capacity(json.len()), records: HashMap::new(), defined: 0 };
    tokens.iter().try_for_each(|token| writer.token(token))?;
    Ok(writer.out)
}

/// A value without what is inside it, which follows. MessagePack has the same order, but wants to
/// know beforehand how much follows. (Not a tree: args may be nested as deep as a client likes.)
enum Token<'a> {
    Array(usize),
    /// The names, as bytes that `msgpackr` understands.
    Object(Vec<Cow<'a, [u8]>>),
    Text(Cow<'a, [u8]>),
    /// A number and where it stands.
    Number(&'a str, usize),
    Word(u8),
}

struct Parser<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn tokens(mut self) -> Result<Vec<Token<'a>>, MsgpackError> {
        let mut tokens = Vec::new();
        // The arrays and objects that are not complete yet.
        let mut open: Vec<usize> = Vec::new();
        loop {
            match self.next()? {
                b'[' => {
                    let empty = self.skip(b']');
                    tokens.push(Token::Array(usize::from(!empty)));
                    if !empty {
                        open.push(tokens.len() - 1);
                        continue;
                    }
                }
                b'{' => {
                    tokens.push(Token::Object(Vec::new()));
                    if !self.skip(b'}') {
                        open.push(tokens.len() - 1);
                        self.name(tokens.last_mut())?;
                        continue;
                    }
                }
                b'"' => tokens.push(Token::Text(self.text()?)),
                b'n' => tokens.push(self.word("ull", 0xc0)?),
                b'f' => tokens.push(self.word("alse", 0xc2)?),
                b't' => tokens.push(self.word("rue", 0xc3)?),
                _ => tokens.push(self.number()),
            }
            // A value is complete, and with it perhaps what it is in.
            loop {
                let Some(&container) = open.last() else {
                    self.space();
                    return if self.at == self.json.len() { Ok(tokens) } else { Err(self.error()) };
                };
                let byte = self.next()?;
                match (byte, &mut tokens[container]) {
                    (b',', Token::Array(count)) => {
                        *count += 1;
                        break;
                    }
                    (b',', object @ Token::Object(_)) => {
                        self.name(Some(object))?;
                        break;
                    }
                    (b']', Token::Array(_)) | (b'}', Token::Object(_)) => open.pop(),
                    _ => return Err(self.error()),
                };
            }
        }
    }

    fn error(&self) -> MsgpackError {
        MsgpackError::Json(self.at)
    }

    fn space(&mut self) {
        let rest = &self.json.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
    }

    fn next(&mut self) -> Result<u8, MsgpackError> {
        self.space();
        let byte = *self.json.as_bytes().get(self.at).ok_or(self.error())?;
        self.at += 1;
        Ok(byte)
    }

    fn skip(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.json.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn name(&mut self, object: Option<&mut Token<'a>>) -> Result<(), MsgpackError> {
        let Some(Token::Object(names)) = object else { return Err(self.error()) };
        if !self.skip(b'"') {
            return Err(self.error());
        }
        names.push(self.text()?);
        if self.skip(b':') { Ok(()) } else { Err(self.error()) }
    }

    fn word(&mut self, rest: &str, byte: u8) -> Result<Token<'a>, MsgpackError> {
        if !self.json[self.at..].starts_with(rest) {
            return Err(self.error());
        }
        self.at += rest.len();
        Ok(Token::Word(byte))
    }

    fn number(&mut self) -> Token<'a> {
        let start = self.at - 1;
        let digits = self.json.as_bytes()[self.at..].iter();
        self.at += digits.take_while(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')).count();
        // Whatever stands there: at a character, not in it.
        while !self.json.is_char_boundary(self.at) {
            self.at += 1;
        }
        Token::Number(&self.json[start..self.at], start)
    }

    /// The rest of a string.
    fn text(&mut self) -> Result<Cow<'a, [u8]>, MsgpackError> {
        let bytes = &self.json.as_bytes()[self.at..];
        let plain = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\')).ok_or(self.error())?;
        if bytes[plain] == b'"' {
            self.at += plain + 1;
            return Ok(Cow::Borrowed(&bytes[..plain]));
        }
        let mut text = Vec::new();
        loop {
            let bytes = &self.json.as_bytes()[self.at..];
            let plain = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\')).ok_or(self.error())?;
            text.extend_from_slice(&bytes[..plain]);
            self.at += plain + 1;
            if bytes[plain] == b'"' {
                return Ok(Cow::Owned(text));
            }
            let escaped = *self.json.as_bytes().get(self.at).ok_or(self.error())?;
            self.at += 1;
            match escaped {
                b'"' | b'\\' | b'/' => text.push(escaped),
                b'b' => text.push(0x08),
                b'f' => text.push(0x0c),
                b'n' => text.push(b'\n'),
                b'r' => text.push(b'\r'),
                b't' => text.push(b'\t'),
                b'u' => {
                    let unit = self.unit()?;
                    self.push_unit(unit, &mut text);
                }
                _ => return Err(self.error()),
            }
        }
    }

    fn unit(&mut self) -> Result<u32, MsgpackError> {
        let digits = self.json.get(self.at..self.at + 4).ok_or(self.error())?;
        let unit = u32::from_str_radix(digits, 16).map_err(|_| self.error())?;
        self.at += 4;
        Ok(unit)
    }

    /// Appends what `\uXXXX` stands for, with a second one if the two are halves.
    fn push_unit(&mut self, unit: u32, text: &mut Vec<u8>) {
        let start = self.at;
        if (0xd800..0xdc00).contains(&unit) && self.json[self.at..].starts_with("\\u") {
            self.at += 2;
            if let Ok(low @ 0xdc00..0xe000) = self.unit()
                && let Some(character) = char::from_u32(0x1_0000 + ((unit & 0x3ff) << 10) + (low & 0x3ff))
            {
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return;
            }
            self.at = start;
        }
        match char::from_u32(unit) {
            Some(character) => text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            // Half a character: in the way UTF-8 would, as `msgpackr` does.
            None => text.extend([0xe0 | unit >> 12, 0x80 | unit >> 6 & 0x3f, 0x80 | unit & 0x3f].map(low_byte)),
        }
    }
}

/// The lowest byte; the others are known to be zero.
fn low_byte(number: u32) -> u8 {
    number.to_be_bytes()[3]
}

struct Writer<'a> {
    out: Vec<u8>,
    records: HashMap<Vec<Cow<'a, [u8]>>, u8>,
    /// Shapes defined so far.
    defined: usize,
}

impl<'a> Writer<'a> {
    fn token(&mut self, token: &Token<'a>) -> Result<(), MsgpackError> {
        match token {
            Token::Word(byte) => self.out.push(*byte),
            Token::Array(count) => self.array(*count),
            Token::Text(text) => self.text(text),
            Token::Number(text, at) => self.number(text.parse().map_err(|_| MsgpackError::Json(*at))?),
            Token::Object(names) => match self.records.get(names) {
                Some(id) => self.out.push(*id),
                None => self.definition(names),
            },
        }
        Ok(())
    }

    fn definition(&mut self, names: &[Cow<'a, [u8]>]) {
        let id = FIRST_RECORD | low_byte((self.defined % RECORDS_MAX) as u32);
        self.defined += 1;
        self.records.retain(|_, other| *other != id);
        self.records.insert(names.to_vec(), id);
        self.out.extend([0xd4, RECORD_EXTENSION, id]);
        self.array(names.len());
        names.iter().for_each(|name| self.text(name));
    }

    fn array(&mut self, count: usize) {
        self.head(count, 0x90, 0x0f, [None, Some(0xdc), Some(0xdd)]);
    }

    fn text(&mut self, text: &[u8]) {
        self.head(text.len(), 0xa0, 0x1f, [Some(0xd9), Some(0xda), Some(0xdb)]);
        self.out.extend_from_slice(text);
    }

    /// A length, inside the token where it fits there, else after one for one, two or four bytes.
    fn head(&mut self, length: usize, short: u8, short_max: u8, long: [Option<u8>; 3]) {
        // Frames are far below 4 GiB.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let [_, _, high, low] = length.to_be_bytes();
        match long {
            _ if length <= short_max.into() => self.out.push(short | low),
            [Some(token), ..] if length <= u8::MAX.into() => self.out.extend([token, low]),
            [_, Some(token), _] if length <= u16::MAX.into() => self.out.extend([token, high, low]),
            [.., token] => {
                self.out.extend(token);
                self.out.extend(length.to_be_bytes());
            }
        }
    }

    /// Integers as integers, if they have 32 bits; all others as JavaScript has them.
    fn number(&mut self, number: f64) {
        let whole = number as i64;
        let same = whole as f64 == number && (whole != 0 || number.is_sign_positive());
        match whole {
            0..=0x3f if same => self.out.push(low_byte(whole as u32)),
            -32..0 if same => self.out.push((whole as i8).to_be_bytes()[0]),
            // Those below 0x80 would be taken for records.
            0..=0xff if same => self.out.extend([0xcc, low_byte(whole as u32)]),
            0..=0xffff if same => self.sized(0xcd, &(whole as u16).to_be_bytes()),
            0..=0xffff_ffff if same => self.sized(0xce, &(whole as u32).to_be_bytes()),
            -0x80..0 if same => self.sized(0xd0, &(whole as i8).to_be_bytes()),
            -0x8000..0 if same => self.sized(0xd1, &(whole as i16).to_be_bytes()),
            -0x8000_0000..0 if same => self.sized(0xd2, &(whole as i32).to_be_bytes()),
            _ => self.sized(0xcb, &number.to_be_bytes()),
        }
    }

    fn sized(&mut self, token: u8, bytes: &[u8]) {
        self.out.push(token);
        self.out.extend_from_slice(bytes);
    }
}
