//! What a page of the log means to a store with pending events. Pure; `file::receive` does what follows.
//!
//! A page is a piece of the log above the store's head, or overlaps it. Each of its events is one of three things:
//! *known* (at or below the head), *own* (the first pending event, which is thereby confirmed) or *news* (another
//! client's). Own events are looked for one by one, and only at the front of what is pending: a session's events enter
//! the log in the order of their commits, so the second pending one cannot be there before the first.
//!
//! As long as a page begins with own events, nothing has to be undone: they are in the log as they were applied. From
//! the first event of another client on, the pending events that are left were applied too early, before that event, so
//! they are taken back, the page is applied, and they are applied again after it. That is a rebase.

use livestore_sync_protocol::{Event, SeqNum};

use crate::same::is_same_commit;

/// What to do with a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// The page follows what the store has, or repeats some of it.
    Follows {
        /// So many events at its start are in the store already.
        known: usize,
        /// Of each event after those, whether it is the first pending one that is left. The others are news.
        is_own: Vec<bool>,
    },
    /// Events between the head and the page are missing. Nothing of the page may be taken.
    Gap {
        /// The last event that the store has.
        head: SeqNum,
        /// What the page's first new event follows.
        parent: SeqNum,
    },
    /// The numbers do not ascend.
    Disorder {
        /// The event after which a number does not ascend.
        after: SeqNum,
    },
}

/// Decides. `pending` are the first pending events, at least as many as the page has (or all).
pub(crate) fn merge<'a>(
    head: SeqNum,
    pending: impl IntoIterator<Item = &'a Event>,
    page: impl IntoIterator<Item = &'a Event>,
) -> Merge {
    let mut known = 0;
    let mut is_own = Vec::new();
    let mut last = head;
    let mut pending = pending.into_iter().peekable();
    for event in page {
        if event.seq_num <= head && is_own.is_empty() {
            known += 1;
            continue;
        }
        if event.seq_num <= last {
            return Merge::Disorder { after: last };
        }
        // A parent below the last event is wrong too, but no sign that something is missing: the reference takes any
        // parents inside a batch, and stores them.
        if event.parent_seq_num > last {
            return Merge::Gap { head: last, parent: event.parent_seq_num };
        }
        last = event.seq_num;
        is_own.push(pending.next_if(|own| is_same_commit(own, event)).is_some());
    }
    Merge::Follows { known, is_own }
}

/// How much of a page that follows needs what is pending to be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// So many events at the start are the first pending ones, in their places: they are confirmed as they are.
    pub(crate) confirmed: usize,
    /// Whether the rest of what is pending is to be undone before the rest of the page is applied.
    pub(crate) rebase: bool,
}

/// Plans. `pending` is how many events are pending.
pub(crate) fn plan(is_own: &[bool], pending: u64) -> Plan {
    let confirmed = is_own.iter().take_while(|own| **own).count();
    Plan { confirmed, rebase: confirmed < is_own.len() && pending > confirmed as u64 }
}

#[cfg(test)]
mod tests {
    use livestore_sync_protocol::Args;

    use super::*;

    fn event(text: &str) -> Event {
        // "5a": number 5, of session "a"; "7-4a": number 7, parent 4.
        let (numbers, session) = text.split_at(text.len() - 1);
        let (seq_num, parent) = match numbers.split_once('-') {
            Some((seq_num, parent)) => (seq_num.parse().unwrap(), parent.parse().unwrap()),
            None => (numbers.parse::<i64>().unwrap(), numbers.parse::<i64>().unwrap() - 1),
        };
        Event {
            name: "n".into(),
            args: Args::default(),
            seq_num: SeqNum::new(seq_num).unwrap(),
            parent_seq_num: SeqNum::new(parent).unwrap(),
            client_id: "c".into(),
            session_id: session.into(),
        }
    }

    fn run(head: i64, pending: &str, page: &str) -> Merge {
        let events = |text: &str| text.split_whitespace().map(event).collect::<Vec<_>>();
        merge(SeqNum::new(head).unwrap(), &events(pending), &events(page))
    }

    #[test]
    fn pages_that_follow() {
        for (head, pending, page, known, own, plan_) in [
            (0, "", "", 0, "", (0, false)),
            (0, "1a 2a", "", 0, "", (0, false)),
            // News, without and with pending events.
            (0, "", "1b 2b", 0, "--", (0, false)),
            (0, "1a", "1b 2b", 0, "--", (0, true)),
            // Our own: all, some, and with others after them.
            (4, "5a 6a", "5a 6a", 0, "++", (2, false)),
            (4, "5a 6a", "5a", 0, "+", (1, false)),
            (4, "5a 6a", "5a 6b", 0, "+-", (1, true)),
            (4, "5a", "5a 6b", 0, "+-", (1, false)),
            // An event before ours was dropped here, after it was pushed.
            (4, "5a 6a", "5d 6a 7a", 0, "-++", (0, true)),
            (4, "5a", "5d 6a 7b", 0, "-+-", (0, true)),
            // Repetitions, of everything or of a part.
            (4, "5a", "3b 4b", 2, "", (0, false)),
            (4, "5a", "3b 4b 5a 6b", 2, "+-", (1, false)),
            (4, "", "4b 5b", 1, "-", (0, false)),
            // Gaps in the numbers are legal.
            (4, "5a", "7-4b 9-7b", 0, "--", (0, true)),
            // A wrong parent, but nothing is missing.
            (4, "", "5-2b", 0, "-", (0, false)),
        ] {
            let is_own: Vec<bool> = own.chars().map(|c| c == '+').collect();
            let pending_count = pending.split_whitespace().count() as u64;
            assert_eq!(
                plan(&is_own, pending_count),
                Plan { confirmed: plan_.0, rebase: plan_.1 },
                "{pending} | {page}"
            );
            assert_eq!(run(head, pending, page), Merge::Follows { known, is_own }, "{head} | {pending} | {page}");
        }
    }

    #[test]
    fn pages_that_do_not_follow() {
        for (head, pending, page, expected) in
            [(4, "5a", "6b", (4, 5)), (4, "5a 6a", "6a", (4, 5)), (4, "", "5b 7b", (5, 6)), (0, "", "251b", (0, 250))]
        {
            let (head_, parent) = expected;
            let expected = Merge::Gap { head: SeqNum::new(head_).unwrap(), parent: SeqNum::new(parent).unwrap() };
            assert_eq!(run(head, pending, page), expected, "{head} | {pending} | {page}");
        }
        assert_eq!(run(4, "", "5b 5b"), Merge::Disorder { after: SeqNum::new(5).unwrap() });
        assert_eq!(run(4, "", "6-4b 5b"), Merge::Disorder { after: SeqNum::new(6).unwrap() });
        assert_eq!(run(4, "", "5b 4b"), Merge::Disorder { after: SeqNum::new(5).unwrap() });
    }
}
