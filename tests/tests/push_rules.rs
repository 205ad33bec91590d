//! What a batch must be to enter the log, and that it enters whole or not at all.

use livestore_sync_tests::{Event, Server, assert_chain, assert_pulled, chain, seqs};

/// 0.4.0 keeps the first 14 events and never takes another push.
#[tokio::test]
async fn a_batch_that_repeats_a_position_stores_nothing_and_the_store_works_on() {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    for at in [1, 14, 15, 19] {
        let mut batch = chain(0, 20);
        batch[at].seq = 1;
        client.push(&batch).await.assert_invalid_batch();
        let mut batch = chain(0, 20);
        batch[at] = batch[at - 1].clone();
        client.push(&batch).await.assert_invalid_batch();
    }
    assert!(client.pull_all().await.events.is_empty());
    client.push_ok(&chain(0, 20)).await;
    client.push_ok(&chain(20, 1)).await;
    assert_pulled(&store.log().await, &chain(0, 21));
}

#[tokio::test]
async fn v03_a_batch_that_repeats_a_position_stores_nothing_and_the_store_works_on() {
    let store = Server::shared().store();
    let (mut client, mut listener) = (store.v03().await, store.v03().await);
    listener.expect_pong().await;
    let mut batch = chain(0, 20);
    batch[15] = batch[2].clone();
    let id = client.start_push(&batch).await;
    client.expect_error(&id).await;
    client.expect_silence().await;
    listener.expect_silence().await;
    client.push_ok(&chain(0, 20)).await;
    assert_pulled(&store.log().await, &chain(0, 20));
}

#[tokio::test]
async fn a_position_that_the_log_has_already_cannot_come_again() {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    client.push_ok(&chain(0, 20)).await;
    let mut batch = chain(20, 20);
    batch[16].seq = 3;
    client.push(&batch).await.assert_invalid_batch();
    client.push_ok(&chain(20, 20)).await;
    assert_pulled(&store.log().await, &chain(0, 40));
}

#[tokio::test]
async fn a_broken_chain_inside_a_batch_is_refused() {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    for break_it in [
        |batch: &mut Vec<Event>| batch[3].parent = 2,
        |batch: &mut Vec<Event>| batch[3].parent = 4,
        |batch: &mut Vec<Event>| batch[4].parent = 0,
        |batch: &mut Vec<Event>| batch.swap(1, 2),
        |batch: &mut Vec<Event>| batch.reverse(),
        |batch: &mut Vec<Event>| drop(batch.remove(2)),
    ] {
        let mut batch = chain(0, 5);
        break_it(&mut batch);
        client.push(&batch).await.assert_invalid_batch();
        assert!(client.pull_all().await.events.is_empty(), "{batch:?} left something");
    }
    let mut batch = chain(0, 5);
    batch[3].parent = 2;
    let message = client.push(&batch).await.assert_invalid_batch();
    assert!(!message.is_empty());
    client.push_ok(&chain(0, 5)).await;
}

#[tokio::test]
async fn v03_a_broken_chain_inside_a_batch_is_refused() {
    let store = Server::shared().store();
    let mut client = store.v03().await;
    let mut batch = chain(0, 5);
    batch[3].parent = 2;
    assert!(!client.push(&batch).await.expect_err("the chain is broken").is_empty());
    assert!(store.log().await.is_empty());
    client.push_ok(&chain(0, 5)).await;
}

/// 0.4.0 takes them and then the head is not the last event.
#[tokio::test]
async fn descending_batches_are_refused() {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    client.push(&[Event::new(0, 2), Event::new(2, 1)]).await.assert_invalid_batch();
    client.push(&[Event::new(0, 0)]).await.assert_invalid_batch();
    assert!(store.log().await.is_empty());
    client.push_ok(&chain(0, 2)).await;
    client.push(&[Event::new(2, 1)]).await.assert_invalid_batch();
    client.push(&[Event::new(2, 2)]).await.assert_invalid_batch();
    client.push_ok(&chain(2, 1)).await;
}

#[tokio::test]
async fn negative_positions_are_refused() {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    client.push(&[Event::new(0, -1)]).await.assert_invalid_batch();
    client.push(&[Event::new(-5, -4)]).await.assert_invalid_batch();
    client.push(&[Event::new(-1, 1)]).await.assert_invalid_batch();
    assert!(store.log().await.is_empty());
    client.push_ok(&chain(0, 1)).await;
}

