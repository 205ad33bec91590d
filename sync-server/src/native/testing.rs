//! The bytes of WebSocket frames as the other side has them. For the tests of this folder.

use tokio::io::{AsyncRead, AsyncReadExt};

const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// A frame as a client writes it.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ MASK[index % 4]));
    bytes
}

/// The next frame of the server's: opcode, with RSV1 as it is on the wire, and payload.
pub(super) async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> (u8, Vec<u8>) {
    let (opcode, length) = (stream.read_u8().await.expect("a frame") & 0x4f, stream.read_u8().await.expect("a length"));
    let length = match length {
        126 => usize::from(stream.read_u16().await.expect("a length")),
        127 => usize::try_from(stream.read_u64().await.expect("a length")).expect("a length"),
        length => usize::from(length),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.expect("a payload");
    (opcode, payload)
}
