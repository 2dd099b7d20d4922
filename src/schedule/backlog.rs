//! The messages that wait or are being sent, in the order in which their packets are handed out.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::mail::{Epoch, Level, Moment};

/// A message in the backlog. Never used for another one again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(u64);

/// What is said of a message that was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    pub level: Level,
    /// Orders messages within their level; those of one second go in the order in which they were found.
    pub arrived: Epoch,
    /// Not before that time.
    pub due: Option<Epoch>,
    /// When it was found: what "how long it waited" counts from.
    pub seen: Moment,
}

/// Answer to a worker at a boundary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Boundary {
    Continue,
    /// Give way. The urgent packet is reserved for this worker, which still holds its own until it gives it back.
    Yield(Preemption),
    /// The message was forgotten: let go of it.
    Gone,
}

/// Who gives way to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Preemption {
    pub to: Key,
    /// Since the urgent message was found, or came due.
    pub waited: Duration,
    pub from: Level,
    pub to_level: Level,
}

/// See the module. One entry is about 150 bytes, index included.
#[derive(Default)]
pub struct Backlog {
    messages: HashMap<Key, Entry>,
    /// By level: messages with a ready packet, first arrival first.
    ready: [BTreeSet<(Epoch, Key)>; Level::COUNT],
    /// Messages that are not due yet, soonest first.
    asleep: BTreeSet<(Epoch, Key)>,
    last: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    level: Level,
    arrived: Epoch,
    /// Not due yet.
    due: Option<Epoch>,
    seen: Moment,
    /// Packets that nobody has. Of a message that nobody has opened, one.
    ready: u32,
    /// Packets that workers have.
    working: u32,
}

impl Backlog {
    pub fn new() -> Backlog {
        Backlog::default()
    }

    /// A message was found. How many packets it has is not known until a worker has opened it: until then it counts as
    /// one.
    pub fn arrive(&mut self, arrival: Arrival) -> Key {
        self.last += 1;
        let key = Key(self.last);
        let Arrival { level, arrived, due, seen } = arrival;
        self.messages.insert(key, Entry { level, arrived, due, seen, ready: 1, working: 0 });
        self.index(key);
        key
    }

    /// The worker that was handed the message first has opened it: beside its own packet, `ready` are there to be taken.
    pub fn opened(&mut self, key: Key, ready: u32) {
        self.change(key, |entry| entry.ready = ready);
    }

    /// The message was moved to another level. Workers that are on it learn so at their next boundary.
    pub fn requeued(&mut self, key: Key, level: Level) {
        self.change(key, |entry| entry.level = level);
    }

    /// Forget the message: it is distributed, held, cancelled. Workers still on it may say so later; that changes nothing.
    pub fn gone(&mut self, key: Key) {
        self.unindex(key);
        self.messages.remove(&key);
    }

    /// Nothing of the message can be sent before `until`; then it is as if it had just been found.
    pub fn sleep(&mut self, key: Key, until: Epoch) {
        self.change(key, |entry| {
            entry.due = Some(until);
            entry.ready = 1;
        });
    }

    /// A worker without work asks: one packet of the most urgent message that has one ready is reserved for it.
    pub fn take(&mut self, now: Moment) -> Option<Key> {
        self.wake(now);
        let key = self.first_ready()?;
        self.reserve(key);
        Some(key)
    }

    /// A worker on `current` has ended a transaction and asks whether to go on.
    pub fn boundary(&mut self, current: Key, now: Moment) -> Boundary {
        self.wake(now);
        let Some(&Entry { level: from, .. }) = self.messages.get(&current) else { return Boundary::Gone };
        let Some(to) = self.first_ready() else { return Boundary::Continue };
        let Entry { level: to_level, seen, .. } = self.messages[&to];
        if to_level >= from {
            return Boundary::Continue;
        }
        self.reserve(to);
        Boundary::Yield(Preemption { to, waited: now.since(seen), from, to_level })
    }

    /// A worker's packet of the message is not finished, and anybody may take it.
    pub fn give_back(&mut self, key: Key) {
        self.change(key, |entry| {
            entry.working -= 1;
            entry.ready += 1;
        });
    }

    /// A worker's packet of the message has ended: finished, or not ours to send.
    pub fn done(&mut self, key: Key) {
        self.change(key, |entry| entry.working -= 1);
    }

    /// Whether some worker has a packet of the message.
    pub fn is_working(&self, key: Key) -> bool {
        self.messages.get(&key).is_some_and(|entry| entry.working > 0)
    }

    /// Whether nobody works on the message and none of its packets is to be taken: somebody has to look what is left.
    pub fn is_idle(&self, key: Key) -> bool {
        self.messages.get(&key).is_some_and(|entry| entry.working == 0 && entry.ready == 0)
    }

    /// When the next message that sleeps becomes due. Perhaps in the past, if nobody has asked for work since.
    pub fn next_due(&self) -> Option<Epoch> {
        self.asleep.first().map(|(due, _)| *due)
    }

    /// Messages known.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn first_ready(&self) -> Option<Key> {
        self.ready.iter().find_map(|level| level.first()).map(|(_, key)| *key)
    }

    fn reserve(&mut self, key: Key) {
        self.change(key, |entry| {
            entry.ready -= 1;
            entry.working += 1;
        });
    }

    /// Messages whose time has come are ready. Never early: their second must have begun.
    fn wake(&mut self, now: Moment) {
        while let Some(&(due, key)) = self.asleep.first()
            && Moment::from(due) <= now
        {
            self.change(key, |entry| {
                entry.due = None;
                // It has waited since it came due; when it was found, it was not to be sent.
                entry.seen = entry.seen.max(due.into());
            });
        }
    }

    /// Changes an entry, and its place among the others with it. Nothing, if the message was forgotten.
    fn change(&mut self, key: Key, change: impl FnOnce(&mut Entry)) {
        self.unindex(key);
        if let Some(entry) = self.messages.get_mut(&key) {
            change(entry);
            self.index(key);
        }
    }

    fn index(&mut self, key: Key) {
        if let Some(entry) = self.messages.get(&key) {
            match entry.due {
                Some(due) => drop(self.asleep.insert((due, key))),
                None if entry.ready > 0 => drop(self.ready[entry.level.index()].insert((entry.arrived, key))),
                None => {}
            }
        }
    }

    fn unindex(&mut self, key: Key) {
        if let Some(entry) = self.messages.get(&key) {
            match entry.due {
                Some(due) => drop(self.asleep.remove(&(due, key))),
                None if entry.ready > 0 => drop(self.ready[entry.level.index()].remove(&(entry.arrived, key))),
                None => {}
            }
        }
    }
}
