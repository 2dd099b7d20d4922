//! What a worker tells whoever listens, beside the log.

use std::sync::Arc;

use crate::mail::{Level, MessageId, Moment, Priority, Reply};
use crate::schedule::Key;
use crate::spool::disk::Dir;
use crate::spool::layout::{self, MessageName, packet_file};
use crate::spool::note::Note;

use super::clock;
use super::events::{Happening, Why, shortened};
use super::message::OpenMessage;
use super::possession::Possession;
use super::shared::{InFlight, Shared};
use super::worker::{End, Worker};

impl Worker {
    /// This worker has opened the message. That it has come is told by now, or is so here.
    pub(super) fn tell_begun(&self, key: Key, name: &MessageName, level: Level) {
        let (priority, not_before) = (Priority::At(level), name.not_before().map(|at| at.0));
        let arrived = || Happening::Arrived { message: name.id.clone(), priority, not_before };
        self.shared.board.begins(key, || self.shared.tell(arrived));
    }

    /// This worker has the packet: shown to whoever looks, told to whoever listens. Gives when that was.
    pub(super) fn tell_taken(&self, level: Level, message: &Arc<OpenMessage>, possession: &Possession) -> Moment {
        let since = clock::now();
        let progress = &possession.progress;
        let (packet, recipients, done) = (progress.name(), progress.packet().len(), progress.next());
        *self.shared.in_flight[self.index].lock() = Some(InFlight {
            message: message.clone(),
            packet: packet.clone(),
            recipients,
            from: done,
            to: done,
            level,
            since,
        });
        self.shared.stir();
        let id = message.folder.id();
        if let Some(left) = message.resumes(packet) {
            self.shared.tell(|| Happening::Resumed {
                message: id.clone(),
                priority: Priority::At(level),
                packet: packet_file(packet),
                worker: self.index,
                lasted: since.since(left).as_secs_f64(),
            });
        }
        self.shared.tell(|| Happening::PacketTaken {
            message: id.clone(),
            packet: packet_file(packet),
            worker: self.index,
            recipients,
            done,
            relay: self.relay(),
        });
        since
    }

    /// The relay that it is connected to.
    fn relay(&self) -> Option<String> {
        let open = self.connection.as_ref()?;
        Some(self.current.relays.get(open.relay()).name().to_owned())
    }

    /// It has it no more.
    pub(super) fn tell_left(&self, message: &OpenMessage, possession: &Possession, end: &End, taken: Moment) {
        self.shared.in_flight[self.index].lock().take();
        let packets = &self.shared.live.tally.packets;
        match end {
            End::Finished => packets.finished.inc(),
            End::Yield(_) => packets.preempted.inc(),
            _ => packets.given_back.inc(),
        };
        let progress = &possession.progress;
        self.shared.tell(|| Happening::PacketLeft {
            message: message.folder.id().clone(),
            packet: packet_file(progress.name()),
            worker: self.index,
            recipients: progress.packet().len(),
            done: progress.next(),
            claimed_for: clock::now().since(taken).as_secs_f64(),
            why: end.into(),
            relay: self.relay(),
        });
    }

    pub(super) fn tell_set_aside(&self, message: &MessageId, why: &str) {
        self.shared.tell(|| Happening::SetAside { message: message.clone(), why: why.to_owned() });
    }

    /// Recipients that the relay refused, by what comes of it: deferred `until`, or failed for good.
    pub(super) fn tell_refused(
        &self,
        message: &OpenMessage,
        possession: &Possession,
        relay: usize,
        refused: &[(usize, Box<Reply>)],
        until: Option<u64>,
    ) {
        let Some((_, reply)) = refused.last() else { return };
        self.shared.tell(|| {
            let message = message.folder.id().clone();
            let packet = packet_file(possession.progress.name());
            let relay = self.current.relays.get(relay).name().to_owned();
            let (recipients, reply) = (refused.len(), reply.to_string());
            match until {
                Some(until) => Happening::Deferred { message, packet, recipients, relay, reply, until },
                None => Happening::Failed { message, packet, recipients, relay, reply },
            }
        });
    }
}

impl Shared {
    pub(super) fn tell_requeued(&self, name: &MessageName, from: Priority, to: Priority) {
        self.tell(|| {
            let place = || self.spool.at(Priority::Held).open_dir(&name.to_string()).ok();
            let why = place().filter(|_| to == Priority::Held).and_then(|place| told(&place, layout::HELD));
            Happening::Requeued { message: name.id.clone(), from, to, why }
        });
    }

    pub(super) fn tell_gone(&self, name: &MessageName) {
        self.tell(|| {
            let place = self.spool.bad().open_dir(&name.to_string()).ok();
            let why = place.and_then(|place| told(&place, layout::REASON));
            Happening::Gone { message: name.id.clone(), why }
        });
    }
}

/// Who did it and why, by a note that is there.
fn told(place: &Dir, file: &str) -> Option<String> {
    Note::read(place, file).map(|note| shortened(format!("{}: {}", note.by, note.why)))
}

impl From<&End> for Why {
    fn from(end: &End) -> Why {
        match end {
            End::Finished => Why::Finished,
            End::Yield(_) => Why::Preempted,
            End::Relay => Why::Relay,
            End::Paused(_) => Why::Paused,
            End::Closed(_) => Why::WindowClosed,
            End::Reloaded => Why::Reloaded,
            End::NotItsOwn => Why::NotItsOwn,
            End::Stopped => Why::Stopped,
            End::Hold(_) => Why::Held,
            End::Later => Why::Doubtful,
            End::Gone => Why::Gone,
            End::NotDue => Why::NotDue,
            End::NotHeld(_) => Why::NotHeld,
        }
    }
}