#[tokio::test]
async fn the_shape_of_a_batch_is_checked_before_the_head() {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    client.push_ok(&chain(0, 3)).await;
    let mut batch = chain(7, 3);
    batch[2].parent = 1;
    client.push(&batch).await.assert_invalid_batch();
}

#[tokio::test]
async fn gaps_are_legal_where_the_parents_are_right() {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    let batch = [Event::new(0, 100), Event::new(100, 101), Event::new(101, 20_000), Event::new(20_000, 1_020_000)];
    client.push_ok(&batch).await;
    client.push(&chain(0, 1)).await.assert_server_ahead(1_020_000, 0);
    let last = [Event::new(1_020_000, 1_020_001)];
    client.push_ok(&last).await;
    assert_pulled(&store.log().await, &[&batch[..], &last].concat());
    let backend = client.pull_all().await.backend;
    assert_eq!(seqs(&client.pull(Some((&backend, 101))).await.events).len(), 3);
    assert_eq!(seqs(&client.pull(Some((&backend, 99))).await.events).len(), 5);
}

/// Numbers end at 2^53 - 1: one event there would be the store's last.
#[tokio::test]
async fn gaps_are_bounded() {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    client.push_ok(&chain(0, 3)).await;
    for batch in [
        vec![Event::new(3, 1_000_004)],
        vec![Event::new(3, 9_007_199_254_740_991)],
        vec![Event::new(3, 4), Event::new(4, 1_000_005)],
    ] {
        let last = &batch[batch.len() - 1];
        let message = client.push(&batch).await.assert_invalid_batch();
        let (number, parent) = (last.seq.to_string(), last.parent.to_string());
        assert!(message.contains(&number) && message.contains(&parent) && message.contains("1000000"), "{message}");
        assert_eq!(store.http_push(&batch).await.assert_invalid_batch(), message);
        assert_eq!(store.v03().await.push(&batch).await, Err(message));
    }
    client.push_ok(&[Event::new(3, 1_000_003)]).await;
    client.push_ok(&[Event::new(1_000_003, 2_000_003)]).await;
    store.v03().await.push_ok(&[Event::new(2_000_003, 3_000_003)]).await;
    assert_eq!(store.log().await.len(), 6);
}

/// The client builds on a history that the log does not have any more. The reference says that it is ahead, and the
/// client waits for events that never come.
#[tokio::test]
async fn a_parent_beyond_the_head_is_answered_as_another_log() {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    client.push_ok(&chain(0, 3)).await;
    let backend = client.pull_all().await.backend;
    for parent in [4, 1_000_000] {
        client.push_to(&chain(parent, 1), &backend).await.assert_backend_id_mismatch(&backend);
        store.http_push_to(&chain(parent, 1), &backend).await.assert_backend_id_mismatch(&backend);
    }
    // Who names no log may mean any.
    store.http_push(&chain(4, 1)).await.assert_server_ahead(3, 4);
    client.push(&chain(1, 1)).await.assert_pushed();
    client.push_ok(&chain(3, 1)).await;
}

/// Not so where it is the client's own push that the batch builds on: it was refused, and nothing was lost.
#[tokio::test]
async fn a_push_on_top_of_a_refused_one_is_only_late() {
    let store = Server::shared().store();
    let (mut client, mut other) = (store.rpc().await, store.rpc().await);
    other.push_ok(&chain(0, 3)).await;
    let backend = other.pull_all().await.backend;
    let mut pushes = Vec::new();
    for (head, count) in [(2, 3), (5, 2), (7, 1)] {
        let batch: Vec<_> = chain(head, count).into_iter().map(|event| event.from_client("late")).collect();
        pushes.push((client.start_push_to(&batch, Some(&backend)).await, head));
    }
    for (id, head) in pushes {
        client.exit(&id).await.assert_server_ahead(3, head);
    }
    other.push_to(&chain(7, 1), &backend).await.assert_backend_id_mismatch(&backend);
}

