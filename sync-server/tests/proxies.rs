//! 0.3 clients behind proxies whose own addresses change: where the proxies are trusted, they are known again.

#![cfg(feature = "native")]

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use livestore_sync_server::Limits;
use livestore_sync_server::native::Server;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(address: SocketAddr, forwarded: &str) -> Socket {
    let mut request = format!("ws://{address}/websocket?storeId=a").into_client_request().expect("a request");
    request.headers_mut().insert("x-forwarded-for", forwarded.parse().expect("a header"));
    connect_async(request).await.expect("an open socket").0
}

async fn send(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.expect("sends");
}

/// Frames until one has this in it; `None` when there is none for some time.
async fn receives(socket: &mut Socket, part: &str, time_max: Duration) -> Option<String> {
    let found = async {
        loop {
            let frame = socket.next().await.expect("open").expect("a frame");
            if let Message::Text(text) = frame
                && text.contains(part)
            {
                return text.to_string();
            }
        }
    };
    tokio::time::timeout(time_max, found).await.ok()
}

const SOON: Duration = Duration::from_secs(20);

const PULL: &str = r#"{"_tag":"WSMessage.PullReq","requestId":"its own"}"#;
const PING: &str = r#"{"_tag":"WSMessage.Ping","requestId":"ping"}"#;

fn push(number: i64) -> String {
    let parent = number - 1;
    let event = format!(r#"{{"name":"n","seqNum":{number},"parentSeqNum":{parent},"clientId":"c","sessionId":"s"}}"#);
    format!(r#"{{"_tag":"WSMessage.PushReq","requestId":"push {number}","batch":[{event}]}}"#)
}

#[tokio::test]
async fn a_client_is_known_by_its_own_address_where_proxies_are_trusted() {
    for (trusted, before, after, is_known) in [
        (2, "192.0.2.1, 10.0.7.1", "192.0.2.1, 10.0.7.2", true),
        (2, "192.0.2.1, 10.0.7.1", "192.0.2.9, 10.0.7.1", false),
        // What clients put before it is theirs, and changes nothing.
        (1, "10.9.9.9, 192.0.2.1", "10.8.8.8, 192.0.2.1", true),
        (0, "192.0.2.1, 10.0.7.1", "192.0.2.1, 10.0.7.2", false),
        (0, "192.0.2.1, 10.0.7.1", "192.0.2.1, 10.0.7.1", true),
    ] {
        let data = tempfile::tempdir().expect("a folder");
        let server = Server::builder(data.path()).trusted_proxies(trusted).build().expect("a server");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { server.serve(listener, std::future::pending()).await });

        let mut client = open(address, before).await;
        send(&mut client, PULL).await;
        receives(&mut client, "PullRes", SOON).await.expect("an answer");
        client.close(None).await.expect("closes");
        while client.next().await.is_some() {}
        let mut other = open(address, "198.51.100.1").await;
        send(&mut other, &push(1)).await;
        receives(&mut other, "PushAck", SOON).await.expect("an answer");

        let mut client = open(address, after).await;
        send(&mut client, PING).await;
        receives(&mut client, "Pong", SOON).await.expect("an answer");
        // Everybody gets what is pushed from here on; only one who is known gets what it has missed, before that.
        let missed = receives(&mut client, "PullRes", if is_known { SOON } else { Duration::from_secs(1) }).await;
        let is_continued = missed.is_some_and(|frame| frame.contains("its own") && frame.contains(r#""seqNum":1"#));
        assert_eq!(is_continued, is_known, "{trusted} {before} {after}");
    }
}

#[tokio::test]
async fn the_proxy_itself_is_not_one_client_with_too_many_connections() {
    for (trusted, is_taken) in [(0, false), (1, true)] {
        let data = tempfile::tempdir().expect("a folder");
        let limits = Limits::native().with_connections_per_address_max(1);
        let builder = Server::builder(data.path()).limits(limits).trusted_proxies(trusted);
        let server = builder.build().expect("a server");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
        let _first = open(address, "192.0.2.1").await;
        let second = connect_async(format!("ws://{address}/websocket?storeId=a")).await;
        assert_eq!(second.is_ok(), is_taken, "{trusted}");
    }
}
