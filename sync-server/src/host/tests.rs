//! What is left when a part of a host fails: hooks that panic or never return, a log that fails for some time, loggers
//! that panic. Time is tokio's, paused, so that it passes when nothing else happens.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use livestore_sync_protocol::Generation;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::calls::{ARRIVAL_TIMEOUT, PAGE_TIMEOUT};
use super::continuation::Continuation;
use super::exchange::{Framing, exchange};
use super::simulation::link::{Mail, MailLink, Mailbox};
use super::{Closed, Conversation, Host, Hub, Link, Opening, Rest, Shell, patience};
use crate::budget::Budget;
use crate::close::CloseCode;
use crate::error::HookError;
use crate::event_log::{EventLog, Fault, Faults, Faulty, MemoryLog, Operation};
use crate::frame::Frame;
use crate::hooks::{Asked, Connection, HookFns, Transport};
use crate::platform::paused::Paused;
use crate::session::{Proof, Session};
use crate::store::Store;

const HOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// No test is about it.
const HELD_BYTES_MAX: u64 = 1 << 30;

/// A mailbox that may have a bug.
struct TestLink {
    mail: MailLink,
    panics: Arc<AtomicBool>,
}

impl Link for TestLink {
    fn budget(&self) -> &Budget {
        self.mail.budget()
    }

    fn send_now(&self, frame: Frame) {
        assert!(!self.panics.load(Ordering::Relaxed), "a bug");
        self.mail.send_now(frame);
    }

    async fn send(&self, frame: Frame) -> Result<(), Closed> {
        assert!(!self.panics.load(Ordering::Relaxed), "a bug");
        self.mail.send(frame).await
    }

    fn close(&self, code: CloseCode) {
        self.mail.close(code);
    }

    fn abort(&self, code: CloseCode) {
        self.mail.abort(code);
    }

    fn is_closed(&self) -> bool {
        self.mail.is_closed()
    }

    async fn closed(&self) {
        self.mail.closed().await;
    }

    fn ping(&self, number: u64) {
        self.mail.ping(number);
    }

    fn probe(&self, now_ms: u64) -> Duration {
        self.mail.probe(now_ms)
    }

    fn remember(&self, session: &Session) -> bool {
        self.mail.remember(session)
    }
}

struct TestShell;

impl Shell for TestShell {
    type Log = Faulty<Arc<MemoryLog>>;
    type Hooks = HookFns;
    type Link = TestLink;
    type Platform = Paused;
}

struct World {
    host: Arc<Host<TestShell>>,
    log: Arc<MemoryLog>,
    faults: Faults,
}

struct Client {
    conversation: Conversation<TestShell>,
    mailbox: Arc<Mailbox>,
    panics: Arc<AtomicBool>,
}

impl World {
    fn new(hooks: HookFns) -> Self {
        Self::resting(hooks, Rest::default())
    }

    fn resting(hooks: HookFns, rest: Rest) -> Self {
        let (log, faults) = (Arc::new(MemoryLog::new("backend")), Faults::none());
        let hooks = Asked::new(Arc::new(hooks), Paused, HOOK_TIMEOUT);
        let budget = Budget::process(HELD_BYTES_MAX);
        let hub = Hub::new(Continuation::new(Arc::new(Notify::new())), None, budget.clone()).resting(rest);
        let store = Store::new(Faulty::new(Arc::clone(&log), faults.clone()), hooks, hub);
        let host =
            Host { store, platform: Paused, budget, connection_bytes_max: HELD_BYTES_MAX, seats: Arc::default() };
        Self { host: Arc::new(host), log, faults }
    }

    async fn connect(&self, number: u128, generation: Generation) -> Client {
        let id = Uuid::from_u128(number);
        let connection = Connection::new(id, "store".into(), Transport::Ws, generation, 0);
        let head = self.log.head().await.expect("memory does not fail").seq_num;
        let seat = self.host.seats.take(&connection).expect("nobody is counted");
        let opening = Opening {
            connection: Arc::new(connection),
            fingerprint: "alike".into(),
            proof: Proof::Pongs,
            head,
            seat,
            pushes_waiting_max: 32,
        };
        let (mailbox, panics) = (Mailbox::new(Proof::Pongs, 0), Arc::new(AtomicBool::new(false)));
        let link = TestLink { mail: MailLink(Arc::clone(&mailbox)), panics: Arc::clone(&panics) };
        let conversation = Conversation::open(&self.host, opening, link);
        Client { conversation, mailbox, panics }
    }

