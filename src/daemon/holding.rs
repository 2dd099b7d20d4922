//! A worker's claim between the relay's answer and the record of it: what was answered is put on record by whoever has the
//! packet, and by nobody else.
//!
//! Where claims are the kernel's, none of this waits. Where they are leases, a worker whose lease is over waits until the database
//! says whose the packet is. A crash meanwhile leaves the transaction unrecorded: its recipients are sent to again.

use std::time::{Duration, Instant};

use tracing::warn;

use crate::claim::{self, NotHeld, Turn};
use crate::spool::layout::packet_file;

use super::message::OpenMessage;
use super::possession::Possession;
use super::worker::{End, Worker};

/// How long a worker waits until it asks again whether its claim still holds.
pub(super) const CLAIM_PAUSE: Duration = Duration::from_secs(1);
/// How long until it tries again to get a turn that another host has; doubles, up to the above.
const TURN_PAUSE: Duration = Duration::from_millis(5);

impl Worker {
    /// Waits until it is certain that the packet is still this worker's: what was sent is only put on record by whoever has
    /// the claim. Nothing is sent meanwhile.
    pub(super) fn until_held(&self, message: &OpenMessage, possession: &Possession) -> Result<(), End> {
        let mut told = false;
        while possession.left().is_some_and(|left| left.is_zero()) {
            match possession.renew() {
                Ok(()) => {}
                Err(NotHeld::Lost) => return Err(End::NotHeld(NotHeld::Lost)),
                Err(NotHeld::Away(why)) => {
                    if !told {
                        warn!(
                            message_id = %message.folder.id(), packet = %packet_file(possession.progress.name()),
                            "its lease is over, and cannot be renewed: {why}; its last transaction was sent and is not \
                             recorded, nothing more of it is sent until it is certain whose it is"
                        );
                        told = true;
                    }
                    self.wait_for_claim()?;
                }
            }
        }
        Ok(())
    }

    /// Somebody else has the packet, and does not know what became of these.
    pub(super) fn tell_taken_over(&self, message: &OpenMessage, possession: &Possession, answered: &[usize]) {
        let packet = possession.progress.packet();
        let recipients: Vec<&str> = answered.iter().map(|&index| packet.address(index)).collect();
        warn!(
            message_id = %message.folder.id(), packet = %packet_file(possession.progress.name()),
            recipients = recipients.join(" "),
            "the packet was taken over during a transaction, or is not certain to be ours: what the relay answered is not \
             recorded; these recipients may get the message twice"
        );
    }

    /// The turn at the message's failures, which other hosts append to as well.
    pub(super) fn turn_at_failures(&self, message: &OpenMessage, possession: &Possession) -> Result<Turn, End> {
        let mut pause = TURN_PAUSE;
        loop {
            match self.shared.claims.try_turn(&claim::Shared::Failures(message.folder.id())) {
                Ok(Some(turn)) => {
                    // Waiting for it may have taken longer than the lease.
                    self.until_held(message, possession)?;
                    return Ok(turn);
                }
                // Somebody else's takes as long as a write.
                // But one that a dead host has lasts as long as its lease.
                Ok(None) if self.shared.board.pause(Instant::now() + pause) => {
                    self.shared.leaves_uncertain(self.index);
                    return Err(End::Stopped);
                }
                Ok(None) => pause = (pause * 2).min(CLAIM_PAUSE),
                Err(_) => self.wait_for_claim()?,
            }
            self.until_held(message, possession)?;
        }
    }

    fn wait_for_claim(&self) -> Result<(), End> {
        if self.shared.board.pause(Instant::now() + CLAIM_PAUSE) {
            self.shared.leaves_uncertain(self.index);
            return Err(End::Stopped);
        }
        Ok(())
    }
}
