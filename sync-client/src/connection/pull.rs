//! One pull: what the app has of it, and what a page that comes means. Pure; `pulls` does what follows.
//!
//! A pull outlives connections. It remembers the last event that the app was given, is sent again from there, and gives
//! the app nothing but what continues from there: in order, nothing twice, nothing left out. It has to insist on that
//! itself, because servers do not:
//!
//! - What was on its way when the connection broke comes again with the next one.
//! - 0.3 sends what others push to everyone, also in the middle of a backlog, so newer events may come before older
//!   ones. So does the reference of 0.4 (live events overtake the backlog).
//! - A pull without the log's id cannot begin at a number in 0.4: it begins at the start, and what the app has is left
//!   out here until the first page has told the id.

use std::time::Duration;

use livestore_sync_protocol::{Cursor, SeqNum};

use crate::error::PullError;
use crate::page::Page;

/// How often in a row a pull that misses events asks for them again, before it fails. Once is
/// not enough: a push that comes in between can make a 0.3 server leave them out again.
const GAPS_MAX: u32 = 3;

/// Pages that may wait for the app. Beyond that the pull is ended, and sent again once the app has taken all, where
/// the server does not wait for acknowledgements (0.3, http).
pub(super) const PAGES_WAITING_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct PullState {
    pub(super) live: bool,
    /// The last event that the app has or is about to get.
    pub(super) seq_num: SeqNum,
    /// The log that it belongs to, once known.
    pub(super) backend_id: Option<String>,
    pub(super) phase: PullPhase,
    /// When it began to wait for a connection.
    pub(super) waiting_since: Duration,
    /// Pages that the app has not taken.
    pub(super) untaken: usize,
    /// Those among them that came for the present request, and are to be acknowledged when they are taken. An
    /// acknowledgement for a page of an earlier connection would let the server send more than the app can hold.
    unacked: usize,
    /// The highest event that was seen and could not be given to the app, as one before it was missing. It was not
    /// kept: the pull has to be sent again to get it.
    beyond: SeqNum,
    gaps: u32,
    /// How often in a row the server has failed at it.
    pub(super) failures: u32,
    /// What the last page that the app got said of the rest; `None` before the first.
    last_remaining: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PullPhase {
    /// To be sent when there is a connection.
    Unsent,
    /// Sent with this id. `caught_up` once the server has sent all that there was.
    Running { request: u64, caught_up: bool },
    /// The app takes too slowly: to be sent when it has taken all.
    Paused,
    /// To be sent again at this time (http).
    Resting { until: Duration },
}

/// What a page means.
#[derive(Debug, PartialEq)]
pub(super) struct Verdict {
    /// For the app.
    pub(super) page: Option<Page>,
    pub(super) next: Next,
}

#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Go on.
    Wait,
    /// Ask again from where the pull is.
    Again,
    /// The app is too slow: stop.
    Pause,
    Fail(PullError),
}

impl PullState {
    pub(super) fn new(cursor: Option<Cursor>, live: bool, now: Duration) -> Self {
        let (seq_num, backend_id) = cursor.map_or((SeqNum::ROOT, None), |cursor| (cursor.seq_num, cursor.backend_id));
        Self {
            live,
            seq_num,
            backend_id,
            phase: PullPhase::Unsent,
            waiting_since: now,
            untaken: 0,
            unacked: 0,
            beyond: SeqNum::ROOT,
            gaps: 0,
            failures: 0,
            last_remaining: None,
        }
    }

    pub(super) fn request(&self) -> Option<u64> {
        match self.phase {
            PullPhase::Running { request, .. } => Some(request),
            PullPhase::Unsent | PullPhase::Paused | PullPhase::Resting { .. } => None,
        }
    }

    /// It is sent under this id.
    pub(super) fn sent(&mut self, request: u64) {
        self.phase = PullPhase::Running { request, caught_up: false };
        self.unacked = 0;
        self.beyond = SeqNum::ROOT;
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self, now: Duration) {
        // A paused one is sent when the app has caught up, whether the connection is the same or not.
        if self.phase != PullPhase::Paused {
            self.phase = PullPhase::Unsent;
        }
        self.waiting_since = now;
    }

