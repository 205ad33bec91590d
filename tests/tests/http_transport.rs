//! The http transport of 0.4 and next.

use livestore_sync_tests::http::{self, Response};
use livestore_sync_tests::{
    Answer, Exit, Server, Store, assert_pulled, chain, chain_with, parse_answers, pull_payload, push_payload,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

fn request(id: &str, tag: &str, payload: &str) -> String {
    format!(r#"{{"_tag":"Request","id":{id},"tag":"SyncHttpRpc.{tag}","payload":{payload},"headers":[]}}"#)
}

#[track_caller]
fn answers(response: &Response) -> Vec<Answer> {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.media_type(), "application/json");
    parse_answers(response.text())
}

#[track_caller]
fn defect(response: &Response) -> Value {
    match &answers(response)[..] {
        [Answer::Defect(defect)] => defect.clone(),
        other => panic!("expected one defect, got {other:?}"),
    }
}

async fn pull_as(store: &Store, id: &str) -> Vec<Answer> {
    answers(&store.post(&request(id, "Pull", &pull_payload(store, None, None))).await)
}

#[tokio::test]
async fn a_ping_call_succeeds_with_a_pong() {
    let store = Server::shared().store();
    for id in ["\"0\"", "0"] {
        let response = store.post(&request(id, "Ping", &format!(r#"{{"storeId":{}}}"#, store.id_json()))).await;
        assert_eq!(
            response.text().trim(),
            format!(
                r#"[{{"_tag":"Exit","requestId":{id},"exit":{{"_tag":"Success","value":{{"_tag":"SyncMessage.Pong"}}}}}}]"#
            )
        );
    }
}

#[tokio::test]
async fn an_empty_store_answers_one_empty_chunk_and_an_exit() {
    let store = Server::shared().store();
    for (id, end) in [("\"5\"", Exit::Success(None)), ("5", Exit::Success(Some(Value::Null)))] {
        match &pull_as(&store, id).await[..] {
            [Answer::Chunk(chunk), Answer::Exit(_, exit)] => {
                assert!(chunk.events.is_empty() && chunk.remaining == 0);
                assert_eq!(chunk.id.to_string(), id);
                assert_eq!(*exit, end);
            }
            other => panic!("expected an empty chunk and an exit, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn http_pushes_are_stored_and_pulled() {
    let store = Server::shared().store();
    store.http_push(&chain(0, 3)).await.assert_pushed();
    store.http_push(&chain(3, 1)).await.assert_pushed();
    let (events, backend) = store.http_pull(None).await;
    assert_pulled(&events, &chain(0, 4));
    assert_pulled(&store.http_pull(Some((&backend, 2))).await.0, &chain(2, 2));
    assert!(store.http_pull(Some((&backend, 4))).await.0.is_empty());
    let beyond =
        answers(&store.post(&request("\"1\"", "Pull", &pull_payload(&store, None, Some((&backend, 99))))).await);
    match &beyond[..] {
        [Answer::Exit(_, exit)] => assert_eq!(exit.error()["_tag"], "BackendIdMismatchError"),
        other => panic!("expected a failure, got {other:?}"),
    }
    assert_pulled(&store.log().await, &chain(0, 4));
}

#[tokio::test]
async fn http_pulls_of_250_events_come_in_chunks_of_one_body() {
    let store = Server::shared().store();
    store.http_push(&chain(0, 250)).await.assert_pushed();
    let sizes: Vec<_> = pull_as(&store, "\"1\"")
        .await
        .iter()
        .filter_map(|answer| match answer {
            Answer::Chunk(chunk) => Some((chunk.events.len(), chunk.remaining)),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, [(100, 150), (100, 50), (50, 0)]);
    assert_pulled(&store.http_pull(None).await.0, &chain(0, 250));
}

/// 0.4.0 builds the whole body first and gives up after ten seconds.
#[tokio::test]
async fn http_pulls_of_a_large_log_are_complete() {
    let store = Server::shared().store();
    let args = format!("\"{}\"", "y".repeat(2_000));
    let mut client = store.rpc().await;
    for head in (0..10_000).step_by(1_000) {
        client.push_ok(&chain_with(head, 1_000, &args)).await;
    }
    assert_pulled(&store.http_pull(None).await.0, &chain_with(0, 10_000, &args));
}

#[tokio::test]
async fn ndjson_requests_are_answered_line_by_line() {
    let store = Server::shared().store();
    store.http_push(&chain(0, 150)).await.assert_pushed();
    let pull = request("\"9\"", "Pull", &pull_payload(&store, None, None));
    for body in [pull.clone(), format!("{pull}\n")] {
        let response = store.post_as("application/x-ndjson", body.as_bytes()).await;
        assert_eq!((response.status, response.media_type()), (200, "application/x-ndjson"));
        let lines: Vec<_> = response.text().lines().map(Answer::parse).collect();
        match &lines[..] {
            [Answer::Chunk(first), Answer::Chunk(second), Answer::Exit(id, Exit::Success(None))] => {
                assert_eq!((first.events.len(), second.events.len(), id), (100, 50, &json!("9")));
            }
            other => panic!("expected two chunks and an exit, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_body_may_be_an_array_of_messages() {
    let store = Server::shared().store();
    let push = |id: &str, head| request(id, "Push", &push_payload(&store, &chain(head, 1), None));
    let body = format!(r#"[{},{},{{"_tag":"Ping"}}]"#, push("1", 0), push("2", 1));
    let answers = answers(&store.post(&body).await);
    let exits = answers.iter().filter(|answer| matches!(answer, Answer::Exit(_, Exit::Success(_)))).count();
    let pongs = answers.iter().filter(|answer| matches!(answer, Answer::Pong)).count();
    assert_eq!((answers.len(), exits, pongs), (3, 2, 1), "{answers:?}");
    assert_pulled(&store.log().await, &chain(0, 2));
    assert_eq!(store.post("[]").await.text().trim(), "[]");
}

#[tokio::test]
async fn http_failures_are_exits_in_a_200() {
    let store = Server::shared().store();
    store.http_push(&chain(0, 2)).await.assert_pushed();
    store.http_push(&chain(5, 1)).await.assert_server_ahead(2, 5);
    store.http_push(&chain(1, 1)[..0]).await.assert_pushed();
    let mut broken = chain(2, 3);
    broken[2].parent = 0;
    store.http_push(&broken).await.assert_invalid_batch();

    let backend = store.http_pull(None).await.1;
    let expected = json!({ "_tag": "BackendIdMismatchError", "expected": backend, "received": "other" });
    for (tag, payload) in [
        ("Pull", pull_payload(&store, None, Some(("other", 0)))),
        ("Push", push_payload(&store, &chain(2, 1), Some("other"))),
    ] {
        match &answers(&store.post(&request("\"1\"", tag, &payload)).await)[..] {
            [Answer::Exit(_, exit)] => assert_eq!(exit.error(), expected),
            other => panic!("expected one exit, got {other:?}"),
        }
    }
    assert_pulled(&store.log().await, &chain(0, 2));
}

#[tokio::test]
async fn http_a_repeated_push_succeeds_and_is_stored_once() {
    let store = Server::shared().store();
    for _ in 0..3 {
        store.http_push(&chain(0, 3)).await.assert_pushed();
    }
    assert_pulled(&store.log().await, &chain(0, 3));
}

#[tokio::test]
async fn http_pushes_reach_live_pulls() {
    let store = Server::shared().store();
    let (mut rpc, mut v03) = (store.rpc().await, store.v03().await);
    let live = rpc.live(None).await.id;
    v03.expect_pong().await;
    store.http_push(&chain(0, 2)).await.assert_pushed();
    assert_pulled(&rpc.expect_chunk(&live).await.events, &chain(0, 2));
    assert_pulled(&v03.expect_broadcast(None, 2).await, &chain(0, 2));
}

#[tokio::test]
async fn http_the_store_id_of_the_body_is_ignored() {
    let server = Server::shared();
    let (store, other) = (server.store(), server.store());
    other.http_push(&chain(0, 2)).await.assert_pushed();
    let body = request("\"1\"", "Pull", &pull_payload(&other, None, None));
    match &answers(&store.post(&body).await)[..] {
        [Answer::Chunk(chunk), _] => assert!(chunk.events.is_empty()),
        other => panic!("expected an empty pull, got {other:?}"),
    }
}

#[tokio::test]
async fn http_a_client_that_does_not_read_its_answer_holds_nobody_up() {
    let store = Server::shared().store();
    let args = format!("\"{}\"", "z".repeat(20_000));
    let mut client = store.rpc().await;
    for head in (0..2_000).step_by(200) {
        client.push_ok(&chain_with(head, 200, &args)).await;
    }
    let body = request("\"1\"", "Pull", &pull_payload(&store, None, None));
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        store.server().path(&format!("/?{}&transport=http", store.query())),
        store.server().authority(),
        body.len(),
    );
    let mut deaf = Vec::new();
    for _ in 0..5 {
        let mut stream = tokio::net::TcpStream::connect(store.server().authority()).await.expect("a connection");
        stream.write_all(head.as_bytes()).await.expect("a request");
        // The answer has begun.
        stream.readable().await.expect("an answer");
        deaf.push(stream);
    }
    for head in 2_000..2_020 {
        store.http_push(&chain(head, 1)).await.assert_pushed();
    }
    assert_eq!(store.http_pull(None).await.0.len(), 2_020);
    drop(deaf);
}

/// Effect 4.1 appends a slash to the URL.
#[tokio::test]
async fn the_transport_may_end_with_a_slash() {
    let store = Server::shared().store();
    let target = format!("/?{}&transport=http/", store.query());
    let response =
        http::request(store.server(), "POST", &target, &[("content-type", "application/json")], br#"{"_tag":"Ping"}"#)
            .await;
    assert_eq!((response.status, response.text().trim()), (200, r#"[{"_tag":"Pong"}]"#));
}

/// 0.4.0 answers 500 with an empty body.
#[tokio::test]
async fn http_requests_may_lack_headers() {
    let store = Server::shared().store();
    let body = request("\"1\"", "Pull", &pull_payload(&store, None, None)).replace(r#","headers":[]"#, "");
    assert_eq!(answers(&store.post(&body).await).len(), 2);
}

#[tokio::test]
async fn http_bodies_that_are_no_message_are_defects() {
    let store = Server::shared().store();
    for body in ["not json", "", "{", "\u{0}", "[", r#"[{"_tag":"Ping"}"#] {
        assert_eq!(defect(&store.post(body).await)["name"], "SyntaxError", "{body:?}");
    }
    assert_eq!(defect(&store.post(r#"{"_tag":"Nope"}"#).await), "Unknown request tag: Nope");
    for body in ["null", "7", r#""text""#, "{}", "true"] {
        assert_eq!(defect(&store.post(body).await), "Unknown request tag: undefined", "{body}");
    }
    let unknown = request("\"1\"", "Nope", "{}");
    assert_eq!(defect(&store.post(&unknown).await), "Unknown request tag: SyncHttpRpc.Nope");
    assert_eq!(store.post(r#"{"_tag":"Ping"}"#).await.text().trim(), r#"[{"_tag":"Pong"}]"#);
    for body in [r#"{"_tag":"Eof"}"#, r#"{"_tag":"Ack","requestId":"1"}"#, r#"{"_tag":"Interrupt","requestId":"1"}"#] {
        assert_eq!(store.post(body).await.text().trim(), "[]", "{body}");
    }
    assert!(store.http_pull(None).await.0.is_empty());
}

#[tokio::test]
async fn http_an_unknown_call_of_the_next_generation_dies_alone() {
    let store = Server::shared().store();
    match &answers(&store.post(&request("1", "Nope", "{}")).await)[..] {
        [Answer::Exit(id, exit)] => {
            assert_eq!(*id, json!(1));
            assert_eq!(exit.died_of(), "Unknown request tag: SyncHttpRpc.Nope");
        }
        other => panic!("expected one exit, got {other:?}"),
    }
}

#[tokio::test]
async fn http_payloads_that_do_not_fit_die_naming_the_field() {
    let store = Server::shared().store();
    for (tag, payload, field) in [
        ("Pull", "{}", "storeId"),
        ("Pull", r#"{"storeId":"x"}"#, "cursor"),
        ("Push", r#"{"storeId":"x","backendId":{"_tag":"None"}}"#, "batch"),
    ] {
        match &answers(&store.post(&request("\"1\"", tag, payload)).await)[..] {
            [Answer::Exit(_, exit)] => assert!(exit.died_of().contains(field), "{exit:?} names {field}"),
            other => panic!("expected one exit, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn http_bodies_that_are_not_utf8_are_answered() {
    let store = Server::shared().store();
    let response = store.post_as("application/json", b"{\"_tag\":\"\xff\xfe\"}").await;
    assert!(response.status == 400 || response.status == 200, "{}", response.status);
    assert!(!response.body.is_empty());
    assert!(store.http_pull(None).await.0.is_empty());
}

#[tokio::test]
async fn http_bodies_over_the_limit_are_413() {
    let store = Server::shared().store();
    let fits = format!(r#"{{"_tag":"Ping","x":"{}"}}"#, "x".repeat((8 << 20) - 22));
    assert_eq!(fits.len(), 8 << 20);
    let response = store.post(&fits).await;
    assert_eq!((response.status, response.text().trim()), (200, r#"[{"_tag":"Pong"}]"#));
    let over = fits.replacen("xx", "xxx", 1);
    assert_eq!(store.post(&over).await.status, 413);
    assert!(store.http_pull(None).await.0.is_empty());
}

/// A body without a length cannot hide its size.
#[tokio::test]
async fn http_chunked_bodies_are_limited_too() {
    let store = Server::shared().store();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n",
        store.server().path(&format!("/?{}&transport=http", store.query())),
        store.server().authority(),
    );
    let small = format!("{head}f\r\n{{\"_tag\":\"Ping\"}}\r\n0\r\n\r\n");
    let response = http::raw(store.server(), small.as_bytes(), "the answer to a chunked body").await;
    assert_eq!(response.text().trim(), r#"[{"_tag":"Pong"}]"#);
    let mebibyte = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    let large = format!("{head}{}0\r\n\r\n", mebibyte.repeat(9));
    assert_eq!(http::raw(store.server(), large.as_bytes(), "the answer to a large body").await.status, 413);
}
