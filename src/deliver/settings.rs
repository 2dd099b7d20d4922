//! What an operator says about a relay, as meant (the configuration file's text is parsed elsewhere).

use std::fmt;
use std::net::Ipv6Addr;
use std::num::NonZero;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::wire::tls;
pub use crate::deliver::wire::tls::BadTls;

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

#[derive(Clone, PartialEq, Debug)]
pub struct RelaySettings {
    pub url: RelayUrl,
    /// What the configuration calls it, beside its URL.
    pub name: Option<String>,
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
    pub limits: Limits,
}

/// What a relay is to be spared, whatever it would take. It holds for all workers of one process together.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Limits {
    pub max_connections: Option<NonZero<usize>>,
    /// Transactions a second.
    pub max_transaction_rate: Option<f64>,
    /// Recipients a second.
    pub max_recipient_rate: Option<f64>,
    /// Then a new connection is made.
    pub transactions_per_connection: Option<NonZero<u64>>,
    /// Its share, where relays have one: then mail is spread over all of them, and not kept for the first.
    pub weight: Option<NonZero<u32>>,
}

impl RelaySettings {
    pub fn new(url: RelayUrl) -> RelaySettings {
        RelaySettings {
            url,
            name: None,
            starttls: Starttls::default(),
            login: None,
            ca_file: None,
            helo: None,
            connect_timeout: Duration::from_secs(30),
            command_timeout: Duration::from_secs(300),
            dot_timeout: Duration::from_secs(600),
            limits: Limits::default(),
        }
    }

    /// Whether that text means this relay: its URL, or its name.
    pub fn is_called(&self, text: &str) -> bool {
        self.name.as_deref() == Some(text) || text.parse().is_ok_and(|url: RelayUrl| url == self.url)
    }

    /// Reads them, whether or not [`Self::build`] needs them.
    pub fn read_authorities(&self) -> Result<(), SetupError> {
        let Some(path) = &self.ca_file else { return Ok(()) };
        Ok(tls::verified(Some(path)).map(drop)?)
    }

    /// The name for EHLO: what was set, else this host's.
    pub(super) fn helo_name(&self) -> Result<String, SetupError> {
        let host;
        let name = match &self.helo {
            Some(name) => name.as_str(),
            None => {
                host = rustix::system::uname();
                host.nodename().to_str().ok().filter(|name| !name.is_empty()).unwrap_or("localhost")
            }
        };
        if name.is_empty() || name.len() > 255 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SetupError::Helo { name: name.to_owned() });
        }
        Ok(name.to_owned())
    }
}

/// Why a relay can't be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(transparent)]
    Tls(#[from] BadTls),
    #[error("{host:?} cannot be the name in a certificate: verified TLS needs a host name or an address")]
    CertificateName { host: String },
    #[error("{relay} takes no login: only smtp://, smtps:// and lmtp:// do")]
    LoginUnused { relay: String },
    #[error("{name:?} cannot be said in EHLO: it must be a host name or an address literal (helo)")]
    Helo { name: String },
}

/// Why a piece of text is no relay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a relay: {why}; expected smtp://host[:port], smtps://host[:port], lmtp://host:port, \
     lmtp:///socket, sendmail:/path or maildir:/directory"
)]
pub struct BadRelayUrl {
    /// What was given, without anything that may be a password.
    pub text: String,
    pub why: &'static str,
}

impl FromStr for RelayUrl {
    type Err = BadRelayUrl;

