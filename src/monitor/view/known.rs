//! One message, as the view knows it: in few octets, for there may be a hundred thousand.

use std::sync::Arc;

use crate::daemon::lists::Lists;
use crate::daemon::live::{Current, RelayState, Working};
use crate::daemon::rate::time_left;
use crate::mail::{Epoch, MessageId, Moment, PacketName, Priority};
use crate::monitor::by_id::HasId;
use crate::monitor::paces::Paces;
use crate::monitor::row::{MessageTally, PacketRow, Row};
use crate::monitor::stuck::{Asked, Circumstances, Stuck, going};
use crate::render::head;
use crate::spool::census::{Message, State};
use crate::spool::layout::{MessageName, packet_file};
use crate::spool::note::Note;
use crate::spool::pause::Paused;

/// See the module.
pub struct Known {
    pub id: MessageId,
    pub priority: Priority,
    /// In which look at the directories it was seen last.
    pub look: u32,
    is_read: bool,
    packets_total: u32,
    /// When its folder had been changed last when it was read, in nanoseconds; 0: not known.
    pub changed: u64,
    size: u64,
    recipients: u64,
    packets: Vec<Packet>,
    rare: Option<Box<Rare>>,
}

/// What few messages have.
#[derive(Default, PartialEq)]
struct Rare {
    not_before: Option<Epoch>,
    not_after: Option<Epoch>,
    /// Another one than the list's owner.
    sender: Option<Box<str>>,
    held: Option<Note>,
    failed: u64,
    /// What was told of since the folder was read.
    deferred_since: u64,
    failed_since: u64,
}

struct Packet {
    name: PacketName,
    /// A packet is a file that a worker reads whole.
    recipients: u32,
    done: u32,
}

/// What the answers of one look have in common.
pub struct Surroundings {
    pub now: Moment,
    /// Workers of this process, then of others on the same spool.
    pub working: Vec<Working>,
    /// How many of them are this process's.
    pub own: usize,
    pub paces: Paces,
    pub relays: Vec<RelayState>,
    pub current: Option<Arc<Current>>,
    pub has_room: bool,
}

impl Surroundings {
    pub fn circumstances<'s>(&'s self, pauses: &'s [Paused]) -> Circumstances<'s> {
        let relays = self.relays.iter().map(|state| &state.relay).collect();
        let lists: Option<&Lists> = self.current.as_ref().map(|current| &current.settings.lists);
        Circumstances::inside(self.now.epoch(), pauses, relays, lists).with_room(self.has_room)
    }
}

impl HasId for Known {
    fn id(&self) -> &MessageId {
        &self.id
    }
}

