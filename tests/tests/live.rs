//! Live pulls: the window, backlogs and broadcasts in order, and who no longer gets anything.

use livestore_sync_tests::{Answer, Event, Exit, Ids, Rpc, Server, Store, assert_pulled, chain, chain_with, seqs};
use serde_json::Value;

async fn filled(count: i64) -> (Store, Rpc) {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    for head in (0..count).step_by(500) {
        client.push_ok(&chain(head, 500.min(count - head))).await;
    }
    (store, client)
}

/// Takes what comes without acknowledging it, until nothing comes.
async fn unacked(client: &mut Rpc, id: &Value) -> (Vec<i64>, Vec<u64>) {
    client.socket.send(r#"{"_tag":"Ping"}"#).await;
    let (mut numbers, mut remaining) = (Vec::new(), Vec::new());
    loop {
        match client.answer("chunks and a pong").await {
            Answer::Chunk(chunk) if chunk.id == *id => {
                numbers.extend(seqs(&chunk.events));
                remaining.push(chunk.remaining);
            }
            Answer::Pong => break,
            other => panic!("expected chunks of {id} and a pong, got {other:?}"),
        }
    }
    (numbers, remaining)
}

/// Takes chunks without acknowledging them until the window is full.
async fn window(client: &mut Rpc, id: &Value) -> Vec<i64> {
    let numbers = client.fill_window(id).await;
    client.expect_silence().await;
    numbers
}

/// The window opens as chunks are acknowledged, and is never wider than a few chunks more.
#[tokio::test]
async fn a_pull_waits_for_its_acknowledgements() {
    let (_, mut client) = filled(1_500).await;
    for live in [false, true] {
        let id = client.start_pull(live, None).await;
        let mut got = window(&mut client, &id).await;
        assert!(got.len() < 1_000, "{} events without an Ack", got.len());
        assert_eq!(got, (1..=got.len() as i64).collect::<Vec<_>>());
        while got.len() < 1_500 {
            client.ack(&id).await;
            got.extend(seqs(&client.expect_chunk(&id).await.events));
        }
        assert_eq!(got, (1..=1_500).collect::<Vec<_>>());
        for _ in 0..15 {
            client.ack(&id).await;
        }
        if live {
            client.expect_silence().await;
        } else {
            assert_eq!(client.expect_exit(&id).await, Exit::Success(None));
        }
    }
}

/// 0.4.0 sends a push at once, before the unsent pages, and again in the last page.
#[tokio::test]
async fn live_events_never_overtake_or_repeat_a_backlog() {
    for (ids, pushes) in [(Ids::Text, 1), (Ids::Text, 30), (Ids::Number, 250)] {
        let (store, mut pusher) = filled(1_500).await;
        let mut client = store.rpc_with(ids).await;
        let id = client.start_pull(true, None).await;
        let mut got = window(&mut client, &id).await;
        for n in 0..pushes {
            pusher.push_ok(&chain(1_500 + n, 1)).await;
        }
        client.expect_silence().await;
        let last = 1_500 + pushes;
        for _ in 0..8 {
            client.ack(&id).await;
        }
        while got.last() != Some(&last) {
            got.extend(seqs(&client.expect_chunk(&id).await.events));
            client.ack(&id).await;
        }
        assert_eq!(got, (1..=last).collect::<Vec<_>>());
        client.expect_silence().await;
        pusher.push_ok(&chain(last, 1)).await;
        assert_eq!(seqs(&client.expect_chunk(&id).await.events), [last + 1]);
    }
}

/// The same with nobody waiting for anybody.
#[tokio::test]
async fn a_backlog_read_amid_pushes_has_no_gap_and_nothing_twice() {
    let (store, mut pusher) = filled(1_500).await;
    let last = 1_800;
    let pushing = async {
        for head in 1_500..last {
            pusher.push_ok(&chain(head, 1)).await;
        }
    };
    let reading = async {
        for round in 0..5 {
            let mut client = store.rpc().await;
            let id = client.start_pull(true, None).await;
            let got = seqs(&client.live_until(&id, if round == 4 { last } else { 1_500 }).await);
            let expected = got.last().copied().unwrap_or_default();
            assert_eq!(got, (1..=expected).collect::<Vec<_>>());
        }
    };
    tokio::join!(pushing, reading);
}

/// On Workers, what is committed in a moment shares a frame where many listen. Nobody has a gap, or anything twice; who
/// pushes alone is not kept waiting, nor who loses a race.
#[tokio::test]
async fn a_large_audience_gets_every_push_once_and_in_order() {
    const PULLERS: usize = 20;
    let store = Server::shared().store();
    let (mut pusher, mut loser) = (store.rpc().await, store.rpc().await);
    let (mut pulls, mut old) = (Vec::new(), Vec::new());
    for _ in 0..PULLERS {
        let mut client = store.rpc().await;
        let id = client.live(None).await.id;
        pulls.push((client, id, Vec::new()));
    }
    for _ in 0..3 {
        let mut client = store.v03().await;
        client.pull(None).await;
        old.push(client);
    }
    let (one_upon_the_other, alone) = (100, 10);
    for head in 0..one_upon_the_other {
        if head == 50 {
            let mut client = store.rpc().await;
            let id = client.start_pull(true, None).await;
            pulls.push((client, id, Vec::new()));
        }
        if head == 80 {
            loser.push(&chain_with(70, 1, "0")).await.assert_server_ahead(80, 70);
        }
        pusher.push_ok(&chain(head, 1)).await;
    }
    for last in one_upon_the_other..=one_upon_the_other + alone {
        for (client, id, got) in &mut pulls {
            got.extend(seqs(&client.live_until(id, last).await));
        }
        pusher.push_ok(&chain(last, 1)).await;
    }
    let all = one_upon_the_other + alone + 1;
    for (client, id, got) in &mut pulls {
        got.extend(seqs(&client.live_until(id, all).await));
        assert_eq!(*got, (1..=all).collect::<Vec<_>>());
        client.expect_silence().await;
    }
    for client in &mut old {
        assert_pulled(&client.expect_broadcast_events(all as usize).await, &chain(0, all));
        client.expect_silence().await;
    }
}

/// Broadcasts count against the window too, and wait instead of being lost.
#[tokio::test]
async fn a_live_pull_that_never_acks_loses_nothing_once_it_does() {
    let (store, mut pusher) = filled(1).await;
    let mut client = store.rpc().await;
    let id = client.start_pull(true, None).await;
    for head in 1..301 {
        pusher.push_ok(&chain(head, 1)).await;
    }
    let (mut got, _) = unacked(&mut client, &id).await;
    for _ in 0..300 {
        client.ack(&id).await;
    }
    while got.last() != Some(&301) {
        got.extend(seqs(&client.expect_chunk(&id).await.events));
        client.ack(&id).await;
    }
    assert_eq!(got, (1..=301).collect::<Vec<_>>());
    client.expect_silence().await;
}

/// Published clients acknowledge broadcasts and pages with the same id.
#[tokio::test]
async fn too_many_acks_do_no_harm() {
    let (_, mut client) = filled(1_500).await;
    let id = client.start_pull(true, None).await;
    for _ in 0..200 {
        client.ack(&id).await;
    }
    assert_eq!(client.backlog(id.clone()).await.events.len(), 1_500);
    client.push_ok(&chain(1_500, 1)).await;
    assert_pulled(&client.chunk(&id).await.events, &chain(1_500, 1));
    client.expect_silence().await;
}

#[tokio::test]
async fn a_live_pull_starts_at_its_cursor() {
    let (_, mut client) = filled(250).await;
    let backend = client.pull_all().await.backend;
    let pull = client.live(Some((&backend, 240))).await;
    assert_pulled(&pull.events, &chain(240, 10));
    let at_head = client.live(Some((&backend, 250))).await;
    assert_eq!(at_head.pages, [(0, 0)]);
    client.push_ok(&chain(250, 1)).await;
    for id in [&pull.id, &at_head.id] {
        assert_pulled(&client.chunk(id).await.events, &chain(250, 1));
    }
    client.expect_silence().await;
}

/// Under the log's own id it can only come from a history that the log does not have any more. The reference serves it,
/// and the client keeps what nobody else has.
#[tokio::test]
async fn a_cursor_beyond_the_head_is_answered_as_another_log() {
    let (store, mut client) = filled(3).await;
    let backend = client.pull_all().await.backend;
    for (live, cursor) in [(false, 4), (true, 4), (true, 9_007_199_254_740_991)] {
        let id = client.start_pull(live, Some((&backend, cursor))).await;
        client.expect_exit(&id).await.assert_backend_id_mismatch(&backend);
    }
    let cursor = format!(r#"{{"_tag":"Some","value":{{"backendId":"{backend}","eventSequenceNumber":4}}}}"#);
    let payload = format!(r#"{{"storeId":"x","cursor":{cursor}}}"#);
    let answers = store.call("\"0\"", "SyncHttpRpc.Pull", &payload).await;
    let [Answer::Exit(_, exit)] = &answers[..] else { panic!("{answers:?}") };
    exit.assert_backend_id_mismatch(&backend);
    // The connection works on, and the head itself is no such cursor.
    let at_head = client.live(Some((&backend, 3))).await;
    assert_eq!(at_head.pages, [(0, 0)]);
    client.push_ok(&chain(3, 1)).await;
    assert_pulled(&client.chunk(&at_head.id).await.events, &chain(3, 1));
}

/// 0.4.0 keeps sending to them, once per pull that ever ran.
#[tokio::test]
async fn ended_pulls_get_nothing_afterwards() {
    let (store, mut pusher) = filled(3).await;
    let mut client = store.rpc().await;
    for _ in 0..5 {
        client.pull_all().await;
    }
    let live = client.live(None).await.id;
    client.interrupt(&live).await;
    client.expect_exit(&live).await.assert_interrupted();
    pusher.push_ok(&chain(3, 1)).await;
    client.expect_silence().await;
    let live = client.live(None).await.id;
    pusher.push_ok(&chain(4, 1)).await;
    assert_eq!(client.expect_chunk(&live).await.id, live);
    client.expect_silence().await;
}

#[tokio::test]
async fn failed_pulls_are_not_subscribed() {
    let (store, mut pusher) = filled(3).await;
    let mut client = store.rpc().await;
    for live in [true, false] {
        let id = client.start_pull(live, Some(("other", 0))).await;
        assert_eq!(client.expect_exit(&id).await.error()["_tag"], "BackendIdMismatchError");
        let id = client.new_id();
        client.request(&id, "SyncWsRpc.Pull", r#"{"live":true}"#).await;
        assert!(!client.expect_exit(&id).await.died_of().is_empty());
    }
    pusher.push_ok(&chain(3, 1)).await;
    client.expect_silence().await;
}

/// 0.4.0's connection dies silently after some 2,334 pulls.
#[tokio::test]
async fn thousands_of_pulls_on_one_connection_keep_working() {
    let (_, mut client) = filled(2).await;
    for _ in 0..3_000 {
        assert_eq!(client.pull_all().await.events.len(), 2);
    }
    let live = client.live(None).await.id;
    let push = client.start_push(&chain(2, 1)).await;
    assert_pulled(&client.expect_chunk(&live).await.events, &chain(2, 1));
    client.expect_exit(&push).await.assert_pushed();
    client.expect_silence().await;
}

/// 0.4.0 waits for the first call, which as a live pull never ends, and blocks everything behind it.
#[tokio::test]
async fn reusing_the_id_of_a_running_pull_does_not_block_the_connection() {
    let (_, mut client) = filled(2).await;
    let live = client.live(None).await.id;
    client.start_pull_as(&live, true, None).await;
    let text = client.expect_defect().await;
    let name = live.as_str().expect("a text id");
    assert!(text.as_str().is_some_and(|text| text.contains(name)), "{text} names {name}");
    let push = client.start_push(&chain(2, 1)).await;
    assert_pulled(&client.expect_chunk(&live).await.events, &chain(2, 1));
    client.ack(&live).await;
    client.expect_exit(&push).await.assert_pushed();
    client.expect_silence().await;
}

/// Its own event waits for its turn, like any other.
#[tokio::test]
async fn a_push_amid_the_pushers_own_backlog_comes_once_and_last() {
    let (store, _) = filled(1_500).await;
    let mut client = store.rpc().await;
    let live = client.start_pull(true, None).await;
    let mut got = window(&mut client, &live).await;
    let push = client.start_push(&chain(1_500, 1)).await;
    for _ in 0..8 {
        client.ack(&live).await;
    }
    client.exit(&push).await.assert_pushed();
    got.extend(seqs(&client.live_until(&live, 1_501).await));
    assert_eq!(got, (1..=1_501).collect::<Vec<_>>());
    client.expect_silence().await;
}

/// The client that is refused finds in its own pull what it has to rebase on, before the refusal.
#[tokio::test]
async fn before_server_ahead_the_pushers_live_pull_is_at_the_head() {
    let (store, mut other) = filled(5).await;
    let mut client = store.rpc().await;
    let live = client.live(None).await.id;
    for head in 5..55 {
        let (theirs, mine) = ([Event::new(head, head + 1)], [Event::new(head, head + 1).from_client("client-b")]);
        other.start_push(&theirs).await;
        let push = client.start_push(&mine).await;
        let chunk = client.expect_chunk(&live).await;
        client.ack(&live).await;
        let exit = client.expect_exit(&push).await;
        if matches!(exit, Exit::Success(_)) {
            assert_pulled(&chunk.events, &mine);
        } else {
            exit.assert_server_ahead(head + 1, head);
            assert_pulled(&chunk.events, &theirs);
        }
    }
    client.expect_silence().await;
}

#[tokio::test]
async fn before_server_ahead_an_unacknowledged_backlog_is_sent_to_the_head() {
    let (store, mut other) = filled(1_500).await;
    let mut client = store.rpc().await;
    let live = client.start_pull(true, None).await;
    let mut got = window(&mut client, &live).await;
    let push = client.start_push(&[Event::new(700, 701).from_client("client-b")]).await;
    // Time enough to refuse it, which waits for the backlog (not for ever).
    for _ in 0..20 {
        other.push(&[Event::new(700, 701).from_client("client-c")]).await.assert_server_ahead(1_500, 700);
    }
    client.expect_silence().await;
    for _ in 0..8 {
        client.ack(&live).await;
    }
    loop {
        match client.answer("the rest of the backlog and the refusal").await {
            Answer::Chunk(chunk) => {
                got.extend(seqs(&chunk.events));
                client.ack(&live).await;
            }
            Answer::Exit(id, exit) => {
                assert_eq!(id, push);
                exit.assert_server_ahead(1_500, 700);
                break;
            }
            other => panic!("expected chunks and the refusal, got {other:?}"),
        }
    }
    assert_eq!(got, (1..=1_500).collect::<Vec<_>>(), "everything up to the head, nothing twice");
    client.expect_silence().await;
    client.push_ok(&chain(1_500, 1)).await;
    assert_pulled(&client.chunk(&live).await.events, &chain(1_500, 1));
}

/// 48 MB for a 0.3 client, which has no window, are more than a server should keep for it.
#[tokio::test]
async fn a_client_that_never_reads_or_acks_does_not_hold_up_others() {
    let store = Server::shared().store();
    let large = format!("\"{}\"", "x".repeat(20_000));
    let (mut pusher, mut reader) = (store.rpc().await, store.rpc().await);
    let (mut deaf_rpc, mut deaf_v03) = (store.rpc().await, store.v03().await);
    deaf_rpc.start_pull(true, None).await;
    deaf_v03.start_pull(None).await;
    let live = reader.live(None).await.id;
    for head in (0..2_400).step_by(100) {
        pusher.push_ok(&chain_with(head, 100, &large)).await;
        let events = reader.live_until(&live, head + 100).await;
        assert_eq!(seqs(&events), (head + 1..=head + 100).collect::<Vec<_>>());
    }
    drop((deaf_rpc, deaf_v03));
    assert_eq!(store.log().await.len(), 2_400);
}
