//! Frames that no client sends: each is answered or ignored, and every connection works on.

use livestore_sync_tests::{Ids, Incoming, Rpc, Server, Store, assert_pulled, chain, pull_payload};
use serde_json::Value;

/// A connection with a live pull that must survive, and a bystander on the same store.
struct Scene {
    store: Store,
    client: Rpc,
    live: Value,
    bystander: Rpc,
    bystander_live: Value,
    head: i64,
}

impl Scene {
    async fn new(ids: Ids) -> Self {
        let store = Server::shared().store();
        let (mut client, mut bystander) = (store.rpc_with(ids).await, store.rpc().await);
        let live = client.live(None).await.id;
        let bystander_live = bystander.live(None).await.id;
        Self { store, client, live, bystander, bystander_live, head: 0 }
    }

    /// Everybody still gets everything, once.
    async fn assert_unharmed(&mut self, after: &str) {
        let batch = chain(self.head, 1);
        self.head += 1;
        let push = self.client.start_push(&batch).await;
        assert_pulled(&self.client.chunk(&self.live).await.events, &batch);
        self.client.ack(&self.live).await;
        self.client.exit(&push).await.assert_pushed();
        self.client.expect_silence().await;
        assert_pulled(&self.bystander.chunk(&self.bystander_live).await.events, &batch);
        self.bystander.ack(&self.bystander_live).await;
        self.bystander.expect_silence().await;
        assert_eq!(self.client.pull_all().await.events.len() as i64, self.head, "after {after}");
    }
}