    fn fail(&self, operation: Operation, times: u32) {
        (0..times).for_each(|_| self.faults.fail(operation, Fault::Refused));
    }

    async fn head(&self) -> i64 {
        self.log.head().await.expect("memory does not fail").seq_num.get()
    }
}

impl Client {
    async fn send(&self, text: &str) {
        self.conversation.handle_text(text, None).await;
    }

    /// The frames that have come once nothing happens any more without time passing.
    async fn frames(&self) -> Vec<String> {
        sleep(Duration::from_millis(1)).await;
        let mut frames = Vec::new();
        while let Some(mail) = self.mailbox.take() {
            match mail {
                Mail::Text(frame, _) => frames.push(frame),
                Mail::Ping(Some(number)) => self.conversation.handle_pong(number),
                Mail::Ping(None) => self.conversation.handle_heard(),
            }
        }
        frames
    }

    fn is_closed(&self) -> bool {
        self.mailbox.closed.is_cancelled()
    }
}

fn event(number: i64) -> String {
    let parent = number - 1;
    format!(r#"{{"name":"n","args":1,"seqNum":{number},"parentSeqNum":{parent},"clientId":"c","sessionId":"s"}}"#)
}

fn request(id: i64, tag: &str, payload: &str) -> String {
    format!(r#"{{"_tag":"Request","id":"{id}","tag":"{tag}","payload":{payload},"headers":[]}}"#)
}

fn push(number: i64) -> String {
    let batch = event(number);
    request(number, "SyncWsRpc.Push", &format!(r#"{{"storeId":"s","batch":[{batch}],"backendId":{{"_tag":"None"}}}}"#))
}

fn pull(id: i64) -> String {
    request(id, "SyncWsRpc.Pull", r#"{"storeId":"s","live":true,"cursor":{"_tag":"None"}}"#)
}

fn old_push(number: i64) -> String {
    format!(r#"{{"_tag":"WSMessage.PushReq","requestId":"push {number}","batch":[{}]}}"#, event(number))
}

const OLD_PULL: &str = r#"{"_tag":"WSMessage.PullReq","requestId":"pull"}"#;
const OLD_PING: &str = r#"{"requestId":"ping","_tag":"WSMessage.Ping"}"#;

fn has(frames: &[String], part: &str) -> bool {
    frames.iter().any(|frame| frame.contains(part))
}

fn never_pushed() -> HookFns {
    HookFns::new().on_push(async |_, _| std::future::pending().await)
}

/// A hook that works from the so-manieth call on.
fn in_the_end(bad: usize, fails: impl Fn() -> bool + Send + Sync + 'static) -> impl Fn() -> bool + Send + Sync {
    let calls = AtomicUsize::new(0);
    move || if calls.fetch_add(1, Ordering::Relaxed) < bad { fails() } else { true }
}

#[tokio::test(start_paused = true)]
async fn a_panic_on_the_way_to_one_receiver_leaves_out_no_other() {
    let world = World::new(HookFns::new());
    let mut clients = Vec::new();
    for number in 1..=4 {
        let client = world.connect(number, Generation::V04).await;
        client.send(&pull(100)).await;
        assert!(has(&client.frames().await, "NoMore"));
        clients.push(client);
    }
    // Those before it and those behind it; then the pusher itself.
    clients[1].panics.store(true, Ordering::Relaxed);
    clients[0].send(&push(1)).await;
    for (index, client) in clients.iter().enumerate() {
        let frames = client.frames().await;
        assert_eq!((has(&frames, r#""seqNum":1"#), client.is_closed()), (index != 1, index == 1), "{index}");
    }
    clients[3].panics.store(true, Ordering::Relaxed);
    clients[3].send(&push(2)).await;
    assert!(has(&clients[2].frames().await, r#""seqNum":2"#) && clients[3].frames().await.is_empty());
    assert!(clients[3].is_closed(), "it is answered on its next connection");
    let again = world.connect(9, Generation::V04).await;
    again.send(&push(2)).await;
    assert!(has(&again.frames().await, "Success"));
    clients[0].send(&push(3)).await;
    assert!(has(&clients[2].frames().await, r#""seqNum":3"#));
}

#[tokio::test(start_paused = true)]
async fn a_large_audience_gets_together_what_comes_at_once() {
    const PULLERS: u128 = 4;
    for (receivers_min, waits) in [(PULLERS as usize + 1, true), (PULLERS as usize + 2, false)] {
        let per_receiver = Duration::from_secs(1);
        let world = World::resting(HookFns::new(), Rest { receivers_min, per_receiver });
        let mut clients = Vec::new();
        for number in 1..=PULLERS {
            let client = world.connect(number, Generation::V04).await;
            client.send(&pull(100)).await;
            client.frames().await;
            clients.push(client);
        }
        let pusher = world.connect(9, Generation::V04).await;
        for number in 1..=3 {
            pusher.send(&push(number)).await;
        }
        assert_eq!(pusher.frames().await.len(), 3, "each is acknowledged at once");
        let at_once = clients[0].frames().await;
        assert_eq!(at_once.len(), if waits { 1 } else { 3 }, "{receivers_min}");
        sleep(per_receiver * (PULLERS as u32 + 1)).await;
        for client in &clients[1..] {
            let frames = client.frames().await;
            assert_eq!(frames.len(), if waits { 2 } else { 3 }, "{frames:?}");
            assert!((1..=3).all(|number| has(&frames, &format!(r#""seqNum":{number},"#))), "{frames:?}");
        }
    }
}

/// An app's subscriber that panics once.
struct Panicking {
    calls: Arc<AtomicUsize>,
    at: usize,
}

impl Panicking {
    fn call(&self) {
        assert_ne!(self.calls.fetch_add(1, Ordering::Relaxed), self.at, "a bug in a logger");
    }
}

impl tracing::Subscriber for Panicking {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        self.call();
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {
        self.call();
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        if event.metadata().target().starts_with("livestore") {
            self.call();
        }
    }

    fn enter(&self, _: &tracing::span::Id) {
        self.call();
    }

    fn exit(&self, _: &tracing::span::Id) {
        self.call();
    }
}

/// Wherever a logger panics: a receiver has the event or is closed, so that it pulls; a pusher is answered or closed;
/// and the store goes on.
#[tokio::test(start_paused = true)]
async fn a_log_line_never_matters() {
    log_lines(Rest::default()).await;
}

/// Nor does it where somebody has to come for what waits.
#[tokio::test(start_paused = true)]
async fn a_log_line_never_matters_where_publications_rest() {
    log_lines(Rest { receivers_min: 0, per_receiver: Duration::from_secs(1) }).await;
}

async fn log_lines(rest: Rest) {
    let mut calls_before = usize::MAX;
    for at in 0.. {
        let calls = Arc::new(AtomicUsize::new(0));
        let world = World::resting(HookFns::new(), rest);
        let (live, old) = (world.connect(1, Generation::V04).await, world.connect(2, Generation::V03).await);
        live.send(&pull(100)).await;
        old.send(OLD_PULL).await;
        live.frames().await;
        old.frames().await;
        let (pusher, old_pusher) = (world.connect(3, Generation::V04).await, world.connect(4, Generation::V03).await);
        {
            let subscriber = Panicking { calls: Arc::clone(&calls), at };
            let _here = tracing::subscriber::set_default(subscriber);
            // One that is stored, one that is refused, one that the log loses first.
            pusher.send(&push(1)).await;
            pusher.send(&push(9)).await;
            sleep(Duration::from_millis(1)).await;
            world.faults.fail(Operation::Append, Fault::LostAfter);
            old_pusher.send(&old_push(2)).await;
            sleep(Duration::from_secs(60)).await;
        }
        let answers = pusher.frames().await;
        let answered = |id: i64| has(&answers, &format!(r#""requestId":"{id}""#));
        assert!(pusher.is_closed() || (answered(1) && answered(9)), "{at}: {answers:?}");
        let answers = old_pusher.frames().await;
        assert!(old_pusher.is_closed() || has(&answers, "PushAck"), "{at}: {answers:?}");
        let head = world.head().await;
        for client in [&live, &old] {
            let frames = client.frames().await;
            let has_all = (1..=head).all(|number| has(&frames, &format!(r#""seqNum":{number},"#)));
            assert!(client.is_closed() || has_all, "{at}: {frames:?}");
        }
        let next = world.connect(5, Generation::V04).await;
        next.send(&push(head + 1)).await;
        assert!(has(&next.frames().await, "Success"), "{at}: the store stands still");
        let calls = calls.load(Ordering::Relaxed);
        if calls <= at {
            assert!(at > 10, "there was something to log: {at}");
            return;
        }
        calls_before = calls_before.min(calls);
        assert!(calls < 10_000, "it logs for ever");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_does_not_return_is_a_failure_of_ours() {
    let world = World::new(never_pushed());
    let client = world.connect(1, Generation::V04).await;
    client.send(&push(1)).await;
    sleep(HOOK_TIMEOUT - Duration::from_millis(10)).await;
    assert!(client.frames().await.is_empty());
    sleep(Duration::from_millis(10)).await;
    let frames = client.frames().await;
    // The one error of a push that published 0.4 clients repeat.
    assert!(has(&frames, "UnknownError") && has(&frames, "the app did not answer in time"), "{frames:?}");
    assert_eq!(world.head().await, 0);
}

#[tokio::test(start_paused = true)]
async fn pulls_that_a_hook_fails_are_not_answered_but_their_connection_ends() {
    for (hangs, hook_time) in [(true, HOOK_TIMEOUT), (false, Duration::ZERO)] {
        for (generation, pull) in [(Generation::V04, pull(1)), (Generation::V03, OLD_PULL.to_owned())] {
            let world = World::new(HookFns::new().on_pull(move |_, _| async move {
                assert!(hangs, "a bug in the app");
                std::future::pending().await
            }));
            let client = world.connect(1, generation).await;
            client.send(&pull).await;
            sleep(hook_time + Duration::from_millis(1)).await;
            assert!(client.is_closed(), "{generation:?}");
            assert!(client.frames().await.is_empty(), "{generation:?}: an error would be the last word");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pushes_of_old_clients_are_made_until_the_hook_works() {
    for panics in [true, false] {
        let works = Arc::new(in_the_end(3, move || {
            assert!(!panics, "a bug in the app");
            false
        }));
        let hooks = HookFns::new().on_push(move |_, _| {
            let works = Arc::clone(&works);
            async move { if works() { Ok(()) } else { std::future::pending().await } }
        });
        let world = World::new(hooks);
        let client = world.connect(1, Generation::V03).await;
        client.send(&old_push(1)).await;
        client.send(&old_push(2)).await;
        sleep(4 * HOOK_TIMEOUT).await;
        let frames = client.frames().await;
        assert!(has(&frames, "push 1") && has(&frames, "push 2") && !has(&frames, "Error"), "{frames:?}");
        assert_eq!(world.head().await, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_does_not_return_keeps_nothing_of_a_client_that_is_gone() {
    for (generation, push) in [(Generation::V04, push(1)), (Generation::V03, old_push(1))] {
        let world = World::new(never_pushed());
        let client = world.connect(1, generation).await;
        let all = async {
            for _ in 0..100 {
                client.send(&push).await;
            }
        };
        assert!(timeout(Duration::from_secs(1), all).await.is_err(), "there is no room for so many");
        let begun = Instant::now();
        client.conversation.close(CloseCode::Ended).await;
        assert!(begun.elapsed() <= 2 * HOOK_TIMEOUT, "{generation:?}: {:?}", begun.elapsed());
        assert_eq!(Arc::strong_count(&world.host), 2, "{generation:?}: only the conversation has it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pull_outlasts_a_log_that_fails_for_a_moment() {
    for (generation, pull) in [(Generation::V04, pull(100)), (Generation::V03, OLD_PULL.to_owned())] {
        for failures in [1, patience::SOCKET_TRIES_MAX - 1, patience::SOCKET_TRIES_MAX] {
            let world = World::new(HookFns::new());
            let pusher = world.connect(1, Generation::V04).await;
            pusher.send(&push(1)).await;
            pusher.frames().await;
            let client = world.connect(2, generation).await;
            world.fail(Operation::Read, failures);
            client.send(&pull).await;
            sleep(Duration::from_secs(5)).await;
            let frames = client.frames().await;
            let gave_up = failures == patience::SOCKET_TRIES_MAX;
            assert_eq!(client.is_closed(), gave_up, "{generation:?} {failures}");
            assert_eq!(has(&frames, r#""seqNum":1"#), !gave_up, "{generation:?} {failures}: {frames:?}");
            assert!(!has(&frames, "rror"), "{frames:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pushes_of_old_clients_outlast_a_log_that_fails() {
    for is_lost in [false, true] {
        for fault in [Fault::Refused, Fault::LostBefore, Fault::LostAfter] {
            let world = World::new(HookFns::new());
            let live = world.connect(1, Generation::V04).await;
            live.send(&pull(100)).await;
            let client = world.connect(2, Generation::V03).await;
            (0..10).for_each(|_| world.faults.fail(Operation::Append, fault));
            client.send(&old_push(1)).await;
            sleep(Duration::from_secs(5)).await;
            let mut frames = client.frames().await;
            if is_lost {
                drop(client.conversation.close(CloseCode::Ended));
            }
            sleep(Duration::from_secs(60)).await;
            frames.extend(client.frames().await);
            // What was stored is found at once.
            let answered = !is_lost || fault == Fault::LostAfter;
            assert_eq!((has(&frames, "PushAck"), has(&frames, "Error")), (answered, false), "{fault:?}");
            assert_eq!(world.head().await, 1, "{fault:?}");
            assert!(has(&live.frames().await, r#""seqNum":1"#), "{fault:?}");
        }
    }
}

/// With a hole it must not go on: it is continued on its next connection.
#[tokio::test(start_paused = true)]
async fn an_old_client_that_cannot_be_continued_comes_back() {
    let world = World::new(HookFns::new());
    let before = world.connect(1, Generation::V03).await;
    before.send(OLD_PULL).await;
    before.frames().await;
    drop(before.conversation.close(CloseCode::Ended));
    let pusher = world.connect(2, Generation::V04).await;
    pusher.send(&push(1)).await;
    pusher.frames().await;
    world.fail(Operation::Read, patience::SOCKET_TRIES_MAX);
    for (number, is_continued) in [(3, false), (4, true)] {
        let client = world.connect(number, Generation::V03).await;
        client.send(OLD_PING).await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(client.is_closed(), !is_continued);
        assert_eq!(has(&client.frames().await, r#""seqNum":1"#), is_continued);
        drop(client.conversation.close(CloseCode::Ended));
    }
}

/// What panics is not the hook: the client's connection ends, since nothing else would answer it.
#[tokio::test(start_paused = true)]
async fn a_panic_while_a_client_is_answered_ends_its_connection() {
    let world = World::new(HookFns::new());
    let other = world.connect(1, Generation::V04).await;
    other.send(&push(1)).await;
    other.frames().await;
    // The acknowledgement of a repeated push, the chunk of a pull.
    for (number, call) in [(2, old_push(1)), (3, OLD_PULL.to_owned())] {
        let client = world.connect(number, Generation::V03).await;
        client.panics.store(true, Ordering::Relaxed);
        client.send(&call).await;
        client.frames().await;
        assert!(client.is_closed(), "{call}");
    }
}

const ACK: &str = r#"{"_tag":"Ack","requestId":"100"}"#;

/// A log of so many events, two of which fill a chunk.
async fn filled(events: i64) -> World {
    let world = World::new(HookFns::new());
    let pusher = world.connect(1, Generation::V04).await;
    for number in 1..=events {
        pusher.send(&push(number).replace(r#""args":1"#, &format!(r#""args":"{}""#, "a".repeat(50_000)))).await;
        pusher.frames().await;
    }
    world
}

/// What has arrived makes room for what follows, without a timer.
#[tokio::test(start_paused = true)]
async fn a_chunk_that_has_arrived_is_followed_at_once() {
    const EVENTS: i64 = 20;
    let world = filled(EVENTS).await;
    let client = world.connect(2, Generation::V04).await;
    let begun = Instant::now();
    client.send(&pull(100)).await;
    let mut chunks = Vec::new();
    while !has(&chunks, &format!(r#""seqNum":{EVENTS},"#)) {
        let arrived = client.frames().await;
        assert!(!arrived.is_empty() && begun.elapsed() < PAGE_TIMEOUT, "{} chunks have arrived", chunks.len());
        for _ in &arrived {
            client.send(ACK).await;
        }
        chunks.extend(arrived);
    }
}

/// Without an end, one that never acknowledges would keep what it pulls, and an object, for ever.
#[tokio::test(start_paused = true)]
async fn a_client_that_acknowledges_nothing_for_long_is_closed_and_one_that_does_is_not() {
    let world = filled(20).await;
    let (silent, slow) = (world.connect(2, Generation::V04).await, world.connect(3, Generation::V04).await);
    for client in [&silent, &slow] {
        client.send(&pull(100)).await;
    }
    let mut on_the_way = slow.frames().await.len();
    for silent_is_closed in [false, true] {
        sleep(ARRIVAL_TIMEOUT - Duration::from_secs(1)).await;
        assert!(!slow.is_closed());
        assert_eq!(silent.is_closed(), silent_is_closed);
        assert!(on_the_way > 0);
        for _ in 0..on_the_way {
            slow.send(ACK).await;
        }
        on_the_way = slow.frames().await.len();
    }
}

fn body_pull() -> String {
    pull(1).replace("Ws", "Http")
}

fn over_http(
    world: &World,
    body: String,
) -> (impl Future<Output = ()> + use<>, impl futures_util::Stream<Item = bytes::Bytes> + use<>) {
    let connection = Connection::new(Uuid::nil(), "store".into(), Transport::Http, Generation::V04, 0);
    exchange(Arc::clone(&world.host), Arc::new(connection), world.host.connection_budget(), body, Framing::Json, || ())
}

#[tokio::test(start_paused = true)]
async fn a_pull_over_http_waits_until_the_log_works() {
    let works = Arc::new(in_the_end(2, || panic!("a bug in the app")));
    let hooks = HookFns::new().on_pull(move |_, _| {
        let works = Arc::clone(&works);
        async move {
            works();
            Ok(())
        }
    });
    let world = World::new(hooks);
    let pusher = world.connect(1, Generation::V04).await;
    pusher.send(&push(1)).await;
    pusher.frames().await;
    world.fail(Operation::Read, 40);
    let (work, parts) = over_http(&world, body_pull());
    tokio::spawn(work);
    let parts: Vec<_> = parts.collect().await;
    let answer = String::from_utf8(parts.concat()).expect("text");
    assert!(answer.starts_with("  ") && answer.contains(r#""seqNum":1"#) && answer.contains("Success"), "{answer}");
    serde_json::from_str::<serde_json::Value>(&answer).expect("JSON, whatever kept it alive");
}

#[tokio::test(start_paused = true)]
async fn a_pull_over_http_ends_with_its_client() {
    let world = World::new(HookFns::new());
    let pusher = world.connect(1, Generation::V04).await;
    pusher.send(&push(1)).await;
    pusher.frames().await;
    world.fail(Operation::Read, 1_000_000);
    let (work, parts) = over_http(&world, body_pull());
    let work = tokio::spawn(work);
    {
        let mut parts = pin!(parts);
        assert_eq!(timeout(Duration::from_secs(600), parts.next()).await.expect("alive").as_deref(), Some(&b" "[..]));
    }
    timeout(Duration::from_secs(10), work).await.expect("it ends").expect("no panic");
}

/// The app lets a 0.3 client pull once, and not go on later.
#[tokio::test(start_paused = true)]
async fn an_old_client_that_may_not_go_on_is_told_and_holds_nothing_up() {
    let may = Arc::new(in_the_end(usize::MAX, || false));
    let first = AtomicBool::new(true);
    let hooks = HookFns::new().on_pull(move |_, _| {
        let allowed = first.swap(false, Ordering::Relaxed) || may();
        async move { if allowed { Ok(()) } else { Err(HookError::new("not any more")) } }
    });
    let world = World::new(hooks);
    let before = world.connect(1, Generation::V03).await;
    before.send(OLD_PULL).await;
    before.frames().await;
    drop(before.conversation.close(CloseCode::Ended));
    let client = world.connect(2, Generation::V03).await;
    client.send(OLD_PING).await;
    sleep(Duration::from_secs(1)).await;
    let frames = client.frames().await;
    assert!(has(&frames, r#""requestId":"pull""#) && has(&frames, "not any more"), "{frames:?}");
    let begun = Instant::now();
    client.send(&old_push(1)).await;
    let frames = client.frames().await;
    assert!(has(&frames, "PushAck") && !has(&frames, "PullRes"), "{frames:?}");
    assert!(begun.elapsed() < Duration::from_secs(1), "nothing is waited for");
    world.connect(3, Generation::V04).await.send(&push(2)).await;
    assert!(client.frames().await.is_empty(), "it may not pull, so it gets no events");
    assert!(!client.is_closed());
}
