//! A connection from its greeting until it is ready for MAIL, and command and reply one by one.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::capabilities::Capabilities;
use super::reply::{Nonsense, ReplyParser};
use super::{Encryption, Peer, Protocol};
use crate::deliver::wire::{Fault, Patience, Wire};
use crate::deliver::{Interrupt, Trouble};

/// An answer that never came, or was none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error(transparent)]
    Wire(#[from] Fault),
    #[error("protocol error: {0}")]
    Nonsense(#[from] Nonsense),
}

pub(super) struct Session {
    pub(super) peer: Arc<Peer>,
    pub(super) wire: Wire,
    pub(super) parser: ReplyParser,
    pub(super) capabilities: Capabilities,
    /// MAIL … DATA of the transaction at hand, in a buffer that is used again.
    pub(super) group: Vec<u8>,
    /// Which of the transaction's recipients the relay is asked about, used again as well.
    pub(super) asked: Vec<u32>,
    /// MAIL commands so far.
    pub(super) mails: u64,
    /// When the last transaction ended.
    pub(super) used: Instant,
    /// The last transaction was given up behind an accepted MAIL: the next group begins with RSET.
    pub(super) needs_reset: bool,
    /// Not to be used for another transaction.
    pub(super) dead: bool,
}

/// Whether to go on in the clear when TLS fails.
enum NotReady {
    Trouble(Trouble),
    /// The handshake failed, and nobody insists on TLS: a new connection without it may do.
    OnlyTls(Trouble),
}

impl From<Trouble> for NotReady {
    fn from(trouble: Trouble) -> NotReady {
        NotReady::Trouble(trouble)
    }
}

impl Session {
    pub fn connect(peer: &Arc<Peer>, interrupt: &Interrupt) -> Result<Session, Trouble> {
        match Session::open(peer, true, interrupt) {
            Ok(session) => Ok(session),
            Err(NotReady::Trouble(trouble)) => Err(trouble),
            // RFC 7435 §3: where TLS is a chance and no condition, a relay with a broken one still gets its mail.
            Err(NotReady::OnlyTls(trouble)) => {
                tracing::debug!(%trouble, "trying again without TLS");
                match Session::open(peer, false, interrupt) {
                    Ok(session) => Ok(session),
                    Err(NotReady::Trouble(trouble) | NotReady::OnlyTls(trouble)) => Err(trouble),
                }
            }
        }
    }

    fn open(peer: &Arc<Peer>, with_tls: bool, interrupt: &Interrupt) -> Result<Session, NotReady> {
        let mut session = Session {
            wire: peer.open(interrupt)?,
            peer: Arc::clone(peer),
            parser: ReplyParser::default(),
            capabilities: Capabilities::default(),
            group: Vec::new(),
            asked: Vec::new(),
            mails: 0,
            used: Instant::now(),
            needs_reset: false,
            dead: false,
        };
        if let Encryption::Implicit(config, name) = &peer.encryption {
            session
                .handshake(config, name.clone(), interrupt)
                .map_err(|fault| peer.before_the_dot("TLS handshake", fault.into()))?;
        }
        let code = session.reply(interrupt).map_err(|lost| peer.before_the_dot("greeting", lost))?;
        if code != 220 {
            return Err(session.refused("greeting").into());
        }
        session.hello(interrupt)?;
        if with_tls {
            session.starttls(interrupt)?;
        }
        session.log_in(interrupt)?;
        Ok(session)
    }

    fn hello(&mut self, interrupt: &Interrupt) -> Result<(), Trouble> {
        let (verb, doing) = match self.peer.protocol {
            Protocol::Smtp => ("EHLO", "EHLO"),
            Protocol::Lmtp => ("LHLO", "LHLO"),
        };
        let command = format!("{verb} {}\r\n", self.peer.helo);
        let code = self.command(doing, command.as_bytes(), interrupt)?;
        self.capabilities = match code {
            250 => Capabilities::read(self.parser.lines()),
            500..=599 if self.peer.protocol == Protocol::Smtp => {
                let command = format!("HELO {}\r\n", self.peer.helo);
                if self.command("HELO", command.as_bytes(), interrupt)? != 250 {
                    return Err(self.refused("HELO"));
                }
                Capabilities::default()
            }
            _ => return Err(self.refused(doing)),
        };
        Ok(())
    }

    fn starttls(&mut self, interrupt: &Interrupt) -> Result<(), NotReady> {
        const DOING: &str = "STARTTLS";
        let peer = Arc::clone(&self.peer);
        let (config, name, required) = match &peer.encryption {
            Encryption::Never | Encryption::Implicit(..) => return Ok(()),
            Encryption::Required(config, name) => (config, name.clone(), true),
            Encryption::Opportunistic(config, name) => {
                // Where the host's name can't be one, the address does: it is neither checked nor sent.
                let name = name.clone().or_else(|| self.wire.peer().map(|ip| ServerName::IpAddress(ip.into())));
                let Some(name) = name else { return Ok(()) };
                (config, name, false)
            }
        };
        if !self.capabilities.starttls {
            return if required {
                Err(peer.unavailable(DOING, "it is required, and the relay does not offer it").into())
            } else {
                Ok(())
            };
        }
        match self.command(DOING, b"STARTTLS\r\n", interrupt)? {
            220 => {}
            421 => return Err(self.refused(DOING).into()),
            400..=599 if !required => return Ok(()),
            _ => return Err(self.refused(DOING).into()),
        }
        match self.handshake(config, name, interrupt) {
            Ok(()) => {}
            Err(fault @ (Fault::Tls(_) | Fault::Closed | Fault::Io(_))) if !required => {
                return Err(NotReady::OnlyTls(peer.before_the_dot(DOING, fault.into())));
            }
            Err(fault) => return Err(peer.before_the_dot(DOING, fault.into()).into()),
        }
        // RFC 3207 §4.2: what was said before is forgotten.
        self.hello(interrupt)?;
        Ok(())
    }

    fn handshake(
        &mut self,
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
        interrupt: &Interrupt,
    ) -> Result<(), Fault> {
        let patience = Patience::until_interrupted(self.peer.command_timeout, interrupt);
        self.wire.start_tls(Arc::clone(config), name, &patience)
    }

    /// One command, one reply; 421 is an error wherever it comes.
    pub(super) fn command(&mut self, doing: &'static str, line: &[u8], interrupt: &Interrupt) -> Result<u16, Trouble> {
        let peer = Arc::clone(&self.peer);
        self.send(line, interrupt).map_err(|fault| peer.before_the_dot(doing, fault.into()))?;
        let code = self.reply(interrupt).map_err(|lost| peer.before_the_dot(doing, lost))?;
        if code == 421 { Err(self.refused(doing)) } else { Ok(code) }
    }

    fn send(&mut self, mut octets: &[u8], interrupt: &Interrupt) -> Result<(), Fault> {
        let patience = Patience::until_interrupted(self.peer.command_timeout, interrupt);
        while !octets.is_empty() || self.wire.has_unsent() {
            let taken = self.wire.send_some(octets, &patience)?;
            octets = &octets[taken..];
        }
        Ok(())
    }

    /// Waits for a reply to anything but the final dot. Its time is for the whole of it: a relay that sends a line now
    /// and then doesn't win more.
    pub(super) fn reply(&mut self, interrupt: &Interrupt) -> Result<u16, Lost> {
        let timeout = self.peer.command_timeout;
        self.await_reply(|| Patience::until_interrupted(timeout, interrupt))
    }

    pub(super) fn reply_to_dot(&mut self, timeout: Duration, interrupt: &Interrupt) -> Result<u16, Lost> {
        self.await_reply(|| Patience::behind_the_dot(timeout, interrupt))
    }

    /// The clock is looked at only where there is something to wait for.
    fn await_reply<'a>(&mut self, patience: impl FnOnce() -> Patience<'a>) -> Result<u16, Lost> {
        if let Some(code) = self.reply_at_hand()? {
            return Ok(code);
        }
        let patience = patience();
        loop {
            self.wire.fill(&patience)?;
            if let Some(code) = self.reply_at_hand()? {
                return Ok(code);
            }
        }
    }

    /// The next reply, if all of it has come.
    pub(super) fn reply_at_hand(&mut self) -> Result<Option<u16>, Nonsense> {
        let (taken, done) = self.parser.advance(self.wire.buffered())?;
        self.wire.consume(taken);
        Ok(done.then(|| self.parser.code()))
    }

    /// The last reply as the reason why the relay is of no use now.
    pub(super) fn refused(&self, doing: &'static str) -> Trouble {
        let reply = self.parser.reply();
        if reply.is_transient() || reply.is_permanent() {
            let (relay, why) = (self.peer.name.clone(), reply.to_string());
            Trouble::Unavailable { relay, doing, why, reply: Some(Box::new(reply)) }
        } else {
            self.peer.unavailable(doing, format!("protocol error: unexpected answer {reply}"))
        }
    }
}
