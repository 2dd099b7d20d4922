//! Encryption and logins, over real sockets and with real certificates.

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use support::scripted::{Act, Scripted, say, usual};
use sympa_dist::deliver::settings::{Login, Starttls};
use sympa_dist::deliver::{Connection, Interrupt, RelaySettings, Trouble};
use sympa_dist::mail::{Body, Envelope, Outcome, ReversePath};

const CLEAR: &[&str] = &["PIPELINING", "STARTTLS"];
const ENCRYPTED: &[&str] = &["PIPELINING", "AUTH PLAIN LOGIN"];
const READY: &[u8] = b"220 2.0.0 go ahead\r\n";

/// A certificate for `names`, as a server has it, and as a file of authorities.
struct Certificate {
    server: Arc<ServerConfig>,
    file: PathBuf,
    _scratch: tempfile::TempDir,
}

fn certificate(names: &[&str]) -> Certificate {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("ca.pem");
    std::fs::File::create(&file).unwrap().write_all(made.cert.pem().as_bytes()).unwrap();
    Certificate { server: Arc::new(server), file, _scratch: scratch }
}

fn settings(scheme: &str, place: &str, starttls: Starttls, ca_file: Option<&Path>) -> RelaySettings {
    let mut settings = RelaySettings::new(format!("{scheme}://{place}").parse().unwrap());
    settings.helo = Some("sender.test".into());
    settings.starttls = starttls;
    settings.ca_file = ca_file.map(Path::to_owned);
    settings.command_timeout = Duration::from_secs(60);
    settings
}

fn connect(settings: &RelaySettings) -> Result<Box<dyn Connection>, Trouble> {
    settings.build().unwrap_or_else(|error| panic!("{error}")).connect(&Interrupt::new().unwrap())
}

fn body(octets: usize) -> Body {
    let mut wire = b"x\r\n".repeat(octets / 3);
    wire.extend_from_slice(b".\r\n");
    Body { wire, eight_bit: false, utf8_header: false, long_line: None }
}

#[track_caller]
fn deliver(connection: &mut dyn Connection, body: &Body) {
    let mut outcomes = Vec::new();
    let envelope = Envelope { sender: &ReversePath::Null, recipients: &["a@example.org", "b@example.org"] };
    connection.deliver(&envelope, body, &Interrupt::new().unwrap(), &mut outcomes).unwrap();
    assert_eq!(outcomes, vec![Outcome::Sent; 2]);
    assert!(!connection.is_stale(), "session tickets are nothing that was said");
}

/// Offers STARTTLS in the clear and other things behind it.
fn starttls_relay(server: Arc<ServerConfig>) -> Scripted {
    let encrypted = AtomicBool::new(false);
    Scripted::start(move |line| match line {
        "" => {
            encrypted.store(false, Ordering::SeqCst);
            usual(line, CLEAR)
        }
        "STARTTLS" => {
            encrypted.store(true, Ordering::SeqCst);
            Act::Tls(READY.to_vec(), Arc::clone(&server))
        }
        line if encrypted.load(Ordering::SeqCst) => usual(line, ENCRYPTED),
        line => usual(line, CLEAR),
    })
}

#[test]
fn starttls_encrypts_and_greets_anew() {
    let certificate = certificate(&["127.0.0.1", "localhost"]);
    let relay = starttls_relay(Arc::clone(&certificate.server));
    let port = relay.place.rsplit(':').next().unwrap();
    for (place, starttls, ca_file) in [
        (relay.place.clone(), Starttls::Opportunistic, None),
        (relay.place.clone(), Starttls::Required, Some(certificate.file.as_path())),
        (format!("localhost:{port}"), Starttls::Required, Some(certificate.file.as_path())),
    ] {
        let before = relay.heard().len();
        let mut connection = connect(&settings("smtp", &place, starttls, ca_file)).unwrap_or_else(|e| panic!("{e}"));
        deliver(&mut *connection, &body(30));
        // Several records, several times the socket's buffer.
        deliver(&mut *connection, &body(20 << 20));
        connection.close();
        while relay.heard().last().map(String::as_str) != Some("QUIT") {
            std::thread::yield_now();
        }
        assert_eq!(relay.heard()[before..before + 3], ["EHLO sender.test", "STARTTLS", "EHLO sender.test"]);
    }
    assert!(relay.bodies().iter().any(|body| body.len() > (19 << 20)));
}

#[test]
fn smtps_is_encrypted_from_the_first_octet() {
    let certificate = certificate(&["127.0.0.1"]);
    let server = Arc::clone(&certificate.server);
    let greeted = AtomicBool::new(false);
    let relay = Scripted::start(move |line| match line {
        // The second "" is the one behind the handshake.
        "" if !greeted.swap(true, Ordering::SeqCst) => Act::TlsFirst(Arc::clone(&server)),
        line => usual(line, ENCRYPTED),
    });
    let settings = settings("smtps", &relay.place, Starttls::Never, Some(&certificate.file));
    let mut connection = connect(&settings).unwrap_or_else(|trouble| panic!("{trouble}"));
    deliver(&mut *connection, &body(30));
}

