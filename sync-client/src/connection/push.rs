//! One push: whether it is sent, and whether the log has it.

use std::time::Duration;

use livestore_sync_protocol::{Args, Event, PulledEvent, SeqNum};
use serde_json::Value;

use super::types::Page;

#[derive(Debug)]
pub(super) struct Push {
    pub(super) batch: Vec<Event>,
    pub(super) backend_id: Option<String>,
    pub(super) phase: Phase,
    /// When it began to wait for a connection.
    pub(super) waiting_since: Duration,
    /// It was sent on a connection that was lost before the answer.
    pub(super) in_doubt: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// To be sent when there is a connection.
    Unsent,
    /// Sent with this id, at this time.
    Running { wire: u64, at: Duration },
    /// The server says that it is ahead, which may be because it has this very batch: the log is read from the
    /// batch's parent. So many events were there and the same.
    Checking { wire: u64, at: Duration, same: usize, head: SeqNum },
}

/// What the log says of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// It is there.
    Stored,
    /// Something else is in its place.
    Other,
    /// The next page tells.
    Unclear,
}

impl Push {
    pub(super) fn new(batch: Vec<Event>, backend_id: Option<String>, now: Duration) -> Self {
        Self { batch, backend_id, phase: Phase::Unsent, waiting_since: now, in_doubt: false }
    }

    pub(super) fn wire(&self) -> Option<u64> {
        match self.phase {
            Phase::Unsent => None,
            Phase::Running { wire, .. } | Phase::Checking { wire, .. } => Some(wire),
        }
    }

    /// When it was last sent, or a page of the log came.
    pub(super) fn asked_at(&self) -> Option<Duration> {
        match self.phase {
            Phase::Unsent => None,
            Phase::Running { at, .. } | Phase::Checking { at, .. } => Some(at),
        }
    }

    /// The event that the batch follows.
    pub(super) fn parent(&self) -> SeqNum {
        self.batch.first().map_or(SeqNum::ROOT, |event| event.parent_seq_num)
    }

    /// Compares a page of the log above the batch's parent.
    pub(super) fn check(&mut self, page: &Page, now: Duration) -> Check {
        let parent = self.parent();
        let Phase::Checking { same, at, .. } = &mut self.phase else { return Check::Unclear };
        *at = now;
        for PulledEvent { event, .. } in page.events.iter().filter(|pulled| pulled.event.seq_num > parent) {
            let Some(ours) = self.batch.get(*same) else { break };
            if !same_event(ours, event) {
                return Check::Other;
            }
            *same += 1;
        }
        if *same == self.batch.len() { Check::Stored } else { Check::Unclear }
    }
}

fn same_event(a: &Event, b: &Event) -> bool {
    a.seq_num == b.seq_num
        && a.parent_seq_num == b.parent_seq_num
        && a.name == b.name
        && a.client_id == b.client_id
        && a.session_id == b.session_id
        && same_args(&a.args, &b.args)
}

/// Other servers parse and write args anew, with other spaces and numbers.
fn same_args(a: &Args, b: &Args) -> bool {
    let value = |args: &Args| serde_json::from_str::<Value>(args.as_json()).ok();
    a == b || matches!((value(a), value(b)), (Some(a), Some(b)) if same_value(&a, &b))
}

fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        // JavaScript has one type of number.
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_value(a, b)))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn args_are_the_same_however_they_are_spelled() {
        for (a, b, same) in [
            (r#"{"a":1.0,"b":[1e2]}"#, r#"{ "b": [100], "a": 1 }"#, true),
            (r#""\u0041""#, r#""A""#, true),
            ("1e400", "1e400", true),
            ("1e400", "1e401", false),
            ("{}", "null", false),
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#, false),
            ("[1]", "[2]", false),
        ] {
            let args = |text: &str| Args::from_json(text.into()).unwrap();
            assert_eq!(same_args(&args(a), &args(b)), same, "{a} {b}");
        }
    }
}
