//! 0.3 connections that were lost before it was clear what they continue, while the one before them still counted as
//! open: what was pushed on them is acknowledged to whoever continues that one. Pure.

use std::collections::VecDeque;

use uuid::Uuid;

/// Connections remembered for one store; the oldest are forgotten.
const STRAYS_MAX: usize = 256;

#[derive(Debug)]
struct Stray {
    connection: Uuid,
    fingerprint: String,
    acknowledged: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Strays(VecDeque<Stray>);

impl Strays {
    /// Such a connection is lost.
    pub(super) fn lose(&mut self, connection: Uuid, fingerprint: &str, acknowledged: Vec<String>) {
        if self.0.len() >= STRAYS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Stray { connection, fingerprint: fingerprint.to_owned(), acknowledged });
    }

    /// A push is committed whose connection was lost meanwhile.
    pub(super) fn acknowledge(&mut self, connection: Uuid, request_id: &str) {
        let stray = self.0.iter_mut().find(|stray| stray.connection == connection);
        stray.into_iter().for_each(|stray| stray.acknowledged.push(request_id.to_owned()));
    }

    /// A connection that these may have come after is lost as well. Gives them, and what was acknowledged to them: where
    /// several clients look alike, to the first of those connections, whose pulls all of them continue.
    pub(super) fn take(&mut self, fingerprint: &str) -> (Vec<Uuid>, Vec<String>) {
        let (mut connections, mut acknowledged) = (Vec::new(), Vec::new());
        self.0.retain_mut(|stray| {
            let is_alike = stray.fingerprint == fingerprint;
            if is_alike {
                connections.push(stray.connection);
                acknowledged.append(&mut stray.acknowledged);
            }
            !is_alike
        });
        (connections, acknowledged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_go_to_the_next_that_looks_alike() {
        let mut strays = Strays::default();
        let id = Uuid::from_u128;
        strays.lose(id(1), "x", vec!["a".into()]);
        strays.lose(id(2), "y", vec!["b".into()]);
        strays.acknowledge(id(1), "c");
        strays.acknowledge(id(3), "d");
        assert_eq!(strays.take("x"), (vec![id(1)], vec!["a".into(), "c".into()]));
        assert_eq!(strays.take("x"), (vec![], vec![]));
        assert_eq!(strays.take("y"), (vec![id(2)], vec!["b".into()]));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut strays = Strays::default();
        for number in 0..=STRAYS_MAX {
            strays.lose(Uuid::from_u128(number as u128), if number == 0 { "oldest" } else { "others" }, Vec::new());
        }
        assert_eq!(strays.take("oldest").0.len(), 0);
        assert_eq!(strays.take("others").0.len(), STRAYS_MAX);
    }
}
