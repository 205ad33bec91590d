//! `kill -9` amid pushes, again and again: what was acknowledged is there, and nothing is there in part.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use livestore_sync_tests::{
    Answer, Event, Exit, Incoming, Message, Process, Pulled, Random, Rpc, Server, TempDir, V03, assert_chain,
};
use serde_json::{Value, json};

const ROUNDS: u64 = 55;
/// workerd takes seconds to start.
const ROUNDS_OF_WORKER: u64 = 15;

/// Batches by client and number, with the number of their events.
type Batches = BTreeMap<(String, u64), usize>;

/// Names its batches so that each event says which batch it belongs to and how large that is.
struct Source {
    client: String,
    number: u64,
    head: i64,
    random: Random,
}

impl Source {
    fn new(client: String, head: i64, seed: u64) -> Self {
        Self { client, number: 0, head, random: Random::seeded(seed) }
    }

    fn batch(&mut self) -> Vec<Event> {
        self.number += 1;
        // Across the 14 rows that the reference writes at once, and sometimes far across.
        let size = match self.random.between(0, 30) {
            0 => self.random.between(500, 3_000),
            _ => self.random.between(1, 40),
        };
        let size = size as i64;
        let events = (0..size).map(|index| {
            let args = json!({ "batch": self.number, "index": index, "size": size });
            let event = Event::new(self.head + index, self.head + index + 1);
            event.from_client(&self.client).with_args(args.to_string())
        });
        let events = events.collect();
        self.head += size;
        events
    }
}

/// Pushes over 0.4 with so many pushes under way, until the connection is lost.
async fn push_rpc(mut client: Rpc, mut source: Source, depth: usize) -> Batches {
    let mut acked = Batches::new();
    let mut under_way: VecDeque<(Value, u64, usize)> = VecDeque::new();
    loop {
        while under_way.len() < depth {
            let batch = source.batch();
            let id = client.start_push(&batch).await;
            under_way.push_back((id, source.number, batch.len()));
        }
        let Incoming::Text(text) = client.socket.next("an ack or the end").await else { return acked };
        match Answer::parse(&text) {
            Answer::Exit(id, exit) => {
                let (expected, number, size) = under_way.pop_front().expect("somebody asked");
                assert_eq!(id, expected, "acks come in order");
                if matches!(exit, Exit::Success(_)) {
                    acked.insert((source.client.clone(), number), size);
                } else {
                    let error = exit.error();
                    assert_eq!(error["_tag"], "ServerAheadError", "{error}");
                    assert_eq!(depth, 1, "only rivals are refused");
                    source.head = error["minimumExpectedNum"].as_i64().expect("a position");
                }
            }
            other => panic!("expected the end of a push, got {other:?}"),
        }
    }
}

/// The same over 0.3, one push at a time.
async fn push_v03(mut client: V03, mut source: Source) -> Batches {
    let mut acked = Batches::new();
    loop {
        let batch = source.batch();
        let id = client.start_push(&batch).await;
        loop {
            let Incoming::Text(text) = client.socket.next("an ack or the end").await else { return acked };
            match Message::parse(&text) {
                Message::PushAck(ack) => {
                    assert_eq!(ack, id);
                    acked.insert((source.client.clone(), source.number), batch.len());
                    break;
                }
                Message::Error(error, why) => {
                    assert_eq!(error, id);
                    let head = why.rsplit("expected e").next().expect("the head");
                    source.head = head.parse().unwrap_or_else(|_| panic!("{why}"));
                    break;
                }
                Message::PullRes(_) | Message::Pong => {}
            }
        }
    }
}

#[derive(Default)]
struct StoreState {
    head: i64,
    backend: Option<String>,
    stored: Batches,
    acked: Batches,
}

impl StoreState {
    /// Reads what came since the last time, or everything.
    async fn verify(&mut self, server: &Server, id: &str, everything: bool) {
        let mut client = server.store_named(id).rpc().await;
        let cursor = self.backend.clone().map(|backend| (backend, self.head));
        let cursor = if everything { None } else { cursor.as_ref().map(|(backend, head)| (backend.as_str(), *head)) };
        let pull = client.pull(cursor).await;
        assert_eq!(*self.backend.get_or_insert(pull.backend.clone()), pull.backend, "the backend id of {id}");
        let from = cursor.map_or(0, |(_, head)| head);
        assert_chain(from, &pull.events);
        self.head = pull.events.last().map_or(from, |pulled| pulled.event.seq);
        let found = whole_batches(&pull.events);
        if everything {
            self.stored.clear();
        }
        for (key, size) in found {
            assert!(self.stored.insert(key.clone(), size).is_none(), "{key:?} is in {id} twice");
        }
        for (key, size) in &self.acked {
            assert_eq!(self.stored.get(key), Some(size), "the acknowledged batch {key:?} of {id}");
        }
    }
}

