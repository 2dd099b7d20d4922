//! What an operator says about a relay, as meant (the configuration file's text is parsed elsewhere).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Where a relay is and how it is spoken to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RelayUrl {
    /// `smtp://host[:port]`, port 25 unless told.
    Smtp { host: String, port: u16 },
    /// `smtps://host[:port]`, port 465: TLS from the first octet (RFC 8314 §3.3).
    Smtps { host: String, port: u16 },
    /// `lmtp://host:port` (RFC 2033; it has no default port, and 25 is forbidden).
    Lmtp { host: String, port: u16 },
    /// `lmtp:///run/dovecot/lmtp` (also `lmtp:/run/…`): a Unix socket.
    LmtpUnix { path: PathBuf },
    /// `sendmail:/usr/sbin/sendmail`
    Sendmail { path: PathBuf },
    /// `maildir:DIR`
    Maildir { path: PathBuf },
}

/// STARTTLS on `smtp://` and TCP `lmtp://`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Starttls {
    Never,
    /// TLS where it is offered, without looking at the certificate's name; the clear where it isn't (RFC 7435).
    #[default]
    Opportunistic,
    /// TLS with a verified certificate, or no mail.
    Required,
}

/// What to log in with (RFC 4954). Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub username: String,
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({}, …)", self.username)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelaySettings {
    pub url: RelayUrl,
    pub starttls: Starttls,
    pub login: Option<Login>,
    /// PEM file of the authorities to believe; the system's if none.
    pub ca_file: Option<PathBuf>,
    /// The name in EHLO or LHLO; this host's name if none.
    pub helo: Option<String>,
    pub connect_timeout: Duration,
    /// For the greeting and each command's reply: RFC 5321 §4.5.3.2 says 5 minutes.
    pub command_timeout: Duration,
    /// For the reply to the final dot: RFC 5321 §4.5.3.2.6 says 10 minutes.
    pub dot_timeout: Duration,
}

impl RelaySettings {
    pub fn new(url: RelayUrl) -> RelaySettings {
        RelaySettings {
            url,
            starttls: Starttls::default(),
            login: None,
            ca_file: None,
            helo: None,
            connect_timeout: Duration::from_secs(30),
            command_timeout: Duration::from_secs(300),
            dot_timeout: Duration::from_secs(600),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a relay: expected smtp://host[:port], smtps://host[:port], lmtp://host:port, lmtp:///socket, \
     sendmail:/path or maildir:/directory"
)]
pub struct BadRelayUrl(pub String);

impl FromStr for RelayUrl {
    type Err = BadRelayUrl;
    fn from_str(_text: &str) -> Result<Self, BadRelayUrl> {
        todo!()
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
