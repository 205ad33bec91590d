//! Several files, one backend, and everything that may go wrong between them, from a seed.

use std::collections::{HashMap, HashSet, VecDeque};

use livestore_sync_protocol::{Event, PulledEvent, SeqNum};

use super::test_app::{STATEMENTS, event, options};
use super::{LogFile, Received};
use crate::local::backend::PushBatch;
use crate::local::event::PendingId;
use crate::page::Page;
use crate::random::Random;

/// A push on its way, or its answer.
enum Packet {
    Push { client: usize, incarnation: usize, epoch: u64, batch: PushBatch },
    Stored { client: usize, incarnation: usize, up_to: SeqNum, epoch: u64 },
}

struct Client {
    file: LogFile,
    incarnation: usize,
}

struct World {
    random: Random,
    folder: tempfile::TempDir,
    clients: Vec<Client>,
    log: Vec<PulledEvent>,
    wire: VecDeque<Packet>,
    committed: HashMap<String, Vec<String>>,
    dropped: HashSet<String>,
    labels: usize,
    rebases: usize,
}

fn label(event: &Event) -> String {
    serde_json::from_str::<(i64, i64, String)>(event.args.as_json()).unwrap().2
}

impl World {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self {
            random: Random::new(seed),
            folder,
            clients: Vec::new(),
            log: Vec::new(),
            wire: VecDeque::new(),
            committed: HashMap::new(),
            dropped: HashSet::new(),
            labels: 0,
            rebases: 0,
        };
        for client in 0..2 + world.random.below(2) {
            let file = world.open(client);
            world.clients.push(Client { file, incarnation: 0 });
        }
        world
    }

    fn open(&self, client: usize) -> LogFile {
        LogFile::open_fast(&self.folder.path().join(format!("{client}.db")), options()).unwrap()
    }

    fn step(&mut self) {
        let client = self.random.below(self.clients.len());
        match self.random.below(12) {
            0..=2 => self.commit(client),
            3..=4 => self.send(client),
            5..=6 => self.deliver(),
            7..=9 => self.pull(client),
            10 if self.random.one_in(3) => self.restart(client),
            11 if self.random.one_in(4) => self.drop_one(client),
            _ => {}
        }
    }

    fn commit(&mut self, client: usize) {
        let groups: Vec<Vec<_>> = (0..1 + self.random.below(2))
            .map(|_| {
                (0..1 + self.random.below(3))
                    .map(|_| {
                        self.labels += 1;
                        let (a, b) = (self.random.below(4) as u64, self.random.below(4) as u64);
                        event(self.random.below(STATEMENTS.len()), a, b, &self.labels.to_string())
                    })
                    .collect()
            })
            .collect();
        for result in self.clients[client].file.commit(&groups) {
            // A statement may fail on a constraint; then nothing of its group is committed.
            let labels = result.iter().flatten().map(label);
            self.committed.entry(self.clients[client].file.client_id().into()).or_default().extend(labels);
        }
    }

    /// Pushes again and again, whatever is on its way already.
    fn send(&mut self, client: usize) {
        let file = &self.clients[client].file;
        let batch = file.batch(1 + self.random.below(5)).unwrap();
        if !batch.events.is_empty() {
            let incarnation = self.clients[client].incarnation;
            self.wire.push_back(Packet::Push { client, incarnation, epoch: file.epoch(), batch });
        }
    }

    /// Anything on its way arrives, or gets lost.
    fn deliver(&mut self) {
        if self.wire.is_empty() {
            return;
        }
        let index = self.random.below(self.wire.len());
        let packet = self.wire.remove(index).unwrap();
        if self.random.one_in(5) {
            return;
        }
        match packet {
            Packet::Push { client, incarnation, epoch, batch } => {
                if batch.events[0].parent_seq_num != self.head() {
                    return;
                }
                let up_to = batch.events.last().unwrap().seq_num;
                self.log.extend(batch.events.into_iter().map(|event| PulledEvent { event, created_at: None }));
                self.wire.push_back(Packet::Stored { client, incarnation, up_to, epoch });
            }
            Packet::Stored { client, incarnation, up_to, epoch } => {
                // Answers do not survive a restart.
                if self.clients[client].incarnation == incarnation {
                    self.clients[client].file.acknowledge(up_to, epoch).unwrap();
                }
            }
        }
    }

    fn head(&self) -> SeqNum {
        self.log.last().map_or(SeqNum::ROOT, |pulled| pulled.event.seq_num)
    }

    /// A page from somewhere: what is known already may be in it, and it may come too early.
    fn pull(&mut self, client: usize) {
        let head = self.clients[client].file.position().head.get() as usize;
        let start = match self.random.below(6) {
            0 => self.random.below(self.log.len() + 1),
            1 => head.saturating_sub(2),
            _ => head,
        };
        let events: Vec<_> = self.log[start.min(self.log.len())..].iter().take(self.random.below(7)).cloned().collect();
        let is_early = start > head && !events.is_empty();
        let page = Page { events, remaining: 0, backend_id: Some("b".into()) };
        let before = self.clients[client].file.position();
        match self.clients[client].file.receive(page) {
            Ok(Received::Taken { rebased, .. }) => {
                assert!(!is_early, "a page after a gap was taken");
                self.rebases += usize::from(rebased);
            }
            Ok(Received::Misplaced { .. }) => assert!(is_early && self.clients[client].file.position() == before),
            // A pending event may fail after others: its author gives it up.
            Err(_) => self.drop_one(client),
            other => panic!("{other:?}"),
        }
    }

    fn restart(&mut self, client: usize) {
        let before = (self.clients[client].file.dump(), self.clients[client].file.position());
        let placeholder = LogFile::open_fast(&self.folder.path().join("placeholder.db"), options()).unwrap();
        drop(std::mem::replace(&mut self.clients[client].file, placeholder));
        self.clients[client].file = self.open(client);
        self.clients[client].incarnation += 1;
        assert_eq!((self.clients[client].file.dump(), self.clients[client].file.position()), before);
    }

    fn drop_one(&mut self, client: usize) {
        let file = &mut self.clients[client].file;
        let (first, pending) = (file.position().first_pending, file.position().pending);
        let Some(first) = first else { return };
        let id = first + self.random.below(pending as usize) as i64;
        if let Ok(event) = file.drop_pending(PendingId(id)) {
            self.dropped.insert(label(&event));
        }
    }

    /// The network works, and everybody catches up.
    fn settle(&mut self) {
        self.wire.clear();
        for round in 0.. {
            assert!(round < 2_000, "no end");
            let mut is_done = true;
            for client in 0..self.clients.len() {
                let file = &mut self.clients[client].file;
                let events = self.log[file.position().head.get() as usize..].to_vec();
                if file.receive(Page { events, remaining: 0, backend_id: Some("b".into()) }).is_err() {
                    self.drop_one(client);
                    is_done = false;
                    continue;
                }
                let batch = file.batch(100).unwrap();
                is_done &= batch.events.is_empty();
                self.log.extend(batch.events.into_iter().map(|event| PulledEvent { event, created_at: None }));
            }
            if is_done && self.clients.iter().all(|client| client.file.position().head == self.head()) {
                return;
            }
        }
    }

    fn check(&self) {
        for (index, pulled) in self.log.iter().enumerate() {
            assert_eq!(pulled.event.seq_num.get() as usize, index + 1);
            assert_eq!(pulled.event.parent_seq_num.get() as usize, index);
        }
        for (client_id, committed) in &self.committed {
            let logged = self.log.iter().filter(|pulled| pulled.event.client_id == *client_id);
            let logged: Vec<_> = logged.map(|pulled| label(&pulled.event)).collect();
            // All that was not dropped, once, in order. What was dropped may have been on its way.
            let expected = committed.iter().filter(|label| !self.dropped.contains(*label) || logged.contains(label));
            assert_eq!(logged.iter().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
        let mut fresh = LogFile::open_fast(&self.folder.path().join("fresh.db"), options()).unwrap();
        fresh.receive(Page { events: self.log.clone(), remaining: 0, backend_id: None }).unwrap();
        for client in &self.clients {
            assert_eq!(super::log::confirmed(&client.file.connection, SeqNum::ROOT, usize::MAX).unwrap(), self.log);
            assert_eq!(client.file.dump(), fresh.dump());
        }
    }
}

#[test]
fn files_converge_and_nothing_is_lost_or_doubled() {
    let seeds = std::env::var("SEEDS").map_or(0..16, |seeds| {
        let (from, to) = seeds.split_once("..").expect("SEEDS=from..to");
        from.parse().unwrap()..to.parse().unwrap()
    });
    let mut rebases = 0;
    for seed in seeds {
        let run = std::panic::AssertUnwindSafe(|| {
            let mut world = World::new(seed);
            for _ in 0..250 {
                world.step();
            }
            world.settle();
            world.check();
            world.rebases
        });
        match std::panic::catch_unwind(run) {
            Ok(count) => rebases += count,
            Err(panic) => {
                eprintln!("the seed is {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(rebases > 50, "{rebases} rebases");
}