#[test]
fn a_required_certificate_must_be_the_relays() {
    let certificate = certificate(&["other.example.org"]);
    let stranger = self::certificate(&["127.0.0.1"]);
    for (ca_file, part) in [(&certificate.file, "not valid for name"), (&stranger.file, "invalid peer certificate")] {
        let relay = starttls_relay(Arc::clone(&certificate.server));
        let refused = connect(&settings("smtp", &relay.place, Starttls::Required, Some(ca_file)));
        match refused.err() {
            Some(trouble @ Trouble::Unavailable { doing: "STARTTLS", .. }) => {
                assert!(trouble.to_string().contains(part), "{trouble}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(relay.heard(), ["EHLO sender.test", "STARTTLS"]);
    }
}

#[test]
fn required_starttls_that_is_not_offered_or_refused_means_no_mail() {
    let certificate = certificate(&["127.0.0.1"]);
    for (capabilities, part) in [(&["PIPELINING"][..], "does not offer it"), (CLEAR, "454 4.7.0 no key")] {
        let relay =
            Scripted::start(
                move |line| {
                    if line == "STARTTLS" { say("454 4.7.0 no key") } else { usual(line, capabilities) }
                },
            );
        let refused = connect(&settings("smtp", &relay.place, Starttls::Required, Some(&certificate.file)));
        let trouble = refused.err().expect("trouble").to_string();
        assert!(trouble.contains(part), "{trouble}");
    }
}

#[test]
fn opportunistic_starttls_that_fails_leaves_the_clear() {
    let relay = Scripted::start(|line| if line == "STARTTLS" { say("454 4.7.0 no key") } else { usual(line, CLEAR) });
    let mut connection = connect(&settings("smtp", &relay.place, Starttls::Opportunistic, None)).unwrap();
    deliver(&mut *connection, &body(30));
    assert_eq!(relay.heard()[..3], ["EHLO sender.test", "STARTTLS", "MAIL FROM:<>"]);

    // Broken at the handshake: what is left of that connection can't be used.
    let relay = Scripted::start(|line| match line {
        "STARTTLS" => Act::Bye(READY.to_vec()),
        line => usual(line, CLEAR),
    });
    let mut connection = connect(&settings("smtp", &relay.place, Starttls::Opportunistic, None)).unwrap();
    deliver(&mut *connection, &body(30));
    assert_eq!(relay.heard()[..4], ["EHLO sender.test", "STARTTLS", "EHLO sender.test", "MAIL FROM:<>"]);
}

#[test]
fn octets_injected_before_the_handshake_are_not_believed() {
    let certificate = certificate(&["127.0.0.1"]);
    for starttls in [Starttls::Opportunistic, Starttls::Required] {
        let server = Arc::clone(&certificate.server);
        let relay = Scripted::start(move |line| match line {
            "STARTTLS" => Act::Tls([READY, b"250 injected\r\n"].concat(), Arc::clone(&server)),
            line => usual(line, CLEAR),
        });
        let refused = connect(&settings("smtp", &relay.place, starttls, Some(&certificate.file)));
        match refused.err() {
            Some(Trouble::Unavailable { doing: "STARTTLS", why, .. }) => assert!(why.contains("not believed"), "{why}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(relay.heard(), ["EHLO sender.test", "STARTTLS"], "not even tried again in the clear");
    }
}

fn login() -> Option<Login> {
    Some(Login { username: "list".into(), password: "pass word".into() })
}

#[test]
fn a_login_is_plain_or_login_as_the_relay_offers() {
    for (capabilities, expected) in [
        (&["AUTH LOGIN PLAIN"][..], &["AUTH PLAIN AGxpc3QAcGFzcyB3b3Jk"][..]),
        (&["AUTH LOGIN"], &["AUTH LOGIN", "bGlzdA==", "cGFzcyB3b3Jk"]),
    ] {
        let relay = Scripted::start(move |line| match line {
            "AUTH LOGIN" => say("334 VXNlcm5hbWU6"),
            // Any challenge will do: the second one is the password's.
            "bGlzdA==" => say("334"),
            "AUTH PLAIN AGxpc3QAcGFzcyB3b3Jk" | "cGFzcyB3b3Jk" => say("235 2.7.0 welcome"),
            line => usual(line, capabilities),
        });
        let mut settings = settings("smtp", &relay.place, Starttls::Never, None);
        settings.login = login();
        let mut connection = connect(&settings).unwrap_or_else(|trouble| panic!("{trouble}"));
        assert_eq!(relay.heard()[1..], *expected);
        deliver(&mut *connection, &body(30));
    }
}

#[test]
fn a_login_that_is_refused_or_not_offered_means_no_mail() {
    for (capabilities, part) in [
        (&["AUTH PLAIN"][..], "AUTH: 535 5.7.8 wrong password"),
        (&["AUTH CRAM-MD5"], "neither AUTH PLAIN nor AUTH LOGIN"),
    ] {
        let relay = Scripted::start(move |line| {
            if line.starts_with("AUTH") { say("535 5.7.8 wrong password") } else { usual(line, capabilities) }
        });
        let mut settings = settings("smtp", &relay.place, Starttls::Never, None);
        settings.login = login();
        let trouble = connect(&settings).err().expect("trouble").to_string();
        assert!(trouble.contains(part), "{trouble}");
    }
}

#[test]
fn a_login_happens_behind_the_encryption() {
    let certificate = certificate(&["127.0.0.1"]);
    let relay = starttls_relay(Arc::clone(&certificate.server));
    let mut settings = settings("smtp", &relay.place, Starttls::Required, Some(&certificate.file));
    settings.login = login();
    let trouble = connect(&settings).err().expect("250 is no welcome").to_string();
    assert!(trouble.contains("protocol error"), "{trouble}");
    assert_eq!(relay.heard(), ["EHLO sender.test", "STARTTLS", "EHLO sender.test", "AUTH PLAIN AGxpc3QAcGFzcyB3b3Jk"]);
}
