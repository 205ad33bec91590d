//! `wss` and `https`: a server with a certificate of its own, in front of the native one.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::net::SocketAddr;
use std::sync::Arc;

use livestore_sync_client::rustls::crypto::ring;
use livestore_sync_client::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use livestore_sync_client::rustls::{ClientConfig, RootCertStore, ServerConfig};
use livestore_sync_client::{ConnectionState, NewEvent, OfflineReason, Protocol, SyncClient};
use livestore_sync_client_tests::{PROTOCOLS, numbers, start, timing, until, within};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Takes TLS off. Gives the port, and the certificate, which is for `localhost`.
async fn encrypted(server: SocketAddr) -> (u16, CertificateDer<'static>) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = own.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Fails where the client does not trust the certificate.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut server = TcpStream::connect(server).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut stream, &mut server).await);
            });
        }
    });
    (port, certificate)
}

fn trusting(certificate: CertificateDer<'static>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    Arc::new(config.with_no_client_auth())
}

#[tokio::test]
async fn secure_schemes_are_encrypted_and_certificates_looked_at() {
    let server = start().await;
    let (port, certificate) = encrypted(server.address).await;
    for protocol in PROTOCOLS {
        let scheme = if protocol == Protocol::V04Http { "https" } else { "wss" };
        let builder = SyncClient::builder(format!("{scheme}://localhost:{port}"), "notes");
        let builder = builder.protocol(protocol).timing(timing());
        // Nobody vouches for the certificate.
        let distrustful = builder.clone().start().unwrap();
        let refused = |state: &ConnectionState| {
            matches!(state, ConnectionState::Offline { reason: OfflineReason::Unreachable { message } }
                if message.contains("certificate"))
        };
        until(&distrustful, refused).await;

        let client = builder.tls(trusting(certificate.clone())).start().unwrap();
        within(client.ping()).await.unwrap();
        within(client.append([NewEvent::new("v1.Added", 1).unwrap()])).await.unwrap();
    }
    assert_eq!(numbers(&within(server.client().pull(None).events()).await.unwrap()), [1, 2, 3]);
}
