//! The exclusive right to work on one packet (I2), among threads, processes and hosts.
//!
//! Possession is permission: what works on a packet holds its [`Claim`], and the right ends when the value is dropped or
//! its process dies. On one machine that is flock(2) on the packet file ([`flock`]).

pub mod flock;

use crate::mail::PacketName;
use crate::spool::disk::{DiskError, SpoolFile};
use crate::spool::folder::Folder;

/// Gives out claims.
pub trait Claims: Send + Sync {
    /// Tries to get the claim of a packet, without waiting.
    fn try_claim(&self, folder: &Folder, packet: &PacketName) -> Result<Attempt, DiskError>;
}

/// The answer to a try.
pub enum Attempt {
    Won(Claim),
    /// Somebody else works on it.
    Taken,
    /// The packet is finished, or was moved away.
    Gone,
}

/// The right to work on one packet, until it is dropped.
pub struct Claim {
    file: SpoolFile,
}

impl Claim {
    /// The packet's file, open.
    pub fn file(&self) -> &SpoolFile {
        &self.file
    }
}
