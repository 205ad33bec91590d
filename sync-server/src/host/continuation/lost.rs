//! The pulls of lost 0.3 connections, and who may continue which. Pure.
//!
//! An event that arrives twice stops the client's sync until the app starts again; one that never
//! arrives is missing for ever. So a pull is continued from what certainly arrived, and where one pull was
//! seen at two places, it is not continued at all.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use livestore_sync_protocol::SeqNum;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::strays::Strays;
use crate::session::{Lost, Position};

/// Pulls remembered for one store; the oldest are forgotten.
const LOST_MAX: usize = 1_000;

/// Of those, pulls of clients that look alike, each of which continues all of them. The oldest are forgotten.
const ALIKE_MAX: usize = 128;

/// Acknowledgements that one client is to be told again; the last ones.
const ACKNOWLEDGED_MAX: usize = 64;

/// Connections of one client on which a push may still be on its way when it is lost once more.
const CONNECTIONS_MAX: usize = 8;

/// How long a pull is remembered (ms): a day, for a laptop that sleeps.
const LOST_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// A remembered pull. Saved with the names of its fields.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// What clients that may be the same have in common.
    #[serde(alias = "likeness")]
    fingerprint: String,
    position: Position,
    acknowledged: Vec<String>,
    /// Where its client has pushed: on the connection that was lost, and on those that this one had continued.
    #[serde(default)]
    connections: Vec<Uuid>,
    lost_ms: u64,
    /// Connections that continue it.
    #[serde(skip)]
    claims: HashSet<Uuid>,
}

impl Entry {
    fn is_old(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.lost_ms) >= LOST_MS_MAX
    }

    fn acknowledge(&mut self, ids: impl IntoIterator<Item = String>) {
        self.acknowledged.extend(ids);
        let excess = self.acknowledged.len().saturating_sub(ACKNOWLEDGED_MAX);
        self.acknowledged.drain(..excess);
    }
}

/// The lost 0.3 connections of one store, those that look alike together: nothing is ever compared with others.
#[derive(Debug, Default)]
pub(super) struct LostPulls {
    alike: BTreeMap<String, Vec<Entry>>,
    /// All of them.
    count: usize,
    strays: Strays,
}

impl LostPulls {
    /// A connection is lost.
    pub(super) fn lose(&mut self, connection: Uuid, fingerprint: &str, lost: Lost, now_ms: u64) {
        let entries = self.alike.entry(fingerprint.to_owned()).or_default();
        self.count -= entries.len();
        // What it continued, it continued for good, unless another may have as well.
        let mut connections = vec![connection];
        entries.retain_mut(|entry| {
            let claimed = entry.claims.remove(&connection);
            if claimed {
                // Pushes that were made there may still be on their way.
                let news: Vec<_> = entry.connections.iter().filter(|id| !connections.contains(*id)).copied().collect();
                connections.extend(news.into_iter().take(CONNECTIONS_MAX - connections.len()));
            }
            let superseded = claimed && entry.claims.is_empty();
            !superseded && !entry.is_old(now_ms)
        });
        if lost.pulls.is_empty() {
            // It was lost before it was clear what it continues: the next connection continues that, and gets the
            // acknowledgements of what was pushed on this one.
            for entry in entries.iter_mut() {
                entry.acknowledge(lost.acknowledged.iter().cloned());
                if entry.connections.len() < CONNECTIONS_MAX {
                    entry.connections.push(connection);
                }
            }
            self.strays.lose(connection, fingerprint, lost.acknowledged.clone());
        }
        let (strays, acknowledged) = match lost.pulls.is_empty() {
            true => Default::default(),
            false => self.strays.take(fingerprint),
        };
        connections.extend(strays.into_iter().take(CONNECTIONS_MAX.saturating_sub(connections.len())));
        let unclaimed = entries.iter().filter(|entry| entry.claims.is_empty());
        let known: HashSet<_> = unclaimed.map(|entry| entry.position.clone()).collect();
        for position in lost.pulls {
            if known.contains(&position) {
                continue;
            }
            let mut entry = Entry {
                fingerprint: fingerprint.to_owned(),
                position,
                acknowledged: Vec::new(),
                connections: connections.clone(),
                lost_ms: now_ms,
                claims: HashSet::new(),
            };
            entry.acknowledge(lost.acknowledged.iter().chain(&acknowledged).cloned());
            entries.push(entry);
        }
        let excess = entries.len().saturating_sub(ALIKE_MAX);
        entries.drain(..excess);
        self.count += entries.len();
        if entries.is_empty() {
            self.alike.remove(fingerprint);
        }
        self.forget_oldest();
    }

