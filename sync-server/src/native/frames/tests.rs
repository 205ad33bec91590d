use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::super::deflate;
use super::super::testing::frame;
use super::*;
use crate::budget::Holder;

const BYTES_MAX: usize = 300_000;

fn budget(max: u64) -> Budget {
    Budget::process(u64::MAX).child(Holder::Connection, max)
}

/// What comes of these bytes, given in pieces of this size, and how it ends.
async fn read(bytes: &[u8], piece: usize) -> (Vec<Incoming>, Option<CloseCode>) {
    read_as(bytes, piece, false).await
}

/// The same, where messages may be compressed.
async fn read_deflated(bytes: &[u8], piece: usize) -> (Vec<Incoming>, Option<CloseCode>) {
    read_as(bytes, piece, true).await
}

async fn read_as(bytes: &[u8], piece: usize, deflate: bool) -> (Vec<Incoming>, Option<CloseCode>) {
    let (mut near, far) = duplex(64 * 1024);
    let budget = budget(1 << 30);
    let mut frames = Frames::new(far, BYTES_MAX, budget.clone(), deflate);
    let writing = async {
        for piece in bytes.chunks(piece) {
            near.write_all(piece).await.expect("reads on");
            tokio::task::yield_now().await;
        }
        drop(near);
    };
    let reading = async {
        let mut got = Vec::new();
        loop {
            match frames.next().await {
                Ok(Some(incoming)) => got.push(incoming),
                Ok(None) => return (got, None),
                Err(code) => return (got, Some(code)),
            }
        }
    };
    let (result, ()) = tokio::join!(reading, async {
        tokio::select! { () = writing => {}, () = sleep(Duration::from_secs(600)) => {} }
    });
    drop(frames);
    assert_eq!(budget.held(), 0, "what was held is given back");
    result
}

fn text(text: &str) -> Incoming {
    Incoming::Text(text.to_owned())
}

