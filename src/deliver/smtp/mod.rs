//! SMTP as a bulk client speaks it (RFC 5321): few round trips, exact outcomes.
//!
//! It promises:
//! - MAIL, all RCPTs and DATA go out in one write where the relay offers PIPELINING (RFC 2920), body and final dot in
//!   another: two round trips a transaction, whatever its number of recipients.
//! - Recipients the relay takes get the message; each one it refuses keeps its own outcome.
//! - 421, to whatever, blames nobody: the transaction never happened, except behind a final dot that got no answer.
//! - No password leaves in the clear, except to this machine itself.
//!
//! It never retries, and never sends a dot behind an interrupt. A crash in here leaves the relay with a connection cut
//! off: before the dot it drops the message, behind it the recipients of that one transaction are uncertain.
//!
//! LMTP ([`super::lmtp`]) is the same conversation with another greeting and one answer a recipient.

mod capabilities;
mod login;
pub(super) mod reply;
mod session;
mod transaction;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lettre::transport::smtp::authentication::Credentials;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::settings::{RelaySettings, SetupError, Starttls};
use super::wire::{Fault, Wire, tls};
use super::{Connection, Interrupt, Relay, Trouble};
use session::Session;

/// Which of the two is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    Smtp,
    Lmtp,
}

/// Where the relay listens.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Tcp { host: String, port: u16 },
    Unix { path: PathBuf },
}

/// A relay that speaks SMTP or LMTP.
pub struct SmtpRelay(Arc<Peer>);

/// All that is known of a relay before it is called, shared by its sessions.
pub(super) struct Peer {
    name: String,
    protocol: Protocol,
    place: Place,
    encryption: Encryption,
    login: Option<Credentials>,
    helo: String,
    connect_timeout: Duration,
    command_timeout: Duration,
    dot_timeout: Duration,
}

enum Encryption {
    Never,
    /// The name is needed for SNI only; none if the host can't be one.
    Opportunistic(Arc<ClientConfig>, Option<ServerName<'static>>),
    Required(Arc<ClientConfig>, ServerName<'static>),
    /// From the first octet.
    Implicit(Arc<ClientConfig>, ServerName<'static>),
}

impl SmtpRelay {
    /// `smtp://` and `smtps://`.
    pub(super) fn smtp(settings: &RelaySettings, host: &str, port: u16, smtps: bool) -> Result<SmtpRelay, SetupError> {
        let mut relay =
            Peer::new(settings, Protocol::Smtp, Place::Tcp { host: host.to_owned(), port }, settings.starttls)?;
        if smtps {
            relay.encryption =
                Encryption::Implicit(tls::verified(settings.ca_file.as_deref())?, certificate_name(host)?);
        }
        Ok(SmtpRelay(Arc::new(relay)))
    }

    /// `lmtp://`, over TCP or a Unix socket.
    pub(super) fn lmtp(settings: &RelaySettings, place: Place) -> Result<SmtpRelay, SetupError> {
        let starttls = match &place {
            Place::Tcp { .. } => settings.starttls,
            // Nobody is in between on a Unix socket.
            Place::Unix { .. } => Starttls::Never,
        };
        Ok(SmtpRelay(Arc::new(Peer::new(settings, Protocol::Lmtp, place, starttls)?)))
    }
}

fn certificate_name(host: &str) -> Result<ServerName<'static>, SetupError> {
    ServerName::try_from(host.to_owned()).map_err(|_| SetupError::CertificateName { host: host.to_owned() })
}

impl Peer {
    fn new(settings: &RelaySettings, protocol: Protocol, place: Place, starttls: Starttls) -> Result<Peer, SetupError> {
        let host = match &place {
            Place::Tcp { host, .. } => host.as_str(),
            Place::Unix { .. } => "localhost",
        };
        let encryption = match starttls {
            Starttls::Never => Encryption::Never,
            Starttls::Opportunistic => Encryption::Opportunistic(tls::opportunistic()?, certificate_name(host).ok()),
            Starttls::Required => {
                Encryption::Required(tls::verified(settings.ca_file.as_deref())?, certificate_name(host)?)
            }
        };
        Ok(Peer {
            name: settings.url.to_string(),
            protocol,
            place,
            encryption,
            login: settings
                .login
                .as_ref()
                .map(|login| Credentials::new(login.username.clone(), login.password.clone())),
            helo: settings.helo_name()?,
            connect_timeout: settings.connect_timeout,
            command_timeout: settings.command_timeout,
            dot_timeout: settings.dot_timeout,
        })
    }

    fn open(&self, interrupt: &Interrupt) -> Result<Wire, Trouble> {
        let opened = match &self.place {
            Place::Tcp { host, port } => Wire::connect_tcp(host, *port, self.connect_timeout, interrupt),
            Place::Unix { path } => Wire::connect_unix(path, self.connect_timeout, interrupt),
        };
        opened.map_err(|fault| self.before_the_dot("cannot connect", fault.into()))
    }

    fn unavailable(&self, doing: &'static str, why: impl ToString) -> Trouble {
        Trouble::Unavailable { relay: self.name.clone(), doing, why: why.to_string(), reply: None }
    }

    fn unfit(&self, why: String) -> Trouble {
        Trouble::Unfit { relay: self.name.clone(), why }
    }

    fn before_the_dot(&self, doing: &'static str, lost: session::Lost) -> Trouble {
        match lost {
            session::Lost::Wire(Fault::Interrupted) => Trouble::Interrupted { relay: self.name.clone() },
            lost => self.unavailable(doing, lost),
        }
    }

    fn behind_the_dot(&self, lost: session::Lost) -> Trouble {
        Trouble::Uncertain { relay: self.name.clone(), why: lost.to_string() }
    }
}

impl Relay for SmtpRelay {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn connect(&self, interrupt: &Interrupt) -> Result<Box<dyn Connection>, Trouble> {
        Ok(Box::new(Session::connect(&self.0, interrupt)?))
    }
}
