//! Handing one transaction to a relay: an envelope and a body in, an outcome a recipient out.
//!
//! Nothing here knows of packets, checkpoints or priorities, and nothing here retries: what to do about an outcome is
//! the caller's. What it promises is to be exact about what may have happened:
//! - `Ok`: every recipient has an outcome, and those reported [`Outcome::Sent`] are the relay's responsibility.
//! - [`Trouble::Unavailable`], [`Trouble::Interrupted`], [`Trouble::Unfit`]: the final dot was not sent. Nobody got it.
//! - [`Trouble::Uncertain`]: the dot (or a part of the write that held it) went out and no answer came (RFC 1047).
//!
//! A crash in here leaves at most the recipients of the one transaction in that last state.

mod build;
pub mod interrupt;
pub mod lmtp;
pub mod maildir;
pub mod sendmail;
pub mod settings;
pub mod sink;
pub mod smtp;
mod wire;

pub use interrupt::Interrupt;
pub use settings::{Limits, RelaySettings, RelayUrl, SetupError};

use std::time::Instant;

use crate::mail::{Body, Envelope, Outcome, Reply};

/// A place to hand mail to. Shared by all workers; each opens its own connection.
pub trait Relay: Send + Sync {
    /// How logs and outcomes name it: its URL without credentials.
    fn name(&self) -> &str;

    /// Opens a connection and makes it ready for the first transaction (greeting, EHLO, STARTTLS, AUTH).
    fn connect(&self, interrupt: &Interrupt) -> Result<Box<dyn Connection>, Trouble>;
}

/// Called once in a transaction, at the last instant at which it can still be given up: what follows may reach the
/// relay. It is told whether the relay has refused some of the recipients, and says whether to go on.
pub type BeforeDot<'a> = dyn FnMut(Refusals) -> Proceed + 'a;

/// Whether the relay took all recipients of a transaction that are still in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusals {
    None,
    Some,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proceed {
    Yes,
    /// If the dot is out by then; else as `No`.
    Before(Instant),
    /// Give the transaction up, as after an interrupt.
    No,
}

/// One connection, kept open from transaction to transaction.
pub trait Connection: Send {
    /// Hands over one transaction.
    ///
    /// On `Ok`, `outcomes` holds one outcome for each recipient, in order. On [`Trouble::Uncertain`] it holds the
    /// outcomes of a leading part of the recipients, which are final (LMTP answers one by one). On any other trouble it
    /// is empty. After any trouble the connection is dead and must be dropped.
    ///
    /// An interrupt makes it give up at once before the final dot, and wait no longer than the interrupt's grace after it.
    fn deliver_with(
        &mut self,
        envelope: &Envelope<'_>,
        body: &Body,
        interrupt: &Interrupt,
        before_dot: &mut BeforeDot<'_>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<Receipt, Trouble>;

    /// The same for callers that have nothing to do before the dot.
    fn deliver(
        &mut self,
        envelope: &Envelope<'_>,
        body: &Body,
        interrupt: &Interrupt,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<Receipt, Trouble> {
        self.deliver_with(envelope, body, interrupt, &mut |_| Proceed::Yes, outcomes)
    }

    /// Whether the other side has hung up, or said something unasked, since the last transaction (looks, doesn't wait).
    /// A connection that idled is asked before it is used again, so that its ordinary death costs no transaction.
    fn is_stale(&mut self) -> bool;

    /// Says goodbye (QUIT) without waiting for an answer.
    fn close(self: Box<Self>);
}

/// What the relay said to the transaction as a whole: the answer to the final dot, or the one that ended it earlier.
/// For the log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub reply: Reply,
    /// The reply is no recipient's: it answered MAIL, DATA or the final dot, and so all of them at once.
    pub about_all: bool,
}

/// Why a transaction, or a connection, came to nothing. Whose fault it is, is in the name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The relay is down, refuses, answers 421, hangs, hangs up or talks nonsense. No recipient is to blame.
    #[error("{relay}: {doing}: {why}")]
    Unavailable {
        relay: String,
        doing: &'static str,
        why: String,
        /// What it said, if that was a refusal; a 421 (RFC 5321 §3.8) asks to be left alone for a while.
        reply: Option<Box<Reply>>,
    },
    /// As above, but behind the final dot: the relay may have the message or not.
    #[error("{relay}: no answer to the final dot: {why}; the relay may have taken the message")]
    Uncertain { relay: String, why: String },
    /// This relay can't carry this message, whoever receives it: too big for its SIZE, 8-bit without 8BITMIME.
    #[error("{relay}: {why}")]
    Unfit { relay: String, why: String },
    /// The caller's interrupt came before the final dot.
    #[error("{relay}: interrupted before the final dot")]
    Interrupted { relay: String },
}
