//! How a message's time with this scheduler ends: distributed, held, set aside, or asleep until something is due.

use std::sync::atomic::Ordering;

use tracing::{debug, error, info, warn};

use crate::mail::{Epoch, Level, PacketName, Priority, ReversePath};
use crate::schedule::Key;
use crate::spool::disk::DiskError;
use crate::spool::folder::Folder;
use crate::spool::moves::{self, Moved};
use crate::spool::removal::Removal;
use crate::spool::reports::Made;
use crate::spool::set_aside;

use super::clock;
use super::events::Happening;
use super::message::OpenMessage;
use super::register::Away;
use super::worker::{DISK_PAUSE, RECHECK, Worker};

impl Worker {
    /// This worker has nothing more to do with its packet. If it was the last one that anybody had to do with, looks what
    /// is left of the message.
    pub(super) fn end_of_packet(&self, key: Key, message: &OpenMessage) {
        self.report_now_and_then(key, message);
        if !self.shared.board.done(key) {
            return;
        }
        let now = clock::epoch();
        match self.settle(key, message, now) {
            Ok(()) => {}
            Err(error) if error.is_gone() => self.shared.board.lost(key),
            Err(error) => {
                error!(message_id = %message.folder.id(), "{}", error.fate("nobody is sent to twice; its removal is tried again"));
                self.shared.board.leave_alone(key, now.plus(DISK_PAUSE.as_secs()));
            }
        }
    }

    fn settle(&self, key: Key, message: &OpenMessage, now: Epoch) -> Result<(), DiskError> {
        let board = &self.shared.board;
        let id = message.folder.id();
        let level = board.level(key).unwrap_or(Level::LAST);
        let may_report = message.sender != ReversePath::Null;
        let mut removal = message.folder.remove(&self.shared.spool, Priority::At(level), now, may_report)?;
        if removal == Removal::Unreported {
            let may_report = self.report(message, level, now)? != Made::NoName;
            removal = message.folder.remove(&self.shared.spool, Priority::At(level), now, may_report)?;
        }
        match removal {
            Removal::Removed => {
                info!(message_id = %id, took_s = now.since(message.arrival), "message is distributed");
                self.shared.live.tally.levels[level.index()].messages.inc();
                self.shared.tell(|| Happening::Done { message: id.clone(), priority: Priority::At(level) });
                board.gone(key);
            }
            Removal::SetAside(why) => {
                warn!(message_id = %id, "message is set aside in bad/: {why}");
                self.tell_set_aside(id, &why);
                board.gone(key);
            }
            // Another process is at it.
            Removal::Unreported => board.leave_alone(key, now.plus(RECHECK)),
            Removal::NotFinished => {
                let packets = message.folder.contents()?.packets;
                let is_due = |packet: &PacketName| packet.due().is_none_or(|due| due <= now);
                // Packets that other processes work on, or deferred recipients that come due.
                if packets.is_empty() || packets.iter().any(is_due) {
                    let is_elsewhere = |packet: &PacketName| !is_due(packet) || message.was_elsewhere(packet);
                    let until = if packets.iter().all(is_elsewhere) { now.plus(RECHECK) } else { now };
                    debug!(message_id = %id, %until, "message waits for its last packets");
                    board.leave_alone(key, until);
                } else {
                    let until =
                        packets.iter().filter_map(PacketName::due).min().expect("some packet is left, none is due");
                    debug!(message_id = %id, %until, "message waits for its deferred recipients");
                    board.sleep(key, until);
                }
            }
        }
        Ok(())
    }

    pub(super) fn hold(&self, key: Key, message: &OpenMessage, why: &str) {
        let id = message.folder.id();
        if message.held.swap(true, Ordering::SeqCst) {
            return self.shared.board.let_go(key);
        }
        // Before the watch sees it, which would tell of it as somebody's.
        let is_news = self.shared.board.left(key, Away::Held);
        match moves::hold(&self.shared.spool, id, clock::epoch(), set_aside::PROGRAM, why) {
            Ok(moved) => {
                if let Moved::Moved { from, .. } = moved {
                    warn!(message_id = %id, "message is held: {why}; nobody is lost, release it when this is mended");
                    self.shared.tell(|| Happening::Held { message: id.clone(), from, why: why.to_owned() });
                } else if is_news
                    && moved == Moved::AlreadyThere(Priority::Held)
                    && let Some(level) = self.shared.board.level(key)
                {
                    // An operator was faster.
                    self.shared.tell_requeued(message.folder.name(), Priority::At(level), Priority::Held);
                }
                self.shared.board.let_go(key);
            }
            Err(error) => {
                error!(message_id = %id, "{why}; holding it: {error}");
                message.held.store(false, Ordering::SeqCst);
                self.shared.board.stays(key);
                self.shared.board.put_off(key, clock::epoch().plus(60));
            }
        }
    }

    pub(super) fn set_message_aside(&self, key: Key, folder: &Folder, level: Level, why: &str) {
        let now = clock::epoch();
        match folder.set_aside(&self.shared.spool, Priority::At(level), now, why) {
            Ok(_) => {
                warn!(message_id = %folder.id(), "message is set aside in bad/: {why}");
                self.tell_set_aside(folder.id(), why);
                self.shared.board.gone(key);
            }
            Err(error) => {
                error!(message_id = %folder.id(), "{why}; setting it aside: {}", error.fate("it waits"));
                self.shared.board.put_off(key, now.plus(60));
            }
        }
    }

    pub(super) fn set_packet_aside(&self, message: &OpenMessage, packet: &PacketName, level: Level, why: &str) {
        let note = set_aside::note(clock::epoch(), why, Priority::At(level));
        let id = message.folder.id();
        match set_aside::packet(&self.shared.spool, &message.folder, packet, &note) {
            Ok(name) => {
                warn!(message_id = %id, "a packet is set aside in bad/{name}: {why}");
                self.shared.live.tally.packets.set_aside.inc();
                self.tell_set_aside(id, why);
            }
            Err(error) => {
                error!(message_id = %id, "{why}; setting the packet aside: {}", error.fate("it waits"));
                message.is_elsewhere(packet.clone());
            }
        }
    }
}
