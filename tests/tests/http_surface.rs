//! What a server answers before a WebSocket or the http transport: status codes and texts.

use livestore_sync_tests::http::{self, Response};
use livestore_sync_tests::{Server, Socket, Store, WAIT, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

const UPGRADE: &[(&str, &str)] =
    &[("upgrade", "websocket"), ("sec-websocket-version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")];

async fn get(server: &Server, target: &str) -> Response {
    http::request(server, "GET", target, &[], b"").await
}

async fn upgrade(server: &Server, target: &str) -> Response {
    http::request(server, "GET", target, UPGRADE, b"").await
}

async fn post(server: &Server, target: &str) -> Response {
    let body = br#"{"_tag":"Ping"}"#;
    http::request(server, "POST", target, &[("content-type", "application/json")], body).await
}

#[track_caller]
fn assert_refused(response: &Response, status: u16, naming: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert!(response.text().contains(naming), "{:?} names {naming}", response.text());
    assert_eq!(response.media_type(), "text/plain");
}

#[tokio::test]
async fn the_root_answers_with_a_text() {
    let response = get(&Server::shared(), "/").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.media_type(), "text/plain");
    assert!(!response.text().is_empty());
}

#[tokio::test]
async fn other_paths_are_invalid() {
    let server = Server::shared();
    assert_refused(&get(&server, "/nope").await, 400, "Invalid path");
    assert_refused(&get(&server, "/websocket/").await, 400, "Invalid path");
    assert_refused(&post(&server, "/").await, 400, "Invalid path");
    assert_refused(&upgrade(&server, "/nope").await, 400, "Invalid path");
}

#[tokio::test]
async fn v03_without_upgrade_is_426() {
    let server = Server::shared();
    let target = format!("/websocket?{}", server.store().query());
    assert_refused(&get(&server, &target).await, 426, "Upgrade: websocket");
    assert_refused(&post(&server, &target).await, 426, "Upgrade: websocket");
}

#[tokio::test]
async fn rpc_over_ws_without_upgrade_is_426() {
    let server = Server::shared();
    let target = format!("/?{}&transport=ws", server.store().query());
    assert_refused(&get(&server, &target).await, 426, "Upgrade: websocket");
    assert_refused(&post(&server, &target).await, 426, "Upgrade: websocket");
}

/// 0.3.1 answers these with 500.
#[tokio::test]
async fn v03_wrong_parameters_are_400_and_named() {
    let server = Server::shared();
    for (query, name) in [
        ("", "storeId"),
        ("?storeid=a", "storeId"),
        ("?storeId=a&storeId=b", "storeId"),
        ("?storeId=a&payload=nope", "payload"),
        ("?storeId=a&payload=%25ZZ", "payload"),
        ("?storeId=a&payload=", "payload"),
    ] {
        let target = format!("/websocket{query}");
        assert_refused(&upgrade(&server, &target).await, 400, name);
        assert_refused(&get(&server, &target).await, 400, name);
    }
}

/// 0.4.0 answers these with the friendly info page.
#[tokio::test]
async fn rpc_wrong_parameters_are_400_and_named() {
    let server = Server::shared();
    for (query, name) in [
        ("?storeId=a", "transport"),
        ("?storeId=a&transport=carrier-pigeon", "transport"),
        ("?storeId=a&transport=", "transport"),
        ("?storeId=a&storeId=b&transport=ws", "storeId"),
        ("?transport=ws", "storeId"),
        ("?storeId=a&transport=ws&payload=nope", "payload"),
        ("?storeId=a&transport=ws&payload=%7B", "payload"),
    ] {
        let target = format!("/{query}");
        assert_refused(&upgrade(&server, &target).await, 400, name);
        let target = target.replace("transport=ws", "transport=http");
        assert_refused(&post(&server, &target).await, 400, name);
    }
}

