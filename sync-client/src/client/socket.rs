//! The WebSocket transport, of 0.3 and 0.4. Called by the link; it knows frames only as texts.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::http::{Response, Uri};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::activity::Activity;
use super::channels::{LinkChannels, LinkCommand, LinkEvent};
use super::net::{self, Io};
use super::settings::{FRAME_BYTES_MAX, Settings, refusal};
use crate::state::OfflineReason;

/// A socket that cannot be written to may have a close frame to read, which says more.
const LAST_WORDS_TIME_MAX: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<Box<dyn Io>>;

/// Opens a socket and serves it until it is gone.
pub(super) async fn run(settings: &Settings, uri: Uri, activity: Arc<Activity>, mut channels: LinkChannels) {
    let socket = match open(settings, uri, activity).await {
        Ok(socket) => socket,
        Err(reason) => return channels.tell(LinkEvent::Lost(reason)).await,
    };
    channels.tell(LinkEvent::Opened).await;
    let (mut sink, mut stream) = socket.split();
    let commands = &mut channels.commands;
    let events = &channels.events;

    let write = async {
        while let Some(command) = commands.recv().await {
            let message = match command {
                LinkCommand::Send { frame, .. } => Message::text(frame),
                LinkCommand::SocketPing => Message::Ping(Vec::new().into()),
                LinkCommand::Cancel { .. } => continue,
            };
            sink.send(message).await?;
        }
        sink.close().await
    };
    let read = async {
        loop {
            let event = match stream.next().await {
                Some(Ok(Message::Text(text))) => LinkEvent::Frame(text.as_str().to_owned()),
                Some(Ok(Message::Pong(_))) => LinkEvent::SocketPong,
                Some(Ok(Message::Close(frame))) => {
                    let (code, message) =
                        frame.map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                    return OfflineReason::Closed { code, message };
                }
                // Servers of LiveStore send text only.
                Some(Ok(Message::Ping(_) | Message::Binary(_) | Message::Frame(_))) => continue,
                Some(Err(error)) => return OfflineReason::Lost { message: error.to_string() },
                None => return OfflineReason::Lost { message: "the stream has ended".to_owned() },
            };
            // Fails only once the client is dropped: then the server's close frame is what is waited for.
            let _ = events.send(event).await;
        }
    };
    tokio::pin!(read);
    let reason = tokio::select! {
        reason = &mut read => reason,
        written = write => match (written, tokio::time::timeout(LAST_WORDS_TIME_MAX, &mut read).await) {
            (_, Ok(reason)) => reason,
            (Err(error), Err(_)) => OfflineReason::Lost { message: error.to_string() },
            (Ok(()), Err(_)) => return,
        },
    };
    channels.tell(LinkEvent::Lost(reason)).await;
}

async fn open(settings: &Settings, uri: Uri, activity: Arc<Activity>) -> Result<Socket, OfflineReason> {
    let unreachable = |message: String| OfflineReason::Unreachable { message };
    let stream = net::connect(&uri, &settings.tls, activity).await.map_err(|error| unreachable(error.to_string()))?;
    let mut request = uri.into_client_request().map_err(|error| unreachable(error.to_string()))?;
    for (name, value) in &settings.headers {
        request.headers_mut().append(name, value.clone());
    }
    let config =
        WebSocketConfig::default().max_message_size(Some(FRAME_BYTES_MAX)).max_frame_size(Some(FRAME_BYTES_MAX));
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(refused(&response)),
        Err(error) => Err(unreachable(error.to_string())),
    }
}

fn refused(response: &Response<Option<Vec<u8>>>) -> OfflineReason {
    let body = response.body().as_deref().unwrap_or_default();
    refusal(response.status().as_u16(), body)
}
