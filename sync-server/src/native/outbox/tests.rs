use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};

use super::super::connection::PEER_SILENCE_MAX as PATIENCE;
use super::super::testing::receive;
use super::super::watched::Watched;
use super::super::writer;
use super::*;
use crate::budget::Holder;

/// An outbox whose frames are written to the returned stream, which has this much room by itself.
fn open(bytes_max: u64, buffered: usize) -> (Outbox, DuplexStream, tokio::task::JoinHandle<()>) {
    let (near, far) = duplex(buffered);
    let outbox = Outbox::new(Budget::process(u64::MAX).child(Holder::Connection, bytes_max), false);
    let writing = tokio::spawn(writer::run(outbox.shared(), Watched::new(near, outbox.budget().clone())));
    (outbox, far, writing)
}

fn large(letter: &str) -> String {
    letter.repeat(50_000)
}

#[tokio::test(start_paused = true)]
async fn what_proves_nothing_does_not_wait_behind_data() {
    let (outbox, mut client, _writing) = open(1 << 20, 1_000);
    for letter in ["a", "b", "c"] {
        outbox.send_now(large(letter).into());
    }
    outbox.ping(7);
    outbox.send_now("d".to_owned().into());
    // By now the first is being written.
    sleep(Duration::from_millis(1)).await;
    outbox.send_ahead("pong".to_owned().into()).await.expect("open");
    outbox.keep_alive();
    outbox.pong(Bytes::from_static(b"first"));
    outbox.pong(Bytes::from_static(b"second"));
    outbox.keep_alive();
    let mut got = Vec::new();
    for _ in 0..8 {
        let (opcode, payload) = receive(&mut client).await;
        got.push((opcode, String::from_utf8_lossy(&payload[..payload.len().min(6)]).into_owned()));
    }
    let expected = [
        (1, "aaaaaa"),
        (9, ""),
        (10, "second"),
        (1, "pong"),
        (1, "bbbbbb"),
        (1, "cccccc"),
        // A ping that proves what stands before it keeps its place.
        (9, "\0\0\0\0\0\0"),
        (1, "d"),
    ];
    assert_eq!(got, expected.map(|(opcode, text)| (opcode, text.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn in_a_short_queue_order_is_kept() {
    let (outbox, mut client, _writing) = open(1 << 20, 1 << 20);
    outbox.send_now("first".to_owned().into());
    outbox.send_ahead("pong".to_owned().into()).await.expect("open");
    assert_eq!(receive(&mut client).await.1, b"first");
    assert_eq!(receive(&mut client).await.1, b"pong");
}

#[tokio::test(start_paused = true)]
async fn after_a_close_nothing_more_is_queued() {
    let (outbox, mut client, writing) = open(1 << 20, 1_000);
    outbox.send_now(large("a").into());
    sleep(Duration::from_millis(1)).await;
    outbox.close(CloseCode::NoPull);
    for _ in 0..100_000 {
        outbox.close(CloseCode::Restart);
        outbox.send_now("late".to_owned().into());
        outbox.keep_alive();
        outbox.ping(1);
        outbox.pong(Bytes::from_static(b"late"));
    }
    assert!(outbox.is_closed() && outbox.send("late".to_owned().into()).await.is_err());
    let waiting = {
        let queue = outbox.shared.queue();
        (queue.in_order.len(), queue.ahead.len(), queue.pong.is_some())
    };
    assert_eq!(waiting, (0, 0, false));
    assert_eq!(receive(&mut client).await.1.len(), 50_000);
    let (opcode, payload) = receive(&mut client).await;
    assert_eq!((opcode, &payload[..2]), (8, &4408_u16.to_be_bytes()[..]), "the first reason");
    writing.await.expect("ends");
    assert_eq!(client.read(&mut [0; 1]).await.expect("the end"), 0);
}

/// The peer has the beginning of a frame: without its end, the close frame would be taken for a part of it.
#[tokio::test(start_paused = true)]
async fn a_frame_that_is_being_written_is_finished_before_the_reason_is_told() {
    let (outbox, mut client, _writing) = open(1 << 20, 1_000);
    outbox.send_now(large("a").into());
    outbox.send_now(large("b").into());
    sleep(Duration::from_millis(1)).await;
    outbox.abort(CloseCode::ProtocolError);
    outbox.abort(CloseCode::SlowReader);
    assert_eq!(outbox.budget.held(), 50_000, "what waited is given back at once");
    assert_eq!(receive(&mut client).await, (1, large("a").into_bytes()));
    let (opcode, payload) = receive(&mut client).await;
    assert_eq!((opcode, &payload[..2]), (8, &1002_u16.to_be_bytes()[..]));
}

#[tokio::test(start_paused = true)]
async fn the_words_of_a_peer_that_closes_go_back() {
    let (outbox, mut client, _writing) = open(1 << 20, 1_000);
    outbox.answer_close(Bytes::from_static(b"\x0f\xa0bye"));
    outbox.abort(CloseCode::Ended);
    assert_eq!(receive(&mut client).await, (8, b"\x0f\xa0bye".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_full_ends_the_connection_and_a_slow_link_does_not() {
    let (outbox, mut client, _writing) = open(200_000, 1_000);
    let reading = async {
        let mut bytes = 0;
        for _ in 0..10 {
            bytes += receive_slowly(&mut client).await;
        }
        bytes
    };
    let sending = async {
        for _ in 0..10 {
            outbox.send(large("a").into()).await.expect("there is room in time");
        }
    };
    let start = Instant::now();
    let (bytes, ()) = tokio::join!(reading, sending);
    assert_eq!(bytes, 500_000);
    assert!(start.elapsed() > PATIENCE * 10, "a link of 1 kB/s takes its time: {:?}", start.elapsed());
    for _ in 0..4 {
        outbox.send_now(large("a").into());
    }
    assert!(!outbox.is_closed());
    outbox.send_now(large("a").into());
    assert!(outbox.is_closed());
}

/// Reads a frame of 50,000 bytes at a thousand bytes a second.
async fn receive_slowly(client: &mut DuplexStream) -> usize {
    let mut left = 50_000 + 4;
    while left > 0 {
        sleep(Duration::from_secs(1)).await;
        let mut some = vec![0; left.min(1_000)];
        client.read_exact(&mut some).await.expect("more");
        left -= some.len();
    }
    50_000
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_left() {
    let (outbox, client, writing) = open(1 << 20, 1_000);
    let start = Instant::now();
    outbox.send_now(large("a").into());
    outbox.send_now(large("b").into());
    timeout(PATIENCE * 2, writing).await.expect("in time").expect("ends");
    assert!(start.elapsed() >= PATIENCE);
    assert!(outbox.is_closed());
    assert_eq!(outbox.budget.held(), 0, "what waited is given back");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_last_word_is_not_waited_for_long() {
    let (outbox, client, writing) = open(1 << 20, 1_000);
    outbox.send_now(large("a").into());
    sleep(Duration::from_millis(1)).await;
    let start = Instant::now();
    outbox.abort(CloseCode::Restart);
    writing.await.expect("ends");
    assert!(start.elapsed() <= PATIENCE, "{:?}", start.elapsed());
    drop(client);
}

/// What is committed is compressed once for all who take that, each in an envelope of its own.
#[tokio::test(start_paused = true)]
async fn a_commit_is_compressed_once_for_all_receivers() {
    use std::sync::Arc;

    use livestore_sync_protocol::{Chunk, Envelope, SeqNum};

    use crate::frame::HeldOnce;

    const BYTES: usize = 50_000;
    let chunk = Chunk { items: "x".repeat(BYTES).into(), events: 1, first: SeqNum::ROOT, last: SeqNum::ROOT };
    let store = Budget::process(1 << 20);
    let held = Arc::new(HeldOnce::from(store.take_anyway(BYTES as u64)));
    let mut clients = Vec::new();
    for (id, deflate) in [("a", true), ("b", false), ("c", true)] {
        let (near, far) = duplex(1 << 20);
        let outbox = Outbox::new(store.child(Holder::Connection, 1 << 20), deflate);
        let writing = tokio::spawn(writer::run(outbox.shared(), Watched::new(near, outbox.budget().clone())));
        let envelope = Envelope { head: format!("{id}["), tail: "]".into() };
        outbox.send_now(Frame::new(envelope, Some(&chunk)).shared(&held));
        clients.push((id, deflate, outbox, far, writing));
    }
    for (id, deflate, _, client, _) in &mut clients {
        let (opcode, payload) = receive(client).await;
        let plain = format!("{id}[{}]", chunk.items);
        if *deflate {
            assert!(opcode == 0x41 && payload.len() < 1_000, "{opcode} {}", payload.len());
            assert_eq!(&payload[5..7], &plain.as_bytes()[..2], "the envelope is not compressed");
        } else {
            assert!(opcode == 1 && payload == plain.as_bytes());
        }
    }
    let packed = store.held() - BYTES as u64;
    assert!((1..1_000).contains(&packed), "{packed}");
    drop((clients, held));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(store.held(), 0);
}
