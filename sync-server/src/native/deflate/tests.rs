use flate2::Compress;

use super::inflater::{Inflater, TAIL};
use super::*;
use crate::close::CloseCode;

const MASKED: fn(&mut [u8]) = |_| ();

/// What comes of a payload, given in pieces of this size; and the most that it took.
fn inflate(payload: &[u8], piece: usize, bytes_max: usize) -> (Result<String, CloseCode>, u64) {
    let mut inflater = Inflater::new(bytes_max);
    let mut most = 0;
    let mut run = |inflater: &mut Inflater| {
        while let Some(wanted) = inflater.wanted() {
            most = most.max(wanted);
            inflater.run()?;
        }
        Ok(())
    };
    let result = payload
        .chunks(piece)
        .try_for_each(|piece| {
            inflater.put(piece, MASKED);
            run(&mut inflater)
        })
        .and_then(|()| {
            inflater.end();
            inflater.end();
            run(&mut inflater)
        });
    assert!(result.is_err() || inflater.received() == payload.len());
    (result.map(|()| String::from_utf8(inflater.into_message()).expect("text")), most)
}

/// As other senders make it.
fn deflate(text: &[u8], level: u32) -> Vec<u8> {
    let mut compress = Compress::new(Compression::new(level), false);
    let mut payload = Vec::with_capacity(text.len() * 2 + 1_000);
    compress.compress_vec(text, &mut payload, FlushCompress::Sync).expect("compresses");
    assert_eq!(payload.split_off(payload.len() - 4), TAIL);
    payload
}

fn events(bytes: usize) -> String {
    let event =
        |n| format!(r#"{{"name":"v1.TodoCreated","args":{{"id":"{}","text":"buy milk"}}}},"#, n * 7_919 % 10_007);
    let text: String = (0..bytes / 40).map(event).collect();
    text[..bytes].to_owned()
}

fn parts(head: &str, body: &str, tail: &str) -> [Bytes; 3] {
    [head, body, tail].map(|part| Bytes::copy_from_slice(part.as_bytes()))
}

#[test]
fn a_body_is_packed_from_a_size_on() {
    let body = events(PACKED_BYTES_MIN);
    assert_eq!(pack(&body[1..]), None);
    let packed = pack(&body).expect("it is large enough");
    assert!(packed.len() < body.len() / 2 && packed.ends_with(&TAIL), "{}", packed.len());
    // Nothing is kept between two.
    assert_eq!(pack(&body), Some(packed));
}

#[test]
fn a_message_is_an_envelope_around_a_packed_body() {
    let (short, long, longer) = ("h".repeat(65_535), "h".repeat(65_536), "h".repeat(200_000));
    for body in [events(1_024), events(100_000), events(2_000_000)] {
        let packed = Bytes::from(pack(&body).expect("it pays"));
        for head in ["", "[", &short, &long, &longer] {
            for tail in ["", "]", &long] {
                let plain = parts(head, &body, tail);
                let message = message(&plain, Some(packed.clone())).expect("it is smaller");
                assert_eq!(message[1].as_ptr(), packed.as_ptr(), "it is not copied");
                let payload = message.concat();
                assert!(payload.len() < head.len() + body.len() / 2 + tail.len());
                let (text, _) = inflate(&payload, payload.len(), 4 << 20);
                assert_eq!(text.as_deref(), Ok(&*String::from_utf8(plain.concat()).expect("text")));
            }
        }
    }
}

#[test]
fn stored_blocks_have_a_largest_size() {
    for (bytes, blocks) in [(0, 0), (1, 1), (65_535, 1), (65_536, 2), (131_070, 2), (131_071, 3)] {
        assert_eq!(stored(&vec![b'x'; bytes]).len(), bytes + 5 * blocks, "{bytes}");
    }
}

#[test]
fn what_gets_no_smaller_goes_as_it_is() {
    let mut state = 1_u32;
    let noise: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from_u32(0x4e00 + (state >> 12) % 0x4000).unwrap_or('x')
    })
    .take(100_000)
    .collect();
    if let Some(packed) = pack(&noise) {
        assert!(packed.len() < noise.len());
    }
    let plain = parts("head", &"x".repeat(5_000), "tail");
    // 4 + 5,000 + 4 bytes against 5 + 4, 4,989, 5 + 4 and 1.
    assert!(message(&plain, Some(Bytes::from(vec![0; 4_988]))).is_some());
    assert!(message(&plain, Some(Bytes::from(vec![0; 4_989]))).is_none());
}

