//! Tables of cases: what a queue with a subscriber in some state does about an input.

use std::sync::Arc;

use livestore_sync_protocol::{Args, Event};
use serde_json::{Value, json};

use super::*;
use crate::Batch;

const CLIENT: &str = "client";

fn context(id: &str) -> CallerContext {
    CallerContext { binding_name: "CLIENTS".to_owned(), durable_object_id: id.to_owned() }
}

fn request(id: &str) -> RequestId {
    RequestId::Text(id.into())
}

fn seq(number: i64) -> SeqNum {
    SeqNum::new(number).expect("a safe integer")
}

/// One event, whose args have this many bytes.
fn committed_of(number: i64, bytes: usize) -> Committed {
    let event = Event {
        name: "n".into(),
        args: Args::from_json(format!("\"{}\"", "x".repeat(bytes))).expect("JSON"),
        seq_num: seq(number),
        parent_seq_num: seq(number - 1),
        client_id: "c".into(),
        session_id: "s".into(),
    };
    let batch = Batch::new([event].into(), "2026-11-21T00:14:31.259Z".to_owned());
    Committed::new(Arc::new(batch), "backend".into(), None)
}

fn committed(number: i64) -> Committed {
    committed_of(number, 1)
}

fn chunk_of(committed: &Committed) -> &Chunk {
    &committed.chunks(ItemFormat::Rpc)[0]
}

fn budget() -> Budget {
    Budget::process(64 * 1024 * 1024)
}

fn restored(after: Value) -> Queue {
    let kept =
        json!([{ "bindingName": "CLIENTS", "durableObjectId": CLIENT, "requestId": "7", "after": after }]).to_string();
    Queue::restore(serde_json::from_str(&kept).expect("what is kept reads back"), budget())
}

/// A queue with one subscriber whose client has taken its answer at 0 ms.
fn live() -> (Queue, Id) {
    let mut queue = Queue::new(budget());
    let id = queue.handle_join(context(CLIENT), request("1")).expect("a place");
    queue.handle_caught_up(id);
    queue.handle_answer_ended(id, 0);
    assert_eq!(actions(&mut queue), [Action::Call(id)]);
    assert_eq!(queue.poll_call(id, 0), Next::Done);
    assert_eq!(actions(&mut queue), [Action::Keep]);
    (queue, id)
}

fn actions(queue: &mut Queue) -> Vec<Action> {
    std::iter::from_fn(|| queue.poll_action()).collect()
}

/// The first event's number in the frame of a call, and the request that the frame answers.
fn called(next: &Next) -> (i64, String) {
    let Next::Call(_, frame) = next else { panic!("{next:?} is no call") };
    let frame: Value = serde_json::from_str(frame).expect("JSON");
    let number = frame["values"][0]["batch"][0]["eventEncoded"]["seqNum"].as_i64().expect("a number");
    (number, frame["requestId"].as_str().expect("a request").to_owned())
}

/// Makes every call that waits, and returns the numbers of the events.
fn drain(queue: &mut Queue, id: Id, mut now_ms: u64) -> Vec<i64> {
    let mut numbers = Vec::new();
    loop {
        match queue.poll_call(id, now_ms) {
            Next::Wait(duration) => now_ms += duration.as_millis() as u64,
            Next::Done => return numbers,
            next @ Next::Call(..) => {
                numbers.push(called(&next).0);
                queue.handle_called(id, Ok::<_, ()>(()), now_ms);
            }
        }
    }
}

fn kept_after(queue: &Queue, head: i64) -> Vec<Option<i64>> {
    queue.kept(seq(head)).iter().map(|kept| kept.after.map(SeqNum::get)).collect()
}

