//! The pulls of lost 0.3 connections, and who may continue which. Pure.
//!
//! An event that arrives twice stops the client's sync until the app starts again; one that never
//! arrives is missing for ever. So a pull is continued from what certainly arrived, and where one pull was
//! seen at two places, it is not continued at all.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::session::{Lost, Position};

/// Pulls remembered for one store; the oldest are forgotten.
const LOST_MAX: usize = 1_000;

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
    claims: Vec<Uuid>,
}

impl Entry {
    fn is_old(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.lost_ms) >= LOST_MS_MAX
    }
}

/// The lost 0.3 connections of one store.
#[derive(Debug, Default)]
pub(super) struct LostPulls {
    entries: Vec<Entry>,
}

impl LostPulls {
    /// A connection is lost.
    pub(super) fn lose(&mut self, connection: Uuid, fingerprint: &str, lost: Lost, now_ms: u64) {
        // What it continued, it continued for good, unless another may have as well.
        let mut connections = vec![connection];
        self.entries.retain_mut(|entry| {
            let claimed = entry.claims.contains(&connection);
            if claimed {
                // Pushes that were made there may still be on their way.
                connections.extend(&entry.connections);
            }
            entry.claims.retain(|claim| *claim != connection);
            let superseded = claimed && entry.claims.is_empty();
            !superseded && !entry.is_old(now_ms)
        });
        connections.truncate(CONNECTIONS_MAX);
        if lost.pulls.is_empty() {
            // It was lost before it was clear what it continues: the next connection continues that, and gets the
            // acknowledgements of what was pushed on this one.
            for entry in self.entries.iter_mut().filter(|entry| entry.fingerprint == fingerprint) {
                entry.acknowledged.extend(lost.acknowledged.iter().cloned());
                if entry.connections.len() < CONNECTIONS_MAX {
                    entry.connections.push(connection);
                }
            }
        }
        for position in lost.pulls {
            if self.entries.iter().any(|entry| entry.position == position && entry.claims.is_empty()) {
                continue;
            }
            self.entries.push(Entry {
                fingerprint: fingerprint.to_owned(),
                position,
                acknowledged: lost.acknowledged.clone(),
                connections: connections.clone(),
                lost_ms: now_ms,
                claims: Vec::new(),
            });
        }
        let excess = self.entries.len().saturating_sub(LOST_MAX);
        self.entries.drain(..excess);
    }

    /// Whether there is anything that a connection might continue.
    pub(super) fn has(&self, fingerprint: &str, now_ms: u64) -> bool {
        self.entries.iter().any(|entry| entry.fingerprint == fingerprint && !entry.is_old(now_ms))
    }

    /// What a connection continues, in case its client is the one. Several may claim the same.
    pub(super) fn claim(&mut self, connection: Uuid, fingerprint: &str, now_ms: u64) -> Lost {
        let mut claimed = Lost::default();
        // Where one pull stands at two places, either could be wrong.
        let ambiguous = |entries: &[Entry], position: &Position| {
            entries.iter().any(|entry| entry.position.pull == position.pull && entry.position.after != position.after)
        };
        for index in 0..self.entries.len() {
            let entry = &self.entries[index];
            if entry.fingerprint != fingerprint || entry.is_old(now_ms) || ambiguous(&self.entries, &entry.position) {
                continue;
            }
            let entry = &mut self.entries[index];
            entry.claims.push(connection);
            if !claimed.pulls.contains(&entry.position) {
                claimed.pulls.push(entry.position.clone());
            }
            for id in &entry.acknowledged {
                if !claimed.acknowledged.contains(id) {
                    claimed.acknowledged.push(id.clone());
                }
            }
        }
        claimed
    }

    /// The connection's client pulls: it is a new one, and continues nothing.
    pub(super) fn release(&mut self, connection: Uuid) {
        self.entries.iter_mut().for_each(|entry| entry.claims.retain(|claim| *claim != connection));
    }

    /// Whether nothing is remembered that is not too old.
    pub(super) fn is_empty(&mut self, now_ms: u64) -> bool {
        self.entries.retain(|entry| !entry.is_old(now_ms));
        self.entries.is_empty()
    }

    /// What the next server must know, beside the pulls that connections continue now.
    #[must_use]
    pub(super) fn unclaimed(&self) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.claims.is_empty()).cloned().collect()
    }

    /// Takes over from the last server.
    pub(super) fn restore(&mut self, entries: Vec<Entry>) {
        self.entries.extend(entries);
    }

    /// A push is committed whose connection was lost meanwhile. Returns the connections that continue that client's
    /// pulls already.
    pub(super) fn acknowledge(&mut self, connection: Uuid, request_id: &str) -> Vec<Uuid> {
        let mut continued_by = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| entry.connections.contains(&connection)) {
            entry.acknowledged.push(request_id.to_owned());
            let news: Vec<_> = entry.claims.iter().filter(|claim| !continued_by.contains(*claim)).copied().collect();
            continued_by.extend(news);
        }
        continued_by
    }
}

#[cfg(test)]
mod tests {
    use livestore_sync_protocol::SeqNum;

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
        pulls.release(B);
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
        for n in 0..=LOST_MAX {
            pulls.lose(Uuid::from_u128(n as u128), "x", lost(&[at(&n.to_string(), 1)]), 0);
        }
        let claimed = pulls.claim(A, "x", 1).pulls;
        assert_eq!((claimed.len(), claimed[0].pull.as_str()), (LOST_MAX, "1"));
    }
}
