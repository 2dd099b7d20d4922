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

/// All that is wrong with the two files.
pub fn check(certificate: &Path, key: &Path) -> Vec<HttpError> {
    match (chain(certificate), secret(key)) {
        (Ok(_), Ok(_)) => config(certificate, key).err().into_iter().collect(),
        (chain, secret) => chain.err().into_iter().chain(secret.err()).collect(),
    }
}

fn of_certificate(path: &Path, why: impl ToString) -> HttpError {
    HttpError::Certificate { path: path.to_owned(), why: why.to_string() }
}

/// The certificate, and what leads to its authority.
fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = read.map_err(|error| of_certificate(path, error))?;
    if chain.is_empty() {
        return Err(of_certificate(path, "expected a certificate in PEM (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(chain)
}

fn secret(path: &Path) -> Result<PrivateKeyDer<'static>, HttpError> {
    let wrong = |why: String| HttpError::Key { path: path.to_owned(), why };
    not_for_everybody(path).map_err(wrong)?;
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            wrong("expected a private key in PEM, without a password".into())
        }
        error => wrong(error.to_string()),
    })
}

fn config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, HttpError> {
    let (chain, secret) = (chain(certificate)?, secret(key)?);
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| of_certificate(certificate, format!("it can't be used with {}: {error}", key.display())))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
