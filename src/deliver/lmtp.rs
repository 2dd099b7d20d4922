//! LMTP (RFC 2033): to a mail store on this machine or nearby, over TCP or a Unix socket.
//!
//! The conversation is SMTP's ([`super::smtp`]) with two differences: LHLO greets, and behind the final dot there is one
//! answer for each recipient that was taken, in order. If they stop coming, the recipients answered so far are settled
//! and the rest is uncertain, so what a crash of the store puts in doubt is less than a transaction.

use std::path::Path;

use super::settings::{RelaySettings, SetupError};
use super::smtp::{Place, SmtpRelay};

/// `lmtp://host:port`
pub(super) fn tcp(settings: &RelaySettings, host: &str, port: u16) -> Result<SmtpRelay, SetupError> {
    SmtpRelay::lmtp(settings, Place::Tcp { host: host.to_owned(), port })
}

/// `lmtp:///path`
pub(super) fn unix(settings: &RelaySettings, path: &Path) -> Result<SmtpRelay, SetupError> {
    SmtpRelay::lmtp(settings, Place::Unix { path: path.to_owned() })
}
