//! How a WebSocket is opened: the request, and what the server may answer. Called by `socket`.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use super::deflate::{self, Inflater};
use super::net::Io;
use super::settings::{REFUSAL_BYTES_MAX, Settings, refusal};
use crate::state::OfflineReason;

/// How long the text of a refusal is waited for.
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(1);

/// What was opened.
pub(super) struct Opened {
    pub(super) stream: Box<dyn Io>,
    /// What has come of it already.
    pub(super) read: Bytes,
    /// Where compression was agreed on.
    pub(super) inflater: Option<Inflater>,
}

/// Asks the server for a WebSocket on this stream.
pub(super) async fn open(settings: &Settings, uri: &Uri, stream: Box<dyn Io>) -> Result<Opened, OfflineReason> {
    let key = generate_key();
    let request = request(settings, uri, &key)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(unreachable)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused(response).await);
        }
        let inflater = check(response.headers(), &key, settings.compression).map_err(unreachable)?;
        let upgraded = hyper::upgrade::on(response).await.map_err(unreachable)?;
        let parts = upgraded.downcast::<TokioIo<Box<dyn Io>>>().map_err(|_| unreachable("no stream"))?;
        Ok(Opened { stream: parts.io.into_inner(), read: parts.read_buf, inflater })
    };
    tokio::pin!(answer);
    // The connection's own end comes with the answer's, or is one of its errors.
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection.with_upgrades() => answer.await,
    }
}

fn unreachable(error: impl ToString) -> OfflineReason {
    OfflineReason::Unreachable { message: error.to_string() }
}

fn request(settings: &Settings, uri: &Uri, key: &str) -> Result<Request<Empty<Bytes>>, OfflineReason> {
    let mut request = Request::get(uri.path_and_query().map_or("/", |target| target.as_str()))
        .header(HOST, uri.authority().map_or("", |authority| authority.as_str()))
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, key)
        .body(Empty::new())
        .map_err(unreachable)?;
    if settings.compression {
        request.headers_mut().append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(deflate::OFFER));
    }
    for (name, value) in &settings.headers {
        request.headers_mut().append(name, value.clone());
    }
    Ok(request)
}

/// Whether that is a WebSocket, and one whose messages may be compressed.
fn check(headers: &HeaderMap, key: &str, compression: bool) -> Result<Option<Inflater>, &'static str> {
    let says = |name: HeaderName, word: &str| {
        let mut words = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
        words.any(|said| said.trim().eq_ignore_ascii_case(word))
    };
    if !says(UPGRADE, "websocket") || !says(CONNECTION, "upgrade") {
        return Err("the server answers with another protocol than WebSocket");
    }
    if headers.get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes)
        != Some(derive_accept_key(key.as_bytes()).as_bytes())
    {
        return Err("the server's answer belongs to another request");
    }
    let extensions = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
    deflate::agreed(compression, extensions.map(|value| value.to_str().unwrap_or("?")))
}

/// What the server says instead, as far as it says it soon.
async fn refused(mut response: Response<Incoming>) -> OfflineReason {
    let mut text = Vec::new();
    let read = async {
        while text.len() < REFUSAL_BYTES_MAX
            && let Some(Ok(part)) = response.body_mut().frame().await
        {
            text.extend(part.into_data().unwrap_or_default());
        }
    };
    let _ = tokio::time::timeout(REFUSAL_TIME_MAX, read).await;
    refusal(response.status().as_u16(), &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn checked(headers: &[(HeaderName, &'static str)]) -> Result<bool, &'static str> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        check(&headers, KEY, true).map(|inflater| inflater.is_some())
    }

    #[test]
    fn only_a_websocket_is_one() {
        let (upgrade, connection) = ((UPGRADE, "WebSocket"), (CONNECTION, "keep-alive, upgrade"));
        let accept = (SEC_WEBSOCKET_ACCEPT, ACCEPT);
        let headers = [upgrade, connection, accept];
        assert_eq!(checked(&headers), Ok(false));
        for left_out in 0..headers.len() {
            let mut headers = headers.to_vec();
            headers.remove(left_out);
            checked(&headers).unwrap_err();
        }
        let mut other = headers.clone();
        other[2].1 = "AAAALMBiTxaQ9kYGzzhZRbK+xOo=";
        checked(&other).unwrap_err();
        let with = |extension| [&headers[..], &[(SEC_WEBSOCKET_EXTENSIONS, extension)]].concat();
        assert_eq!(checked(&with(deflate::OFFER)), Ok(true));
        checked(&with("permessage-bzip2")).unwrap_err();
    }
}
