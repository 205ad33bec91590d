//! Tokens in the native server, over real sockets: in cookies and headers, and whose page may send them.

#![cfg(all(feature = "native", feature = "jwt"))]

use std::time::{SystemTime, UNIX_EPOCH};

use livestore_sync_server::auth::{JwtAuth, JwtSecret, JwtSettings, TokenClaims, create_token};
use livestore_sync_server::native::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const SECRET: &str = "a secret of at least 32 bytes for tests";

fn token() -> String {
    #[expect(clippy::disallowed_methods, reason = "a token that counts now")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    create_token(&JwtSecret::parse(SECRET).expect("long"), &TokenClaims::new("ada", now + 60).with_store("*"))
}

async fn serve(allowed: &[&str], data: &tempfile::TempDir) -> String {
    let mut settings = JwtSettings::default();
    settings.secrets = Some(SECRET.to_owned());
    settings.cookie = Some("session".to_owned());
    let server = Server::builder(data.path()).hooks(JwtAuth::new(&settings).expect("settings"));
    let server = allowed.iter().fold(server, |server, origin| server.allow_origin(origin));
    let server = server.build().expect("a server");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    address.to_string()
}

/// The status of a WebSocket request with these headers.
async fn open(address: &str, headers: &[(&'static str, String)]) -> u16 {
    let mut request = format!("ws://{address}/?storeId=a&transport=ws").into_client_request().expect("a request");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a value"));
    }
    match connect_async(request).await {
        Ok((_, response)) => response.status().as_u16(),
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_cookie_counts_for_pages_that_are_named_and_for_no_other() {
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let own = serve(&[], &folders[0]).await;
    let named = serve(&["https://app.example"], &folders[1]).await;
    let all = serve(&["*"], &folders[2]).await;
    let cookie = ("cookie", format!("a=b; session={}", token()));
    let page = |origin: &str| ("origin", origin.to_owned());
    for (address, headers, expected) in [
        (&own, vec![cookie.clone(), page(&format!("http://{own}"))], 101),
        (&named, vec![cookie.clone(), page("https://app.example")], 101),
        // Another page has the browser send it.
        (&own, vec![cookie.clone(), page("https://evil.example")], 403),
        (&named, vec![cookie.clone(), page("https://evil.example")], 403),
        // It may ask, and its visitors' cookies are not its own.
        (&all, vec![cookie.clone(), page("https://evil.example")], 401),
        // What is no browser has other ways to say it.
        (&named, vec![cookie], 401),
        (&all, vec![("authorization", format!("Bearer {}", token())), page("https://evil.example")], 101),
        (&named, vec![("authorization", format!("Bearer {}", token()))], 101),
        (&named, vec![], 401),
    ] {
        assert_eq!(open(address, &headers).await, expected, "{headers:?}");
    }
}

#[tokio::test]
async fn pages_that_are_named_may_send_credentials() {
    let data = tempfile::tempdir().expect("a folder");
    let address = serve(&["*", "https://app.example"], &data).await;
    for (origin, allowed, credentials) in
        [("https://app.example", "https://app.example", true), ("https://b", "*", false)]
    {
        let mut stream = TcpStream::connect(&address).await.expect("a connection");
        let request = format!("GET / HTTP/1.0\r\nhost: {address}\r\norigin: {origin}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.contains(&format!("access-control-allow-origin: {allowed}\r\n")), "{answer}");
        assert_eq!(answer.contains("access-control-allow-credentials: true\r\n"), credentials, "{answer}");
    }
}
