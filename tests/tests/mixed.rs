//! Clients of all generations on one store.

use livestore_sync_tests::{Event, Server, assert_chain, assert_pulled, chain, seqs};

#[tokio::test]
async fn every_generation_sees_what_the_others_push() {
    let store = Server::shared().store();
    let (mut v03, mut v04, mut next) = (store.v03().await, store.rpc().await, store.rpc_next().await);
    v03.pull(None).await;
    let v04_live = v04.live(None).await.id;
    let next_live = next.live(None).await.id;
    for round in 0..4 {
        let head = round * 4;
        let pushes: Vec<_> = (0..4).map(|n| vec![Event::new(head + n, head + n + 1).from_client("c")]).collect();
        v03.push_ok(&pushes[0]).await;
        v04.push_ok(&pushes[1]).await;
        assert_pulled(&v03.expect_broadcast(None, 1).await, &pushes[1]);
        next.push_ok(&pushes[2]).await;
        assert_pulled(&v03.expect_broadcast(None, 1).await, &pushes[2]);
        store.http_push(&pushes[3]).await.assert_pushed();
        assert_pulled(&v03.expect_broadcast(None, 1).await, &pushes[3]);
        for push in &pushes {
            assert_pulled(&v04.chunk(&v04_live).await.events, push);
            v04.ack(&v04_live).await;
            assert_pulled(&next.chunk(&next_live).await.events, push);
            next.ack(&next_live).await;
        }
    }
    v03.expect_silence().await;
    v04.expect_silence().await;
    next.expect_silence().await;

    let log = store.log().await;
    assert_chain(0, &log);
    assert_eq!(store.http_pull(None).await.0, log);
    assert_eq!(next.pull_all().await.events, log);
    assert_eq!(store.v03().await.pull_events(None).await, log);
}

#[tokio::test]
async fn every_generation_is_refused_at_the_same_head() {
    let store = Server::shared().store();
    store.rpc().await.push_ok(&chain(0, 3)).await;
    let mut v03 = store.v03().await;
    v03.pull(None).await;
    let stale = [Event::new(1, 2).from_client("late")];
    let refusal = v03.push(&stale).await.expect_err("the parent is stale");
    assert_eq!(refusal, "Invalid parent event number. Received e1 but expected e3");
    store.rpc().await.push(&stale).await.assert_server_ahead(3, 1);
    store.rpc_next().await.push(&stale).await.assert_server_ahead(3, 1);
    store.http_push(&stale).await.assert_server_ahead(3, 1);
    assert_pulled(&store.log().await, &chain(0, 3));
}

/// A client that changed its generation between push and retry is still recognised.
#[tokio::test]
async fn a_push_may_be_repeated_in_another_generation() {
    let store = Server::shared().store();
    store.v03().await.push_ok(&chain(0, 2)).await;
    store.rpc().await.push_ok(&chain(0, 2)).await;
    store.rpc_next().await.push_ok(&chain(0, 2)).await;
    store.http_push(&chain(0, 2)).await.assert_pushed();
    assert_pulled(&store.log().await, &chain(0, 2));
}

#[tokio::test]
async fn one_connection_of_each_generation_races() {
    let store = Server::shared().store();
    let (mut v03, mut v04, mut next) = (store.v03().await, store.rpc().await, store.rpc_next().await);
    for head in 0..30 {
        let batch = |client: &str| vec![Event::new(head, head + 1).from_client(&format!("{client}{head}"))];
        let (a, b, c) = (batch("a"), batch("b"), batch("c"));
        let (first, second, third) = tokio::join!(v03.push(&a), v04.push(&b), next.push(&c));
        let won = [
            first.is_ok(),
            matches!(second, livestore_sync_tests::Exit::Success(_)),
            matches!(third, livestore_sync_tests::Exit::Success(_)),
        ];
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "one wins: {first:?} {second:?} {third:?}");
        for exit in [second, third] {
            if matches!(exit, livestore_sync_tests::Exit::Failure(_)) {
                exit.assert_server_ahead(head + 1, head);
            }
        }
    }
    let log = store.log().await;
    assert_eq!(seqs(&log), (1..=30).collect::<Vec<_>>());
    assert_chain(0, &log);
}