/// Every batch must be there from its first event to its last.
fn whole_batches(events: &[Pulled]) -> Batches {
    let mut found = Batches::new();
    let mut rest = events.iter();
    while let Some(first) = rest.next() {
        let args = |pulled: &Pulled| -> Value {
            serde_json::from_str(pulled.event.args.as_deref().expect("args")).expect("the args are JSON")
        };
        let head = args(first);
        let size = head["size"].as_u64().expect("a size") as usize;
        let number = head["batch"].as_u64().expect("a number");
        assert_eq!(head["index"], 0, "a batch without its beginning: {first:?}");
        for index in 1..size {
            let Some(next) = rest.next() else { panic!("batch {number} of {} ends early", first.event.client) };
            let args = args(next);
            assert_eq!((&args["batch"], &args["index"]), (&json!(number), &json!(index)), "{next:?}");
            assert_eq!(next.event.client, first.event.client);
        }
        assert!(found.insert((first.event.client.clone(), number), size).is_none(), "batch {number} twice");
    }
    found
}

#[tokio::test]
async fn acknowledged_events_survive_kill_9() {
    let seed = Random::seed();
    println!("LIVESTORE_SYNC_SEED={seed}");
    let mut random = Random::seeded(seed);
    let worker = std::env::var_os("LIVESTORE_SYNC_WORKER").is_some();
    let rounds = if worker { ROUNDS_OF_WORKER } else { ROUNDS };
    let data = TempDir::new();
    let started = tokio::time::Instant::now();
    let ids = ["serial", "pipelined", "rivals", "other-pipelined"];
    let mut states: Vec<StoreState> = ids.iter().map(|_| StoreState::default()).collect();
    let mut restarts = Duration::ZERO;

    for round in 0..=rounds {
        let starting = tokio::time::Instant::now();
        let process = Arc::new(Process::start_on(data.path(), &[]));
        restarts += starting.elapsed();
        let server = Server::of(process.clone());
        let last = round == rounds;
        for (state, id) in states.iter_mut().zip(ids) {
            state.verify(&server, id, last || round == rounds / 2).await;
        }
        if last {
            break;
        }

        let local = tokio::task::LocalSet::new();
        let mut pushers = Vec::new();
        for (n, depth) in [(0, 1), (1, 8), (2, 1), (3, 30)] {
            let store = server.store_named(ids[n]);
            let source = Source::new(format!("round{round}rpc"), states[n].head, random.next_u64());
            pushers.push((n, local.spawn_local(push_rpc(store.rpc().await, source, depth))));
        }
        let source = Source::new(format!("round{round}v03"), states[2].head, random.next_u64());
        let v03 = server.store_named(ids[2]).v03().await;
        pushers.push((2, local.spawn_local(push_v03(v03, source))));

        let moment = Duration::from_millis(random.between(5, 300));
        local
            .run_until(async {
                // The moment is the subject here; it comes from the seed.
                tokio::time::sleep(moment).await;
                process.kill();
                for (n, pusher) in pushers {
                    let acked = pusher.await.unwrap_or_else(|error| panic!("round {round}, seed {seed}: {error}"));
                    states[n].acked.extend(acked);
                }
            })
            .await;
    }

    let events = |batches: fn(&StoreState) -> &Batches| -> usize {
        states.iter().map(|state| batches(state).values().sum::<usize>()).sum()
    };
    let (stored, acked) = (events(|state| &state.stored), events(|state| &state.acked));
    let batches: usize = states.iter().map(|state| state.acked.len()).sum();
    println!(
        "{rounds} rounds, {acked} events in {batches} batches acknowledged, {} stored without an ack, \
         {:.1} s, start of the server {:.0} ms on average",
        stored - acked,
        started.elapsed().as_secs_f64(),
        restarts.as_secs_f64() * 1_000.0 / (rounds + 1) as f64,
    );
    assert!(batches as u64 > rounds, "the rounds pushed something");
}
