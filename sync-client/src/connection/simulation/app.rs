//! An app on a connection: it follows the log, pushes events of its own, and checks every answer.

use std::collections::{BTreeMap, HashSet, VecDeque};

use livestore_sync_protocol::{Args, Event, SeqNum};

use crate::connection::types::{AppCommand, Key};
use crate::error::PushError;
use crate::page::Page;
use crate::random::Random;
use crate::same::is_same_event;

#[derive(Debug)]
pub(super) struct App {
    number: usize,
    last_key: Key,
    /// The live pull.
    live: Key,
    /// What it gave.
    pub(super) log: Vec<Event>,
    /// Other pulls, and what they gave.
    pub(super) pulls: BTreeMap<Key, Vec<Event>>,
    /// Pages that wait to be taken.
    pub(super) waiting: VecDeque<Key>,
    /// The push under way.
    pub(super) push: Option<(Key, Vec<Event>)>,
    /// Names that are to be pushed, the push under way first.
    pub(super) to_push: VecDeque<String>,
    /// Names whose push was acknowledged, or that were seen in the log.
    pub(super) stored: HashSet<String>,
    /// Names of a push that was given up, and may be stored or not.
    doubtful: Vec<String>,
    count: usize,
}

impl App {
    pub(super) fn new(number: usize) -> Self {
        Self {
            number,
            last_key: 1,
            live: 1,
            log: Vec::new(),
            pulls: BTreeMap::new(),
            waiting: VecDeque::new(),
            push: None,
            to_push: VecDeque::new(),
            stored: HashSet::new(),
            doubtful: Vec::new(),
            count: 0,
        }
    }

    pub(super) fn start(&self) -> AppCommand {
        AppCommand::Pull { key: self.live, cursor: None, live: true }
    }

    fn new_key(&mut self) -> Key {
        self.last_key += 1;
        self.last_key
    }

    fn head(&self) -> SeqNum {
        self.log.last().map_or(SeqNum::ROOT, |event| event.seq_num)
    }

    /// One thing that the app does now.
    pub(super) fn act(&mut self, random: &mut Random, calm: bool) -> Option<AppCommand> {
        match random.below(if calm { 4 } else { 8 }) {
            0..2 => self.waiting.pop_front().map(|key| AppCommand::Taken { key }),
            2 | 3 if self.push.is_none() => self.next_push(random),
            4 if self.to_push.len() < 10 => {
                self.count += 1;
                self.to_push.push_back(format!("{}-{}", self.number, self.count));
                None
            }
            5 if self.pulls.len() < 2 && random.below(8) == 0 => {
                let key = self.new_key();
                self.pulls.insert(key, Vec::new());
                Some(AppCommand::Pull { key, cursor: None, live: false })
            }
            6 if random.below(4) == 0 => {
                let (key, _) = self.pulls.pop_first()?;
                self.waiting.retain(|waiting| *waiting != key);
                Some(AppCommand::Drop { key })
            }
            7 if random.below(20) == 0 => {
                let (key, batch) = self.push.take()?;
                self.doubtful.extend(batch.into_iter().map(|event| event.name));
                Some(AppCommand::Drop { key })
            }
            _ => None,
        }
    }

    fn next_push(&mut self, random: &mut Random) -> Option<AppCommand> {
        // A push that was dropped may still be stored: those names are let be.
        self.to_push.retain(|name| !self.doubtful.contains(name) && !self.stored.contains(name));
        let count = self.to_push.len().min(1 + random.below(4) as usize);
        let mut parent = self.head();
        let mut batch = Vec::new();
        for name in self.to_push.iter().take(count) {
            // Numbers may be left out.
            let seq_num = SeqNum::new(parent.get() + 1 + random.below(2) as i64).unwrap();
            let args = Args::from_json(r#"{ "a": 1.0, "b": 1e400 }"#.into()).unwrap();
            let (client_id, session_id) = (self.number.to_string(), "s".to_owned());
            batch.push(Event { name: name.clone(), args, seq_num, parent_seq_num: parent, client_id, session_id });
            parent = seq_num;
        }
        if batch.is_empty() {
            return None;
        }
        let key = self.new_key();
        self.push = Some((key, batch.clone()));
        Some(AppCommand::Push { key, batch, backend_id: None })
    }

    pub(super) fn page(&mut self, key: Key, page: Page) {
        self.waiting.push_back(key);
        let events = page.events.into_iter().map(|pulled| pulled.event);
        let log = if key == self.live { &mut self.log } else { self.pulls.get_mut(&key).expect("a pull that is kept") };
        for event in events {
            let head = log.last().map_or(SeqNum::ROOT, |event| event.seq_num);
            assert_eq!(event.parent_seq_num, head, "no gap and nothing twice");
            log.push(event);
        }
    }

    /// `log` is the server's.
    pub(super) fn pushed(&mut self, key: Key, result: Result<(), PushError>, log: &[Event]) {
        let (pushed, batch) = self.push.take().expect("a push is under way");
        assert_eq!(key, pushed);
        let names = || batch.iter().map(|event| event.name.clone());
        let is_stored = |event: &Event| log.iter().any(|stored| is_same_event(event, stored));
        match result {
            Ok(()) => {
                assert!(batch.iter().all(is_stored), "what is acknowledged is stored");
                self.stored.extend(names());
            }
            Err(PushError::ServerAhead { .. }) => {
                assert!(!batch.iter().any(is_stored), "what is refused is not stored: {batch:?}");
            }
            Err(PushError::Offline { sent: false, .. }) => {
                assert!(!batch.iter().any(is_stored), "what was not sent is not stored");
            }
            Err(PushError::Offline { sent: true, .. }) => self.doubtful.extend(names()),
            Err(other) => panic!("{other}"),
        }
    }
}