#[test]
fn what_is_committed_is_brought_in_order_one_call_after_another() {
    let (mut queue, id) = live();
    queue.handle_committed(&committed(1));
    assert_eq!(actions(&mut queue), [Action::Call(id)]);
    let first = queue.poll_call(id, 1_000);
    assert_eq!(first, queue.poll_call(id, 1_000), "until it is said to be made");
    let Next::Call(ref to, _) = first else { panic!("{first:?} is no call") };
    assert_eq!((to, called(&first)), (&context(CLIENT), (1, "1".to_owned())));
    queue.handle_committed(&committed(2));
    assert_eq!(actions(&mut queue), [], "the calls that are being made go on with it");
    queue.handle_called(id, Ok::<_, ()>(()), 1_000);
    assert_eq!(drain(&mut queue, id, 1_000), [2]);
    assert_eq!(actions(&mut queue), [Action::Keep]);
    queue.handle_committed(&committed(3));
    assert_eq!(actions(&mut queue), [Action::Call(id)], "calls have ended, so others begin");
}

#[test]
fn clients_do_not_wait_for_each_other() {
    let (mut queue, slow) = live();
    let other = queue.handle_join(context("other"), request("9")).expect("a place");
    queue.handle_caught_up(other);
    queue.handle_answer_ended(other, 0);
    assert_eq!(actions(&mut queue), [Action::Call(other)]);
    assert!(drain(&mut queue, other, 0).is_empty());
    actions(&mut queue);
    queue.handle_committed(&committed(1));
    assert_eq!(actions(&mut queue), [Action::Call(slow), Action::Call(other)]);
    assert!(matches!(queue.poll_call(slow, 1_000), Next::Call(..)));
    assert_eq!(drain(&mut queue, other, 1_000), [1]);
    assert_eq!(kept_after(&queue, 1), [Some(0), Some(1)]);
}

#[test]
fn a_client_is_not_called_before_it_has_settled() {
    let mut queue = Queue::new(budget());
    let id = queue.handle_join(context(CLIENT), request("1")).expect("a place");
    queue.handle_committed(&committed(1));
    queue.handle_caught_up(id);
    // It reads its answer now: what comes waits.
    queue.handle_committed(&committed(2));
    assert_eq!(actions(&mut queue), []);
    queue.handle_answer_ended(id, 5_000);
    queue.handle_committed(&committed(3));
    assert_eq!(actions(&mut queue), [Action::Call(id)]);
    for (now_ms, expected_ms) in [(5_000, 100), (5_001, 99), (5_099, 1)] {
        assert_eq!(queue.poll_call(id, now_ms), Next::Wait(Duration::from_millis(expected_ms)), "{now_ms}");
    }
    // The first was in its answer.
    assert_eq!(drain(&mut queue, id, 5_100), [2, 3]);
}

#[test]
fn a_later_pull_takes_the_place_of_an_earlier_one() {
    let answering = |_: &mut Queue, _: Id| {};
    let reading = |queue: &mut Queue, id: Id| queue.handle_caught_up(id);
    let live = |queue: &mut Queue, id: Id| {
        queue.handle_caught_up(id);
        queue.handle_answer_ended(id, 0);
    };
    let being_called = |queue: &mut Queue, id: Id| {
        queue.handle_caught_up(id);
        queue.handle_answer_ended(id, 0);
        queue.handle_committed(&committed(1));
        assert!(matches!(queue.poll_call(id, 100), Next::Call(..)));
    };
    type Reach = fn(&mut Queue, Id);
    let phases: [(&str, Reach); 4] =
        [("answering", answering), ("reading", reading), ("live", live), ("being called", being_called)];
    for (phase, reach) in phases {
        let mut queue = Queue::new(budget());
        let earlier = queue.handle_join(context(CLIENT), request("1")).expect("a place");
        reach(&mut queue, earlier);
        actions(&mut queue);
        let later = queue.handle_join(context(CLIENT), request("2")).expect("a place");
        // What is still under way for the earlier pull ends without a trace.
        queue.handle_caught_up(earlier);
        queue.handle_answer_ended(earlier, 0);
        queue.handle_called(earlier, Err("late"), 100);
        assert_eq!(queue.poll_call(earlier, 100), Next::Done, "{phase}");
        assert!(!queue.handle_chunk(earlier, chunk_of(&committed(1)), "backend"), "{phase}");
        assert_eq!(actions(&mut queue), [], "{phase}");
        assert_eq!(kept_after(&queue, 1), [None], "{phase}: the later pull is being answered");
        queue.handle_caught_up(later);
        queue.handle_answer_ended(later, 200);
        queue.handle_committed(&committed(2));
        let next = queue.poll_call(later, 300);
        assert_eq!(called(&next), (2, "2".to_owned()), "{phase}");
    }
}