    /// Takes a page. `broadcast`: it is no answer to this pull, but what somebody pushed, sent to everyone (0.3).
    pub(super) fn take(&mut self, mut page: Page, broadcast: bool) -> Verdict {
        if let (Some(ours), Some(theirs)) = (&self.backend_id, &page.backend_id)
            && ours != theirs
        {
            let error = PullError::BackendIdMismatch { expected: theirs.clone(), received: ours.clone() };
            return Verdict { page: None, next: Next::Fail(error) };
        }
        // The log's id is part of a cursor: from now on this pull can be sent from where it is.
        let unlocated = self.backend_id.is_none() && page.backend_id.is_some();
        if unlocated {
            self.backend_id.clone_from(&page.backend_id);
        }
        self.failures = 0;
        let was_caught_up = self.caught_up();
        if !broadcast && page.remaining == 0 {
            self.set_caught_up();
        }
        let last = page.events.last().map(|pulled| pulled.event.seq_num);
        let missing = self.keep_next(&mut page);
        // The log's id was not known and the pull had to begin at the start: now it can do with less.
        let too_early = unlocated && page.remaining > 0 && last.is_some_and(|last| last < self.seq_num);

        let next = if let Some(parent) = missing {
            // The events behind the gap are dropped, and asked for again when what is before them has come.
            self.beyond = self.beyond.max(last.unwrap_or_default());
            self.after_gap(parent, broadcast && !was_caught_up)
        } else if too_early || self.caught_up() && self.beyond > self.seq_num {
            Next::Again
        } else if self.untaken + 1 >= PAGES_WAITING_MAX {
            Next::Pause
        } else {
            Next::Wait
        };
        Verdict { page: self.for_app(page, broadcast, missing.is_some()), next }
    }

    /// Leaves in the page what continues where the pull is, and moves the pull behind it. The parent of the first
    /// event that does not continue it, if there is one.
    fn keep_next(&mut self, page: &mut Page) -> Option<SeqNum> {
        page.events.retain(|pulled| pulled.event.seq_num > self.seq_num);
        let mut at = self.seq_num;
        let mut missing = None;
        let mut good = 0;
        for pulled in &page.events {
            // A parent below is no gap: a cursor need not be an event's number, and logs of the reference have wrong
            // parents inside of batches.
            if pulled.event.parent_seq_num > at {
                missing = Some(pulled.event.parent_seq_num);
                break;
            }
            at = pulled.event.seq_num;
            good += 1;
        }
        page.remaining += (page.events.len() - good) as u64;
        page.events.truncate(good);
        if at > self.seq_num {
            self.gaps = 0;
        }
        self.seq_num = at;
        missing
    }

    fn after_gap(&mut self, parent: SeqNum, catching_up: bool) -> Next {
        // The backlog is not through: what is missing is still to come with it, and `beyond` makes sure that what was
        // dropped here is asked for afterwards.
        if catching_up {
            return Next::Wait;
        }
        self.gaps += 1;
        if self.gaps > GAPS_MAX {
            return Next::Fail(PullError::Gap { after: self.seq_num, parent });
        }
        Next::Again
    }

    /// The page for the app, where it says anything new: events, or for the first time that there are no more.
    fn for_app(&mut self, page: Page, broadcast: bool, gap: bool) -> Option<Page> {
        let news = !page.events.is_empty()
            || !broadcast && !gap && page.remaining == 0 && self.last_remaining.is_none_or(|remaining| remaining > 0);
        if !news {
            return None;
        }
        self.last_remaining = Some(page.remaining);
        self.untaken += 1;
        self.unacked += 1;
        Some(page)
    }

    /// The app took a page. Whether it is to be acknowledged: pages of earlier connections are not.
    pub(super) fn taken(&mut self) -> bool {
        let present = self.untaken <= self.unacked && self.unacked > 0;
        self.untaken = self.untaken.saturating_sub(1);
        if present {
            self.unacked -= 1;
        }
        present
    }

    fn caught_up(&self) -> bool {
        matches!(self.phase, PullPhase::Running { caught_up: true, .. })
    }

    fn set_caught_up(&mut self) {
        if let PullPhase::Running { caught_up, .. } = &mut self.phase {
            *caught_up = true;
        }
    }
}
