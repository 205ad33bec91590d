//! One push: the two halves of its way through the store, and its answer. `conversation` and `exchange` run them, and
//! get their answers out through [`Replies`].

use std::sync::Arc;
use std::time::Duration;

use livestore_sync_protocol::{Event, Generation, RequestId, SeqNum};

use super::calls::{InProgress, Replies};
use super::{Host, Shell};
use crate::budget::Held;
use crate::error::{LogError, PushError};
use crate::failure::{Failure, guarded};
use crate::hooks::{HookContext, Push};
use crate::platform::{MaybeSend, Platform};
use crate::store::{Admitted, Completed, Pushed};

/// A push that was read.
pub(super) struct PushCall {
    /// What it takes of its connection's budget until it is answered.
    pub(super) held: Held,
    pub(super) in_progress: InProgress,
    pub(super) request_id: RequestId,
    pub(super) batch: Vec<Event>,
    pub(super) backend_id: Option<String>,
    pub(super) generation: Generation,
}

/// The first half of a push: asks the hook and queues it.
pub(super) async fn admit_push<S: Shell>(host: &Host<S>, replies: &impl Replies, call: PushCall) -> Admission {
    let PushCall { held, in_progress, request_id, batch, backend_id, generation } = call;
    let context = HookContext::new(Arc::clone(replies.connection()), generation);
    let (origin, refusals) = (replies.origin(&request_id), replies.refusals());
    let push = Push::new(batch);
    let mut failures = 0;
    let error = loop {
        let (push, origin, context) = (push.clone(), origin.clone(), context.clone());
        let admitted = host.store.admit(push, backend_id.as_deref(), origin, refusals, context, host.platform.now_ms());
        match guarded(admitted).await.unwrap_or_else(|failure| Err(failure.into())) {
            Ok(admitted) => return Admission::Admitted(AdmittedCall { held, in_progress, request_id, admitted }),
            Err(error) if !again(replies, &error, &mut failures).await => break error,
            Err(_) => {}
        }
    };
    refusals.note(&push.batch);
    let timed_out = matches!(error, PushError::Failed(Failure::TimedOut));
    let completed = Completed::new(push, context, Err(error));
    answer_push(replies, &request_id, &completed.result).await;
    host.store.ended(completed).await;
    if timed_out { Admission::TimedOut } else { Admission::Refused }
}

/// How the first half of a push went.
pub(super) enum Admission {
    Admitted(AdmittedCall),
    /// And answered.
    Refused,
    /// Likewise, because a hook did not return.
    TimedOut,
}

/// A push that waits for its commit and for its answer.
pub(super) struct AdmittedCall {
    held: Held,
    in_progress: InProgress,
    request_id: RequestId,
    admitted: Admitted,
}

/// The second half of a push: commits it, with all others that wait, and answers it. `answered` is called between
/// the answer and the hook that is told of it. Must run to its end, whether or not the client is still there.
pub(super) async fn complete_push<S: Shell>(
    host: &Arc<Host<S>>,
    replies: &impl Replies,
    call: AdmittedCall,
    answered: impl FnOnce() + MaybeSend,
) {
    let AdmittedCall { held, in_progress, request_id, mut admitted } = call;
    let mut failures = 0;
    let completed = loop {
        let (push, context) = admitted.call();
        let completed = guarded(host.store.complete(admitted)).await;
        let completed = completed.unwrap_or_else(|failure| Completed {
            // It may be the one that was to come for what waits.
            publish_in: Some(Duration::ZERO),
            ..Completed::new(push, context, Err(failure.into()))
        });
        if let Err(PushError::Log(LogError::UnknownOutcome(_))) = &completed.result {
            let host = Arc::clone(host);
            host.platform.clone().spawn(async move { host.store.settle(&host.platform).await });
        }
        if let Some(wait) = completed.publish_in {
            // Part of this push: the object's memory must not go before.
            let (host, in_progress) = (Arc::clone(host), in_progress.clone());
            host.platform.clone().spawn(async move {
                host.platform.sleep(wait).await;
                host.store.publish_awaited().await;
                drop(in_progress);
            });
        }
        match &completed.result {
            Err(error) if again(replies, error, &mut failures).await => {}
            _ => break completed,
        }
        let Completed { push, context, .. } = completed;
        let (origin, refusals) = (replies.origin(&request_id), replies.refusals());
        admitted = host.store.enqueue(push, context, origin, refusals, host.platform.now_ms());
    };
    answer_push(replies, &request_id, &completed.result).await;
    answered();
    host.store.ended(completed).await;
    drop((held, in_progress));
}

async fn again(replies: &impl Replies, error: &PushError, failures: &mut u32) -> bool {
    *failures += 1;
    error.is_ours() && replies.push_failing(error, *failures).await
}

async fn answer_push(replies: &impl Replies, request_id: &RequestId, result: &Result<Pushed, PushError>) {
    let frames = match result {
        // Published with its acknowledgement, in the order that the generation wants.
        Ok(Pushed::Committed) if replies.origin(request_id).is_some() => return,
        Ok(Pushed::Committed | Pushed::Repeated) => return replies.acknowledge(request_id).await,
        Err(error) => {
            match error {
                // A batch on top of a refused one begins beyond the log's end; its client lacks nothing.
                PushError::ServerAhead { head, provided } => {
                    replies.before_refusal(request_id, (*provided).min(*head)).await;
                }
                // Whatever the client has, it has it in the place of other events, from the first on.
                PushError::HistoryLost(_) => replies.before_refusal(request_id, SeqNum::ROOT).await,
                _ => {}
            }
            replies.session().push_failed(request_id, error)
        }
    };
    for frame in frames {
        // A closed connection needs no answer.
        let _ = replies.send(frame.into()).await;
    }
}