    fn forget_oldest(&mut self) {
        while self.count > LOST_MAX {
            let oldest = self.alike.iter_mut().min_by_key(|(_, entries)| entries.first().map(|entry| entry.lost_ms));
            let Some((fingerprint, entries)) = oldest else { return };
            if entries.len() > 1 {
                entries.remove(0);
            } else {
                let fingerprint = fingerprint.clone();
                self.alike.remove(&fingerprint);
            }
            self.count -= 1;
        }
    }

    /// Whether there is anything that a connection might continue.
    pub(super) fn has(&self, fingerprint: &str, now_ms: u64) -> bool {
        self.alike.get(fingerprint).is_some_and(|entries| entries.iter().any(|entry| !entry.is_old(now_ms)))
    }

    /// What a connection continues, in case its client is the one. Several may claim the same.
    pub(super) fn claim(&mut self, connection: Uuid, fingerprint: &str, now_ms: u64) -> Lost {
        let mut claimed = Lost::default();
        let Some(entries) = self.alike.get_mut(fingerprint) else { return claimed };
        // Where one pull stands at two places, either could be wrong.
        let mut places: HashMap<String, Option<SeqNum>> = HashMap::new();
        for Position { pull, after } in entries.iter().map(|entry| &entry.position) {
            let place = places.entry(pull.clone()).or_insert(Some(*after));
            *place = place.filter(|place| place == after);
        }
        let (mut continued, mut acknowledged) = (HashSet::new(), HashSet::new());
        for entry in entries.iter_mut().filter(|entry| !entry.is_old(now_ms)) {
            if places.get(&entry.position.pull).is_none_or(Option::is_none) {
                continue;
            }
            entry.claims.insert(connection);
            // Kept twice, it is continued once.
            if continued.insert(entry.position.clone()) {
                claimed.pulls.push(entry.position.clone());
            }
            let news = entry.acknowledged.iter().filter(|id| acknowledged.insert((*id).clone()));
            claimed.acknowledged.extend(news.cloned());
        }
        claimed
    }

    /// The connection's client pulls: it is a new one, and continues nothing.
    pub(super) fn release(&mut self, connection: Uuid, fingerprint: &str) {
        for entry in self.alike.get_mut(fingerprint).into_iter().flatten() {
            entry.claims.remove(&connection);
        }
    }

    /// Whether nothing is remembered that is not too old.
    pub(super) fn is_empty(&mut self, now_ms: u64) -> bool {
        self.alike.retain(|_, entries| {
            entries.retain(|entry| !entry.is_old(now_ms));
            !entries.is_empty()
        });
        self.count = self.alike.values().map(Vec::len).sum();
        self.count == 0
    }

    /// What the next server must know, beside the pulls that connections continue now.
    #[must_use]
    pub(super) fn unclaimed(&self) -> Vec<Entry> {
        let mut unclaimed: Vec<_> =
            self.alike.values().flatten().filter(|entry| entry.claims.is_empty()).cloned().collect();
        unclaimed.sort_by_key(|entry| entry.lost_ms);
        unclaimed
    }

