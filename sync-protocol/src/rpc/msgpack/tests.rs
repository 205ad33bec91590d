use super::*;

fn json(bytes: &[u8]) -> Result<String, MsgpackError> {
    to_json(bytes)
}

fn float(number: f64) -> String {
    let mut bytes = vec![0xcb];
    bytes.extend(number.to_be_bytes());
    to_json(&bytes).expect("a number")
}

#[test]
fn numbers_are_spelled_as_javascript_does() {
    // Each as `JSON.stringify` of Node writes it.
    let cases: [(f64, &str); 22] = [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (100.0, "100"),
        (1234.5678, "1234.5678"),
        (4_294_967_296.0, "4294967296"),
        (9_007_199_254_740_991.0, "9007199254740991"),
        (9_007_199_254_740_992.0, "9007199254740992"),
        (123_456_789_012_345_680_000.0, "123456789012345680000"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (-1.25e21, "-1.25e+21"),
        (1e-6, "0.000001"),
        (1.5e-6, "0.0000015"),
        (1e-7, "1e-7"),
        (-1.5e-7, "-1.5e-7"),
        (f64::MAX, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (f64::INFINITY, "null"),
        (f64::NAN, "null"),
    ];
    for (number, text) in cases {
        assert_eq!(float(number), text);
    }
    assert_eq!(json(b"\xca\x3f\xc0\0\0").as_deref(), Ok("1.5"));
}

#[test]
fn integers_of_all_sizes() {
    let cases = [
        (0, "00"),
        (0x3f, "3f"),
        (0x40, "cc40"),
        (0x7f, "cc7f"),
        (0xff, "ccff"),
        (0x100, "cd0100"),
        (0xffff, "cdffff"),
        (0x1_0000, "ce00010000"),
        (0xffff_ffff, "ceffffffff"),
        (0x1_0000_0000, "cb41f0000000000000"),
        (-1, "ff"),
        (-32, "e0"),
        (-33, "d0df"),
        (-0x80, "d080"),
        (-0x81, "d1ff7f"),
        (-0x8000, "d18000"),
        (-0x8001, "d2ffff7fff"),
        (-0x8000_0000, "d280000000"),
        (-0x8000_0001, "cbc1e0000000200000"),
    ];
    for (number, hex) in cases {
        let text = i64::to_string(&number);
        let bytes = from_json(&text).expect("a number");
        assert_eq!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), hex);
        assert_eq!(to_json(&bytes), Ok(text));
    }
    // As other encoders may write them.
    assert_eq!(json(b"\x7f").as_deref(), Ok("127"));
    assert_eq!(json(b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff").as_deref(), Ok("18446744073709551615"));
    assert_eq!(json(b"\xd3\x80\0\0\0\0\0\0\0").as_deref(), Ok("-9223372036854775808"));
    // Large or fractional as JSON has them, spelled in any way.
    for (text, back) in [("1.0", "1"), ("1E2", "100"), ("-0", "0"), ("1e400", "null"), ("0.10", "0.1")] {
        assert_eq!(to_json(&from_json(text).expect("a number")).as_deref(), Ok(back));
    }
}

#[test]
fn undefined_is_absent() {
    // {a: undefined, b: 1, c: undefined}, [undefined], undefined
    let record = b"\xd4\x72\x40\x93\xa1a\xa1b\xa1c\xd4\0\0\x01\xd4\0\0";
    assert_eq!(json(record).as_deref(), Ok(r#"{"b":1}"#));
    assert_eq!(json(b"\x91\xd4\0\0").as_deref(), Ok("[null]"));
    assert_eq!(json(b"\xd4\0\0").as_deref(), Ok("null"));
}

#[test]
fn records_are_defined_once_and_their_ids_used_again() {
    let shapes = |count: usize| {
        let objects: Vec<_> = (0..count).map(|n| format!(r#"{{"m{n}":{n}}}"#)).collect();
        // The first and the last shape once more.
        format!("[{},{},{}]", objects.join(","), objects[0], objects[count - 1])
    };
    for count in [1, RECORDS_MAX, RECORDS_MAX + 1, 3 * RECORDS_MAX] {
        let text = shapes(count);
        let bytes = from_json(&text).expect("JSON");
        assert_eq!(to_json(&bytes), Ok(text));
        let definitions = bytes.windows(2).filter(|pair| *pair == [0xd4, RECORD_EXTENSION]).count();
        // Beyond the maximum the first shape has lost its id.
        assert_eq!(definitions, count + usize::from(count > RECORDS_MAX));
    }
    // A record inside its own definition.
    let nested = b"\xd4\x72\x40\x91\xa1a\x40\x40\xc0";
    assert_eq!(json(nested).as_deref(), Ok(r#"{"a":{"a":{"a":null}}}"#));
}

#[test]
fn maps_of_other_encoders_are_objects() {
    assert_eq!(json(b"\x82\xa1a\x01\xa1b\x80").as_deref(), Ok(r#"{"a":1,"b":{}}"#));
    assert_eq!(json(b"\xde\0\x01\xa1a\x01").as_deref(), Ok(r#"{"a":1}"#));
    assert_eq!(json(b"\x81\x01\x01"), Err(MsgpackError::Name));
}

#[test]
fn texts_of_all_lengths() {
    for length in [0, 31, 32, 255, 256, 65_535, 65_536] {
        let text = format!("\"{}\"", "x".repeat(length));
        let bytes = from_json(&text).expect("JSON");
        let head = match length {
            ..32 => 1,
            ..256 => 2,
            ..65_536 => 3,
            _ => 5,
        };
        assert_eq!(bytes.len(), head + length);
        assert_eq!(to_json(&bytes), Ok(text));
    }
}

#[test]
fn arrays_of_all_lengths() {
    for length in [0, 15, 16, 65_535, 65_536] {
        let text = format!("[{}]", vec!["1"; length].join(","));
        assert_eq!(to_json(&from_json(&text).expect("JSON")), Ok(text));
    }
}

#[test]
fn halves_of_characters_survive() {
    let text = r#"{"\ud800":"a\udfff\ud800b🚀"}"#;
    let bytes = from_json(text).expect("JSON");
    assert_eq!(to_json(&bytes).as_deref(), Ok(text));
    assert_eq!(from_json(r#""\ud83d\ude80""#), from_json("\"🚀\""));
    assert_eq!(json(b"\xa1\xff"), Err(MsgpackError::Text));
    assert_eq!(json(b"\xa2\xed\xa0"), Err(MsgpackError::Text));
}

#[test]
fn what_json_has_not_is_refused() {
    for (bytes, token) in [(b"\xc4\x01x".as_slice(), 0xc4), (b"\xd6\xff\0\0\0\0", 0xd6), (b"\xd4\x73\0\x90", 0x73)] {
        assert_eq!(to_json(bytes), Err(MsgpackError::Unsupported(token)));
    }
    assert_eq!(json(b"\x01\x02"), Err(MsgpackError::Trailing(1)));
    assert_eq!(json(b""), Err(MsgpackError::Truncated));
}

#[test]
fn claims_are_not_believed() {
    for bytes in [
        b"\xdd\xff\xff\xff\xff".as_slice(),
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xd4\x72\x40\xdd\xff\xff\xff\xff",
    ] {
        assert_eq!(to_json(bytes), Err(MsgpackError::Truncated));
    }
}

#[test]
fn depth_has_a_limit_when_read() {
    let deep = |levels: usize| [vec![0x91; levels], vec![0xc0]].concat();
    assert!(to_json(&deep(DEPTH_MAX)).is_ok());
    assert_eq!(to_json(&deep(DEPTH_MAX + 1)), Err(MsgpackError::TooDeep));
    // What is written was stored, perhaps by a client of another transport.
    let levels = 100_000;
    let text = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(from_json(&text).map(|bytes| bytes.len()), Ok(levels));
}

#[test]
fn a_small_message_does_not_become_a_huge_text() {
    // A shape with a name of 1 MiB, used `count` times.
    let records = |count: u32| {
        let mut bytes = vec![0xdd];
        bytes.extend(count.to_be_bytes());
        bytes.extend(b"\xd4\x72\x40\x91\xdb\x00\x10\x00\x00");
        bytes.extend(vec![b'x'; 1 << 20]);
        bytes.extend([0xc0]);
        bytes.extend(b"\x40\xc0".repeat(count as usize - 1));
        bytes
    };
    assert!(to_json(&records(31)).is_ok());
    assert_eq!(to_json(&records(34)), Err(MsgpackError::TooLarge));
}

#[test]
fn what_is_not_json_is_an_error() {
    for text in
        ["", " ", "[1", "[1,]", "{\"a\"1}", "{1:2}", "{\"a\":1,}", r#""\x""#, r#""\u12"#, "[1]]", "nul", "[}", "é", "-"]
    {
        assert!(matches!(from_json(text), Err(MsgpackError::Json(_))), "{text}");
    }
}
