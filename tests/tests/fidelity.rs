//! What is pushed is what is pulled, and stores have nothing to do with each other.

use livestore_sync_tests::{Event, Pulled, Server, Store, assert_pulled, chain};

/// Pulled over every transport and by every generation.
async fn assert_everywhere(store: &Store, expected: &[Event]) {
    assert_pulled(&store.log().await, expected);
    assert_pulled(&store.rpc_next().await.pull_all().await.events, expected);
    assert_pulled(&store.http_pull(None).await.0, expected);
    assert_pulled(&store.v03().await.pull_events(None).await, expected);
}

#[tokio::test]
async fn args_come_back_byte_for_byte() {
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let wide = format!("[{}0]", "0,".repeat(20_000));
    let spellings = [
        r#"{"b":1,"a":2,"c":{"z":0,"y":0}}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"":0}"#,
        "1e400",
        "-1E+400",
        "1e-400",
        "12345678901234567890",
        "0.10000000000000000000000000001",
        "-0",
        "-0.0",
        "1.0",
        "1E5",
        r#""\u0041\/\"\\\b\f\n\r\t""#,
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\ud83d\ude80""#,
        r#""\u0000""#,
        "\"é🚀 \u{202e} \"",
        "[ 1 ,\t2 ]",
        r#"{ "a" : [ ] }"#,
        "true",
        "false",
        "null",
        "[]",
        "{}",
        r#""""#,
        "[null,[[[{}]]]]",
        r#"{"__proto__":{"x":1},"constructor":null}"#,
        r#""'; DROP TABLE eventlog_7_x; --""#,
        &deep,
        &wide,
    ];
    let events: Vec<_> =
        spellings.iter().zip(0..).map(|(args, head)| Event::new(head, head + 1).with_args(*args)).collect();
    let store = Server::shared().store();
    let (mut pusher, mut listener) = (store.rpc().await, store.v03().await);
    listener.expect_pong().await;
    let live = pusher.live(None).await.id;
    pusher.push_ok(&events).await;
    assert_pulled(&pusher.live_until(&live, events.len() as i64).await, &events);
    assert_pulled(&listener.expect_broadcast(None, events.len()).await, &events);
    assert_everywhere(&store, &events).await;
    // And the same when 0.3 and http push them.
    let store = store.server().store();
    store.v03().await.push_ok(&events).await;
    assert_everywhere(&store, &events).await;
    let store = store.server().store();
    store.http_push(&events).await.assert_pushed();
    assert_everywhere(&store, &events).await;
}

#[tokio::test]
async fn absent_args_come_back_as_null() {
    let store = Server::shared().store();
    let absent = Event { args: None, ..Event::new(0, 1) };
    let null = Event::new(1, 2).with_args("null");
    store.rpc().await.push_ok(&[absent.clone(), null.clone()]).await;
    assert_everywhere(&store, &[absent, null]).await;
}

#[tokio::test]
async fn absent_and_null_args_are_the_same_push() {
    let store = Server::shared().store();
    let absent = Event { args: None, ..Event::new(0, 1) };
    store.rpc().await.push_ok(std::slice::from_ref(&absent)).await;
    store.rpc().await.push_ok(&[absent.with_args("null")]).await;
    assert_eq!(store.log().await.len(), 1);
}

#[tokio::test]
async fn names_and_ids_are_any_text() {
    let texts = [
        "",
        " ",
        "it's \"quoted\" `here`",
        "back\\slash/slash",
        "line\nbreak\r\ttab",
        "nul\0inside",
        "\u{1}\u{7f}\u{80}\u{feff}\u{2028}\u{2029}",
        "é ü ß 漢字 🚀👩‍👩‍👧 \u{202e}rtl",
        "Robert'); DROP TABLE livestore_stores;--",
        "%00 %27 ? ?1 :a $a @a",
        "null",
        "{\"json\":true}",
    ];
    let long = "n".repeat(10_000);
    let mut events = Vec::new();
    for (text, head) in texts.into_iter().chain([long.as_str()]).zip(0..) {
        let event = Event::new(head, head + 1);
        events.push(Event { name: text.into(), client: format!("{text}c"), session: format!("s{text}"), ..event });
    }
    let store = Server::shared().store();
    store.rpc().await.push_ok(&events).await;
    assert_everywhere(&store, &events).await;
    // Read back as equal, too.
    store.rpc().await.push_ok(&events).await;
}

