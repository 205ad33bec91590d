//! MessagePack to JSON text, for calls between Durable Objects. Input is hostile: depth and sizes are bounded.

use std::fmt::Write;
use std::rc::Rc;

use super::{DEPTH_MAX, FIRST_RECORD, JSON_BYTES_MAX, MsgpackError, RECORD_EXTENSION, RECORDS_MAX};
use crate::chunk::push_json_string;

/// Reads a message, as the JSON that `JSON.stringify` would write: members that are `undefined` are
/// left out, items become `null`, and numbers have JavaScript's spelling.
///
/// # Errors
///
/// [`MsgpackError`], whatever the bytes are.
pub fn to_json(bytes: &[u8]) -> Result<String, MsgpackError> {
    let mut decoder = Decoder { rest: bytes, records: [const { None }; RECORDS_MAX], depth: 0, out: String::new() };
    if !decoder.value()? {
        decoder.out.push_str("null");
    }
    if !decoder.rest.is_empty() {
        return Err(MsgpackError::Trailing(decoder.rest.len()));
    }
    Ok(decoder.out)
}

struct Decoder<'a> {
    rest: &'a [u8],
    /// The names of each shape, as JSON strings.
    records: [Option<Rc<[String]>>; RECORDS_MAX],
    depth: usize,
    out: String,
}

impl<'a> Decoder<'a> {
    /// Whether there is a value: `undefined` writes nothing.
    fn value(&mut self) -> Result<bool, MsgpackError> {
        if self.out.len() > JSON_BYTES_MAX {
            return Err(MsgpackError::TooLarge);
        }
        let [token] = self.array()?;
        match token {
            0x00..0x80 => match self.records[usize::from(token & 0x3f)].clone() {
                Some(names) if token >= FIRST_RECORD => self.record(&names)?,
                _ => self.integer(token.into()),
            },
            0x80..=0x8f => self.map((token & 0x0f).into())?,
            0x90..=0x9f => self.items((token & 0x0f).into())?,
            0xa0..=0xbf => self.text((token & 0x1f).into())?,
            0xc0 => self.out.push_str("null"),
            0xc2 => self.out.push_str("false"),
            0xc3 => self.out.push_str("true"),
            0xca => {
                let number = f32::from_be_bytes(self.array()?);
                push_number(&mut self.out, number.into());
            }
            0xcb => {
                let number = f64::from_be_bytes(self.array()?);
                push_number(&mut self.out, number);
            }
            0xcc..=0xcf => {
                let number = self.unsigned(1 << (token - 0xcc))?;
                self.out.push_str(itoa::Buffer::new().format(number));
            }
            0xd0 => {
                let number = i8::from_be_bytes(self.array()?);
                self.integer(number.into());
            }
            0xd1 => {
                let number = i16::from_be_bytes(self.array()?);
                self.integer(number.into());
            }
            0xd2 => {
                let number = i32::from_be_bytes(self.array()?);
                self.integer(number.into());
            }
            0xd3 => {
                let number = i64::from_be_bytes(self.array()?);
                self.integer(number);
            }
            // Extensions of one byte: the record's id, or the filler of `undefined`.
            0xd4 => match self.array()? {
                [RECORD_EXTENSION, id] => self.record_definition(id & 0x3f)?,
                [0, _] => return Ok(false),
                [other, _] => return Err(MsgpackError::Unsupported(other)),
            },
            0xd9..=0xdb => {
                let length = self.length(token - 0xd9)?;
                self.text(length)?;
            }
            0xdc | 0xdd => {
                let count = self.length(token - 0xdb)?;
                self.items(count)?;
            }
            0xde | 0xdf => {
                let count = self.length(token - 0xdd)?;
                self.map(count)?;
            }
            0xe0..=0xff => self.integer(i8::from_be_bytes([token]).into()),
            _ => return Err(MsgpackError::Unsupported(token)),
        }
        Ok(true)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MsgpackError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(MsgpackError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], MsgpackError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(MsgpackError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn unsigned(&mut self, length: usize) -> Result<u64, MsgpackError> {
        Ok(self.bytes(length)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A length of one, two or four bytes.
    fn length(&mut self, size: u8) -> Result<usize, MsgpackError> {
        // No message has more than what `usize` can count.
        usize::try_from(self.unsigned(1 << size)?).map_err(|_| MsgpackError::Truncated)
    }

    fn integer(&mut self, number: i64) {
        self.out.push_str(itoa::Buffer::new().format(number));
    }

    fn text(&mut self, length: usize) -> Result<(), MsgpackError> {
        let bytes = self.bytes(length)?;
        push_text(&mut self.out, bytes)
    }

    /// A text that is a name, as a JSON string.
    fn name(&mut self) -> Result<String, MsgpackError> {
        let [token] = self.array()?;
        let length = match token {
            0xa0..=0xbf => (token & 0x1f).into(),
            0xd9..=0xdb => self.length(token - 0xd9)?,
            _ => return Err(MsgpackError::Name),
        };
        let mut name = String::new();
        push_text(&mut name, self.bytes(length)?)?;
        Ok(name)
    }

    fn enter(&mut self) -> Result<(), MsgpackError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(MsgpackError::TooDeep) } else { Ok(()) }
    }

    fn items(&mut self, count: usize) -> Result<(), MsgpackError> {
        self.enter()?;
        self.out.push('[');
        for item in 0..count {
            if item > 0 {
                self.out.push(',');
            }
            if !self.value()? {
                self.out.push_str("null");
            }
        }
        self.out.push(']');
        self.depth -= 1;
        Ok(())
    }

    fn map(&mut self, count: usize) -> Result<(), MsgpackError> {
        self.enter()?;
        self.out.push('{');
        for _ in 0..count {
            let name = self.name()?;
            self.member(&name)?;
        }
        self.out.push('}');
        self.depth -= 1;
        Ok(())
    }

    fn record_definition(&mut self, id: u8) -> Result<(), MsgpackError> {
        let [token] = self.array()?;
        let count = match token {
            0x90..=0x9f => (token & 0x0f).into(),
            0xdc | 0xdd => self.length(token - 0xdb)?,
            _ => return Err(MsgpackError::Name),
        };
        // Not allocated in advance: the count is whatever the sender claims.
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(self.name()?);
        }
        let names: Rc<[String]> = names.into();
        self.records[usize::from(id)] = Some(names.clone());
        self.record(&names)
    }

    fn record(&mut self, names: &[String]) -> Result<(), MsgpackError> {
        self.enter()?;
        self.out.push('{');
        for name in names {
            self.member(name)?;
        }
        self.out.push('}');
        self.depth -= 1;
        Ok(())
    }

    fn member(&mut self, name: &str) -> Result<(), MsgpackError> {
        let before = self.out.len();
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
        self.out.push_str(name);
        self.out.push(':');
        if !self.value()? {
            self.out.truncate(before);
        }
        Ok(())
    }
}

/// Appends a JSON string. `msgpackr` writes a surrogate without its other half, which JavaScript
/// strings may have, in the way UTF-8 would; JSON has an escape for it.
fn push_text(out: &mut String, mut bytes: &[u8]) -> Result<(), MsgpackError> {
    let start = out.len();
    loop {
        let valid = match str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => str::from_utf8(&bytes[..error.valid_up_to()]).map_err(|_| MsgpackError::Text)?,
        };
        if out.len() > start {
            // Goes on with the string.
            out.pop();
            let before = out.len();
            push_json_string(out, valid);
            out.remove(before);
        } else {
            push_json_string(out, valid);
        }
        match bytes[valid.len()..] {
            [] => return Ok(()),
            [0xed, high @ 0xa0..=0xbf, low @ 0x80..=0xbf, ref rest @ ..] => {
                let surrogate = 0xd000 | u16::from(high & 0x3f) << 6 | u16::from(low & 0x3f);
                out.pop();
                write!(out, "\\u{surrogate:04x}\"").map_err(|_| MsgpackError::Text)?;
                bytes = rest;
            }
            _ => return Err(MsgpackError::Text),
        }
    }
}

