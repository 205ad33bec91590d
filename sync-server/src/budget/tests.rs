use super::*;

const MIB: u64 = 1024 * 1024;

fn connection(store: &Budget) -> Budget {
    store.child(Holder::Connection, 8 * MIB)
}

#[test]
fn each_level_has_its_limit() {
    let process = Budget::process(40 * MIB);
    let store = process.child(Holder::Store, 20 * MIB);
    let (a, b) = (connection(&store), connection(&store));
    let held = a.take(8 * MIB).expect("all of its own");
    assert_eq!(a.take(1).expect_err("one more"), Exceeded { holder: Holder::Connection, max: 8 * MIB });
    let other = b.take(7 * MIB).expect("the store has 15 MiB for those who want much");
    let refused = Exceeded { holder: Holder::Store, max: 20 * MIB };
    assert_eq!(b.take(MIB).expect_err("from the part that is kept"), refused);
    assert_eq!((a.held(), b.held(), store.held(), process.held()), (8 * MIB, 7 * MIB, 15 * MIB, 15 * MIB));
    drop((held, other));
    assert_eq!((a.held(), b.held(), store.held(), process.held()), (0, 0, 0, 0));
}

#[test]
fn the_process_has_a_limit_for_all_stores() {
    let process = Budget::process(10 * MIB);
    let stores = [process.child(Holder::Store, 20 * MIB), process.child(Holder::Store, 20 * MIB)];
    let _held = connection(&stores[0]).take(7 * MIB).expect("all but the part that is kept");
    let refused = Exceeded { holder: Holder::Process, max: 10 * MIB };
    assert_eq!(connection(&stores[1]).take(MODEST_BYTES + 1).expect_err("too much"), refused);
    let _modest = connection(&stores[1]).take(MODEST_BYTES).expect("a modest one gets in");
}

#[test]
fn who_holds_next_to_nothing_is_never_refused() {
    let process = Budget::process(MIB);
    let _all = process.take_anyway(MIB);
    let _little = connection(&process).take(LITTLE_BYTES).expect("it is little");
    let client = connection(&process);
    client.take(LITTLE_BYTES + 1).expect_err("and no more");
    let held = client.take(LITTLE_BYTES - 1).expect("less");
    client.take(2).expect_err("all in all");
    drop(held);
    assert_eq!((client.held(), process.held()), (0, MIB + LITTLE_BYTES));
}

#[tokio::test]
async fn those_who_wait_get_their_turn() {
    let store = Budget::process(16 * MIB);
    let (a, b, c) = (connection(&store), connection(&store), connection(&store));
    let all = [a.take(8 * MIB), b.take(4 * MIB)].map(|held| held.expect("room"));
    let mut waiting: Vec<_> = [&b, &c].map(|budget| Box::pin(budget.take_in_turn(3 * MIB))).into_iter().collect();
    for wait in &mut waiting {
        assert!(futures_util::poll!(wait).is_pending(), "there is no room");
    }
    drop(all);
    // One ring is enough: who got room passes it on.
    let (second, first) = (waiting.pop().expect("two"), waiting.pop().expect("two"));
    assert_eq!((first.await.bytes(), second.await.bytes()), (3 * MIB, 3 * MIB));
    assert_eq!(store.held(), 0);
    let most = a.take_in_turn(100 * MIB).await;
    assert_eq!(most.bytes(), 8 * MIB, "nobody waits for what there never is");
}

#[tokio::test]
async fn who_gives_up_waiting_passes_its_turn_on() {
    let store = Budget::process(16 * MIB);
    let own = connection(&store);
    let held = own.take(8 * MIB).expect("room");
    let mut gone = Box::pin(own.take_in_turn(MIB));
    let mut next = Box::pin(own.take_in_turn(MIB));
    assert!(futures_util::poll!(&mut gone).is_pending());
    assert!(futures_util::poll!(&mut next).is_pending());
    drop(held);
    drop(gone);
    assert_eq!(next.await.bytes(), MIB);
}

#[test]
fn what_is_there_already_counts() {
    let store = Budget::process(8 * MIB);
    let own = connection(&store);
    let held = own.take_anyway(20 * MIB);
    assert_eq!((own.held(), store.held()), (20 * MIB, 20 * MIB));
    own.take(1).expect_err("no room");
    drop(held);
    assert_eq!((own.held(), store.held()), (0, 0));
}

#[test]
fn what_grew_and_shrank_is_given_back_once() {
    let store = Budget::process(8 * MIB);
    let connection = connection(&store);
    let mut held = connection.take(10).expect("room");
    held.grow(15).expect("room");
    held.absorb(connection.take(5).expect("room"));
    held.grow(8 * MIB).expect_err("no room");
    assert_eq!((held.bytes(), store.held()), (30, 30));
    held.shrink(25);
    held.shrink(25);
    assert_eq!((held.bytes(), store.held()), (0, 0));
    drop(held);
    assert_eq!(store.held(), 0);
}
