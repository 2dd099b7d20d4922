//! The exclusive right to work on one packet (I2), among threads, processes and hosts.
//!
//! Possession is permission: what works on a packet holds its [`Claim`], and the right ends when the value is dropped or
//! its process dies. On one machine that is flock(2) on the packet's file ([`flock`]): the kernel frees it, so there is
//! nothing to renew. Among hosts it is a lease in a SQL database ([`cluster`]): it has an end, so whoever has it asks
//! before it sends and before it writes whether it still holds ([`Claim::left`], [`Claim::renew`]).
//!
//! ```text
//! worker ──try_claim──▶ Cluster ──order──▶ keeper ──SQL──▶ database
//!    ▲                                       │  ▲              │
//!    └──────── Claim: how long it holds ─────┘  └── renewals   └──▶ listener: what other hosts tell
//! ```
//!
//! A crash in here leaves a lease that nobody renews: others take the packet over once it is certain to have ended, or at
//! once where they see that its process is dead.

#[cfg(feature = "cluster")]
pub mod cluster;
#[cfg(feature = "cluster")]
mod connect;
#[cfg(feature = "cluster")]
pub mod database;
pub mod flock;
#[cfg(feature = "cluster")]
mod keeper;
pub mod lease;
#[cfg(feature = "cluster")]
mod listener;
#[cfg(feature = "cluster")]
mod mariadb;
#[cfg(feature = "cluster")]
mod postgres;
pub mod settings;

use std::time::Duration;

use crate::mail::{MessageId, PacketName};
use crate::spool::disk::{DiskError, SpoolFile};
use crate::spool::folder::Folder;

use lease::Lease;
pub use lease::NotHeld;

/// Gives out claims.
pub trait Claims: Send + Sync {
    /// Tries to get the claim of a packet, without waiting for whoever has it.
    fn try_claim(&self, folder: &Folder, packet: &PacketName) -> Result<Attempt, ClaimError>;

    /// Tries to get the turn at something that is shared beyond packets. One that is dropped is given back.
    fn try_turn(&self, what: &Shared<'_>) -> Result<Option<Turn>, ClaimError>;

    /// Tells other hosts that this name has come to be, as `<priority>/<message>`. They may have no other way to learn it
    /// at once.
    fn announce(&self, _name: &str) {}

    /// How other hosts hear of what is announced; `None`: they needn't.
    fn hears_by(&self) -> Option<String> {
        None
    }

    /// At which of so many packets of a message to begin: processes that share one needn't all want the same.
    fn start_at(&self, _packets: usize) -> usize {
        0
    }

    /// Gives back all that is held, and says goodbye.
    fn leave(&self) {}
}

/// What only one process at a time may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shared<'m> {
    /// Adopt flat drops, and bring `incoming/` in order.
    Incoming,
    /// Make the message's reports.
    Reports(&'m MessageId),
    /// Append to the message's failures.
    Failures(&'m MessageId),
}

/// The answer to a try.
pub enum Attempt {
    Won(Claim),
    /// Somebody else works on it.
    Taken,
    /// The packet is finished, or was moved away.
    Gone,
}

/// Why nobody could say whether a packet is free.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The database can't be asked. It is tried again and again, and the log was told once.
    #[error("claims are not to be had: {0}")]
    Away(String),
}

/// The right to work on one packet, until it is dropped.
pub struct Claim {
    file: SpoolFile,
    lease: Option<Lease>,
}

/// The right to something shared, until it is dropped.
pub struct Turn(#[expect(dead_code, reason = "held for its end")] Option<Lease>);

impl Claim {
    /// The packet's file, open.
    pub fn file(&self) -> &SpoolFile {
        &self.file
    }

    /// How long it certainly holds if nobody renews it; `None`: as long as this process lives.
    pub fn left(&self) -> Option<Duration> {
        self.lease.as_ref().map(Lease::left)
    }

    /// How long it holds from a renewal on; `None`: as long as this process lives.
    pub fn lasts(&self) -> Option<Duration> {
        self.lease.as_ref().map(Lease::lasts)
    }

    /// Renews it now. One that has ended is renewed, too, if nobody has taken the packet meanwhile.
    pub fn renew(&self) -> Result<(), NotHeld> {
        self.lease.as_ref().map_or(Ok(()), Lease::renew)
    }

    /// Whether nobody else believes to have the packet. An earlier holder that has not given it back may not know yet that it
    /// has lost it; it is to be shut out before anything of the packet is read.
    pub fn is_clean(&self) -> bool {
        self.lease.as_ref().is_none_or(Lease::is_clean)
    }

    /// Earlier holders have been shut out: whoever comes next needn't do it again.
    pub fn has_shut_out(&self) {
        if let Some(lease) = &self.lease {
            lease.has_shut_out();
        }
    }

    /// Nobody is on record who had the packet before: if it was begun, nobody knows whether that one has given it back.
    pub fn is_first(&self) -> bool {
        self.lease.as_ref().is_some_and(Lease::is_first)
    }

    /// The packet is finished: there is nothing that anybody could claim again.
    pub fn finished(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.finished();
        }
    }
}