/// Counting positions instead of events would give other numbers.
#[tokio::test]
async fn remaining_is_exact_with_gaps() {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    let gapped: Vec<_> = (0..625).map(|n| Event::new(n * 7, (n + 1) * 7)).collect();
    for batch in gapped.chunks(100) {
        client.push_ok(batch).await;
    }
    let pull = client.pull_all().await;
    assert_eq!(pull.pages.first(), Some(&(100, 525)));
    assert_pulled(&pull.events, &gapped);
    let pull = client.pull(Some((&pull.backend, 8))).await;
    assert_eq!(pull.pages.first(), Some(&(100, 524)));
    let pages = store.v03().await.pull(Some("13")).await;
    assert_eq!((pages[0].events.len(), pages[0].remaining), (100, 524));
}

#[tokio::test]
async fn remaining_is_exact_at_the_edges_of_pages() {
    for count in [99, 100, 101, 200, 256, 257, 625] {
        let store = Server::shared().store();
        let mut client = store.rpc().await;
        client.push_ok(&chain(0, count)).await;
        // The sums are checked by the harness.
        let pull = client.pull_all().await;
        assert_pulled(&pull.events, &chain(0, count));
        assert_eq!(pull.pages.len() as i64, (count + 99) / 100);
    }
}

#[tokio::test]
async fn a_push_that_is_repeated_exactly_succeeds() {
    let store = Server::shared().store();
    let (mut client, mut other) = (store.rpc().await, store.rpc().await);
    let live = other.live(None).await.id;
    client.push_ok(&chain(0, 5)).await;
    assert_pulled(&other.expect_chunk(&live).await.events, &chain(0, 5));
    other.ack(&live).await;
    client.push_ok(&chain(0, 5)).await;
    client.push_ok(&chain(5, 3)).await;
    assert_pulled(&other.expect_chunk(&live).await.events, &chain(5, 3));
    other.ack(&live).await;
    // Not only the last batch, and not only in the same pieces.
    for (head, count) in [(0, 5), (5, 3), (0, 8), (2, 3), (7, 1), (0, 1)] {
        client.push_ok(&chain(head, count)).await;
    }
    other.expect_silence().await;
    assert_pulled(&store.log().await, &chain(0, 8));
}

#[tokio::test]
async fn a_push_that_differs_in_one_field_is_not_a_repetition() {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    client.push_ok(&chain(0, 3)).await;
    for change in [
        |event: &mut Event| event.name = "other".into(),
        |event: &mut Event| event.args = Some(r#"{"id":"2","text":"T2"}"#.into()),
        |event: &mut Event| event.args = None,
        |event: &mut Event| event.client = "client-b".into(),
        |event: &mut Event| event.session = "session-b".into(),
    ] {
        let mut batch = chain(0, 3);
        change(&mut batch[1]);
        client.push(&batch).await.assert_server_ahead(3, 0);
    }
    client.push(&[Event::new(0, 2), Event::new(2, 3)]).await.assert_server_ahead(3, 0);
    client.push(&[Event::new(0, 3)]).await.assert_server_ahead(3, 0);
    assert_pulled(&store.log().await, &chain(0, 3));
}

#[tokio::test]
async fn a_push_that_is_partly_in_the_log_is_not_a_repetition() {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    client.push_ok(&chain(0, 3)).await;
    client.push(&chain(0, 4)).await.assert_server_ahead(3, 0);
    client.push(&chain(2, 2)).await.assert_server_ahead(3, 2);
    client.push(&chain(4, 1)).await.assert_server_ahead(3, 4);
    assert_pulled(&store.log().await, &chain(0, 3));
}

/// The ack means stored: another connection that asks after it finds the events.
#[tokio::test]
async fn acks_come_only_after_the_commit() {
    let store = Server::shared().store();
    let (mut pusher, mut v03, mut reader) = (store.rpc().await, store.v03().await, store.rpc().await);
    v03.expect_pong().await;
    for round in 0..50 {
        let head = round * 2;
        pusher.push_ok(&chain(head, 1)).await;
        assert_eq!(reader.pull_all().await.events.len() as i64, head + 1);
        let id = v03.start_push(&chain(head + 1, 1)).await;
        v03.expect_broadcast(None, 1).await;
        v03.expect_ack(&id).await;
        assert_eq!(reader.pull_all().await.events.len() as i64, head + 2);
        v03.expect_broadcast(Some(&id), 1).await;
    }
    assert_chain(0, &store.log().await);
}