/// As in the reference, where what is wrong with the body is a frame in the answer.
#[tokio::test]
async fn the_http_transport_takes_any_method() {
    let server = Server::shared();
    let target = format!("/?{}&transport=http", server.store().query());
    for method in ["GET", "PUT", "DELETE"] {
        let response = http::request(&server, method, &target, JSON, b"").await;
        assert_eq!((response.status, response.media_type()), (200, "application/json"), "{method}");
        assert_eq!(response.json()[0]["defect"]["name"], "SyntaxError", "{method}: {}", response.text());
        let response = http::request(&server, method, &target, JSON, br#"{"_tag":"Ping"}"#).await;
        assert_eq!((response.status, response.text().trim()), (200, r#"[{"_tag":"Pong"}]"#), "{method}");
    }
}

/// A page of anybody may post a form, and text, without asking first.
#[tokio::test]
async fn http_bodies_that_a_form_could_send_are_415() {
    let server = Server::shared();
    let store = server.store();
    let target = format!("/?{}&transport=http", store.query());
    for content_type in ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded"] {
        let response = store.post_as(content_type, br#"{"_tag":"Ping"}"#).await;
        assert_eq!(response.status, 415, "{content_type}");
        assert!(response.text().contains("application/json"), "{}", response.text());
    }
    // A page can leave it out, too. Tools do.
    let own = format!("http://{}", server.authority());
    for (headers, status) in [(&[("origin", own.as_str())][..], 415), (&[], 200)] {
        assert_eq!(http::request(&server, "POST", &target, headers, br#"{"_tag":"Ping"}"#).await.status, status);
    }
    for content_type in ["application/json; charset=utf-8", "application/ndjson", "application/x-ndjson"] {
        assert_eq!(store.post_as(content_type, br#"{"_tag":"Ping"}"#).await.status, 200, "{content_type}");
    }
}

/// They would all become one store.
#[tokio::test]
async fn ids_that_are_not_utf8_are_400() {
    let server = Server::shared();
    for target in ["/websocket?storeId=%ff", "/?storeId=a%fe&transport=ws", "/?storeId=%c3%28&transport=http"] {
        let response = http::request(&server, "POST", target, JSON, b"[]").await;
        assert_eq!(response.status, 400, "{target}");
        assert!(response.text().contains("storeId is not UTF-8"), "{}", response.text());
    }
}

async fn assert_opens(store: &Store, path: &str) {
    Socket::open(store.server(), path, &[]).await.ping(b"").await;
}

#[tokio::test]
async fn any_path_ending_in_websocket_is_v03() {
    let store = Server::shared().store();
    for path in ["/websocket", "/some/prefix/websocket"] {
        let path = format!("{path}?{}", store.query());
        let mut socket = Socket::open(store.server(), &path, &[]).await;
        socket.send(r#"{"_tag":"WSMessage.Ping","requestId":"ping"}"#).await;
        assert_eq!(socket.next_text("a 0.3 pong").await, r#"{"_tag":"WSMessage.Pong","requestId":"ping"}"#);
    }
}

#[tokio::test]
async fn any_other_path_with_a_transport_is_rpc() {
    let store = Server::shared().store();
    for path in ["/", "/some/path", "/some/path/"] {
        let path = format!("{path}?{}&transport=ws", store.query());
        let mut socket = Socket::open(store.server(), &path, &[]).await;
        socket.send(r#"{"_tag":"Ping"}"#).await;
        assert_eq!(socket.next_text("a pong").await, r#"{"_tag":"Pong"}"#);
    }
}

#[tokio::test]
async fn parameters_come_in_any_order_beside_unknown_ones() {
    let store = Server::shared().store();
    assert_opens(&store, &format!("/?transport=ws&foo=1&foo=2&{}", store.query())).await;
    assert_opens(&store, &format!("/websocket?foo=1&{}", store.query())).await;
}

#[tokio::test]
async fn payloads_are_encoded_twice_or_once() {
    let store = Server::shared().store();
    for payload in [
        "%257B%2522authToken%2522%253A%2522insecure%2522%257D",
        "%7B%22authToken%22%3A%22insecure%22%7D",
        "%22100%25%22",
        "null",
    ] {
        assert_opens(&store, &format!("/?{}&payload={payload}&transport=ws", store.query())).await;
        assert_opens(&store, &format!("/websocket?{}&payload={payload}", store.query())).await;
    }
}

/// Clients that offer compression are served, with it or without it.
#[tokio::test]
async fn an_offer_of_compression_does_not_stop_a_client() {
    let server = Server::shared();
    let offer = [UPGRADE, &[("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")]].concat();
    let target = format!("/?{}&transport=ws", server.store().query());
    assert_eq!(http::request(&server, "GET", &target, &offer, b"").await.status, 101);
}

/// 0.3.1 sleeps 500 ms before each answer.
#[tokio::test]
async fn requests_do_not_sleep() {
    let store = Server::shared().store();
    let mut fastest = WAIT;
    for _ in 0..5 {
        let start = tokio::time::Instant::now();
        store.v03().await.expect_pong().await;
        fastest = fastest.min(start.elapsed());
    }
    assert!(fastest.as_millis() < 250, "the fastest of five connections took {fastest:?}");
}

#[tokio::test]
async fn garbage_instead_of_http_harms_nobody() {
    let server = Server::shared();
    let mut bystander = server.store().rpc().await;
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"GET\r\n\r\n", b"\r\n\r\n\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(server.authority()).await.expect("the server accepts connections");
        stream.write_all(bytes).await.expect("the server takes bytes");
        stream.shutdown().await.expect("a half-closed connection");
        // Whatever the answer is, if any; the connection ends.
        let _ = within("the end of a connection", stream.read_to_end(&mut Vec::new())).await;
    }
    bystander.expect_usable().await;
}
