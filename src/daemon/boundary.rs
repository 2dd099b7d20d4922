//! The boundary: a transaction has ended, what now?
//!
//! First the truth on disk (is the folder where it is believed to be), then whether the message may be sent on at all (pauses,
//! its list's windows, whether it is too late, or too early again by a clock that was set back), then what else waits.

use std::sync::Arc;

use tracing::{error, info};

use crate::mail::{Epoch, Level, PacketName, Priority};
use crate::schedule::Key;
use crate::spool::disk::DiskError;
use crate::spool::layout::{MessageName, packet_file};

use super::board::Decision;
use super::clock;
use super::events::Happening;
use super::hints::Spot;
use super::message::OpenMessage;
use super::pauses::InForce;
use super::register::Away;
use super::worker::{End, Worker};

/// The time, if it is still to come.
pub(super) fn early(due: Option<Epoch>) -> Option<Epoch> {
    due.filter(|&due| due > clock::epoch())
}

impl Worker {
    /// See the module.
    pub(super) fn boundary(
        &self,
        key: Key,
        level: &mut Level,
        message: &OpenMessage,
        packet: &PacketName,
    ) -> Result<(), End> {
        self.look_where_it_is(key, message, level)?;
        if let Some(pauses) = self.paused(message.folder.id().list(), *level) {
            info!(message_id = %message.folder.id(), packet = %packet_file(packet), "paused while being sent");
            return Err(End::Paused(pauses));
        }
        if let Some(due) = early(message.folder.name().not_before()) {
            info!(message_id = %message.folder.id(), %due, "the clock was set back: the message is not due any more");
            return Err(End::Closed(due));
        }
        if let Some(due) = early(packet.due()) {
            info!(message_id = %message.folder.id(), %due, "the clock was set back: these recipients are not due any more");
            return Err(End::NotDue);
        }
        if let Some(opens) = self.opens_later() {
            info!(message_id = %message.folder.id(), %opens, "the list's window has closed: the rest waits for the next one");
            return Err(End::Closed(opens));
        }
        if let Some(why) = message.is_late(clock::epoch()) {
            return Err(End::Hold(why));
        }
        match self.shared.board.boundary(self.crew(), key) {
            Decision::GoOn if self.has_new_settings() => Err(End::Reloaded),
            Decision::GoOn => Ok(()),
            Decision::GiveBack => Err(End::NotItsOwn),
            Decision::Stop => Err(End::Stopped),
            Decision::Gone => Err(End::Gone),
            Decision::Yield { to, waited, from, to_level } => {
                let why = if to_level < from { "a more urgent message" } else { "another message of its level" };
                info!(
                    message_id = %message.folder.id(), packet = %packet_file(packet), %from,
                    urgent = %to.name, to = %to.level, waited_us = waited.as_micros() as u64,
                    "gives way to {why}"
                );
                self.shared.live.tally.preemption(from, to_level, waited);
                message.is_preempted(packet, clock::now());
                self.shared.tell(|| Happening::Preempted {
                    message: message.folder.id().clone(),
                    priority: Priority::At(from),
                    packet: packet_file(packet),
                    worker: self.index,
                    by: to.name.id.clone(),
                    by_priority: Priority::At(to.level),
                    latency: waited.as_secs_f64(),
                });
                Err(End::Yield(to))
            }
        }
    }

    /// When the list's next window opens, if none is open now.
    pub(super) fn opens_later(&self) -> Option<Epoch> {
        let now = clock::epoch();
        let windows = self.windows.as_ref().filter(|windows| !windows.is_open(now))?;
        Some(windows.next_opening(now))
    }

    /// The pauses in force, if one of them stops such a message.
    pub(super) fn paused(&self, list: &str, level: Level) -> Option<Arc<InForce>> {
        self.shared.look_for_pauses_now_and_then();
        Some(self.shared.pauses.in_force()).filter(|pauses| pauses.stops(list, level))
    }

    /// Whether the folder is still at its level; follows it where it was requeued to.
    fn look_where_it_is(&self, key: Key, message: &OpenMessage, level: &mut Level) -> Result<(), End> {
        let spool = &self.shared.spool;
        // With its name, if that is another one.
        let look = || -> Result<Option<(Priority, Option<MessageName>)>, DiskError> {
            if message.folder.is_at(spool, Priority::At(*level))? {
                return Ok(Some((Priority::At(*level), None)));
            }
            let there = message.folder.whereabouts(spool)?;
            Ok(there.map(|(priority, name)| (priority, Some(name).filter(|name| name != message.folder.name()))))
        };
        match look() {
            Ok(Some((priority, Some(name)))) => {
                info!(message_id = %message.folder.id(), "rescheduled while being sent: stops at this boundary");
                let was = Spot { priority: Priority::At(*level), name: message.folder.name().clone() };
                self.shared.met_elsewhere(key, was, Spot { priority, name });
                Err(End::Gone)
            }
            Ok(Some((Priority::At(now), None))) => {
                if now != *level {
                    info!(message_id = %message.folder.id(), from = %level, to = %now, "requeued while being sent");
                    if let Some(from) = self.shared.board.moved(key, now) {
                        self.shared.tell_requeued(message.folder.name(), from, Priority::At(now));
                    }
                    *level = now;
                }
                Ok(())
            }
            Ok(Some((Priority::Held, None))) => {
                info!(message_id = %message.folder.id(), from = %level, "held while being sent: stops at this boundary");
                if self.shared.board.left(key, Away::Held) {
                    self.shared.tell_requeued(message.folder.name(), Priority::At(*level), Priority::Held);
                }
                Err(End::Gone)
            }
            Ok(None) => {
                info!(message_id = %message.folder.id(), from = %level, "taken away while being sent: stops at this boundary");
                if self.shared.board.left(key, Away::Gone) {
                    self.shared.tell_gone(message.folder.name());
                }
                Err(End::Gone)
            }
            Err(error) => {
                // What was sent is recorded; the next look may work.
                error!(message_id = %message.folder.id(), "{}", error.fate("it is sent on from where it was seen last"));
                Ok(())
            }
        }
    }
}