    fn from_str(text: &str) -> Result<Self, BadRelayUrl> {
        let bad = |why| BadRelayUrl { text: text.to_owned(), why };
        let (scheme, rest) = text.split_once(':').ok_or_else(|| bad("it has no scheme"))?;
        let path = |why| {
            let path = match rest.strip_prefix("//") {
                Some(path) if !path.starts_with('/') => return Err(bad("a path on another host cannot be reached")),
                Some(path) => path,
                None => rest,
            };
            if path.is_empty() || path.contains('\0') { Err(bad(why)) } else { Ok(PathBuf::from(path)) }
        };
        match scheme.to_ascii_lowercase().as_str() {
            "sendmail" => match path("it has no path")? {
                path if path.is_absolute() => Ok(RelayUrl::Sendmail { path }),
                _ => Err(bad("the program's path must begin with /")),
            },
            "maildir" => match path("it has no directory")? {
                path if path.is_absolute() => Ok(RelayUrl::Maildir { path }),
                _ => Err(bad("the directory's path must begin with /")),
            },
            "lmtp" if !rest.starts_with("//") || rest.starts_with("///") => match path("it has no socket")? {
                path if path.is_absolute() => Ok(RelayUrl::LmtpUnix { path }),
                _ => Err(bad("the socket's path must begin with /")),
            },
            scheme @ ("smtp" | "smtps" | "lmtp") => {
                let rest = rest.strip_prefix("//").ok_or_else(|| bad("// is missing behind the scheme"))?;
                if let Some((_, behind)) = rest.rsplit_once('@') {
                    // Before anything else is said of it: what stands before the @ may be a password.
                    return Err(BadRelayUrl {
                        text: format!("{scheme}://…@{behind}"),
                        why: "user and password do not belong here (they have settings of their own)",
                    });
                }
                let (host, port) = host_and_port(rest).map_err(bad)?;
                match (scheme, port) {
                    ("smtp", port) => Ok(RelayUrl::Smtp { host, port: port.unwrap_or(SMTP_PORT) }),
                    ("smtps", port) => Ok(RelayUrl::Smtps { host, port: port.unwrap_or(SMTPS_PORT) }),
                    (_, None) => Err(bad("LMTP has no default port")),
                    (_, Some(SMTP_PORT)) => Err(bad("LMTP is forbidden on port 25 (RFC 2033, section 5)")),
                    (_, Some(port)) => Ok(RelayUrl::Lmtp { host, port }),
                }
            }
            _ => Err(bad("its scheme is unknown")),
        }
    }
}

const SMTP_PORT: u16 = 25;
const SMTPS_PORT: u16 = 465;

fn host_and_port(text: &str) -> Result<(String, Option<u16>), &'static str> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = if let Some(literal) = text.strip_prefix('[') {
        let (host, behind) = literal.split_once(']').ok_or("the ] is missing")?;
        host.parse::<Ipv6Addr>().map_err(|_| "what stands between [ and ] is not an IPv6 address")?;
        match behind.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if behind.is_empty() => (host, None),
            None => return Err("only a port may stand behind the ]"),
        }
    } else {
        match text.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err("an IPv6 address stands between [ and ]"),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return Err("it has no host");
    }
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte)) {
        return Err("the host has characters that no host name has");
    }
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|&port| port > 0).ok_or("the port is not a number from 1 to 65535")?)
        }
        Some(_) => return Err("the port is not a number from 1 to 65535"),
    };
    Ok((host.to_owned(), port))
}