#[tokio::test(start_paused = true)]
async fn messages_come_whole_however_they_are_cut() {
    let long = "ä".repeat(70_000);
    let bytes = [
        frame(0x81, b"one"),
        frame(0x82, "zwöi".as_bytes()),
        frame(0x81, b""),
        frame(0x01, b"th"),
        frame(0x89, b"are you there?"),
        frame(0x00, b""),
        frame(0x00, b"re"),
        frame(0x8a, b"\0\0\0\0\0\0\0\x07"),
        frame(0x80, b"e"),
        frame(0x81, "x".repeat(126).as_bytes()),
        frame(0x81, long.as_bytes()),
        frame(0x88, b"\x03\xe8bye"),
    ]
    .concat();
    let expected = [
        text("one"),
        text("zwöi"),
        text(""),
        Incoming::Ping(Bytes::from_static(b"are you there?")),
        Incoming::Pong(Bytes::from_static(b"\0\0\0\0\0\0\0\x07")),
        text("three"),
        text(&"x".repeat(126)),
        text(&long),
        Incoming::Close(Bytes::from_static(b"\x03\xe8bye")),
    ];
    for piece in [1, 2, 3, 7, 1_000, 1 << 20] {
        let (got, end) = read(&bytes, piece).await;
        assert_eq!((got.as_slice(), end), (expected.as_slice(), None), "in pieces of {piece}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_breaks_the_rules_is_told_why() {
    let with = |mut bytes: Vec<u8>, more: Vec<u8>| {
        bytes.extend(more);
        bytes
    };
    let cases: Vec<(&str, Vec<u8>, CloseCode)> = vec![
        ("without a mask", b"\x81\x02{}".to_vec(), CloseCode::ProtocolError),
        ("a reserved opcode", frame(0x83, b""), CloseCode::ProtocolError),
        ("a reserved control opcode", frame(0x8b, b""), CloseCode::ProtocolError),
        ("RSV1", frame(0xc1, b"{}"), CloseCode::ProtocolError),
        ("RSV2", frame(0xa1, b"{}"), CloseCode::ProtocolError),
        ("RSV3", frame(0x91, b"{}"), CloseCode::ProtocolError),
        ("a continuation of nothing", frame(0x80, b"{}"), CloseCode::ProtocolError),
        ("a message in a message", with(frame(0x01, b"{"), frame(0x81, b"}")), CloseCode::ProtocolError),
        ("a long ping", frame(0x89, &[b'x'; 126]), CloseCode::ProtocolError),
        ("a ping in parts", frame(0x09, b""), CloseCode::ProtocolError),
        ("a close of one byte", frame(0x88, b"\x03"), CloseCode::ProtocolError),
        ("a close with a code that is never sent", frame(0x88, b"\x03\xed"), CloseCode::ProtocolError),
        ("a close whose reason is no text", frame(0x88, b"\x03\xe8\xff"), CloseCode::InvalidUtf8),
        ("no text", frame(0x81, b"\xff"), CloseCode::InvalidUtf8),
        ("too large", frame(0x81, &vec![b'x'; BYTES_MAX + 1]), CloseCode::FrameTooLarge),
        ("too large in parts", with(frame(0x01, &vec![b'x'; BYTES_MAX]), frame(0x80, b"x")), CloseCode::FrameTooLarge),
        ("an absurd length", b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0".to_vec(), CloseCode::FrameTooLarge),
    ];
    for (what, bytes, code) in cases {
        assert_eq!(read(&bytes, 1 << 20).await.1, Some(code), "{what}");
    }
    let largest = frame(0x81, &vec![b'x'; BYTES_MAX]);
    assert_eq!(read(&largest, 1 << 20).await.1, None);
    assert_eq!(read(&frame(0x89, &[b'x'; 125]), 1 << 20).await.1, None);
    // A connection that breaks off amid a message has ended.
    assert_eq!(read(&largest[..1_000], 100).await, (Vec::new(), None));
}

async fn feed(near: &mut DuplexStream, bytes: &[u8]) {
    near.write_all(bytes).await.expect("is read");
}

#[tokio::test(start_paused = true)]
async fn bytes_of_a_message_are_counted_as_they_come() {
    let budget = budget(1 << 20);
    let (mut near, far) = duplex(1 << 20);
    let mut frames = Frames::new(far, 8 << 20, budget.clone(), false);
    let whole = frame(0x01, &[b'x'; 200_000]);
    feed(&mut near, &whole[..150_000]).await;
    let soon = Duration::from_millis(10);
    assert!(tokio::time::timeout(soon, frames.next()).await.is_err(), "it is not whole");
    assert!((149_000..=300_000).contains(&budget.held()), "{}", budget.held());
    assert!(frames.unfinished_since().is_some());
    // An announced length is not reserved.
    let mut announced = frame(0x80, &[b'y'; 70_000]);
    announced[2..10].copy_from_slice(&7_000_000_u64.to_be_bytes());
    feed(&mut near, &whole[150_000..]).await;
    feed(&mut near, &announced).await;
    assert!(tokio::time::timeout(soon, frames.next()).await.is_err(), "it is not whole");
    assert!((270_000..=540_000).contains(&budget.held()), "{}", budget.held());
    drop(frames);
    assert_eq!(budget.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_waits_for_room_and_is_given_up_without() {
    let budget = budget(1 << 20);
    let others = budget.take(900_000).expect("room");
    let message = frame(0x81, &[b'x'; 250_000]);
    let start = Instant::now();
    let (mut near, far) = duplex(1 << 20);
    let mut frames = Frames::new(far, 8 << 20, budget.clone(), false);
    feed(&mut near, &message).await;
    let (got, ()) = tokio::join!(frames.next(), async {
        sleep(ROOM_TIMEOUT - Duration::from_secs(1)).await;
        drop(others);
    });
    assert!(matches!(got, Ok(Some(Incoming::Text(_)))), "{got:?}");
    assert!(start.elapsed() >= ROOM_TIMEOUT - Duration::from_secs(1));
    // It counts until it has been handled.
    let held = frames.take_held();
    assert_eq!((held.bytes(), budget.held()), (250_000, 250_000));
    drop(held);
    let (mut near, far) = duplex(1 << 20);
    let mut frames = Frames::new(far, 8 << 20, budget.clone(), false);
    let _all = budget.take((1 << 20) - budget.held()).expect("room");
    feed(&mut near, &message).await;
    let start = Instant::now();
    let ended = loop {
        // As in the loop that calls it, which looks at other things meanwhile.
        match tokio::time::timeout(Duration::from_secs(1), frames.next()).await {
            Ok(Ok(Some(_))) => panic!("there is no room"),
            Ok(ended) => break ended,
            Err(_) => {}
        }
        assert!(start.elapsed() < ROOM_TIMEOUT * 2);
    };
    assert_eq!(ended, Err(CloseCode::NoRoom));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_stands_still_goes_where_memory_is_short() {
    let budget = Budget::process(4 << 20);
    let (mut near, far) = duplex(1 << 20);
    let mut frames = Frames::new(far, 8 << 20, budget.clone(), false);
    feed(&mut near, &frame(0x81, &[b'x'; 250_000])[..100_000]).await;
    assert!(tokio::time::timeout(SHORT_SILENCE_MAX * 5, frames.next()).await.is_err(), "there is room for it");
    let others = budget.take_anyway((3 << 20) - budget.held());
    assert!(tokio::time::timeout(SHORT_SILENCE_MAX, frames.next()).await.is_err(), "not short yet");
    let _more = budget.take_anyway(1);
    let ended = tokio::time::timeout(SHORT_SILENCE_MAX, frames.next()).await.expect("in time");
    assert_eq!(ended, Err(CloseCode::NoRoom));
    drop(others);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_keeps_nothing_of_what_it_said() {
    let budget = budget(16 << 20);
    let (mut near, far) = duplex(1 << 20);
    let mut frames = Frames::new(far, 8 << 20, budget.clone(), false);
    let (got, ()) = tokio::join!(frames.next(), async {
        feed(&mut near, &frame(0x81, &vec![b'x'; 5_000_000])).await;
    });
    assert!(matches!(got, Ok(Some(Incoming::Text(_)))));
    drop(got);
    assert!(tokio::time::timeout(Duration::from_millis(10), frames.next()).await.is_err(), "nothing more");
    let kept = frames.buffer.capacity() + frames.control.capacity();
    assert!(kept <= READ_BYTES_MAX && frames.message.is_none(), "{kept} bytes");
    assert_eq!((budget.held(), frames.unfinished_since()), (0, None));
}

#[test]
fn headers_of_the_server_have_no_mask() {
    for (bytes, expected) in
        [(2, &b"\x81\x02"[..]), (125, b"\x81\x7d"), (126, b"\x81\x7e\0\x7e"), (65_536, b"\x81\x7f\0\0\0\0\0\x01\0\0")]
    {
        assert_eq!(&header(OpCode::Data(Data::Text), false, bytes)[..], expected);
    }
}

/// A message, compressed as a client does it.
fn deflated(text: &str) -> Vec<u8> {
    let [head, body, tail] = [&text[..1], &text[1..text.len() - 1], &text[text.len() - 1..]].map(str::to_owned);
    let packed = deflate::pack(&body).map(Bytes::from);
    deflate::message(&[head.into(), body.into(), tail.into()], packed).expect("it is smaller").concat()
}

#[tokio::test(start_paused = true)]
async fn compressed_messages_come_whole_however_they_are_cut() {
    let large = "ab".repeat(BYTES_MAX / 2);
    let (hello, payload) = (b"\xf2\x48\xcd\xc9\xc9\x07\x00", deflated(&large));
    let bytes = [
        frame(0xc1, hello),
        frame(0x81, b"as it is"),
        frame(0xc2, hello),
        // The first frame says so for all of a message.
        frame(0x41, &hello[..3]),
        frame(0x89, b"ping"),
        frame(0x00, &hello[3..6]),
        frame(0x80, &hello[6..]),
        frame(0x41, hello),
        frame(0x80, b""),
        frame(0xc1, b"\0"),
        frame(0x01, b"th"),
        frame(0x80, b"ree"),
        frame(0xc1, &payload),
    ]
    .concat();
    let ping = Incoming::Ping(Bytes::from_static(b"ping"));
    let first = [text("Hello"), text("as it is"), text("Hello"), ping, text("Hello"), text("Hello"), text("")];
    let expected: Vec<_> = first.into_iter().chain([text("three"), text(&large)]).collect();
    for piece in [1, 3, 1_000, 1 << 20] {
        let (got, end) = read_deflated(&bytes, piece).await;
        assert_eq!((got == expected, end), (true, None), "in pieces of {piece}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_breaks_the_rules_of_compression_is_told_why() {
    let hello = &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..];
    let too_large = deflated(&"x".repeat(BYTES_MAX + 1));
    // It says nothing, at length.
    let empty_blocks = b"\0\0\0\xff\xff".repeat(BYTES_MAX / 5 + 1);
    let cases = [
        ("RSV1 amid a message", [frame(0x41, hello), frame(0xc0, hello)].concat(), CloseCode::ProtocolError),
        ("RSV1 amid a plain one", [frame(0x01, b"x"), frame(0xc0, hello)].concat(), CloseCode::ProtocolError),
        ("a compressed ping", frame(0xc9, hello), CloseCode::ProtocolError),
        ("a compressed close", frame(0xc8, hello), CloseCode::ProtocolError),
        ("RSV1 and RSV2", frame(0xe1, hello), CloseCode::ProtocolError),
        ("a reserved opcode", frame(0xc3, hello), CloseCode::ProtocolError),
        ("no blocks", frame(0xc1, b"{\"_tag\":"), CloseCode::InvalidDeflate),
        ("no text", frame(0xc1, b"\0\x01\0\xfe\xff\xff\0"), CloseCode::InvalidUtf8),
        ("too large", frame(0xc1, &too_large), CloseCode::FrameTooLarge),
        ("too large as it comes", frame(0xc1, &empty_blocks), CloseCode::FrameTooLarge),
    ];
    for (what, bytes, code) in cases {
        assert_eq!(read_deflated(&bytes, 1 << 20).await.1, Some(code), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_compressed_message_is_counted_as_it_grows_and_waits_for_room() {
    let budget = budget(1 << 20);
    let (mut near, far) = duplex(1 << 20);
    let mut frames = Frames::new(far, 8 << 20, budget.clone(), true);
    let bytes = frame(0xc1, &deflated(&"x".repeat(600_000)));
    assert!(bytes.len() < 10_000, "{}", bytes.len());
    let soon = Duration::from_millis(10);
    feed(&mut near, &bytes[..6]).await;
    assert!(tokio::time::timeout(soon, frames.next()).await.is_err(), "it is not whole");
    assert_eq!(budget.held(), 0, "nothing of it has come");
    let others = budget.take(900_000).expect("room");
    feed(&mut near, &bytes[6..]).await;
    let (got, ()) = tokio::join!(frames.next(), async {
        sleep(ROOM_TIMEOUT / 2).await;
        // What it has grown to, with what it takes to go on.
        assert!((10_000..=150_000).contains(&(budget.held() - others.bytes())), "{}", budget.held());
        drop(others);
    });
    assert!(matches!(&got, Ok(Some(Incoming::Text(text))) if text.len() == 600_000), "no message");
    let held = frames.take_held();
    assert!((600_000..=1 << 20).contains(&held.bytes()), "{}", held.bytes());
    drop((held, frames));
    assert_eq!(budget.held(), 0);
}
