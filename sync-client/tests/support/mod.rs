//! A backend in memory that fails on demand, and (`app`) an app on it.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod app;

use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::stream;
use livestore_sync_client::local::{Backend, PageStream, PushBatch};
use livestore_sync_client::{ConnectionState, OfflineReason, Page, PullError, PushError};
use livestore_sync_protocol::{Args, Cursor, Event, PulledEvent, SeqNum};
use tokio::sync::watch;

#[derive(Clone)]
pub(crate) struct MemoryBackend {
    inner: Arc<Mutex<Inner>>,
    /// Counts what live pulls have to look at.
    news: watch::Sender<u64>,
    connection: watch::Sender<ConnectionState>,
}

pub(crate) struct Inner {
    pub(crate) log: Vec<PulledEvent>,
    pub(crate) backend_id: Option<String>,
    /// So many pushes are stored and their answers lost.
    pub(crate) lose_answers: usize,
    /// So many pushes fail before they are stored.
    pub(crate) fail_pushes: usize,
    /// Events of this name are refused.
    pub(crate) refused_name: Option<String>,
    pub(crate) page_events: usize,
    pub(crate) pushes: Vec<usize>,
    /// Live pulls keep silent.
    pub(crate) mute: bool,
}

impl Default for MemoryBackend {
    fn default() -> Self {
        let inner = Inner {
            log: Vec::new(),
            backend_id: Some("backend-1".into()),
            lose_answers: 0,
            fail_pushes: 0,
            refused_name: None,
            page_events: 100,
            pushes: Vec::new(),
            mute: false,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            news: watch::Sender::new(0),
            connection: watch::Sender::new(ConnectionState::Connected),
        }
    }
}

impl MemoryBackend {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn go_offline(&self) {
        self.connection
            .send_replace(ConnectionState::Offline { reason: OfflineReason::Lost { message: "no network".into() } });
        self.wake();
    }

    pub(crate) fn go_online(&self) {
        self.connection.send_replace(ConnectionState::Connected);
    }

    pub(crate) fn wake(&self) {
        self.news.send_modify(|news| *news += 1);
    }

    /// Another client commits.
    pub(crate) fn compete(&self, name: &str, args: impl serde::Serialize) {
        let mut inner = self.lock();
        let parent = inner.head();
        let event = Event {
            name: name.into(),
            args: Args::from_json(serde_json::to_string(&args).unwrap()).unwrap(),
            seq_num: SeqNum::new(parent.get() + 1).unwrap(),
            parent_seq_num: parent,
            client_id: "competitor".into(),
            session_id: "s".into(),
        };
        inner.log.push(PulledEvent { event, created_at: Some("2026-11-21T00:14:31.259Z".into()) });
        drop(inner);
        self.wake();
    }

    /// A new log under the same address.
    pub(crate) fn reset(&self, backend_id: Option<&str>) {
        let mut inner = self.lock();
        inner.log.clear();
        inner.backend_id = backend_id.map(str::to_owned);
        drop(inner);
        self.wake();
    }

    /// `name:text` of each event in the log.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.lock().log.iter().map(|pulled| text(&pulled.event)).collect()
    }

    fn is_online(&self) -> bool {
        *self.connection.borrow() == ConnectionState::Connected
    }
}

/// What the table would show.
pub(crate) fn text(event: &Event) -> String {
    let args: serde_json::Value = serde_json::from_str(event.args.as_json()).unwrap();
    args["text"].as_str().unwrap_or_default().to_owned()
}

impl Inner {
    pub(crate) fn head(&self) -> SeqNum {
        self.log.last().map_or(SeqNum::ROOT, |pulled| pulled.event.seq_num)
    }
}

impl Backend for MemoryBackend {
    async fn push(&self, batch: PushBatch) -> Result<(), PushError> {
        tokio::task::yield_now().await;
        let offline = |sent| PushError::Offline { sent, reason: OfflineReason::Silent };
        if !self.is_online() {
            return Err(offline(false));
        }
        let mut inner = self.lock();
        inner.pushes.push(batch.events.len());
        if inner.fail_pushes > 0 {
            inner.fail_pushes -= 1;
            return Err(PushError::Failed { message: "told to".into() });
        }
        if let (Some(ours), Some(theirs)) = (&inner.backend_id, &batch.backend_id)
            && ours != theirs
        {
            return Err(PushError::BackendIdMismatch { expected: ours.clone(), received: theirs.clone() });
        }
        if batch.events.iter().any(|event| Some(&event.name) == inner.refused_name.as_ref()) {
            return Err(PushError::Rejected { message: "the hook says no".into() });
        }
        let (head, provided) = (inner.head(), batch.events[0].parent_seq_num);
        if head != provided {
            return Err(PushError::ServerAhead { minimum_expected: head, provided });
        }
        for event in batch.events {
            assert_eq!(event.parent_seq_num, inner.head(), "parents follow");
            assert!(event.seq_num > inner.head(), "numbers ascend");
            inner.log.push(PulledEvent { event, created_at: Some("2026-11-21T00:14:31.259Z".into()) });
        }
        let is_lost = inner.lose_answers > 0;
        inner.lose_answers -= usize::from(is_lost);
        drop(inner);
        self.wake();
        if is_lost { Err(offline(true)) } else { Ok(()) }
    }

    fn live_pull(&self, cursor: Cursor) -> PageStream {
        let (backend, news) = (self.clone(), self.news.subscribe());
        let is_first = true;
        Box::pin(stream::unfold(Some((backend, news, cursor, is_first)), async |state| {
            let (backend, mut news, mut cursor, is_first) = state?;
            loop {
                news.borrow_and_update();
                if !backend.is_online() {
                    return Some((Err(PullError::Offline { reason: OfflineReason::Silent }), None));
                }
                let page = {
                    let inner = backend.lock();
                    if let (Some(ours), Some(theirs)) = (&inner.backend_id, &cursor.backend_id)
                        && ours != theirs
                    {
                        let (expected, received) = (ours.clone(), theirs.clone());
                        return Some((Err(PullError::BackendIdMismatch { expected, received }), None));
                    }
                    let above = inner.log.iter().filter(|pulled| pulled.event.seq_num > cursor.seq_num);
                    let events: Vec<_> = above.take(if inner.mute { 0 } else { inner.page_events }).cloned().collect();
                    Page::new(events, 0, inner.backend_id.clone())
                };
                if is_first || !page.events.is_empty() {
                    if let Some(last) = page.events.last() {
                        cursor.seq_num = last.event.seq_num;
                    }
                    return Some((Ok(page), Some((backend, news, cursor, false))));
                }
                if news.changed().await.is_err() {
                    return None;
                }
            }
        }))
    }

    fn connection(&self) -> watch::Receiver<ConnectionState> {
        self.connection.subscribe()
    }
}
