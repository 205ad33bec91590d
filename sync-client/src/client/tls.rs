//! TLS, with the feature `tls`. Called by `net`; `no_tls` stands in its place without the feature.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::net::Io;

/// Which certificates are trusted.
#[derive(Clone, Default)]
pub(super) struct Tls {
    /// The app's own choice.
    pub(super) config: Option<Arc<ClientConfig>>,
}

impl Tls {
    /// Whether URLs that ask for TLS can be served.
    pub(super) const AVAILABLE: bool = true;

    pub(super) async fn connect(&self, host: &str, stream: impl Io + 'static) -> io::Result<Box<dyn Io>> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let config = self.config.clone().unwrap_or_else(default_config);
        Ok(Box::new(TlsConnector::from(config).connect(name, stream).await?))
    }
}

/// One for all clients, so that TLS sessions are resumed.
fn default_config() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = || {
        // The provider is named here: a process may have none, or another one, as its default.
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions of TLS");
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Arc::new(config.with_root_certificates(roots).with_no_client_auth())
    };
    CONFIG.get_or_init(config).clone()
}
