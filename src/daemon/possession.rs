//! One packet in a worker's hands: the claim, and the progress made under it.
//!
//! What a crash of its last worker left is mended here, before anything is sent: retry packets and failures that run
//! ahead of the checkpoint are cut back to it. A retry packet is taken under the claim of its parent packet, as long as
//! there is one: so nobody is sent to from both.

use std::time::Duration;

use crate::claim::{self, Attempt, Claim, ClaimError, Claims, NotHeld};
use crate::mail::{Epoch, PacketName};
use crate::spool::Spool;
use crate::spool::deferral::Deferral;
use crate::spool::disk::{DiskError, unless_gone};
use crate::spool::failures::Failure;
use crate::spool::fence;
use crate::spool::folder::Folder;
use crate::spool::layout::{FileName, packet_file};
use crate::spool::progress::{self, Progress, Sync, Unusable};

use super::message::OpenMessage;

/// See the module. Dropping it gives the claim back; the packet stays where its checkpoint says.
pub struct Possession {
    pub progress: Progress,
    claim: Claim,
}

/// What came of trying to take a packet.
pub enum Taking {
    Got(Box<Possession>),
    /// Somebody else works on it, or on the packet that its recipients were deferred from.
    Elsewhere,
    Gone,
    /// It can't be read. The claim allows setting it aside.
    Bad(Claim, String),
}

/// Takes a packet of `message`.
pub fn take(
    claims: &dyn Claims,
    spool: &Spool,
    message: &OpenMessage,
    packet: &PacketName,
    sync: Sync,
    now: Epoch,
) -> Result<Taking, ClaimError> {
    let folder = &message.folder;
    let mut parents = Vec::new();
    if packet.retry.is_some() {
        for parent in folder.contents()?.packets.into_iter().filter(|other| other.is_parent_of(packet)) {
            match claims.try_claim(folder, &parent)? {
                Attempt::Won(claim) => {
                    shut_out(spool, folder, &parent, &claim)?;
                    match Progress::open(folder, &parent, claim.file(), sync) {
                        Ok(progress) => parents.push((claim, progress)),
                        Err(Unusable::Disk(error)) => return Err(error.into()),
                        // Whoever takes the parent itself sets it aside; then this packet is free to go.
                        Err(Unusable::Bad(_)) => return Ok(Taking::Elsewhere),
                    }
                }
                Attempt::Taken => return Ok(Taking::Elsewhere),
                Attempt::Gone => {}
            }
        }
    }
    let claim = match claims.try_claim(folder, packet)? {
        Attempt::Won(claim) => claim,
        Attempt::Taken => return Ok(Taking::Elsewhere),
        Attempt::Gone => return Ok(Taking::Gone),
    };
    if !parents.is_empty() && folder.dir().look(&FileName::Status(packet.clone()).to_string())?.is_none() {
        for (_, parent) in &parents {
            progress::cut_unpassed(parent, claim.file())?;
        }
    }
    drop(parents);
    shut_out(spool, folder, packet, &claim)?;
    let progress = match Progress::open(folder, packet, claim.file(), sync) {
        Ok(progress) => progress,
        Err(Unusable::Disk(error)) => return Err(error.into()),
        Err(Unusable::Bad(why)) => return Ok(Taking::Bad(claim, why)),
    };
    if progress.was_begun() && !mend(claims, spool, message, &progress, now)? {
        return Ok(Taking::Elsewhere);
    }
    Ok(Taking::Got(Box::new(Possession { progress, claim })))
}

/// Shuts out earlier holders that may still believe in their claim. To be done before anything of the packet is read.
fn shut_out(spool: &Spool, folder: &Folder, packet: &PacketName, claim: &Claim) -> Result<(), DiskError> {
    let was_begun = || -> Result<bool, DiskError> {
        let status = folder.dir().look(&FileName::Status(packet.clone()).to_string())?;
        Ok(status.is_some_and(|look| look.size > 0))
    };
    if !claim.is_clean() || claim.is_first() && was_begun()? {
        fence::shut_out(spool, folder, packet)?;
        claim.has_shut_out();
    }
    Ok(())
}

/// Takes back what the packet's last worker wrote about recipients that its checkpoint has not passed. `false`: somebody is
/// at the failures.
fn mend(
    claims: &dyn Claims,
    spool: &Spool,
    message: &OpenMessage,
    progress: &Progress,
    now: Epoch,
) -> Result<bool, ClaimError> {
    let folder = &message.folder;
    let contents = folder.contents()?;
    for child in contents.packets.iter().filter(|child| progress.name().is_parent_of(child)) {
        // One that was begun, or is being worked on, was cut when it was taken, under our packet's claim.
        if contents.statuses.contains(child) {
            continue;
        }
        if let Attempt::Won(claim) = claims.try_claim(folder, child)? {
            shut_out(spool, folder, child, &claim)?;
            // Opened before it, the claim's own may be the file that was replaced.
            let name = packet_file(child);
            if let Some(file) = unless_gone(folder.dir().open(&name))? {
                progress::cut_unpassed(progress, &file)?;
            }
        }
    }
    if contents.failures {
        let Some(_turn) = claims.try_turn(&claim::Shared::Failures(folder.id()))? else { return Ok(false) };
        let mut latest = message.latest_failures.lock();
        let latest = latest.of(folder.dir(), progress.name())?;
        progress.retract_failures(folder, latest, now)?;
    }
    Ok(true)
}

impl Possession {
    /// Records deferred recipients, by index, in the retry packet; makes one due at `due` where there is none yet.
    pub fn defer(
        &mut self,
        message: &OpenMessage,
        recipients: &[(usize, Deferral)],
        due: Epoch,
    ) -> Result<(), DiskError> {
        if !self.progress.has_retry() {
            self.progress.begin_retry(&message.folder, due)?;
        }
        self.progress.defer(recipients)
    }

    /// Records recipients that failed for good.
    pub fn fail(&mut self, message: &OpenMessage, failed: &[Failure]) -> Result<(), DiskError> {
        self.progress.fail(&message.folder, failed)
    }

    /// All its recipients have an outcome: takes the packet away. The claim is kept until this value is dropped: one that
    /// is free while the packet is there invites the next worker.
    pub fn finish(&mut self, message: &OpenMessage) -> Result<(), DiskError> {
        self.progress.finish(&message.folder)?;
        self.claim.finished();
        Ok(())
    }

    /// How long the claim certainly holds; `None`: as long as this process lives.
    pub fn left(&self) -> Option<Duration> {
        self.claim.left()
    }

    /// Sees to it that the claim holds for a good while from now: renews one of which less than a third is left, which is
    /// only so where renewals come late. An error: it is lost, or so little is left that nothing more should be begun.
    pub fn keep(&self) -> Result<(), NotHeld> {
        let (Some(left), Some(lasts)) = (self.claim.left(), self.claim.lasts()) else { return Ok(()) };
        if left >= lasts / 3 {
            return Ok(());
        }
        match self.claim.renew() {
            // What is left is left, after waiting for that.
            Err(NotHeld::Away(_)) if self.left().is_some_and(|left| left >= lasts / 10) => Ok(()),
            renewed => renewed,
        }
    }

    pub fn renew(&self) -> Result<(), NotHeld> {
        self.claim.renew()
    }
}