#[test]
fn a_pull_that_fails_leaves_no_subscriber() {
    let mut queue = Queue::new(budget());
    let id = queue.handle_join(context(CLIENT), request("1")).expect("a place");
    queue.handle_answer_ended(id, 0);
    assert_eq!(actions(&mut queue), [Action::Keep]);
    assert_eq!(kept_after(&queue, 0), []);
    queue.handle_committed(&committed(1));
    assert_eq!(actions(&mut queue), []);
}

#[test]
fn there_is_room_for_so_many_and_so_long_names() {
    let mut queue = Queue::new(budget());
    let name = |bytes: usize| CallerContext { binding_name: "B".repeat(bytes - 64), durable_object_id: "0".repeat(64) };
    assert_eq!(queue.handle_join(name(CONTEXT_BYTES_MAX + 1), request("1")), Err(Refused::TooLong));
    assert!(queue.handle_join(name(CONTEXT_BYTES_MAX), request("1")).is_ok());
    for n in 1..SUBSCRIBERS_MAX {
        assert!(queue.handle_join(context(&n.to_string()), request("1")).is_ok(), "{n}");
    }
    assert_eq!(queue.handle_join(context("one more"), request("1")), Err(Refused::TooMany));
    // One that has a place keeps it, …
    let id = queue.handle_join(context("1"), request("2")).expect("its place");
    assert_eq!(queue.handle_join(context("one more"), request("1")), Err(Refused::TooMany));
    // … until it leaves it.
    queue.give_up(id, "a test");
    assert!(queue.handle_join(context("one more"), request("1")).is_ok());
}

#[test]
fn calls_name_their_request_in_text_also_where_its_id_is_a_number() {
    let mut queue = Queue::new(budget());
    let id = queue.handle_join(context(CLIENT), RequestId::Number(7)).expect("a place");
    queue.handle_caught_up(id);
    queue.handle_answer_ended(id, 0);
    queue.handle_committed(&committed(1));
    assert_eq!(called(&queue.poll_call(id, 100)), (1, "7".to_owned()));
}

#[test]
fn all_that_is_kept_fits_into_one_value_of_the_storage() {
    // The platform takes 128 KiB for classes without SQLite.
    let mut queue = Queue::new(budget());
    for n in 0..SUBSCRIBERS_MAX {
        let durable_object_id = format!("{n:0>64}");
        let binding_name = "B".repeat(CONTEXT_BYTES_MAX - durable_object_id.len());
        let caller = CallerContext { binding_name, durable_object_id };
        let id = queue.handle_join(caller, RequestId::Text(u64::MAX.to_string())).expect("a place");
        queue.handle_caught_up(id);
    }
    let json = serde_json::to_string(&queue.kept(seq(9_007_199_254_740_991))).expect("JSON");
    assert!(json.len() <= 128 * 1024, "{} bytes", json.len());
}

#[test]
fn a_client_that_takes_its_calls_too_slowly_is_given_up() {
    for being_read in [true, false] {
        let (mut queue, fast) = live();
        let slow = queue.handle_join(context("slow"), request("1")).expect("a place");
        queue.handle_caught_up(slow);
        if !being_read {
            queue.handle_answer_ended(slow, 0);
        }
        let bytes = 900_000;
        let fitting = (WAITING_BYTES_MAX / (bytes + 1_000)) as i64;
        for number in 1..=fitting {
            queue.handle_committed(&committed_of(number, bytes));
            assert_eq!(drain(&mut queue, fast, 1_000), [number]);
        }
        actions(&mut queue);
        assert_eq!(kept_after(&queue, fitting), [Some(fitting), Some(0)]);
        queue.handle_committed(&committed_of(fitting + 1, bytes));
        assert_eq!(actions(&mut queue), [Action::Keep, Action::Call(fast)], "{being_read}");
        assert_eq!(queue.poll_call(slow, 1_000), Next::Done);
        assert_eq!(kept_after(&queue, fitting + 1), [Some(fitting)]);
    }
}

