//! WebSockets whose messages are compressed, and what a server may do about the offer.

use std::net::SocketAddr;
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};
use futures_util::{SinkExt, StreamExt};
use livestore_sync_client::protocol::{Args, Event};
use livestore_sync_client::{Builder, ConnectionState, OfflineReason, Protocol, SyncClient};
use livestore_sync_client_tests::compressing::{Compressing, frame};
use livestore_sync_client_tests::{connected, events, timing, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

const OFFER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn builder(address: SocketAddr) -> Builder {
    SyncClient::builder(format!("ws://{address}"), "notes").timing(timing())
}

/// As apps have them: alike, and never the same.
fn todos(count: i64) -> Vec<Event> {
    let mut batch = events(1..=count);
    for event in &mut batch {
        let (id, done) = (getrandom::u64().expect("random numbers"), event.seq_num.get() % 3 == 0);
        let args = format!(r#"{{"id":"{id:016x}","text":"Buy {} bottles of milk","done":{done}}}"#, id % 99);
        event.args = Args::from_json(args).expect("JSON");
    }
    batch
}

/// Pushes events, pulls them with another client, and tells the bytes of frames for each.
async fn bytes_of(protocol: Protocol, answer: &'static str, batch: &[Event]) -> (usize, usize) {
    let server = livestore_sync_client_tests::start().await;
    let front = Compressing::start(server.address, answer).await;
    let client = builder(front.address).protocol(protocol).start().expect("a client");
    within(client.push(batch.to_vec())).await.expect("is taken");
    client.close().await;
    let traffic = front.traffic();
    assert_eq!(traffic.offers, [OFFER]);
    assert_eq!(traffic.compressed.is_empty(), answer.is_empty());
    assert!(traffic.compressed.iter().all(|length| *length >= 1024), "small messages are sent as they are");
    let other = builder(front.address).protocol(protocol).start().expect("a client");
    let pulled = within(other.pull(None).events()).await.expect("the log");
    assert!(pulled.iter().map(|pulled| &pulled.event).eq(batch), "{protocol:?} {answer}");
    (traffic.received, front.traffic().sent - traffic.sent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_events_are_compressed_in_both_directions() {
    let batch = todos(2_000);
    for (protocol, answers) in [(Protocol::V04Ws, &[OFFER, "permessage-deflate"][..]), (Protocol::V03, &[OFFER])] {
        let (plain_pushed, plain_pulled) = bytes_of(protocol, "", &batch).await;
        for &answer in answers {
            let (pushed, pulled) = bytes_of(protocol, answer, &batch).await;
            assert!(pushed < plain_pushed / 4, "{protocol:?} {answer}: {pushed} of {plain_pushed}");
            assert!(pulled < plain_pulled / 4, "{protocol:?} {answer}: {pulled} of {plain_pulled}");
        }
    }
}

#[tokio::test]
async fn compression_can_be_left_out() {
    let server = livestore_sync_client_tests::start().await;
    let front = Compressing::start(server.address, "").await;
    let client = builder(front.address).compression(false).start().expect("a client");
    within(client.push(todos(100))).await.expect("is taken");
    assert_eq!(front.traffic().offers, [""]);
    assert!(front.traffic().compressed.is_empty());
}

#[tokio::test]
async fn what_was_not_offered_is_not_taken() {
    let server = livestore_sync_client_tests::start().await;
    for (compression, answer) in [
        (false, "permessage-deflate"),
        (true, "permessage-bzip2"),
        (true, "permessage-deflate; client_max_window_bits=9"),
        (true, "permessage-deflate, permessage-deflate"),
    ] {
        let front = Compressing::start(server.address, answer).await;
        let client = builder(front.address).compression(compression).start().expect("a client");
        let OfflineReason::Unreachable { message } = failure(&client).await else { panic!("{answer}") };
        assert!(message.contains("offered"), "{message}");
    }
}

/// Why there is no connection, after the first attempt.
async fn failure(client: &SyncClient) -> OfflineReason {
    let failed = |state: &ConnectionState| match state {
        ConnectionState::Offline { reason } => *reason != OfflineReason::Connecting,
        _ => false,
    };
    match until(client, failed).await {
        ConnectionState::Offline { reason } => reason,
        state => panic!("{state:?}"),
    }
}

/// A server that is the test itself.
struct Server(TcpListener);

impl Server {
    async fn start() -> (Self, SyncClient) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = builder(listener.local_addr().expect("an address")).start().expect("a client");
        (Self(listener), client)
    }

    /// A connection, and the head of its request.
    async fn accept(&self) -> (TcpStream, String) {
        let (mut stream, _) = within(self.0.accept()).await.expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            within(stream.read_buf(&mut head)).await.expect("a head");
        }
        (stream, String::from_utf8(head).expect("text"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_inflates_beyond_all_measure_ends_the_connection() {
    let (server, client) = Server::start().await;
    let (mut stream, head) = server.accept().await;
    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).expect("a key");
    let accept = derive_accept_key(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {accept}\r\nsec-websocket-extensions: {OFFER}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("is read");
    // A megabyte of zeros each, and no end.
    let mut zeros = Vec::with_capacity(1 << 20);
    Compress::new(Compression::best(), false)
        .compress_vec(&vec![0; 1 << 20], &mut zeros, FlushCompress::Full)
        .expect("it fits");
    let mut opcode = OpCode::Data(Data::Text);
    let (mut reader, mut writer) = stream.into_split();
    let bomb = async {
        loop {
            let part = frame(opcode, false, opcode != OpCode::Data(Data::Continue), &zeros);
            if writer.write_all(&part).await.is_err() {
                return;
            }
            opcode = OpCode::Data(Data::Continue);
        }
    };
    let told = async {
        connected(&client).await;
        let reason = failure(&client).await;
        let OfflineReason::Lost { message } = &reason else { panic!("{reason:?}") };
        assert!(message.contains("larger than"), "{message}");
        let mut last = Vec::new();
        let _ = within(reader.read_to_end(&mut last)).await;
        // The pings that came before are small; the last thing is a close frame with a code.
        assert_eq!(last[last.len() - 8..][..2], [0x88, 0x82]);
    };
    tokio::join!(bomb, told);
}

#[tokio::test]
async fn the_text_of_a_refusal_is_told_however_it_is_sent() {
    for (head, parts) in [
        ("content-length: 19\r\n", &["you may ", "not do that"][..]),
        ("transfer-encoding: chunked\r\n", &["8\r\nyou may \r\n", "b\r\nnot do that\r\n", "0\r\n\r\n"]),
        // Until the end of the connection, which does not come.
        ("", &["you may ", "not do that"]),
    ] {
        let (server, client) = Server::start().await;
        let (mut stream, _) = server.accept().await;
        stream.write_all(format!("HTTP/1.1 403 Forbidden\r\n{head}\r\n").as_bytes()).await.expect("is read");
        for part in parts {
            stream.flush().await.expect("is read");
            tokio::time::sleep(Duration::from_millis(20)).await;
            stream.write_all(part.as_bytes()).await.expect("is read");
        }
        let message = "you may not do that".to_owned();
        assert_eq!(failure(&client).await, OfflineReason::Refused { status: 403, message });
    }
}

#[tokio::test]
async fn pings_are_answered_and_a_close_is_told_and_answered() {
    let (server, client) = Server::start().await;
    let (stream, _) = within(server.0.accept()).await.expect("a connection");
    let mut socket = within(tokio_tungstenite::accept_async(stream)).await.expect("a socket");
    connected(&client).await;
    socket.send(Message::Ping("are you there".into())).await.expect("is read");
    assert_eq!(
        within(socket.next()).await.expect("an answer").expect("a frame"),
        Message::Pong("are you there".into())
    );
    let close = CloseFrame { code: 4001.into(), reason: "enough".into() };
    socket.close(Some(close.clone())).await.expect("is read");
    assert_eq!(failure(&client).await, OfflineReason::Closed { code: 4001, message: "enough".to_owned() });
    assert_eq!(within(socket.next()).await.expect("an answer").expect("a frame"), Message::Close(Some(close)));
}

/// Bytes of frames for a pull of ten thousand events, without compression and with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn bytes_of_ten_thousand_events() {
    let batch = todos(10_000);
    for protocol in [Protocol::V04Ws, Protocol::V03] {
        for answer in ["", OFFER, "permessage-deflate"] {
            let (pushed, pulled) = bytes_of(protocol, answer, &batch).await;
            println!("{protocol:?} {answer:?}: pushed {pushed}, pulled {pulled}");
        }
    }
}
