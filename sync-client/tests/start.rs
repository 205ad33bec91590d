//! What a client is refused to start with. No server is needed.

use livestore_sync_client::{ConfigError, SyncClient};

#[test]
fn outside_of_a_runtime_there_is_an_error_and_no_panic() {
    let error = SyncClient::builder("ws://127.0.0.1:1", "notes").start().unwrap_err();
    assert_eq!(error, ConfigError::NoRuntime);
}

#[tokio::test]
async fn a_client_starts_without_a_connection() {
    let client = SyncClient::builder("ws://127.0.0.1:1", "notes").client_id("me").start().unwrap();
    let other = SyncClient::builder("ws://127.0.0.1:1", "notes").start().unwrap();
    assert_eq!(client.client_id(), "me");
    assert_eq!((other.client_id().len(), other.session_id().len()), (21, 21));
    assert_ne!(client.session_id(), other.session_id());
}

#[tokio::test]
async fn urls_that_need_tls_are_served_or_refused_by_name() {
    for url in ["wss://127.0.0.1:1", "https://127.0.0.1:1"] {
        let started = SyncClient::builder(url, "notes").start();
        if cfg!(feature = "tls") {
            started.unwrap();
        } else {
            assert_eq!(started.unwrap_err(), ConfigError::Tls(url.into()));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused() {
    for (name, value) in [("bad name", "x"), ("x", "line\nbreak")] {
        let error = SyncClient::builder("ws://127.0.0.1:1", "notes").header(name, value).start().unwrap_err();
        assert_eq!(error, ConfigError::Header(name.into()));
    }
    let error = SyncClient::builder("ftp://127.0.0.1:1", "notes").start().unwrap_err();
    assert_eq!(error, ConfigError::Url("ftp://127.0.0.1:1".into()));
}