fn count(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Known {
    pub fn new(name: MessageName, priority: Priority, look: u32) -> Known {
        let mut known = Known {
            id: name.id.clone(),
            priority,
            look,
            is_read: false,
            packets_total: 0,
            changed: 0,
            size: 0,
            recipients: 0,
            packets: Vec::new(),
            rare: None,
        };
        known.set_not_before(name.not_before());
        known
    }

    /// Whether its folder has been.
    pub fn is_read(&self) -> bool {
        self.is_read
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn rarely<T>(&self, what: impl Fn(&Rare) -> Option<T>) -> Option<T> {
        self.rare.as_deref().and_then(what)
    }

    pub fn not_before(&self) -> Option<Epoch> {
        self.rarely(|rare| rare.not_before)
    }

    pub fn set_not_before(&mut self, at: Option<Epoch>) {
        if at != self.not_before() {
            self.rare().not_before = at;
        }
    }

    pub fn add_deferred(&mut self, recipients: u64) {
        self.rare().deferred_since += recipients;
    }

    pub fn add_failed(&mut self, recipients: u64) {
        self.rare().failed_since += recipients;
    }

    /// What its folder says.
    pub fn take_in(&mut self, message: Message) {
        let head = head::split(&message.top).map(|(head, _)| head).unwrap_or_default();
        let fresh = || message.packets.iter().filter(|packet| packet.name.retry.is_none());
        let here: u64 = fresh().map(|packet| packet.recipients).sum();
        let least = here.max(message.left() + message.deferred() + message.failed);
        self.is_read = true;
        self.priority = message.priority;
        self.size = message.size;
        self.recipients = head.recipients_total.unwrap_or(least);
        self.packets_total = head.packets_total.unwrap_or(0).max(count(fresh().count() as u64));
        let owner = self.id.list_owner();
        let sender = head.sender.as_ref().map(|sender| sender.as_str()).filter(|sender| *sender != owner);
        let rare = Rare {
            not_before: message.name.not_before(),
            not_after: head.not_after,
            sender: sender.map(Into::into),
            held: message.held,
            failed: message.failed,
            ..Rare::default()
        };
        self.rare = (rare != Rare::default()).then(|| Box::new(rare));
        let packet = |packet: crate::spool::census::Packet| Packet {
            recipients: count(packet.recipients),
            done: count(packet.done.unwrap_or(0).min(packet.recipients)),
            name: packet.name,
        };
        self.packets = message.packets.into_iter().map(packet).collect();
        self.packets.shrink_to_fit();
    }

    /// A worker has come so far with a packet.
    pub fn packet_at(&mut self, name: PacketName, recipients: usize, done: usize) {
        let (recipients, done) = (count(recipients as u64), count(done as u64));
        match self.packets.iter_mut().find(|packet| packet.name == name) {
            // Positions are absolute and only grow: whichever was told first.
            Some(packet) => packet.done = packet.done.max(done),
            None => self.packets.push(Packet { name, recipients, done }),
        }
    }

    /// Another scheduler's worker was so far with a packet, a second or so ago: that may have been finished since, and is not
    /// there any more for whoever has read the folder.
    pub fn packet_was_at(&mut self, name: &PacketName, done: usize) {
        if let Some(packet) = self.packets.iter_mut().find(|packet| packet.name == *name) {
            packet.done = packet.done.max(count(done as u64)).min(packet.recipients);
        }
    }

    fn packet_done(&self, packet: &Packet, working: &[Working]) -> u64 {
        // Numbers tell most packets apart.
        let at = working.iter().find(|at| at.packet == packet.name && at.message == self.id);
        let done = at.map_or(packet.done.into(), |at| u64::from(packet.done).max(at.done as u64));
        done.min(packet.recipients.into())
    }

    fn left(&self, working: &[Working], retry: bool) -> u64 {
        let packets = self.packets.iter().filter(|packet| packet.name.retry.is_some() == retry);
        packets.map(|packet| u64::from(packet.recipients) - self.packet_done(packet, working)).sum()
    }

    fn next_try(&self) -> Option<Epoch> {
        self.packets.iter().filter_map(|packet| packet.name.due()).min()
    }

    fn state(&self, around: &Surroundings) -> State {
        let now = around.now.epoch();
        let is_open = |packet: &&Packet| packet.done < packet.recipients;
        if self.priority == Priority::Held {
            State::Held
        } else if around.working.iter().any(|at| at.message == self.id) {
            State::Active
        } else if self.not_before().is_some_and(|at| at > now) {
            State::Scheduled
        } else if self.packets.iter().any(|packet| packet.name.retry.is_some())
            && self.packets.iter().filter(is_open).all(|packet| packet.name.due().is_some_and(|due| due > now))
        {
            State::Deferred
        } else {
            State::Waiting
        }
    }

    pub fn tally(&self, around: &Surroundings) -> MessageTally {
        let is_active = around.working.iter().any(|at| at.message == self.id);
        let working = if is_active { &around.working[..] } else { &[] };
        let (deferred_since, failed) = match &self.rare {
            None => (0, 0),
            Some(rare) => (rare.deferred_since, rare.failed + rare.failed_since),
        };
        let (left, deferred) = (self.left(working, false), self.left(working, true) + deferred_since);
        let done = self.recipients.saturating_sub(left + deferred + failed);
        let elsewhere = is_active && around.working[..around.own].iter().all(|at| at.message != self.id);
        MessageTally {
            state: self.state(around),
            elsewhere,
            left,
            deferred,
            failed,
            done,
            arrival: self.id.arrival().0,
        }
    }

    pub fn stuck(&self, state: State, circumstances: &Circumstances<'_>) -> Option<Arc<Stuck>> {
        circumstances.of(&Asked {
            id: &self.id,
            priority: self.priority,
            state,
            not_before: self.not_before(),
            next_try: self.next_try(),
            held: self.rare.as_deref().and_then(|rare| rare.held.as_ref()),
        })
    }

    pub fn row(&self, around: &Surroundings, circumstances: &Circumstances<'_>) -> Row {
        let MessageTally { state, left, deferred, failed, done, arrival, .. } = self.tally(around);
        let id = &self.id;
        let open = self.packets.iter().filter(|packet| packet.name.retry.is_none() && packet.done < packet.recipients);
        let packets_total = self.packets_total.into();
        let rate = around.paces.message(id.as_str());
        let stuck = self.stuck(state, circumstances);
        let stuck_reason = stuck.as_ref().map(|stuck| stuck.reason());
        Row {
            queue_name: self.priority.to_string(),
            queue_id: id.to_string(),
            arrival_time: arrival,
            message_size: self.size,
            sender: self.rarely(|rare| rare.sender.as_deref().map(str::to_owned)).unwrap_or_else(|| id.list_owner()),
            priority: self.priority.to_string(),
            state: state.as_str(),
            list: id.list().to_owned(),
            packets_total,
            packets_done: packets_total.saturating_sub(open.count() as u64),
            recipients_total: self.recipients,
            recipients_done: done,
            recipients_left: left,
            deferred,
            failed,
            not_before: self.not_before().map(|at| at.0),
            not_after: self.rarely(|rare| rare.not_after).map(|at| at.0),
            next_try: self.next_try().map(|at| at.0),
            workers: around.working.iter().filter(|at| at.message == *id).count(),
            held: self.rarely(|rare| rare.held.clone()),
            rate,
            // What is in the way may be so for any time.
            time_left: time_left(going(left, stuck_reason), rate),
            stuck: stuck.map(|stuck| stuck.told(utc)),
            stuck_reason,
        }
    }

    pub fn packet_rows(&self, around: &Surroundings) -> Vec<PacketRow> {
        let working = &around.working;
        // Another process's workers have numbers of its own.
        let own = &working[..around.own];
        let at = |packet: &Packet| own.iter().find(|at| at.message == self.id && at.packet == packet.name);
        let row = |packet: &Packet| PacketRow {
            packet: packet_file(&packet.name),
            recipients: packet.recipients.into(),
            done: self.packet_done(packet, working),
            worker: at(packet).map(|at| at.worker),
        };
        self.packets.iter().map(row).collect()
    }
}

/// For programs, and for a page that may be looked at from anywhere.
fn utc(at: u64) -> String {
    let timestamp = i64::try_from(at).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
    timestamp.map_or_else(|| at.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_another_scheduler_has_finished_does_not_come_back_by_what_it_said_before() {
        let packet = |text: &str| match crate::spool::layout::parse(text.as_ref()) {
            Ok(crate::spool::layout::FileName::Packet(name)) => name,
            _ => panic!("{text}"),
        };
        let mut known = Known::new("l@x.org.1.1".parse().unwrap(), "5".parse().unwrap(), 0);
        known.packet_at(packet("recipients.mail.0002"), 10, 2);
        for (name, done) in [("recipients.mail.0001", 5), ("recipients.mail.0002", 6), ("recipients.mail.0002", 4)] {
            known.packet_was_at(&packet(name), done);
        }
        assert_eq!(known.left(&[], false), 4);
        known.packet_was_at(&packet("recipients.mail.0002"), usize::MAX);
        assert_eq!(known.left(&[], false), 0);
    }

    #[test]
    fn a_waiting_message_takes_few_octets() {
        assert!(
            size_of::<Known>() <= 88 && size_of::<Packet>() <= 72,
            "{} {}",
            size_of::<Known>(),
            size_of::<Packet>()
        );
    }
}
