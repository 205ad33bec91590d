//! Fetches the public keys of a URL, over TLS. Called by the library, which decides when.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use livestore_sync_server::BoxFuture;
use livestore_sync_server::auth::{FetchDone, FetchJwks, JWKS_BYTES_MAX, JWKS_TIME_MAX};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(super) struct HttpFetch;

impl FetchJwks for HttpFetch {
    fn start(&self, url: &str, done: FetchDone) {
        let url = url.to_owned();
        tokio::spawn(async move {
            let fetched = tokio::time::timeout(JWKS_TIME_MAX, fetch(&url)).await;
            let fetched = fetched.map_err(|_| format!("nothing came within {JWKS_TIME_MAX:?}"));
            done.done(fetched.and_then(|fetched| fetched.map_err(|error| error.to_string())));
        });
    }

    fn pause(&self) -> BoxFuture<()> {
        Box::pin(tokio::time::sleep(Duration::from_millis(50)))
    }
}

async fn fetch(url: &str) -> Result<String, Failure> {
    let url: Uri = url.parse()?;
    let authority = url.authority().ok_or("the URL has no host")?.clone();
    let tls = url.scheme_str() == Some("https");
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    if !tls {
        return get(stream, &url, authority.as_str()).await;
    }
    // The provider is named here: a process may have none, or another one, as its default.
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config = config.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
    let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(host)?, stream).await?;
    get(stream, &url, authority.as_str()).await
}

async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &Uri,
    host: &str,
) -> Result<String, Failure> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(header::HOST, host).header(header::ACCEPT, "application/json");
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("status {}", response.status()).into());
    }
    let body = Limited::new(response.into_body(), JWKS_BYTES_MAX).collect().await?;
    Ok(String::from_utf8(body.to_bytes().to_vec())?)
}