    /// Takes over from the last server.
    pub(super) fn restore(&mut self, entries: Vec<Entry>) {
        self.count += entries.len();
        for entry in entries {
            self.alike.entry(entry.fingerprint.clone()).or_default().push(entry);
        }
        self.forget_oldest();
    }

    /// A push is committed whose connection was lost meanwhile. Returns the connections that continue that client's
    /// pulls already.
    pub(super) fn acknowledge(&mut self, connection: Uuid, request_id: &str) -> Vec<Uuid> {
        self.strays.acknowledge(connection, request_id);
        let mut continued_by = BTreeSet::new();
        let entries = self.alike.values_mut().flatten().filter(|entry| entry.connections.contains(&connection));
        for entry in entries {
            entry.acknowledge([request_id.to_owned()]);
            continued_by.extend(&entry.claims);
        }
        continued_by.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pull: &str, after: i64) -> Position {
        Position { pull: pull.into(), after: SeqNum::new(after).expect("safe") }
    }

    fn lost(pulls: &[Position]) -> Lost {
        Lost { pulls: pulls.to_vec(), acknowledged: Vec::new() }
    }

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);
    const C: Uuid = Uuid::from_u128(3);
    const D: Uuid = Uuid::from_u128(4);

    #[test]
    fn one_client_continues_again_and_again() {
        let mut pulls = LostPulls::default();
        pulls.lose(A, "x", lost(&[at("p", 3)]), 0);
        assert_eq!(pulls.claim(B, "x", 1), lost(&[at("p", 3)]));
        pulls.lose(B, "x", lost(&[at("p", 7)]), 2);
        assert_eq!(pulls.claim(C, "x", 3), lost(&[at("p", 7)]));
    }

    #[test]
    fn what_was_pushed_between_two_losses_is_acknowledged_to_the_one_that_continues() {
        let mut pulls = LostPulls::default();
        // B came while A still counted as open, and was lost before that was found out.
        pulls.lose(B, "x", Lost { pulls: Vec::new(), acknowledged: vec!["early".into()] }, 0);
        assert!(pulls.acknowledge(B, "late").is_empty());
        pulls.lose(A, "x", lost(&[at("p", 3)]), 1);
        assert!(pulls.acknowledge(B, "later").is_empty());
        let expected = ["early", "late", "later"].map(str::to_owned).into();
        assert_eq!(pulls.claim(C, "x", 2), Lost { pulls: vec![at("p", 3)], acknowledged: expected });
        assert_eq!(pulls.acknowledge(B, "last"), [C]);
    }

    #[test]
    fn others_and_old_ones_get_nothing() {
        let mut pulls = LostPulls::default();
        pulls.lose(A, "x", lost(&[at("p", 3)]), 0);
        assert_eq!(pulls.claim(B, "y", 1), Lost::default());
        assert_eq!(pulls.claim(B, "x", LOST_MS_MAX), Lost::default());
    }

    #[test]
    fn a_new_client_leaves_what_it_claimed() {
        let mut pulls = LostPulls::default();
        pulls.lose(A, "x", lost(&[at("p", 3)]), 0);
        pulls.claim(B, "x", 1);
        pulls.release(B, "x");
        pulls.lose(B, "x", lost(&[at("q", 9)]), 2);
        assert_eq!(pulls.claim(C, "x", 3), lost(&[at("p", 3), at("q", 9)]));
    }

    #[test]
    fn two_alike_both_continue_both() {
        let mut pulls = LostPulls::default();
        pulls.lose(A, "x", lost(&[at("p", 3)]), 0);
        pulls.lose(B, "x", lost(&[at("q", 5)]), 0);
        let both = lost(&[at("p", 3), at("q", 5)]);
        assert_eq!(pulls.claim(C, "x", 1), both);
        assert_eq!(pulls.claim(D, "x", 1), both);
        // C is lost at 8: whoever it was, it has everything up to there. D may be the other.
        pulls.lose(C, "x", lost(&[at("p", 8), at("q", 8)]), 2);
        assert_eq!(pulls.claim(A, "x", 3), Lost::default(), "p stands at 3 or at 8: nobody can tell");
    }

    #[test]
    fn a_push_that_commits_later_is_acknowledged_later() {
        let mut pulls = LostPulls::default();
        pulls.lose(A, "x", lost(&[at("p", 3)]), 0);
        pulls.acknowledge(A, "push");
        assert_eq!(pulls.claim(B, "x", 1).acknowledged, ["push"]);
    }

    #[test]
    fn a_push_that_commits_when_its_client_is_back_is_acknowledged_there() {
        let mut pulls = LostPulls::default();
        pulls.lose(A, "x", lost(&[at("p", 3)]), 0);
        assert!(pulls.acknowledge(A, "early").is_empty());
        pulls.claim(B, "x", 1);
        assert_eq!(pulls.acknowledge(A, "push"), [B]);
        pulls.lose(B, "x", lost(&[at("p", 3)]), 2);
        pulls.claim(C, "x", 3);
        assert_eq!(pulls.acknowledge(A, "late"), [C], "it was lost twice meanwhile");
    }

    #[test]
    fn what_was_pushed_before_it_was_clear_who_it_is_is_acknowledged_later() {
        let mut pulls = LostPulls::default();
        pulls.lose(A, "x", lost(&[at("p", 3)]), 0);
        pulls.lose(B, "x", Lost { pulls: Vec::new(), acknowledged: vec!["first".into()] }, 1);
        assert!(pulls.acknowledge(B, "second").is_empty());
        assert_eq!(pulls.claim(C, "x", 2).acknowledged, ["first", "second"]);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut pulls = LostPulls::default();
        for n in 0..=ALIKE_MAX {
            pulls.lose(Uuid::from_u128(n as u128), "x", lost(&[at(&n.to_string(), 1)]), 0);
        }
        let claimed = pulls.claim(A, "x", 1).pulls;
        assert_eq!((claimed.len(), claimed[0].pull.as_str()), (ALIKE_MAX, "1"));

        let mut pulls = LostPulls::default();
        for n in 0..=LOST_MAX {
            pulls.lose(Uuid::from_u128(n as u128), &n.to_string(), lost(&[at("p", 1)]), n as u64);
        }
        assert_eq!((pulls.count, pulls.unclaimed().len()), (LOST_MAX, LOST_MAX));
        assert!(!pulls.has("0", 0) && pulls.has("1", 0));
    }

    #[test]
    fn no_client_is_told_more_than_so_much_again() {
        let mut pulls = LostPulls::default();
        let acknowledged: Vec<_> = (0..=ACKNOWLEDGED_MAX).map(|n| n.to_string()).collect();
        let left = Lost { pulls: vec![at("p", 3), at("q", 3)], acknowledged: acknowledged.clone() };
        pulls.lose(A, "x", left, 0);
        assert_eq!(pulls.claim(B, "x", 1).acknowledged, acknowledged[1..]);
        pulls.acknowledge(A, "late");
        assert_eq!(pulls.claim(C, "x", 1).acknowledged.last().map(String::as_str), Some("late"));
        assert_eq!(pulls.claim(C, "x", 1).acknowledged.len(), ACKNOWLEDGED_MAX);
    }

    /// An office behind one address, after a restart. With each compared with each, it takes minutes.
    #[test]
    fn thousands_that_look_alike_come_back_in_no_time() {
        let mut pulls = LostPulls::default();
        for round in 0..3 {
            for n in 0..2_000_u128 {
                let continued = pulls.claim(Uuid::from_u128(n), "x", round);
                assert!(continued.pulls.len() <= ALIKE_MAX);
            }
            for n in 0..2_000_u128 {
                pulls.lose(Uuid::from_u128(n), "x", lost(&[at(&n.to_string(), 1)]), round);
                pulls.release(Uuid::from_u128(n), "x");
            }
        }
    }
}
