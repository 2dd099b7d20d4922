//! One transaction after another, for tests that look at what became of whom.

use std::time::Duration;

use sympa_dist::deliver::{Connection, Interrupt, Receipt, RelaySettings, Trouble};
use sympa_dist::mail::{Body, Envelope, Outcome, Reply, ReversePath};

use super::scripted::{Scripted, say, usual};

pub const ALL: &[&str] = &["PIPELINING", "SIZE 100000000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"];
pub const PLAIN: &[&str] = &["SIZE 100000000", "8BITMIME", "SMTPUTF8"];
pub const THREE: &[&str] = &["a@example.org", "b@example.org", "c@example.org"];

pub fn body(wire: &[u8]) -> Body {
    assert!(wire.ends_with(b".\r\n"));
    Body { wire: wire.to_vec(), eight_bit: false, utf8_header: false, long_line: None }
}

pub fn hello() -> Body {
    body(b"Subject: hello\r\n\r\n..\r\nhello\r\n.\r\n")
}

pub fn big(octets: usize) -> Body {
    let mut wire = b"Subject: big\r\n\r\n".to_vec();
    while wire.len() < octets {
        wire.extend_from_slice(&[b'x'; 70]);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    body(&wire)
}

pub fn settings(scheme: &str, place: &str) -> RelaySettings {
    let mut settings = RelaySettings::new(format!("{scheme}://{place}").parse().unwrap());
    settings.helo = Some("sender.test".into());
    // Long enough never to matter in a test that passes, short enough to end one that doesn't.
    settings.connect_timeout = Duration::from_secs(60);
    settings.command_timeout = Duration::from_secs(60);
    settings.dot_timeout = Duration::from_secs(60);
    settings
}

pub fn sender() -> ReversePath {
    ReversePath::Address("list-owner@example.org".parse().unwrap())
}

pub fn connect(settings: &RelaySettings) -> Result<Box<dyn Connection>, Trouble> {
    settings.build().unwrap_or_else(|error| panic!("{error}")).connect(&Interrupt::new().unwrap())
}

pub fn try_deliver(
    connection: &mut dyn Connection,
    recipients: &[&str],
    body: &Body,
) -> (Result<Receipt, Trouble>, Vec<Outcome>) {
    let mut outcomes = vec![Outcome::TooMany];
    let envelope = Envelope { sender: &sender(), recipients };
    let result = connection.deliver(&envelope, body, &Interrupt::new().unwrap(), &mut outcomes);
    (result, outcomes)
}

/// Delivers to three recipients over a new connection.
pub fn once(relay: &Scripted) -> (Result<Receipt, Trouble>, Vec<Outcome>) {
    let mut connection = connect(&settings("smtp", &relay.place)).unwrap_or_else(|error| panic!("{error}"));
    try_deliver(&mut *connection, THREE, &hello())
}

pub fn deferred(code: u16, text: &str) -> Outcome {
    Outcome::Deferred(Box::new(Reply::new(code, text)))
}

pub fn failed(code: u16, text: &str) -> Outcome {
    Outcome::Failed(Box::new(Reply::new(code, text)))
}

#[track_caller]
pub fn assert_unavailable(result: &Result<Receipt, Trouble>, outcomes: &[Outcome], part: &str) {
    match result {
        Err(trouble @ Trouble::Unavailable { .. }) => {
            assert!(trouble.to_string().contains(part), "{trouble} does not say {part:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(outcomes, []);
}

/// A relay that answers `text` to every command that begins with `verb`, pipelining or not.
pub fn answering(capabilities: &'static [&'static str], verb: &'static str, text: &'static str) -> Scripted {
    Scripted::start(move |line| {
        // "" is the greeting, and no prefix.
        if line == verb || (!verb.is_empty() && line.starts_with(verb)) { say(text) } else { usual(line, capabilities) }
    })
}