#[test]
fn what_is_small_is_deflated_all_the_same() {
    let body = "x".repeat(WHOLE_BYTES_MAX - 8);
    for packed in [None, Some(Bytes::from(vec![0; WHOLE_BYTES_MAX]))] {
        let payload = message(&parts("head", &body, "tail"), packed).expect("it is small").concat();
        assert_eq!(payload.len(), WHOLE_BYTES_MAX + 6);
        assert_eq!(inflate(&payload, payload.len(), 1 << 20).0, Ok(format!("head{body}tail")));
    }
    assert!(message(&parts("head", &body, "tail!"), None).is_none());
    assert_eq!(message(&parts("", "", ""), None).expect("nothing is small").concat(), [END]);
}

#[test]
fn messages_come_whole_however_they_are_cut_and_made() {
    let text = events(50_000);
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let two = [&deflate(text.as_bytes(), 9)[..], &TAIL, &deflate(b"more", 6)].concat();
    let cases: [(&[u8], &str); 11] = [
        // The examples of RFC 7692, section 7.2.3.
        (hello, "Hello"),
        (b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello"),
        (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello"),
        (b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello"),
        (b"\x00", ""),
        // Nothing at all, empty blocks behind the text, and one that says that it is the last before another.
        (b"", ""),
        (b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff\x00\x00\x00\xff\xff\x00", "Hello"),
        (b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "HelloHello"),
        (&deflate(text.as_bytes(), 9), &text),
        (&deflate(text.as_bytes(), 0), &text),
        (&two, &format!("{text}more")),
    ];
    for (payload, expected) in cases {
        for piece in [1, 7, 1_000, 16 * 1024] {
            let (got, _) = inflate(payload, piece, 100_000);
            assert_eq!(got.as_deref(), Ok(expected), "{:x?} in pieces of {piece}", &payload[..payload.len().min(20)]);
        }
    }
}

#[test]
fn what_cannot_be_inflated_is_told() {
    for payload in [&b"\xff\xff\xff"[..], b"\x07", b"\x00\x05\x00\x00\x00hello\x00", b"\x02\x01\x00\x00"] {
        assert_eq!(inflate(payload, 16 * 1024, 100_000).0, Err(CloseCode::InvalidDeflate), "{payload:x?}");
    }
}

#[test]
fn a_bomb_is_refused_as_soon_as_the_limit_is_passed() {
    const BYTES_MAX: usize = 1_000_000;
    let zeroes = vec![b'0'; BYTES_MAX + 1];
    // A gigabyte.
    let bomb = [&deflate(&zeroes, 9)[..], &TAIL].concat().repeat(1_000);
    assert!(bomb.len() < 2_000_000, "{}", bomb.len());
    for piece in [100, 16 * 1024] {
        let (refused, most) = inflate(&bomb, piece, BYTES_MAX);
        assert_eq!(refused, Err(CloseCode::FrameTooLarge));
        assert!(most < 1_100_000, "{most}");
    }
    for (bytes, expected) in [(BYTES_MAX, Ok(())), (BYTES_MAX + 1, Err(CloseCode::FrameTooLarge))] {
        let payload = deflate(&zeroes[..bytes], 9);
        assert_eq!(inflate(&payload, 16 * 1024, BYTES_MAX).0.map(drop), expected, "{bytes}");
    }
}