#[test]
fn what_was_brought_waits_no_longer() {
    let (mut queue, id) = live();
    for number in 1..10 {
        queue.handle_committed(&committed_of(number, WAITING_BYTES_MAX / 2));
        assert_eq!(drain(&mut queue, id, 1_000), [number], "as much as ever has room");
    }
}

#[test]
fn a_call_that_fails_is_made_again_and_its_client_given_up_in_the_end() {
    for failures in 0..=RETRIES_MAX + 1 {
        let (mut queue, id) = live();
        queue.handle_committed(&committed(1));
        let mut now_ms = 1_000;
        let mut waits_ms = Vec::new();
        for _ in 0..failures {
            if let Next::Wait(duration) = queue.poll_call(id, now_ms) {
                waits_ms.push(duration.as_millis());
                now_ms += duration.as_millis() as u64;
            }
            assert_eq!(called(&queue.poll_call(id, now_ms)).0, 1);
            queue.handle_called(id, Err("no such object"), now_ms);
        }
        let expected = [100, 200, 400, 800, 1_600, 3_200];
        assert_eq!(waits_ms, expected[..waits_ms.len()], "{failures}");
        actions(&mut queue);
        if failures <= RETRIES_MAX {
            assert_eq!(drain(&mut queue, id, now_ms), [1], "{failures}");
            // The next call has all its tries again.
            queue.handle_committed(&committed(2));
            queue.handle_called(id, Err("once more"), 100_000);
            assert_eq!(queue.poll_call(id, 100_000), Next::Wait(Duration::from_millis(100)), "{failures}");
        } else {
            assert_eq!(queue.poll_call(id, now_ms), Next::Done);
            assert_eq!(kept_after(&queue, 1), []);
        }
    }
}

#[test]
fn how_far_a_subscriber_is() {
    let mut queue = Queue::new(budget());
    let id = queue.handle_join(context(CLIENT), request("1")).expect("a place");
    assert_eq!(kept_after(&queue, 5), [None], "its backlog is on its way");
    queue.handle_caught_up(id);
    assert_eq!(kept_after(&queue, 5), [Some(5)], "it is caught up");
    queue.handle_committed(&committed(6));
    assert_eq!(kept_after(&queue, 6), [Some(5)], "an event waits while it reads its answer");
    queue.handle_answer_ended(id, 0);
    queue.handle_committed(&committed(7));
    assert_eq!(kept_after(&queue, 7), [Some(5)], "two wait");
    assert!(matches!(queue.poll_call(id, 100), Next::Call(..)));
    assert_eq!(kept_after(&queue, 7), [Some(5)], "a call is under way");
    queue.handle_called(id, Ok::<_, ()>(()), 100);
    assert_eq!(kept_after(&queue, 7), [Some(6)], "one was brought");
    assert_eq!(drain(&mut queue, id, 100), [7]);
    assert_eq!(kept_after(&queue, 7), [Some(7)], "nothing waits");
    let gap = committed(12);
    queue.handle_committed(&gap);
    assert_eq!(kept_after(&queue, 12), [Some(11)], "numbers may be left out");
}

