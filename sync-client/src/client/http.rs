//! The http transport: a request for each push, pull and ping. "Open" means that a ping was answered. Called by
//! the link; it knows frames only as texts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::http::header::{CONTENT_TYPE, HOST};
use hyper::http::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use livestore_sync_protocol::RequestId;
use livestore_sync_protocol::rpc::{self, ClientMessage, PingPayload, Request as Call, Rpc, Transport};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::activity::{Activity, Counted};
use super::channels::{LinkChannels, LinkCommand, LinkEvent};
use super::net;
use super::settings::{FRAME_BYTES_MAX, REFUSAL_BYTES_MAX, Settings, refusal};
use super::split::Split;
use crate::state::OfflineReason;

/// Serves requests until one of them fails.
pub(super) async fn run(settings: Arc<Settings>, uri: Uri, activity: Arc<Activity>, mut channels: LinkChannels) {
    if let Err(reason) = find(&settings, &uri, &activity).await {
        return channels.tell(LinkEvent::Lost(reason)).await;
    }
    channels.tell(LinkEvent::Opened).await;

    // Dropped with this task, and its requests with it.
    let mut exchanges = JoinSet::new();
    let mut running: HashMap<u64, AbortHandle> = HashMap::new();
    loop {
        tokio::select! {
            command = channels.commands.recv() => match command {
                Some(LinkCommand::Send { request, frame }) => {
                    let events = channels.events.clone();
                    let exchange = exchange(settings.clone(), uri.clone(), frame, activity.clone(), events);
                    running.insert(request, exchanges.spawn(async move { (request, exchange.await) }));
                }
                Some(LinkCommand::Cancel { request }) => {
                    if let Some(exchange) = running.remove(&request) {
                        exchange.abort();
                    }
                }
                Some(LinkCommand::SocketPing) => {}
                None => return,
            },
            Some(ended) = exchanges.join_next() => match ended {
                Ok((request, Ok(()))) => {
                    running.remove(&request);
                }
                Ok((_, Err(reason))) => return channels.tell(LinkEvent::Lost(reason)).await,
                // It was cancelled.
                Err(_) => {}
            },
        }
    }
}

/// Makes sure that a sync backend is there, and not something that answers in its place, as the portal of a wireless
/// network does.
async fn find(settings: &Arc<Settings>, uri: &Uri, activity: &Arc<Activity>) -> Result<(), OfflineReason> {
    let (sink, mut answers) = mpsc::channel(1);
    let ping = exchange(settings.clone(), uri.clone(), ping(settings), activity.clone(), sink);
    let answer = async {
        let first = match answers.recv().await {
            Some(LinkEvent::Frame(frame)) => Some(frame),
            _ => None,
        };
        while answers.recv().await.is_some() {}
        first
    };
    let (done, answer) = tokio::join!(ping, answer);
    done?;
    let (first, status) = (answer.unwrap_or_default(), StatusCode::OK.as_u16());
    rpc::ServerMessage::decode(&first).map(drop).map_err(|_| refusal(status, first.as_bytes()))
}

fn ping(settings: &Settings) -> String {
    let payload = PingPayload { store_id: settings.store_id.clone(), payload: None };
    ClientMessage::Request(Call {
        id: RequestId::Text("0".to_owned()),
        rpc: Rpc::Ping(Transport::Http, payload),
        headers: Vec::new(),
        trace_id: None,
        span_id: None,
        sampled: None,
    })
    .encode()
}

/// Sends one request, and tells each frame of the answer.
async fn exchange(
    settings: Arc<Settings>,
    uri: Uri,
    body: String,
    link: Arc<Activity>,
    events: mpsc::Sender<LinkEvent>,
) -> Result<(), OfflineReason> {
    let unreachable = |message: String| OfflineReason::Unreachable { message };
    let lost = |error: hyper::Error| OfflineReason::Lost { message: error.to_string() };
    let stream = net::connect(&uri, &settings.tls, link).await.map_err(|error| unreachable(error.to_string()))?;
    // Of this request alone: others must not hide that it is silent.
    let activity = Activity::new(Instant::now());
    let stream = Counted::new(stream, Arc::clone(&activity));
    let patience = Patience { activity, silence_max: settings.silence_max };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    let mut request = Request::post(uri.path_and_query().map_or("/", |target| target.as_str()))
        .header(HOST, uri.authority().map_or("", |authority| authority.as_str()))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::<Bytes>::from(body))
        .map_err(|error| unreachable(error.to_string()))?;
    for (name, value) in &settings.headers {
        request.headers_mut().append(name, value.clone());
    }
    let answer = async {
        let mut response = patience.wait(sender.send_request(request)).await?.map_err(lost)?;
        if response.status() != StatusCode::OK {
            let status = response.status().as_u16();
            let mut body = Vec::new();
            while body.len() < REFUSAL_BYTES_MAX
                && let Some(part) = patience.wait(response.body_mut().frame()).await?
            {
                body.extend(part.map_err(lost)?.into_data().unwrap_or_default());
            }
            return Err(refusal(status, &body));
        }
        let mut split = Split::new(FRAME_BYTES_MAX);
        while let Some(part) = patience.wait(response.body_mut().frame()).await? {
            let Ok(bytes) = part.map_err(lost)?.into_data() else { continue };
            for element in split.feed(&bytes).map_err(|error| OfflineReason::Confused { message: error.to_string() })? {
                tell(&events, element).await?;
            }
        }
        match split.finish() {
            Some(element) => tell(&events, element).await,
            None => Ok(()),
        }
    };
    tokio::pin!(answer);
    // The connection's own end comes with the answer's, or is one of its errors.
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

/// How long an answer is waited for: as long as anything moves.
struct Patience {
    activity: Arc<Activity>,
    silence_max: Duration,
}

impl Patience {
    async fn wait<F: Future>(&self, step: F) -> Result<F::Output, OfflineReason> {
        tokio::select! {
            output = step => Ok(output),
            () = self.activity.silence(self.silence_max) => Err(OfflineReason::Silent),
        }
    }
}

async fn tell(events: &mpsc::Sender<LinkEvent>, frame: Vec<u8>) -> Result<(), OfflineReason> {
    let frame = String::from_utf8(frame).map_err(|_| OfflineReason::Confused { message: "no UTF-8".to_owned() })?;
    let _ = events.send(LinkEvent::Frame(frame)).await;
    Ok(())
}
