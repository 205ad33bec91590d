//! The WebSocket transport, of 0.3 and 0.4. Called by the link; it knows messages only as texts.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::http::Uri;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::activity::Activity;
use super::channels::{LinkChannels, LinkCommand, LinkEvent};
use super::deflate::deflate;
use super::frames::{Frames, Incoming, close_reason, frame};
use super::handshake::{self, Opened};
use super::net;
use super::settings::{FRAME_BYTES_MAX, Settings};
use crate::state::OfflineReason;

/// A socket that cannot be written to may have a close frame to read, which says more. And one that is over is told so,
/// if it takes it.
const LAST_WORDS_TIME_MAX: Duration = Duration::from_secs(1);

/// What the reading side owes the server. Only the last is sent.
#[derive(Debug)]
enum Answer {
    Nothing,
    Pong(Bytes),
    Close(Bytes),
}

/// Opens a socket and serves it until it is gone.
pub(super) async fn run(settings: &Settings, uri: Uri, activity: Arc<Activity>, mut channels: LinkChannels) {
    let opened = match open(settings, &uri, activity).await {
        Ok(opened) => opened,
        Err(reason) => return channels.tell(LinkEvent::Lost(reason)).await,
    };
    channels.tell(LinkEvent::Opened).await;
    let compresses = opened.inflater.is_some();
    let (reader, writer) = tokio::io::split(opened.stream);
    let frames = Frames::new(reader, &opened.read, opened.inflater, FRAME_BYTES_MAX);
    let (answer, answers) = watch::channel(Answer::Nothing);
    let reason = {
        let read = read(frames, &channels.events, &answer);
        let write = write(writer, &mut channels.commands, answers, compresses);
        tokio::pin!(read, write);
        tokio::select! {
            reason = &mut read => {
                if matches!(*answer.borrow(), Answer::Close(_)) {
                    let _ = tokio::time::timeout(LAST_WORDS_TIME_MAX, write).await;
                }
                reason
            }
            written = &mut write => match (written, tokio::time::timeout(LAST_WORDS_TIME_MAX, read).await) {
                (_, Ok(reason)) => reason,
                (Err(error), Err(_)) => OfflineReason::Lost { message: error.to_string() },
                (Ok(()), Err(_)) => return,
            },
        }
    };
    channels.tell(LinkEvent::Lost(reason)).await;
}

async fn open(settings: &Settings, uri: &Uri, activity: Arc<Activity>) -> Result<Opened, OfflineReason> {
    let unreachable = |error: io::Error| OfflineReason::Unreachable { message: error.to_string() };
    let stream = net::connect(uri, &settings.tls, activity).await.map_err(unreachable)?;
    handshake::open(settings, uri, stream).await
}

/// Reads until the socket is over, and says why it is.
async fn read<R: AsyncRead + Unpin>(
    mut frames: Frames<R>,
    events: &mpsc::Sender<LinkEvent>,
    answer: &watch::Sender<Answer>,
) -> OfflineReason {
    loop {
        let event = match frames.next().await {
            Ok(Incoming::Text(text)) => LinkEvent::Frame(text),
            Ok(Incoming::Pong) => LinkEvent::SocketPong,
            Ok(Incoming::Binary) => continue,
            Ok(Incoming::Ping(payload)) => {
                answer.send_replace(Answer::Pong(payload));
                continue;
            }
            Ok(Incoming::Close(payload)) => {
                let (code, message) = close_reason(&payload);
                answer.send_replace(Answer::Close(payload));
                return OfflineReason::Closed { code, message };
            }
            Err(error) => {
                if let Some(code) = error.close_code() {
                    answer.send_replace(Answer::Close(Bytes::copy_from_slice(&code.to_be_bytes())));
                }
                return OfflineReason::Lost { message: error.to_string() };
            }
        };
        // Fails only once the client is dropped: then the server's close frame is what is waited for.
        let _ = events.send(event).await;
    }
}

/// Writes until there is nothing more to say.
async fn write(
    mut writer: impl AsyncWrite + Unpin,
    commands: &mut mpsc::UnboundedReceiver<LinkCommand>,
    mut answers: watch::Receiver<Answer>,
    compresses: bool,
) -> io::Result<()> {
    loop {
        let mut is_last = false;
        let frame = tokio::select! {
            biased;
            Ok(()) = answers.changed() => match &*answers.borrow_and_update() {
                Answer::Nothing => continue,
                Answer::Pong(payload) => masked(Control::Pong, payload),
                Answer::Close(payload) => {
                    is_last = true;
                    masked(Control::Close, payload)
                }
            },
            command = commands.recv() => match command {
                Some(LinkCommand::Send { frame, .. }) => text(frame.as_bytes(), compresses),
                Some(LinkCommand::SocketPing) => masked(Control::Ping, &[]),
                Some(LinkCommand::Cancel { .. }) => continue,
                None => {
                    is_last = true;
                    masked(Control::Close, &[])
                }
            },
        };
        writer.write_all(&frame).await?;
        writer.flush().await?;
        if is_last {
            return Ok(());
        }
    }
}

fn masked(control: Control, payload: &[u8]) -> Vec<u8> {
    frame(OpCode::Control(control), false, payload, mask())
}

fn text(message: &[u8], compresses: bool) -> Vec<u8> {
    let deflated = if compresses { deflate(message) } else { None };
    let payload = deflated.as_deref().unwrap_or(message);
    frame(OpCode::Data(Data::Text), deflated.is_some(), payload, mask())
}

/// Nobody can guess it, whatever the payload is.
fn mask() -> [u8; 4] {
    getrandom::u32().expect("the system has random numbers").to_ne_bytes()
}