#[test]
fn after_lost_memory_a_subscriber_goes_on_where_its_calls_ended() {
    for (after, head, expected) in [
        (json!(3), 5, Some(3)),
        (json!(0), 5, Some(0)),
        // It has all that there is, or more: the log is another one.
        (json!(5), 5, None),
        (json!(9), 5, None),
    ] {
        let mut queue = restored(after.clone());
        let id = Id(1);
        // Until the store is open, what it has stays what is kept of it.
        assert_eq!(kept_after(&queue, head), [after.as_i64()]);
        queue.handle_start(seq(head));
        let Some(expected) = expected else {
            assert_eq!(actions(&mut queue), [], "{after}");
            queue.handle_committed(&committed(6));
            assert_eq!(actions(&mut queue), [Action::Call(id)], "{after}");
            assert_eq!(drain(&mut queue, id, 0), [6], "{after}");
            continue;
        };
        let resume = Action::Resume { id, after: seq(expected) };
        assert_eq!(actions(&mut queue), [resume], "{after}");
        for number in expected + 1..=head {
            assert!(queue.handle_chunk(id, chunk_of(&committed(number)), "backend"));
        }
        assert_eq!(actions(&mut queue), [Action::Call(id)], "it is called while the rest is read");
        // Committed meanwhile: it is in the log, and read from there.
        queue.handle_committed(&committed(head + 1));
        assert!(queue.handle_chunk(id, chunk_of(&committed(head + 1)), "backend"));
        assert_eq!(actions(&mut queue), [], "the calls that are being made go on with it");
        assert_eq!(kept_after(&queue, head + 1), [Some(expected)], "memory may be lost again");
        queue.handle_caught_up(id);
        queue.handle_committed(&committed(head + 2));
        let next = queue.poll_call(id, 0);
        assert_eq!(called(&next), (expected + 1, "7".to_owned()), "the pull is the one that its client knows");
        assert_eq!(drain(&mut queue, id, 0), (expected + 1..=head + 2).collect::<Vec<_>>());
    }
}

#[test]
fn an_answer_that_broke_off_with_the_memory_is_not_continued() {
    let mut queue = restored(Value::Null);
    queue.handle_start(seq(5));
    assert_eq!(actions(&mut queue), []);
    assert_eq!(kept_after(&queue, 5), []);
}

#[test]
fn what_a_subscriber_lacks_is_read_as_fast_as_it_is_called() {
    let mut queue = restored(json!(0));
    let id = Id(1);
    queue.handle_start(seq(100));
    for number in 1..=40 {
        let large = committed_of(number, RESUME_BYTES_MAX / 3 - 1_000);
        let mut read = 0;
        while queue.has_room(id) == Some(true) {
            read += 1;
            assert!(queue.handle_chunk(id, chunk_of(&large), "backend"));
        }
        assert!(read == 4 || number > 1 && read == 1, "{read} chunks wait");
        assert!(matches!(queue.poll_call(id, 0), Next::Call(..)));
        queue.handle_called(id, Ok::<_, ()>(()), 0);
    }
    assert_eq!(kept_after(&queue, 100), [Some(37)], "memory may be lost in the middle");
    queue.give_up(id, "for a test");
    assert_eq!(queue.has_room(id), None);
}

#[test]
fn what_many_wait_for_is_held_once() {
    let budget = budget();
    let mut queue = Queue::new(budget.clone());
    for n in 0..SUBSCRIBERS_MAX {
        let id = queue.handle_join(context(&format!("client {n}")), request("1")).expect("a place");
        queue.handle_caught_up(id);
    }
    let bytes = 100_000;
    for number in 1..=10 {
        queue.handle_committed(&committed_of(number, bytes));
    }
    assert_eq!(kept_after(&queue, 10).len(), SUBSCRIBERS_MAX, "nobody is given up");
    assert!(budget.held() < 11 * bytes as u64, "{} bytes", budget.held());
    drop(queue);
    assert_eq!(budget.held(), 0);
}

#[test]
fn what_is_kept_reads_as_it_always_did() {
    let (queue, _) = live();
    let kept = serde_json::to_value(queue.kept(seq(3))).expect("JSON");
    let expected = json!([{ "bindingName": "CLIENTS", "durableObjectId": CLIENT, "requestId": "1", "after": 3 }]);
    assert_eq!(kept, expected);
    let mut answering = Queue::new(budget());
    let id = answering.handle_join(context(CLIENT), request("1")).expect("a place");
    let kept = serde_json::to_value(answering.kept(seq(3))).expect("JSON");
    assert_eq!(kept[0]["after"], Value::Null, "{id:?}");
}
