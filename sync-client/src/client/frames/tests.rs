//! The reading side against what a server may send, and must not; the writing side against what the other reads.

use super::super::deflate::{OFFER, agreed, deflate};
use super::*;

const BYTES_MAX: usize = 64 * 1024;

const TEXT: OpCode = OpCode::Data(Data::Text);
const CONTINUE: OpCode = OpCode::Data(Data::Continue);
const PING: OpCode = OpCode::Control(Control::Ping);

/// A frame of the server's.
fn sent(opcode: OpCode, is_final: bool, rsv1: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = FrameHeader { opcode, is_final, rsv1, ..FrameHeader::default() };
    header.format(payload.len() as u64, &mut bytes).unwrap();
    bytes.extend(payload);
    bytes
}

/// What is read of these bytes, and why nothing more.
async fn read(bytes: &[u8], compression: bool) -> (Vec<Incoming>, FrameError) {
    let inflater = if compression { agreed(true, [OFFER]).unwrap() } else { None };
    // A part of it has come with the handshake.
    let (read, rest) = bytes.split_at(bytes.len().min(1));
    let mut frames = Frames::new(rest, read, inflater, BYTES_MAX);
    let mut all = Vec::new();
    loop {
        match frames.next().await {
            Ok(incoming) => all.push(incoming),
            Err(error) => return (all, error),
        }
    }
}

fn text(text: &str) -> Incoming {
    Incoming::Text(text.to_owned())
}

#[tokio::test]
async fn messages_are_put_together_and_control_frames_stand_between() {
    let bytes = [
        sent(TEXT, true, false, b"a"),
        sent(TEXT, false, false, "ä".as_bytes().split_at(1).0),
        sent(PING, true, false, b"p"),
        sent(CONTINUE, false, false, "ä".as_bytes().split_at(1).1),
        sent(OpCode::Control(Control::Pong), true, false, b""),
        sent(CONTINUE, true, false, b"!"),
        sent(OpCode::Data(Data::Binary), true, false, b"\xff"),
        sent(TEXT, true, false, b""),
        sent(OpCode::Control(Control::Close), true, false, b"\x03\xe9gone"),
    ]
    .concat();
    let (all, end) = read(&bytes, false).await;
    let close = Bytes::from_static(b"\x03\xe9gone");
    assert_eq!(close_reason(&close), (1001, "gone".to_owned()));
    assert_eq!(close_reason(b""), (1005, String::new()));
    let ping = Incoming::Ping(Bytes::from_static(b"p"));
    let expected = [text("a"), ping, Incoming::Pong, text("ä!"), Incoming::Binary, text(""), Incoming::Close(close)];
    assert_eq!(all, expected);
    assert!(matches!(end, FrameError::Ended), "{end:?}");
}

#[tokio::test]
async fn compressed_messages_are_read_whole_in_parts_and_beside_others() {
    let long = r#"{"n":1}"#.repeat(1000);
    let deflated = deflate(long.as_bytes()).unwrap();
    let (first, second) = deflated.split_at(deflated.len() / 2);
    let bytes = [
        sent(TEXT, true, true, &deflated),
        sent(TEXT, true, false, b"short"),
        sent(TEXT, false, true, first),
        sent(PING, true, false, b""),
        sent(CONTINUE, false, false, b""),
        sent(CONTINUE, true, false, second),
    ]
    .concat();
    let (all, end) = read(&bytes, true).await;
    assert_eq!(all, [text(&long), text("short"), Incoming::Ping(Bytes::new()), text(&long)]);
    assert!(matches!(end, FrameError::Ended), "{end:?}");
}

#[tokio::test]
async fn messages_have_a_largest_size_before_and_after_they_are_inflated() {
    let (most, more) = ("a".repeat(BYTES_MAX), "a".repeat(BYTES_MAX + 1));
    let half = &more.as_bytes()[..BYTES_MAX / 2 + 1];
    let bomb = deflate(more.as_bytes()).unwrap();
    // Blocks without content: nothing ever becomes of them.
    let nothing = [0, 0, 0, 0xFF, 0xFF].repeat(BYTES_MAX / 5 + 1);
    for (taken, bytes) in [
        (true, sent(TEXT, true, false, most.as_bytes())),
        (true, sent(TEXT, true, true, &deflate(most.as_bytes()).unwrap())),
        (false, sent(TEXT, true, false, more.as_bytes())),
        // Nothing but the announcement.
        (false, sent(TEXT, true, false, more.as_bytes())[..10].to_vec()),
        (false, [sent(TEXT, false, false, half), sent(CONTINUE, true, false, half)].concat()),
        (false, b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff".to_vec()),
        (false, sent(TEXT, true, true, &bomb)),
        (false, [sent(TEXT, false, true, &bomb[..30]), sent(CONTINUE, true, false, &bomb[30..])].concat()),
        (false, sent(TEXT, true, true, &nothing)),
    ] {
        let (all, end) = read(&bytes, true).await;
        assert_eq!(all, if taken { vec![text(&most)] } else { vec![] });
        assert_eq!(matches!(end, FrameError::TooLarge(BYTES_MAX)), !taken, "{end:?}");
        assert_eq!(end.close_code(), (!taken).then_some(1009));
    }
}

#[tokio::test]
async fn what_a_server_must_not_send_ends_the_connection() {
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    for (compression, code, bytes) in [
        // A mask, a reserved opcode, reserved bits.
        (true, 1002, frame(TEXT, false, b"a", [1, 2, 3, 4])),
        (true, 1002, b"\x83\x00".to_vec()),
        (true, 1002, b"\x8b\x00".to_vec()),
        (true, 1002, b"\xa1\x00".to_vec()),
        (true, 1002, b"\x91\x00".to_vec()),
        // Out of order.
        (true, 1002, sent(CONTINUE, true, false, b"a")),
        (true, 1002, [sent(TEXT, false, false, b"a"), sent(TEXT, true, false, b"a")].concat()),
        // Control frames.
        (true, 1002, sent(PING, false, false, b"")),
        (true, 1002, sent(PING, true, true, b"")),
        (true, 1002, sent(PING, true, false, &[0; 126])),
        // Compression: not agreed on, said of a later frame, or no such thing.
        (false, 1002, sent(TEXT, true, true, hello)),
        (true, 1002, [sent(TEXT, false, true, hello), sent(CONTINUE, true, true, b"")].concat()),
        (true, 1007, sent(TEXT, true, true, &[0xFF; 9])),
        (true, 1007, sent(TEXT, true, false, b"\xff")),
    ] {
        let (all, end) = read(&bytes, compression).await;
        assert_eq!(all, [], "{bytes:x?}");
        assert_eq!(end.close_code(), Some(code), "{bytes:x?} {end:?}");
    }
}

#[test]
fn frames_of_a_client_are_masked() {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    // The example of RFC 6455, 5.7.
    assert_eq!(frame(TEXT, false, b"Hello", mask), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    assert_eq!(frame(OpCode::Control(Control::Close), false, b"", mask), b"\x88\x80\x37\xfa\x21\x3d");
    let long = frame(TEXT, true, &[0; 70_000], mask);
    assert_eq!(long[..14], *b"\xc1\xff\x00\x00\x00\x00\x00\x01\x11\x70\x37\xfa\x21\x3d");
    assert!(long[14..].chunks(4).all(|key| key == mask));
}
