//! The backlog's memory: an entry a message, in one block, found by its key.

use crate::mail::{Epoch, Level, Moment};

use super::fairness::Class;
use super::key::Key;
use super::limits::Group;

/// What is kept of a message. There are millions: no octet more than needed.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub arrived: Epoch,
    pub seen: Moment,
    /// Since when it waits, for ageing.
    pub waits_since: Epoch,
    /// Not before that time. In the past, once it is awake: a clock that is set back finds it asleep again.
    pub due: Epoch,
    /// Which message has this slot; 0: none.
    serial: u32,
    /// Packets that nobody has. Of a message that nobody has opened, one.
    pub ready: u32,
    /// Packets that workers have.
    pub working: u32,
    /// Transactions that are left, as far as is known.
    pub left: u32,
    pub group: Option<Group>,
    pub level: Level,
    /// The level with what waiting has added.
    pub lifted: Level,
    pub class: Class,
    pub rest: Rest,
}

/// Whether a message waits for its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    Awake,
    /// It is not due: by its name, or what is left of it is not.
    Asleep,
    /// For some other reason: a while of the caller's own.
    PutOff,
}

impl Entry {
    pub fn is_awake(&self) -> bool {
        self.rest == Rest::Awake
    }

    /// When what is left of it is due by itself, whatever it was put off for. (One that lies before its arrival, which takes
    /// a clock that was set back, is not kept.)
    pub fn own_due(&self) -> Epoch {
        if self.waits_since > self.arrived { self.waits_since } else { Epoch(0) }
    }
}

/// All entries. A slot that is free is used again, with another serial.
#[derive(Default)]
pub(super) struct Entries {
    entries: Vec<Entry>,
    free: Vec<u32>,
    last: u32,
}

impl Entries {
    pub fn insert(&mut self, entry: Entry) -> Key {
        // 0 is no message's.
        self.last = self.last.checked_add(1).unwrap_or(1);
        let entry = Entry { serial: self.last, ..entry };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.entries[slot as usize] = entry;
                slot
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("memory ends before 2^32 messages")
            }
        };
        Key { serial: self.last, slot }
    }

    pub fn remove(&mut self, key: Key) {
        if let Some(entry) = self.get_mut(key) {
            entry.serial = 0;
            self.free.push(key.slot);
        }
    }

    pub fn get(&self, key: Key) -> Option<&Entry> {
        self.entries.get(key.slot()).filter(|entry| entry.serial == key.serial)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut Entry> {
        self.entries.get_mut(key.slot()).filter(|entry| entry.serial == key.serial)
    }

    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub fn keys(&self) -> Vec<Key> {
        let taken = self.entries.iter().zip(0..).filter(|(entry, _)| entry.serial != 0);
        taken.map(|(entry, slot)| Key { serial: entry.serial, slot }).collect()
    }
}

impl std::ops::Index<Key> for Entries {
    type Output = Entry;

    /// Of a message that is there.
    fn index(&self, key: Key) -> &Entry {
        self.get(key).expect("whoever is in an order of the backlog's has an entry")
    }
}

impl Entry {
    pub fn new(level: Level, arrived: Epoch, seen: Moment) -> Entry {
        Entry {
            arrived,
            seen,
            waits_since: arrived,
            due: Epoch(0),
            serial: 0,
            ready: 1,
            working: 0,
            left: 1,
            group: None,
            level,
            lifted: level,
            class: Class::SMALLEST,
            rest: Rest::Awake,
        }
    }
}
