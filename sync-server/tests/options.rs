//! Settings of the native server that no flag of the binary reaches.

#![cfg(feature = "native")]

use std::net::SocketAddr;

use livestore_sync_server::native::{Builder, Server};
use livestore_sync_server::{HeaderName, HeaderValue, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const POLICY: HeaderName = HeaderName::from_static("x-policy");

/// The head of the answer to a request, in lower case.
async fn head(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(format!("{request}\r\nhost: x\r\n\r\n").as_bytes()).await.expect("sends");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("a whole head"));
    }
    String::from_utf8(answer).expect("ASCII").to_lowercase()
}

/// The head and the body.
async fn whole(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("a whole answer");
    answer
}

async fn serve(settings: impl FnOnce(Builder<()>) -> Builder<()>) -> (SocketAddr, tempfile::TempDir) {
    let data = tempfile::tempdir().expect("a folder");
    let server = settings(Server::builder(data.path())).build().expect("a server");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    (address, data)
}

#[tokio::test]
async fn response_headers_are_on_every_response_but_the_opening_of_a_websocket() {
    let (address, _data) = serve(|settings| {
        settings
            .enable_cors(true)
            .response_header(POLICY, HeaderValue::from_static("first"))
            .response_header(POLICY, HeaderValue::from_static("second"))
            .response_header(
                HeaderName::from_static("access-control-allow-origin"),
                HeaderValue::from_static("https://app"),
            )
    })
    .await;
    for (request, status) in [
        ("GET / HTTP/1.1", "200"),
        ("OPTIONS / HTTP/1.1", "204"),
        ("GET /nope HTTP/1.1", "400"),
        ("POST /?storeId=a&transport=http HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 0", "200"),
    ] {
        let head = head(address, request).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{request}: {head}");
        assert_eq!(head.matches("x-policy: ").count(), 1, "{request}: {head}");
        assert!(head.contains("x-policy: second\r\n"), "{request}: {head}");
        // What the app says counts more than the switch.
        assert!(head.contains("access-control-allow-origin: https://app\r\n"), "{request}: {head}");
        assert!(head.contains("access-control-allow-methods: "), "{request}: {head}");
    }
    let upgrade = "GET /?storeId=a&transport=ws HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    let head = head(address, upgrade).await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(!head.contains("x-policy"), "{head}");
}

#[tokio::test]
async fn limits_are_those_that_were_set() {
    let limits = Limits::native().with_frame_bytes_max(400).with_stores_max(1);
    let (address, _data) = serve(|settings| settings.limits(limits)).await;
    let push = |store_id: &str| {
        let event = r#"{"name":"n","args":{},"seqNum":1,"parentSeqNum":0,"clientId":"c","sessionId":"s"}"#;
        let payload = format!(
            r#"{{"storeId":"{store_id}","payload":{{"_tag":"None"}},"backendId":{{"_tag":"None"}},"batch":[{event}]}}"#
        );
        format!(r#"{{"_tag":"Request","id":"1","tag":"SyncHttpRpc.Push","payload":{payload},"headers":[]}}"#)
    };
    for (store_id, body, status) in [("a", "x".repeat(401), "413"), ("a", push("a"), "200"), ("b", push("b"), "503")] {
        let content = format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let request =
            format!("POST /?storeId={store_id}&transport=http HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{content}");
        let answer = whole(address, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
        assert_eq!(answer.contains("Success"), status == "200", "{answer}");
    }
}
