//! Many clients at once: one order for all, and one winner.

use livestore_sync_tests::{Event, Exit, Pull, Rpc, Server, Store, assert_chain, assert_pulled, chain, seqs};

fn rivals(head: i64) -> [Vec<Event>; 2] {
    ["left", "right"].map(|client| vec![Event::new(head, head + 1).from_client(client)])
}

/// One push is taken, the other refused; the log has the winner's.
async fn assert_one_won(store: &Store, head: i64, exits: [Exit; 2]) {
    let won: Vec<_> = exits.iter().map(|exit| matches!(exit, Exit::Success(_))).collect();
    let [left, right] = rivals(head);
    let (winner, loser) = match won[..] {
        [true, false] => (left, &exits[1]),
        [false, true] => (right, &exits[0]),
        _ => panic!("one wins: {exits:?}"),
    };
    loser.assert_server_ahead(head + 1, head);
    assert_pulled(&store.log().await[head as usize..], &winner);
}

/// 0.4.0 answers the second one with a UNIQUE constraint failure.
#[tokio::test]
async fn of_two_pushes_racing_to_a_cold_store_over_ws_one_wins() {
    let server = Server::shared();
    for _ in 0..40 {
        let store = server.store();
        let (mut a, mut b): (Rpc, Rpc) = tokio::join!(store.rpc(), store.rpc());
        let [left, right] = rivals(0);
        let (first, second) = tokio::join!(a.push(&left), b.push(&right));
        assert_one_won(&store, 0, [first, second]).await;
    }
}

#[tokio::test]
async fn of_two_pushes_racing_to_a_cold_store_over_http_one_wins() {
    let server = Server::shared();
    for _ in 0..40 {
        let store = server.store();
        let [left, right] = rivals(0);
        let (first, second) = tokio::join!(store.http_push(&left), store.http_push(&right));
        assert_one_won(&store, 0, [first, second]).await;
    }
}

#[tokio::test]
async fn of_two_pushes_racing_to_a_warm_store_one_wins() {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    for head in 0..40 {
        let [left, right] = rivals(head);
        let (first, second) = tokio::join!(client.push(&left), store.http_push(&right));
        assert_one_won(&store, head, [first, second]).await;
    }
}

#[tokio::test]
async fn stores_do_not_wait_for_each_other() {
    let server = Server::shared();
    let mut rounds = Vec::new();
    for _ in 0..20 {
        let store = server.store();
        rounds.push(async move {
            let mut client = store.rpc().await;
            let live = client.live(None).await.id;
            for head in 0..20 {
                client.push_ok(&chain(head, 1)).await;
                assert_pulled(&client.chunk(&live).await.events, &chain(head, 1));
                client.ack(&live).await;
            }
            assert_pulled(&store.log().await, &chain(0, 20));
        });
    }
    join_all(rounds).await;
}

#[tokio::test]
async fn pipelined_pushes_are_acked_in_order() {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    let mut ids = Vec::new();
    for head in 0..100 {
        ids.push(client.start_push(&chain(head, 1)).await);
    }
    for id in &ids {
        client.expect_exit(id).await.assert_pushed();
    }
    assert_pulled(&store.log().await, &chain(0, 100));
}

#[tokio::test]
async fn v03_pipelined_pushes_are_acked_in_order() {
    let store = Server::shared().store();
    let mut client = store.v03().await;
    let mut ids = Vec::new();
    for head in 0..100 {
        ids.push(client.start_push(&chain(head, 1)).await);
    }
    for (id, head) in ids.iter().zip(0..) {
        client.expect_ack(id).await;
        assert_pulled(&client.expect_broadcast(Some(id), 1).await, &chain(head, 1));
    }
    assert_pulled(&store.log().await, &chain(0, 100));
}

/// When one of a pipeline is refused, so are those that build on it.
#[tokio::test]
async fn a_refused_push_takes_its_successors_with_it() {
    let store = Server::shared().store();
    let mut client = store.rpc().await;
    client.push_ok(&chain(0, 1)).await;
    let mut ids = Vec::new();
    for head in 5..10 {
        ids.push((head, client.start_push(&chain(head, 1)).await));
    }
    for (head, id) in &ids {
        client.exit(id).await.assert_server_ahead(1, *head);
    }
    client.expect_silence().await;
    assert_pulled(&store.log().await, &chain(0, 1));
}

/// Each pushes on top of what it has seen, until all have had ten pushes taken.
#[tokio::test]
async fn contending_clients_build_one_chain() {
    let store = Server::shared().store();
    let mut clients = Vec::new();
    for n in 0..8 {
        let store = store.clone();
        clients.push(async move {
            let mut client = store.rpc().await;
            let Pull { id: live, events, .. } = client.live(None).await;
            let mut head = events.last().map_or(0, |pulled| pulled.event.seq);
            let mut taken = 0;
            while taken < 10 {
                let event = Event::new(head, head + 1).from_client(&format!("client-{n}"));
                let push = client.start_push(&[event]).await;
                if matches!(client.exit(&push).await, Exit::Success(_)) {
                    taken += 1;
                }
                // Either way the log has grown, and this client is told so.
                let events = client.live_until(&live, head + 1).await;
                assert_chain(head, &events);
                head = events.last().expect("at least one").event.seq;
            }
            head
        });
    }
    let heads = join_all(clients).await;
    assert_eq!(heads.iter().max(), Some(&80));
    let log = store.log().await;
    assert_chain(0, &log);
    for n in 0..8 {
        assert_eq!(log.iter().filter(|pulled| pulled.event.client == format!("client-{n}")).count(), 10);
    }
}

#[tokio::test]
async fn fifty_sockets_on_one_store_see_the_same_order() {
    let store = Server::shared().store();
    let mut rpc = Vec::new();
    let mut v03 = Vec::new();
    for n in 0..25 {
        let mut client = if n % 2 == 0 { store.rpc().await } else { store.rpc_next().await };
        let live = client.live(None).await.id;
        rpc.push((client, live));
        let mut client = store.v03().await;
        client.expect_pong().await;
        v03.push(client);
    }
    for head in 0..50 {
        let (client, _) = &mut rpc[head as usize % 25];
        client.push_ok(&[Event::new(head, head + 1).from_client(&format!("client-{head}"))]).await;
    }
    let log = store.log().await;
    assert_eq!(seqs(&log), (1..=50).collect::<Vec<_>>());
    for (client, live) in &mut rpc {
        assert_eq!(client.live_until(live, 50).await, log);
        client.expect_silence().await;
    }
    for client in &mut v03 {
        assert_eq!(client.expect_broadcast_events(50).await, log);
        client.expect_silence().await;
    }
}

/// Runs all at once.
async fn join_all<T>(futures: Vec<impl Future<Output = T> + 'static>) -> Vec<T>
where
    T: 'static,
{
    let local = tokio::task::LocalSet::new();
    let tasks: Vec<_> = futures.into_iter().map(|future| local.spawn_local(future)).collect();
    local
        .run_until(async {
            let mut results = Vec::new();
            for task in tasks {
                results.push(task.await.expect("a client failed"));
            }
            results
        })
        .await
}