#[tokio::test]
async fn text_that_is_not_json_is_a_syntax_error() {
    let mut scene = Scene::new(Ids::Text).await;
    for frame in
        ["not json", "", " ", "{", "[", r#"{"_tag":"Ping""#, r#"{"_tag":"Ping"}}"#, "\u{feff}", "\0", "NaN", "'"]
    {
        scene.client.socket.send(frame).await;
        let defect = scene.client.expect_defect().await;
        assert_eq!(defect["name"], "SyntaxError", "{frame:?}");
        assert!(defect["message"].is_string(), "{frame:?}");
    }
    scene.assert_unharmed("text that is not JSON").await;
}

/// 0.4.0's connection never answers again after some of these, while pings go on.
#[tokio::test]
async fn json_that_is_no_message_is_a_defect_and_the_connection_works_on() {
    for ids in [Ids::Text, Ids::Number] {
        let mut scene = Scene::new(ids).await;
        for frame in ["null", "7", "-1e5", "1e400", r#""str""#, "true", "{}", r#"{"tag":"Ping"}"#, r#"{"_tag":null}"#] {
            scene.client.socket.send(frame).await;
            assert_eq!(scene.client.expect_defect().await, "Unknown request tag: undefined", "{frame}");
            scene.assert_unharmed(frame).await;
        }
    }
}

#[tokio::test]
async fn unknown_tags_are_defects_that_name_them() {
    let mut scene = Scene::new(Ids::Text).await;
    for tag in ["Nope", "ping", "Chunk", "Exit", "Defect", "ClientEnd", "WSMessage.PullReq", "", "é🚀"] {
        scene.client.socket.send(format!(r#"{{"_tag":"{tag}","requestId":"1"}}"#)).await;
        assert_eq!(scene.client.expect_defect().await, format!("Unknown request tag: {tag}"));
    }
    scene.assert_unharmed("unknown tags").await;
}

#[tokio::test]
async fn an_empty_array_is_not_answered() {
    let mut scene = Scene::new(Ids::Text).await;
    scene.client.socket.send("[]").await;
    scene.assert_unharmed("an empty array").await;
}

#[tokio::test]
async fn elements_of_arrays_are_handled_one_by_one() {
    let mut scene = Scene::new(Ids::Text).await;
    scene.client.socket.send(r#"[null,7,"x",{},[]]"#).await;
    for _ in 0..5 {
        assert_eq!(scene.client.expect_defect().await, "Unknown request tag: undefined");
    }
    scene.assert_unharmed("an array of nothing").await;
}

#[tokio::test]
async fn acks_and_interrupts_without_an_id_are_defects_that_name_it() {
    let mut scene = Scene::new(Ids::Text).await;
    for tag in ["Ack", "Interrupt"] {
        for rest in ["", r#","requestId":null"#, r#","requestId":{}"#, r#","requestId":[1]"#, r#","requestId":1.5"#] {
            scene.client.socket.send(format!(r#"{{"_tag":"{tag}"{rest}}}"#)).await;
            let text = scene.client.expect_defect().await.to_string();
            assert!(text.contains(tag), "{text} names {tag}");
            if rest.is_empty() {
                assert!(text.contains("requestId"), "{text} names requestId");
            }
        }
    }
    scene.assert_unharmed("acks without an id").await;
}

/// 0.4.0's connection never answers again.
#[tokio::test]
async fn any_string_and_any_safe_integer_is_a_request_id() {
    let mut scene = Scene::new(Ids::Text).await;
    let text = r#""a text with \"quotes\", \\ and 🚀""#;
    for id in ["7", "0", "-1", "9007199254740991", r#""abc""#, r#""""#, r#""-1""#, r#""007""#, r#""1e5""#, text] {
        let id: Value = serde_json::from_str(id).expect("JSON");
        scene.client.start_pull_as(&id, false, None).await;
        assert_eq!(scene.client.expect_chunk(&id).await.id, id);
        scene.client.ack(&id).await;
        let _ = scene.client.expect_exit(&id).await;
    }
    scene.assert_unharmed("odd ids").await;
}

#[tokio::test]
async fn requests_without_a_usable_id_are_defects() {
    let mut scene = Scene::new(Ids::Text).await;
    let payload = pull_payload(&scene.store, Some(true), None);
    let long = format!("\"{}\"", "x".repeat(100_000));
    for id in ["null", "1.5", "9007199254740992", "1e400", "true", "[]", "{}", "12345678901234567890", long.as_str()] {
        let frame =
            format!(r#"{{"_tag":"Request","id":{id},"tag":"SyncWsRpc.Pull","payload":{payload},"headers":[]}}"#);
        scene.client.socket.send(frame).await;
        scene.client.expect_defect().await;
    }
    scene.client.socket.send(format!(r#"{{"_tag":"Request","tag":"SyncWsRpc.Pull","payload":{payload}}}"#)).await;
    assert!(scene.client.expect_defect().await.to_string().contains("id"));
    scene.assert_unharmed("requests without an id").await;
}

#[tokio::test]
async fn requests_with_a_wrong_envelope_are_answered() {
    let mut scene = Scene::new(Ids::Text).await;
    let payload = pull_payload(&scene.store, Some(false), None);
    for frame in [
        r#"{"_tag":"Request","id":"x"}"#.to_owned(),
        format!(r#"{{"_tag":"Request","id":"x","payload":{payload},"headers":[]}}"#),
        format!(r#"{{"_tag":"Request","id":"x","tag":7,"payload":{payload},"headers":[]}}"#),
        format!(r#"{{"_tag":"Request","id":"x","tag":"SyncWsRpc.Nope","payload":{payload},"headers":[]}}"#),
        r#"{"_tag":"Request","id":"x","tag":"SyncWsRpc.Pull","headers":[]}"#.into(),
    ] {
        scene.client.socket.send(frame.clone()).await;
        // On the connection or on the request, but not nothing.
        match scene.client.answer(&format!("an answer to {frame}")).await {
            livestore_sync_tests::Answer::Defect(_) => {}
            livestore_sync_tests::Answer::Exit(id, exit) => {
                assert_eq!(id, "x");
                assert!(!exit.died_of().is_empty());
            }
            other => panic!("expected a failure for {frame}, got {other:?}"),
        }
    }
    scene.assert_unharmed("wrong envelopes").await;
}

#[tokio::test]
async fn cursors_that_are_none_fail_their_pull() {
    let mut scene = Scene::new(Ids::Text).await;
    let backend = scene.client.pull_all().await.backend;
    let some = |value: &str| format!(r#"{{"_tag":"Some","value":{value}}}"#);
    let number = |number: &str| some(&format!(r#"{{"backendId":"{backend}","eventSequenceNumber":{number}}}"#));
    for cursor in [
        "null".to_owned(),
        "0".into(),
        "{}".into(),
        r#"{"_tag":"Nope"}"#.into(),
        r#"{"_tag":"Some"}"#.into(),
        some("7"),
        some(&format!(r#"{{"backendId":"{backend}"}}"#)),
        some(r#"{"backendId":7,"eventSequenceNumber":0}"#),
        number("null"),
        number(r#""0""#),
        number("1E400"),
        number("-1E400"),
        number("[]"),
    ] {
        let id = scene.client.new_id();
        let payload = format!(r#"{{"storeId":"x","live":true,"cursor":{cursor}}}"#);
        scene.client.request(&id, "SyncWsRpc.Pull", &payload).await;
        assert!(!scene.client.expect_exit(&id).await.died_of().is_empty(), "{cursor}");
    }
    scene.assert_unharmed("cursors that are none").await;
}

#[tokio::test]
async fn binary_frames_with_json_are_read_as_text() {
    let mut scene = Scene::new(Ids::Text).await;
    scene.client.socket.send_binary(r#"{"_tag":"Ping"}"#).await;
    assert_eq!(scene.client.socket.next_text("a pong").await, r#"{"_tag":"Pong"}"#);
    scene.assert_unharmed("a binary ping").await;
}

#[tokio::test]
async fn binary_frames_without_text_harm_no_other_connection() {
    let mut scene = Scene::new(Ids::Text).await;
    let mut hostile = scene.store.rpc().await;
    let mut hostile_v03 = scene.store.v03().await;
    let bytes: Vec<u8> = (0..=255).collect();
    hostile.socket.send_binary(bytes.clone()).await;
    hostile_v03.socket.send_binary(bytes).await;
    // An answer or a close frame, but not nothing.
    hostile.socket.next("an answer to a binary frame").await;
    hostile_v03.socket.next("an answer to a binary frame").await;
    scene.assert_unharmed("binary frames").await;
}

fn assert_refused(answer: Incoming, bytes: &[u8]) {
    match answer {
        Incoming::Close(code, _) => assert_eq!(code, Some(1007), "{bytes:?}"),
        Incoming::Text(text) => assert!(
            ["Defect", "WSMessage.Error", "Pong"].iter().any(|tag| text.contains(tag)) && !text.contains("Success"),
            "{bytes:?}: {text}"
        ),
        Incoming::Lost(why) => panic!("{bytes:?}: {why}"),
    }
}

/// Workers replaces what is not UTF-8 before the server sees it, so that there it is answered for what
/// is left of it.
#[tokio::test]
async fn text_that_is_not_utf8_is_refused() {
    let mut scene = Scene::new(Ids::Text).await;
    for bytes in [&b"\xff"[..], b"{\"_tag\":\"\xc3\"}", b"\xed\xa0\x80", b"{\"_tag\":\"Ping\",\"x\":\"\xf8\"}"] {
        let mut hostile = scene.store.rpc().await;
        hostile.socket.send_as_text(bytes).await;
        assert_refused(hostile.socket.next("a refusal").await, bytes);
        let mut hostile = scene.store.v03().await;
        hostile.socket.send_as_text(bytes).await;
        assert_refused(hostile.socket.next("a refusal").await, bytes);
    }
    scene.assert_unharmed("text that is not UTF-8").await;
}

#[tokio::test]
async fn deep_nesting_outside_of_args_is_answered() {
    let mut scene = Scene::new(Ids::Text).await;
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for depth in [1_000, 100_000, 1_000_000] {
        for frame in [
            deep(depth),
            format!(r#"{{"_tag":{}}}"#, deep(depth)),
            format!(r#"{{"_tag":"Request","id":{},"tag":"x","payload":{{}}}}"#, deep(depth)),
            format!(r#"{{"_tag":"Request","id":"x","tag":"SyncWsRpc.Pull","payload":{}}}"#, deep(depth)),
            "[".repeat(depth),
            r#"{"a":"#.repeat(depth),
        ] {
            scene.client.socket.send(frame).await;
            scene.client.answer("an answer to deep nesting").await;
        }
    }
    scene.assert_unharmed("deep nesting").await;
}

#[tokio::test]
async fn v03_deep_nesting_is_answered() {
    let mut client = Server::shared().store().v03().await;
    for depth in [1_000, 2_000_000] {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        client.socket.send(deep.clone()).await;
        client.expect_error("").await;
        client.socket.send(format!(r#"{{"_tag":"WSMessage.PushReq","requestId":"x","batch":{deep}}}"#)).await;
        client.expect_error("x").await;
    }
    client.push_ok(&chain(0, 1)).await;
}

#[tokio::test]
async fn repeated_members_and_huge_numbers_harm_nobody() {
    let mut scene = Scene::new(Ids::Text).await;
    let digits = "9".repeat(100_000);
    for frame in [
        r#"{"_tag":"Ack","_tag":"Ping","requestId":"1","requestId":"2"}"#.to_owned(),
        format!(r#"{{"_tag":"Ack","requestId":{digits}}}"#),
        format!(r#"{{"_tag":"Interrupt","requestId":1e{digits}}}"#),
        format!(r#"{{"_tag":"Nope","x":{digits}.{digits}e-{digits}}}"#),
    ] {
        scene.client.socket.send(frame).await;
        scene.client.answer("an answer").await;
    }
    scene.assert_unharmed("huge numbers").await;
}

/// Ids that are in use: for pulls see `reusing_the_id_of_a_running_pull_does_not_block_the_connection`.
#[tokio::test]
async fn pushes_may_repeat_an_id() {
    let mut scene = Scene::new(Ids::Text).await;
    let id = Value::from("1000");
    for _ in 0..3 {
        let batch = chain(scene.head, 1);
        scene.head += 1;
        let payload = livestore_sync_tests::push_payload(&scene.store, &batch, None);
        scene.client.request(&id, "SyncWsRpc.Push", &payload).await;
        scene.client.exit(&id).await.assert_pushed();
        assert_pulled(&scene.client.chunk(&scene.live).await.events, &batch);
        scene.client.ack(&scene.live).await;
        assert_pulled(&scene.bystander.chunk(&scene.bystander_live).await.events, &batch);
        scene.bystander.ack(&scene.bystander_live).await;
    }
    scene.assert_unharmed("repeated ids").await;
}

#[tokio::test]
async fn connections_that_vanish_harm_nobody() {
    let mut scene = Scene::new(Ids::Text).await;
    for round in 0..30 {
        let mut gone = scene.store.rpc().await;
        gone.start_pull(true, None).await;
        let mut gone_v03 = scene.store.v03().await;
        gone_v03.start_pull(None).await;
        if round % 2 == 0 {
            // Pushes that nobody waits for.
            gone.start_push(&chain(1_000_000, 1)).await;
        }
        gone.socket.cut();
        gone_v03.socket.cut();
    }
    scene.assert_unharmed("thirty lost connections").await;
}
