//! TLS of the server's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::served::{BIG, PATIENCE, Served, TOKEN, two_messages};
use crate::support::program::{self, Program};
use crate::support::spool::wait_until;

/// A certificate for localhost, and its key, in files.
struct Certificate {
    dir: tempfile::TempDir,
    der: CertificateDer<'static>,
}

impl Certificate {
    fn new() -> Certificate {
        let mut certificate = Certificate { dir: tempfile::tempdir().unwrap(), der: CertificateDer::from(Vec::new()) };
        certificate.renew();
        certificate
    }

    /// Another one, in the same files.
    fn renew(&mut self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(self.certificate(), made.cert.pem()).unwrap();
        write_secret(&self.key(), &made.signing_key.serialize_pem());
        self.der = made.cert.der().clone();
    }

    fn certificate(&self) -> PathBuf {
        self.dir.path().join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }

    /// Beyond loopback, with it.
    fn serve(&self) -> Served {
        let (certificate, key) = (self.certificate(), self.key());
        let files = [("TLS_CERTIFICATE", certificate.to_str().unwrap()), ("TLS_KEY", key.to_str().unwrap())];
        beyond_loopback(&files)
    }

    /// Status and body, as a client that believes this certificate alone sees them.
    fn ask(&self, served: &Served, request: &str) -> std::io::Result<String> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let session = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(session, connect(served));
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

fn write_secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// All addresses of this machine; the test comes by loopback.
fn beyond_loopback(settings: &[(&str, &str)]) -> Served {
    let settings: Vec<(String, &str)> =
        settings.iter().map(|(name, value)| (format!("SYMPA_DIST_HTTP_{name}"), *value)).collect();
    let mut all = vec![("SYMPA_DIST_HTTP_LISTEN", "0.0.0.0:0"), ("SYMPA_DIST_HTTP_HOSTS", "localhost")];
    all.extend(settings.iter().map(|(name, value)| (name.as_str(), *value)));
    Served::start(two_messages(), "smtp://127.0.0.1:1", &all)
}

fn connect(served: &Served) -> TcpStream {
    let port = served.address.rsplit_once(':').unwrap().1;
    let stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn hold() -> String {
    let body = "{\"reason\":\"a test\"}";
    format!(
        "POST /api/v1/messages/{BIG}/hold HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// In the clear.
fn ask(served: &Served, request: &str) -> String {
    let mut stream = connect(served);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn beyond_loopback_actions_need_tls_or_somebodys_word() {
    let clear = beyond_loopback(&[]);
    let refused = ask(&clear, &hold());
    assert!(refused.starts_with("HTTP/1.1 403 ") && refused.contains("http.tls_certificate"), "{refused}");
    assert!(ask(&clear, HEALTH).starts_with("HTTP/1.1 200 "), "whoever can connect may look");
    let word = beyond_loopback(&[("INSECURE", "true")]);
    assert!(ask(&word, &hold()).starts_with("HTTP/1.1 200 "));
    let certificate = Certificate::new();
    let tls = certificate.serve();
    let done = certificate.ask(&tls, &hold()).unwrap();
    assert!(done.starts_with("HTTP/1.1 200 ") && done.contains("\"to\":\"z\""), "{done}");
    let without = certificate.ask(&tls, &hold().replace(TOKEN, "another-token-of-some-length")).unwrap();
    assert!(without.starts_with("HTTP/1.1 401 "), "{without}");
}

#[test]
fn what_is_no_tls_gets_nothing_and_costs_nothing() {
    let certificate = Certificate::new();
    let served = certificate.serve();
    assert!(!ask(&served, HEALTH).contains("ok"));
    assert!(Certificate::new().ask(&served, HEALTH).is_err(), "another's certificate");
    // Handshakes that never begin, more than are let in at once.
    let silent: Vec<TcpStream> = (0..300).map(|_| connect(&served)).collect();
    assert!(certificate.ask(&served, HEALTH).unwrap().ends_with("ok\n"));
    drop(silent);
}

#[test]
fn a_renewed_certificate_is_taken_up_with_the_configuration_and_a_bad_one_is_not() {
    let mut certificate = Certificate::new();
    let served = certificate.serve();
    assert!(certificate.ask(&served, HEALTH).unwrap().ends_with("ok\n"));
    let old = certificate.der.clone();
    certificate.renew();
    assert!(certificate.ask(&served, HEALTH).is_err(), "nobody has said so yet");
    served.program.signal(rustix::process::Signal::HUP);
    wait_until("the new one", || certificate.ask(&served, HEALTH).is_ok(), String::new);
    let renewed = std::mem::replace(&mut certificate.der, old);
    assert!(certificate.ask(&served, HEALTH).is_err(), "the old one has gone");
    certificate.der = renewed;
    std::fs::write(certificate.certificate(), "nothing of the kind").unwrap();
    served.program.signal(rustix::process::Signal::HUP);
    served.wait_for_log("stays in force");
    assert!(certificate.ask(&served, HEALTH).unwrap().ends_with("ok\n"));
}

#[test]
fn nothing_is_served_with_files_that_are_wrong_and_the_log_says_what_is() {
    let (good, other) = (Certificate::new(), Certificate::new());
    let (certificate, key) = (good.certificate(), good.key());
    let open = good.dir.path().join("open.pem");
    std::fs::copy(&key, &open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let empty = good.dir.path().join("empty.pem");
    write_secret(&empty, "");
    let nowhere = good.dir.path().join("nowhere.pem");
    for (certificate, key, told) in [
        (&nowhere, &key, ["http.tls_certificate", "nowhere.pem", "No such file"]),
        (&certificate, &nowhere, ["http.tls_key", "nowhere.pem", "No such file"]),
        (&empty, &key, ["http.tls_certificate", "empty.pem", "expected a certificate in PEM"]),
        (&certificate, &empty, ["http.tls_key", "empty.pem", "expected a private key in PEM"]),
        (&certificate, &open, ["http.tls_key", "open.pem", "mode 644"]),
        (&certificate, &other.key(), ["http.tls_certificate", "can't be used with", "KeyMismatch"]),
    ] {
        let line = refusal(certificate, key);
        for told in told.into_iter().chain(["nothing is served", "mail is distributed all the same"]) {
            assert!(line.contains(told), "{told}: {line}");
        }
    }
}

/// What the log says of them.
fn refusal(certificate: &Path, key: &Path) -> String {
    let spool = two_messages();
    let mut command = program::command();
    command.env("SYMPA_DIST_HTTP_LISTEN", "127.0.0.1:0").env("SYMPA_DIST_HTTP_TLS_CERTIFICATE", certificate);
    command.env("SYMPA_DIST_HTTP_TLS_KEY", key).arg("--spool").arg(spool.path());
    command.args(["run", "--relay", "smtp://127.0.0.1:1"]).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let _program = Program::of(child);
    log.lines().map_while(Result::ok).find(|line| line.contains("nothing is served")).expect("it says so")
}

#[test]
fn a_certificate_without_a_key_is_a_mistake_in_the_configuration() {
    for (there, missing) in [("TLS_CERTIFICATE", "http.tls_key"), ("TLS_KEY", "http.tls_certificate")] {
        let mut command = program::command();
        let output =
            command.env(format!("SYMPA_DIST_HTTP_{there}"), "/x.pem").args(["config", "check"]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let expected = format!("SYMPA_DIST_HTTP_{there}: http.{}: expected {missing}", there.to_lowercase());
        assert!(!output.status.success() && told.contains(&expected), "{told}");
    }
}
