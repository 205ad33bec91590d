//! A machine and a clock, in the hands of a test.

use std::time::Duration;

use livestore_sync_protocol::rpc::{Cause, ClientMessage, Rpc, ServerMessage, SyncError};
use livestore_sync_protocol::{Args, Cursor, Event, PageInfo, PullResponse, PulledEvent, RequestId, SeqNum};

use crate::connection::types::{Action, AppCommand};
use crate::connection::{Connection, Dialect, Protocol, Timing};
use crate::state::{ConnectionState, OfflineReason};

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn at(value: i64) -> SeqNum {
    SeqNum::new(value).unwrap()
}

pub(super) fn events(numbers: std::ops::RangeInclusive<i64>) -> Vec<Event> {
    let event = |n| Event {
        name: "n".into(),
        args: Args::default(),
        seq_num: at(n),
        parent_seq_num: at(n - 1),
        client_id: "c".into(),
        session_id: "s".into(),
    };
    numbers.map(event).collect()
}

/// A machine, and the time.
pub(super) struct Case {
    pub(super) connection: Connection,
    pub(super) now: Duration,
}

impl Case {
    pub(super) fn new() -> Self {
        Self::of(Protocol::V04Ws)
    }

    pub(super) fn of(protocol: Protocol) -> Self {
        let dialect = Dialect::new(protocol, "s".into(), 1);
        Self { connection: Connection::new(dialect, Timing::default(), 1), now: Duration::ZERO }
    }

    pub(super) fn open() -> Self {
        Self::new().opened()
    }

    pub(super) fn opened(mut self) -> Self {
        self.connection.handle_timeout(self.now);
        self.connection.handle_opened(self.now);
        assert_eq!(self.actions(), [Action::Open, Action::State(ConnectionState::Connected)]);
        self
    }

    pub(super) fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.connection.poll_action()).collect()
    }

    pub(super) fn command(&mut self, command: AppCommand) -> Vec<Action> {
        self.connection.handle_command(self.now, command);
        self.actions()
    }

    pub(super) fn server(&mut self, message: &ServerMessage) -> Vec<Action> {
        self.connection.handle_frame(self.now, &message.encode());
        self.actions()
    }

    pub(super) fn lose(&mut self) -> Vec<Action> {
        self.connection.handle_lost(self.now, OfflineReason::Silent);
        self.actions()
    }

    /// Lets time pass until the machine wants to do something, and lets it.
    pub(super) fn wait(&mut self) -> Vec<Action> {
        self.now = self.connection.poll_timeout().expect("a timeout").max(self.now);
        self.connection.handle_timeout(self.now);
        self.actions()
    }

    pub(super) fn reopen(&mut self) -> Vec<Action> {
        while self.wait() != [Action::Open] {}
        self.connection.handle_opened(self.now);
        self.actions()
    }
}

/// The messages that are sent.
pub(super) fn sent(actions: &[Action]) -> Vec<ClientMessage> {
    let frame = |action: &Action| match action {
        Action::Send { frame, .. } => Some(ClientMessage::decode(frame).remove(0).unwrap()),
        _ => None,
    };
    actions.iter().filter_map(frame).collect()
}

pub(super) fn id(request: u64) -> RequestId {
    RequestId::Text(request.to_string())
}

pub(super) fn page(request: u64, numbers: std::ops::RangeInclusive<i64>, remaining: u64) -> ServerMessage {
    let pulled = |event| PulledEvent { event, created_at: None };
    let batch = events(numbers).into_iter().map(pulled).collect();
    let page_info = PageInfo::from_remaining(remaining);
    ServerMessage::Chunk {
        request_id: id(request),
        values: vec![PullResponse { batch, page_info, backend_id: "b".into() }],
    }
}

pub(super) fn ahead(request: u64, head: i64) -> ServerMessage {
    let error = SyncError::ServerAhead { minimum_expected_num: at(head), provided_num: at(0) };
    ServerMessage::failure(id(request), Cause::Fail { error })
}

pub(super) fn push(key: u64) -> AppCommand {
    AppCommand::Push { key, batch: events(1..=2), backend_id: None }
}

/// The cursor of the only pull that is sent.
pub(super) fn pulled_from(actions: &[Action]) -> Option<Cursor> {
    match sent(actions).as_slice() {
        [ClientMessage::Request(request)] => match &request.rpc {
            Rpc::Pull(_, pull) => pull.cursor.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}
