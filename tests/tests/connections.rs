//! Connections of the native server: how many there may be, and what each is told at its end.

use std::time::Duration;

use livestore_sync_tests::{Server, Socket, chain, http, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.authority()).await.expect("a connection")
}

/// The answer to a request for the server's own page, with the reason if it is refused.
async fn ask(server: &Server) -> (u16, String) {
    let response = http::request(server, "GET", "/", &[], b"").await;
    (response.status, response.text().to_owned())
}

/// A connection that has a place, as soon as there is one, and asks nothing more.
async fn served(server: &Server) -> TcpStream {
    let asking = async {
        loop {
            let mut stream = connect(server).await;
            // One that is turned away may be told so, or not.
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
            let mut status = [0; 12];
            if stream.read_exact(&mut status).await.is_ok() && &status == b"HTTP/1.1 200" {
                return stream;
            }
            tokio::task::yield_now().await;
        }
    };
    within("a free place", asking).await
}

#[tokio::test]
async fn a_connection_has_a_place_before_it_has_said_anything() {
    let server = Server::own(&["--max-connections", "3"]);
    let (silent, mut slow, idle) = (connect(&server).await, connect(&server).await, connect(&server).await);
    slow.write_all(b"GET / HTTP/1.1\r\nx-slow: ").await.expect("half a head");
    let (status, text) = ask(&server).await;
    assert!(status == 503 && text.starts_with("This server has as many connections"), "{status} {text}");
    drop((silent, slow));
    // Who is turned away takes no place, and who has been served and stays keeps it.
    let others = (served(&server).await, served(&server).await);
    for _ in 0..20 {
        assert_eq!(ask(&server).await.0, 503);
    }
    drop((idle, others));
    drop(served(&server).await);
}

#[tokio::test]
async fn one_address_gets_no_more_than_its_share() {
    let server = Server::own(&["--max-connections-per-address", "2"]);
    let store = server.store();
    let mut client = store.rpc().await;
    client.push_ok(&chain(0, 1)).await;
    let silent = connect(&server).await;
    let (status, text) = ask(&server).await;
    assert!(status == 503 && text.starts_with("This address has as many connections"), "{status} {text}");
    client.expect_usable().await;
    drop(silent);
    drop(served(&server).await);
}

/// A WebSocket without a library, to break its rules.
async fn raw_socket(server: &Server) -> TcpStream {
    let mut stream = connect(server).await;
    let head = format!(
        "GET {} HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.path("/?storeId=a&transport=ws"),
        server.authority()
    );
    stream.write_all(head.as_bytes()).await.expect("a request");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("an answer"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    stream
}

#[tokio::test]
async fn who_breaks_the_protocol_is_told_so() {
    let server = Server::shared();
    for (what, bytes) in [
        ("no mask", b"\x81\x02{}".to_vec()),
        ("a reserved opcode", b"\x83\x80\0\0\0\0".to_vec()),
        ("a compressed frame", b"\xc1\x82\0\0\0\0{}".to_vec()),
        ("a continuation of nothing", b"\x80\x80\0\0\0\0".to_vec()),
        ("a close of one byte", b"\x88\x81\0\0\0\0\x03".to_vec()),
        ("a long ping", [b"\x89\xfe\0\x7e\0\0\0\0".to_vec(), vec![b'x'; 126]].concat()),
    ] {
        let mut stream = raw_socket(&server).await;
        stream.write_all(&bytes).await.expect("bytes");
        // What is still on its way must not take the answer with it.
        stream.write_all(&[0; 100_000]).await.expect("more bytes");
        let mut start = [0; 4];
        within("a close frame", stream.read_exact(&mut start)).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((start[0], &start[2..]), (0x88, &1002_u16.to_be_bytes()[..]), "{what}");
    }
}

/// Each answered control frame would cost the server memory for as long as nobody reads.
#[tokio::test]
async fn a_flood_of_pings_and_closes_is_no_burden() {
    let server = Server::own(&[]);
    let mut stream = raw_socket(&server).await;
    let ping = [b"\x89\xfd\0\0\0\0".to_vec(), vec![b'x'; 125]].concat();
    let flood = ping.repeat(10_000);
    for _ in 0..20 {
        stream.write_all(&flood).await.expect("the server reads on");
    }
    // The last one is answered: those before it need not be.
    stream.write_all(b"\x89\x84\0\0\0\0last").await.expect("a ping");
    let mut answers = 0_usize;
    within("the answer to the last ping", async {
        loop {
            assert_eq!(stream.read_u8().await.expect("a pong"), 0x8a);
            let mut payload = vec![0; usize::from(stream.read_u8().await.expect("a length"))];
            stream.read_exact(&mut payload).await.expect("a payload");
            answers += 1;
            if payload == b"last" {
                break;
            }
        }
    })
    .await;
    assert!(answers < 200_000, "{answers}");
    Socket::open(&server, "/?storeId=a&transport=ws", &[]).await.ping(b"").await;
}

#[tokio::test]
async fn a_stop_is_told_at_once_whatever_others_do() {
    let server = Server::own(&[]);
    let store = server.store();
    let mut pusher = store.rpc().await;
    for head in (0..20).step_by(4) {
        let large = format!("\"{}\"", "x".repeat(400_000));
        pusher.push_ok(&livestore_sync_tests::chain_with(head, 4, &large)).await;
    }
    // One that does not read an answer, one that does not read its socket, one that asks nothing.
    let pull = livestore_sync_tests::pull_payload(&store, None, None);
    let body = format!(r#"{{"_tag":"Request","id":"1","tag":"SyncHttpRpc.Pull","payload":{pull},"headers":[]}}"#);
    let mut deaf = connect(&server).await;
    let head = format!(
        "POST /?{}&transport=http HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        store.query(),
        body.len()
    );
    deaf.write_all((head + &body).as_bytes()).await.expect("a request");
    deaf.readable().await.expect("an answer has begun");
    let mut deaf_socket = store.rpc().await;
    deaf_socket.start_pull(true, None).await;
    let _silent = connect(&server).await;
    let mut other = server.store().rpc().await;
    other.push_ok(&chain(0, 1)).await;

    let start = tokio::time::Instant::now();
    server.process().terminate();
    assert_eq!(other.socket.skip_to_close().await.0, Some(1012));
    assert_eq!(pusher.socket.skip_to_close().await.0, Some(1012));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(server.process().exit_status().await.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    drop((deaf, deaf_socket));
}
