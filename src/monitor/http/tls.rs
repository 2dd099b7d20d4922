//! The server's own certificate.
//!
//! Read at the start, and again with the configuration (HUP): a renewed one is taken up without a stop, a bad one is
//! reported and the old one stays. There is no way from here to the clear: without a certificate nothing is served.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::HttpError;
use super::guard::not_for_everybody;

/// See the module.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    pub fn read(certificate: &Path, key: &Path) -> Result<Tls, HttpError> {
        let config = RwLock::new(config(certificate, key)?);
        Ok(Tls { certificate: certificate.to_owned(), key: key.to_owned(), config })
    }

    /// From now on, for connections that come.
    pub fn read_again(&self) -> Result<(), HttpError> {
        let config = config(&self.certificate, &self.key)?;
        *self.config.write() = config;
        Ok(())
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        self.config.read().clone().into()
    }
}

fn config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, HttpError> {
    let of_certificate = |why: String| HttpError::Certificate { path: certificate.to_owned(), why };
    let of_key = |why: String| HttpError::Key { path: key.to_owned(), why };
    let chain = CertificateDer::pem_file_iter(certificate).map_err(|error| of_certificate(error.to_string()))?;
    let chain: Vec<CertificateDer> =
        chain.collect::<Result<_, _>>().map_err(|error| of_certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(of_certificate("expected a certificate in PEM (-----BEGIN CERTIFICATE-----)".into()));
    }
    not_for_everybody(key).map_err(of_key)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            of_key("expected a private key in PEM, without a password".into())
        }
        error => of_key(error.to_string()),
    })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| of_certificate(format!("it can't be used with {}: {error}", key.display())))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