/// Appends a number as `JSON.stringify` does.
fn push_number(out: &mut String, number: f64) {
    /// JavaScript writes larger numbers with an exponent.
    const DIGITS_MAX: i32 = 21;
    const LEADING_ZEROS_MAX: i32 = 6;

    if !number.is_finite() {
        out.push_str("null");
        return;
    }
    if number == 0.0 {
        out.push('0');
        return;
    }
    // Rust and JavaScript agree on the digits: the fewest that give the number again.
    let text = format!("{number:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = 1 + exponent.parse::<i32>().unwrap_or_default();
    if mantissa.starts_with('-') {
        out.push('-');
    }
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
    match usize::try_from(point) {
        Ok(whole) if whole > 0 && point <= DIGITS_MAX => match digits.split_at_checked(whole) {
            Some((whole, "")) => out.push_str(whole),
            Some((whole, fraction)) => out.extend([whole, ".", fraction]),
            None => {
                let missing = zeros(point - i32::try_from(digits.len()).unwrap_or_default());
                out.extend([digits, missing]);
            }
        },
        _ if point <= 0 && point > -LEADING_ZEROS_MAX => out.extend(["0.".to_owned(), zeros(-point), digits]),
        _ => {
            let (first, others) = digits.split_at(1);
            out.push_str(first);
            if !others.is_empty() {
                out.extend([".", others]);
            }
            let exponent = point - 1;
            let sign = if exponent < 0 { "-" } else { "+" };
            out.extend(["e", sign, itoa::Buffer::new().format(exponent.unsigned_abs())]);
        }
    }
}
