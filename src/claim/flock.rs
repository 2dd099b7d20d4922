//! Claims among the processes of one machine: flock(2) on the packet's file.
//!
//! The kernel frees the lock of a process that dies, so there is no stale claim and nothing to renew. Not for network
//! file systems, where flock is not to be relied on.

use crate::mail::PacketName;
use crate::spool::disk::unless_gone;
use crate::spool::folder::Folder;
use crate::spool::layout::packet_file;

use super::{Attempt, Claim, ClaimError, Claims, Shared, Turn};

/// See the module.
pub struct Flock;

impl Claims for Flock {
    fn try_claim(&self, folder: &Folder, packet: &PacketName) -> Result<Attempt, ClaimError> {
        let name = packet_file(packet);
        let Some(file) = unless_gone(folder.dir().open(&name))? else { return Ok(Attempt::Gone) };
        if !file.try_lock()? {
            return Ok(Attempt::Taken);
        }
        // Between open and lock the last holder may have finished the packet and removed it.
        Ok(match folder.is_linked(&file)? {
            true => Attempt::Won(Claim { file, lease: None }),
            false => Attempt::Gone,
        })
    }

    /// Whoever does such a thing holds a lock of the kernel's meanwhile, which is enough on one machine.
    fn try_turn(&self, _: &Shared<'_>) -> Result<Option<Turn>, ClaimError> {
        Ok(Some(Turn(None)))
    }
}