#[tokio::test]
async fn unknown_members_of_events_are_dropped() {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    let event = Event::new(0, 1);
    let more = event.json().replacen('{', r#"{"extra":{"a":1},"createdAt":"2000-01-01T00:00:00.000Z","#, 1);
    let payload = format!(r#"{{"storeId":"x","batch":[{more}],"backendId":{{"_tag":"None"}},"more":1}}"#);
    client.request(&"a".into(), "SyncWsRpc.Push", &payload).await;
    client.expect_exit(&"a".into()).await.assert_pushed();
    assert_everywhere(&store, &[event]).await;
    assert!(!store.log().await[0].created_at.starts_with("2000"));
}

/// JSON has one number type.
#[tokio::test]
async fn positions_may_be_spelled_as_fractions_of_one() {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    let event = r#"{"name":"n","args":1,"seqNum":1.0,"parentSeqNum":0e0,"clientId":"c","sessionId":"s"}"#;
    let payload = format!(r#"{{"storeId":"x","batch":[{event}],"backendId":{{"_tag":"None"}}}}"#);
    client.request(&"a".into(), "SyncWsRpc.Push", &payload).await;
    client.expect_exit(&"a".into()).await.assert_pushed();
    assert_eq!(store.log().await[0].event.seq, 1);
}

#[track_caller]
fn assert_iso(text: &str) {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{text}");
}

#[tokio::test]
async fn created_at_is_one_instant_per_push_and_the_same_for_everybody() {
    let store = Server::shared().store();
    let (mut client, mut v03) = (store.rpc().await, store.v03().await);
    v03.expect_pong().await;
    let live = client.live(None).await.id;
    let mut all: Vec<Pulled> = Vec::new();
    for head in (0..1_500).step_by(300) {
        client.push_ok(&chain(head, 300)).await;
        let events = client.live_until(&live, head + 300).await;
        assert_iso(&events[0].created_at);
        assert!(events.iter().all(|pulled| pulled.created_at == events[0].created_at), "one instant per push");
        assert!(all.last().is_none_or(|before| before.created_at <= events[0].created_at), "instants do not go back");
        assert_eq!(v03.expect_broadcast_events(300).await, events);
        all.extend(events);
    }
    assert_eq!(store.log().await, all);
    assert_eq!(store.http_pull(None).await.0, all);
    assert_eq!(store.v03().await.pull_events(None).await, all);
}

/// Odd ids work, and no two of them share anything.
#[tokio::test]
async fn store_ids_are_any_text() {
    let server = Server::shared();
    let base = server.store().id().to_owned();
    let ids: Vec<String> = [
        "/slash/es",
        "\"quotes'`",
        "é🚀漢字",
        "日本語",
        "%2F",
        "+ &=?#",
        "..",
        "nul\0",
        "'; DROP TABLE x; --",
        "a b",
        "a\tb",
    ]
    .iter()
    .map(|text| format!("{base}{text}"))
    .chain([format!("{base}{}", "l".repeat(3_000 - base.len()))])
    .collect();
    let mut backends = Vec::new();
    for (id, n) in ids.iter().zip(1..) {
        let store = server.store_named(id);
        store.rpc().await.push_ok(&[Event::new(0, n)]).await;
        backends.push(store.rpc().await.pull_all().await.backend);
    }
    for (id, n) in ids.iter().zip(1..) {
        assert_everywhere(&server.store_named(id), &[Event::new(0, n)]).await;
    }
    backends.sort();
    backends.dedup();
    assert_eq!(backends.len(), ids.len());
}

/// Shared with whoever else tests there, so it only looks.
#[tokio::test]
async fn the_store_id_may_be_empty() {
    let store = Server::shared().store_named("");
    let log = store.log().await;
    assert_eq!(store.v03().await.pull_events(None).await.len(), log.len());
    assert!(store.http_pull(None).await.0.len() >= log.len());
}

/// With D1 the reference puts them all into one table: a leak from tenant to tenant.
#[tokio::test]
async fn stores_whose_names_look_alike_do_not_share() {
    let server = Server::shared();
    let base = server.store().id().to_owned();
    let tails = [
        "a-b", "a_b", "A_b", "a_B", "a-B", "a.b", "a b", "a__b", "aéb", "aüb", "a🚀b", "日", "本", "ａ_ｂ", "a_b_",
        "a_b_1", "a_b_2",
    ];
    let stores: Vec<_> = tails.iter().map(|tail| server.store_named(format!("{base}{tail}"))).collect();
    let mut listeners = Vec::new();
    for store in &stores {
        let mut listener = store.rpc().await;
        let live = listener.live(None).await.id;
        listeners.push((listener, live));
    }
    let event = |n: i64| [Event::new(0, n).from_client(tails[n as usize - 1])];
    for (store, n) in stores.iter().zip(1..) {
        store.rpc().await.push_ok(&event(n)).await;
    }
    for ((store, (listener, live)), n) in stores.iter().zip(&mut listeners).zip(1..) {
        assert_pulled(&listener.expect_chunk(live).await.events, &event(n));
        listener.expect_silence().await;
        assert_everywhere(store, &event(n)).await;
        assert_eq!(store.http_pull(None).await.1, store.rpc().await.pull_all().await.backend);
    }
}
