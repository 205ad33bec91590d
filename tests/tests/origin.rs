//! Web pages: whose page may use a server, and what it is told where it may not. On both platforms.

use livestore_sync_tests::http::{self, Response};
use livestore_sync_tests::{Server, Socket, Store};

const UPGRADE: [(&str, &str); 3] =
    [("upgrade", "websocket"), ("sec-websocket-version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")];

/// A request to open a WebSocket, of a page of this origin.
async fn upgrade(store: &Store, path: &str, origin: &str) -> Response {
    let headers: Vec<_> = UPGRADE.into_iter().chain([("origin", origin)]).collect();
    http::request(store.server(), "GET", path, &headers, b"").await
}

/// A request over http, of a page of this origin.
async fn post(store: &Store, origin: &str) -> Response {
    let target = format!("/?{}&transport=http", store.query());
    let headers = [("content-type", "application/json"), ("origin", origin)];
    http::request(store.server(), "POST", &target, &headers, br#"{"_tag":"Ping"}"#).await
}

fn sockets(store: &Store) -> [String; 2] {
    [format!("/websocket?{}", store.query()), format!("/?{}&transport=ws", store.query())]
}

async fn assert_refused(store: &Store, origin: &str) {
    let mut answers = vec![post(store, origin).await];
    for path in sockets(store) {
        answers.push(upgrade(store, &path, origin).await);
    }
    for response in answers {
        assert_eq!(response.status, 403, "{origin}: {}", response.text());
        assert!(response.text().contains(&format!("Origin {origin} is not allowed")), "{}", response.text());
        assert!(response.text().contains(&format!("--allow-origin {origin}")), "{}", response.text());
        assert_eq!(response.header("access-control-allow-origin"), None);
    }
}

async fn assert_served(store: &Store, origin: &str, told: Option<&str>) {
    let response = post(store, origin).await;
    assert_eq!((response.status, response.text().trim()), (200, r#"[{"_tag":"Pong"}]"#), "{origin}");
    assert_eq!(response.header("access-control-allow-origin"), told, "{origin}");
    for path in sockets(store) {
        Socket::open(store.server(), &path, &[("origin", origin)]).await.ping(b"").await;
    }
}

#[tokio::test]
async fn pages_of_anybody_are_refused() {
    let store = Server::shared().store();
    for origin in ["https://evil.example", "http://localhost.evil.example", "null", "http://10.0.0.1:5173"] {
        assert_refused(&store, origin).await;
    }
}

/// The server is asked at a loopback address here, so any page of this machine may.
#[tokio::test]
async fn dev_servers_on_other_ports_just_work() {
    let store = Server::shared().store();
    let own = format!("http://{}", store.server().authority());
    for origin in ["http://localhost:5173", "http://127.0.0.1:3000", "https://[::1]:8443", &own] {
        assert_served(&store, origin, Some(origin)).await;
    }
    let asked = [("origin", "http://localhost:5173"), ("access-control-request-method", "POST")];
    let target = format!("/?{}&transport=http", store.query());
    let response = http::request(store.server(), "OPTIONS", &target, &asked, b"").await;
    assert_eq!((response.status, response.header("vary")), (204, Some("origin")));
    assert_eq!(response.header("access-control-allow-origin"), Some("http://localhost:5173"));
}

#[cfg(feature = "process")]
#[tokio::test]
async fn a_list_of_origins_decides_alone() {
    let server = Server::own(&["--allow-origin", "https://app.example,https://*.preview.example"]);
    let store = server.store();
    for origin in ["https://app.example", "https://a.preview.example"] {
        assert_served(&store, origin, Some(origin)).await;
    }
    for origin in ["http://app.example", "http://localhost:5173", &format!("http://{}", server.authority())] {
        assert_refused(&store, origin).await;
    }
    // Clients that are no browsers have none.
    store.rpc().await.expect_pong().await;
    assert_eq!(store.post(r#"{"_tag":"Ping"}"#).await.status, 200);
}

#[cfg(feature = "process")]
#[tokio::test]
async fn all_pages_may_be_allowed() {
    for flags in [&["--cors"][..], &["--allow-origin", "*"]] {
        let store = Server::own(flags).store();
        for origin in ["https://evil.example", "null"] {
            assert_served(&store, origin, Some("*")).await;
        }
    }
}