/// As it is parsed; a default port is left out.
impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port, default) = match self {
            RelayUrl::Smtp { host, port } => ("smtp", host, *port, SMTP_PORT),
            RelayUrl::Smtps { host, port } => ("smtps", host, *port, SMTPS_PORT),
            RelayUrl::Lmtp { host, port } => ("lmtp", host, *port, 0),
            RelayUrl::LmtpUnix { path } => return write!(f, "lmtp://{}", path.display()),
            RelayUrl::Sendmail { path } => return write!(f, "sendmail:{}", path.display()),
            RelayUrl::Maildir { path } => return write!(f, "maildir:{}", path.display()),
        };
        write!(f, "{scheme}://")?;
        if host.contains(':') {
            write!(f, "[{host}]")?;
        } else {
            f.write_str(host)?;
        }
        if port != default { write!(f, ":{port}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_url_prints_as_it_was_read() {
        for text in [
            "smtp://relay.example.org",
            "smtp://127.0.0.1:2525",
            "smtp://[::1]:2525",
            "smtp://[2001:db8::25]",
            "smtps://relay.example.org",
            "smtps://relay_1.example.org:8465",
            "lmtp://store.example.org:24",
            "lmtp:///run/dovecot/lmtp",
            "sendmail:/usr/sbin/sendmail",
            "maildir:/var/mail/out",
            "maildir:/out/here",
        ] {
            let url: RelayUrl = text.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn one_relay_may_be_written_in_several_ways() {
        for (text, same) in [
            ("SMTP://relay.example.org:25/", "smtp://relay.example.org"),
            ("smtps://relay.example.org:465", "smtps://relay.example.org"),
            ("lmtp:/run/lmtp", "lmtp:///run/lmtp"),
            ("sendmail:///usr/sbin/sendmail", "sendmail:/usr/sbin/sendmail"),
            ("maildir:///srv/out", "maildir:/srv/out"),
        ] {
            assert_eq!(text.parse::<RelayUrl>().map(|url| url.to_string()), Ok(same.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_relay_says_what_is_wrong() {
        for (text, why) in [
            ("", "it has no scheme"),
            ("relay.example.org", "it has no scheme"),
            ("http://relay.example.org", "its scheme is unknown"),
            ("smtp:relay.example.org", "// is missing behind the scheme"),
            ("smtp://", "it has no host"),
            ("smtp://:25", "it has no host"),
            ("smtp://relay:0", "the port is not a number from 1 to 65535"),
            ("smtp://relay:65536", "the port is not a number from 1 to 65535"),
            ("smtp://relay:", "the port is not a number from 1 to 65535"),
            ("smtp://relay:+25", "the port is not a number from 1 to 65535"),
            ("smtp://::1", "an IPv6 address stands between [ and ]"),
            ("smtp://[::1", "the ] is missing"),
            ("smtp://[::1]25", "only a port may stand behind the ]"),
            ("smtp://[relay]", "what stands between [ and ] is not an IPv6 address"),
            ("smtp://relay/path", "the host has characters that no host name has"),
            ("smtp://re lay", "the host has characters that no host name has"),
            ("lmtp://store", "LMTP has no default port"),
            ("lmtp://store:25", "LMTP is forbidden on port 25 (RFC 2033, section 5)"),
            ("lmtp:", "it has no socket"),
            ("lmtp:run/lmtp", "the socket's path must begin with /"),
            ("sendmail:", "it has no path"),
            ("sendmail:sendmail", "the program's path must begin with /"),
            ("maildir:", "it has no directory"),
            ("maildir:out", "the directory's path must begin with /"),
            ("maildir://host/dir", "a path on another host cannot be reached"),
        ] {
            let error = text.parse::<RelayUrl>().expect_err(text);
            assert_eq!(error.why, why, "{text}");
            assert!(error.to_string().contains(&format!("{text:?} is not a relay")), "{error}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        let error = "smtp://user:s3cret@relay.example.org".parse::<RelayUrl>().unwrap_err().to_string();
        assert!(error.contains("do not belong here") && !error.contains("s3cret"), "{error}");
        assert!(!format!("{:?}", Login { username: "u".into(), password: "s3cret".into() }).contains("s3cret"));
    }

    fn refused(settings: RelaySettings) -> String {
        settings.build().err().expect("an error").to_string()
    }

    #[test]
    fn settings_that_cannot_work_are_refused_before_any_connection() {
        let verified = |ca_file: &str| RelaySettings {
            ca_file: Some(ca_file.into()),
            ..RelaySettings::new("smtps://localhost".parse().unwrap())
        };
        let error = refused(verified("/nonexistent/ca.pem"));
        assert!(error.contains("cannot read the certificate authorities in /nonexistent/ca.pem (ca_file)"), "{error}");
        assert_eq!(refused(verified("/dev/null")), "/dev/null (ca_file) holds no certificate");

        let mut settings = RelaySettings::new("maildir:/tmp".parse().unwrap());
        settings.login = Some(Login { username: "u".into(), password: "p".into() });
        assert_eq!(refused(settings), "maildir:/tmp takes no login: only smtp://, smtps:// and lmtp:// do");

        let mut settings = RelaySettings::new("smtp://localhost".parse().unwrap());
        settings.helo = Some("two words\r\n".into());
        assert!(refused(settings).contains("cannot be said in EHLO"));

        let mut settings = RelaySettings::new("smtp://not-a_name-".parse().unwrap());
        settings.starttls = Starttls::Required;
        settings.ca_file = Some("/etc/ssl/certs/ca-certificates.crt".into());
        assert!(!refused(settings).is_empty());
    }
}
