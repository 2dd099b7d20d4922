//! Which certificates to believe.
//!
//! Two attitudes, never mixed up: *verified* (the chain leads to an authority, the name is the relay's), for `smtps://`
//! and required STARTTLS; and *opportunistic* (RFC 7435), which takes any certificate, since the alternative it was
//! chosen over is the clear. Even then the handshake's signatures are checked: who holds the connection holds that
//! certificate's key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Why no TLS can be set up, found before any connection.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    #[error("cannot read the certificate authorities in {path} (ca_file): {why}")]
    CaFile { path: PathBuf, why: String },
    #[error("{path} (ca_file) holds no certificate")]
    NoCertificate { path: PathBuf },
    #[error("this system has no certificate authorities ({0}): name a file with some (ca_file)")]
    NoAuthorities(String),
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
}

/// Believes certificates of the authorities in `ca_file`, or of the system's.
pub(crate) fn verified(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, BadTls> {
    let roots = match ca_file {
        Some(path) => from_file(path)?,
        None => from_system()?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Believes any certificate.
pub(crate) fn opportunistic() -> Result<Arc<ClientConfig>, BadTls> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn from_file(path: &Path) -> Result<RootCertStore, BadTls> {
    let bad = |why: String| BadTls::CaFile { path: path.to_owned(), why };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))? {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(BadTls::NoCertificate { path: path.to_owned() });
    }
    Ok(roots)
}

fn from_system() -> Result<RootCertStore, BadTls> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems carry a few certificates that rustls refuses; the others are no worse for it.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(BadTls::NoAuthorities(if why.is_empty() { "none found".into() } else { why.join("; ") }));
    }
    Ok(roots)
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
