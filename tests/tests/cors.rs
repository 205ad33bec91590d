//! Browsers on other origins: preflights, and CORS headers on every answer with `--cors`.

use livestore_sync_tests::http::{self, Response};
use livestore_sync_tests::{Server, chain, push_payload};

const PREFLIGHT: &[(&str, &str)] = &[
    ("origin", "https://app.example"),
    ("access-control-request-method", "POST"),
    ("access-control-request-headers", "content-type, x-livestore-store-id"),
];

#[track_caller]
fn assert_cors(response: &Response, allowed_headers: &str) {
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    assert_eq!(response.header("access-control-allow-methods"), Some("GET, POST, OPTIONS"));
    assert_eq!(response.header("access-control-allow-headers"), Some(allowed_headers));
}

#[tokio::test]
async fn preflights_are_answered_on_any_path() {
    let server = Server::own(&["--cors"]);
    for path in ["/", "/nope", "/websocket", "/?storeId=a&transport=http", "/?storeId=a&transport=ws"] {
        let response = http::request(&server, "OPTIONS", path, PREFLIGHT, b"").await;
        assert_eq!((response.status, response.body.len()), (204, 0), "{path}");
        assert_cors(&response, "content-type, x-livestore-store-id");
        let response = http::request(&server, "OPTIONS", path, &[], b"").await;
        assert_eq!(response.status, 204, "{path}");
        assert_cors(&response, "*");
    }
}

/// 0.4.0 leaves them out where browsers need them most.
#[tokio::test]
async fn every_answer_has_cors_headers() {
    let server = Server::own(&["--cors"]);
    let store = server.store();
    for target in [
        "/".into(),
        "/nope".into(),
        "/websocket".into(),
        format!("/websocket?{}", store.query()),
        format!("/?{}&transport=ws", store.query()),
        format!("/?{}&transport=http", store.query()),
    ] {
        assert_cors(&http::request(&server, "GET", &target, &[], b"").await, "*");
    }
}

#[tokio::test]
async fn http_success_answers_have_cors_headers() {
    let store = Server::own(&["--cors"]).store();
    let payload = push_payload(&store, &chain(0, 1), None);
    let push = format!(r#"{{"_tag":"Request","id":"1","tag":"SyncHttpRpc.Push","payload":{payload},"headers":[]}}"#);
    for body in [push.as_str(), r#"{"_tag":"Ping"}"#, "not json"] {
        let response = store.post(body).await;
        assert_eq!(response.status, 200);
        assert_cors(&response, "*");
    }
}

#[tokio::test]
async fn without_the_flag_there_are_none() {
    let server = Server::own(&[]);
    let response = http::request(&server, "GET", "/", PREFLIGHT, b"").await;
    assert_eq!(response.header("access-control-allow-origin"), None);
    let response = http::request(&server, "OPTIONS", "/", PREFLIGHT, b"").await;
    assert_eq!(response.header("access-control-allow-origin"), None);
}
