//! How many workers a list's messages may have together.
//!
//! A limited list has one candidate at a time: the first of its messages by level and arrival, and none while as many
//! workers as it may have are on it. So a message that must wait for its own list costs the others' decisions nothing.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZero;

use crate::mail::{Epoch, Level};

use super::key::Key;

/// Messages that share a limit; the caller's number for them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Group(pub NonZero<u32>);

/// Of one group.
pub(super) struct Limit {
    most: u32,
    pub working: u32,
    /// Its messages with a ready packet.
    waiting: BTreeSet<(Level, Epoch, Key)>,
    /// Which of them is offered.
    pub offered: Option<Key>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Limits(HashMap<Group, Limit>);

impl Limits {
    /// Sets how many workers the group may have; none: any number.
    pub fn set(&mut self, group: Group, most: Option<NonZero<u32>>) {
        self.of(group).most = most.map_or(u32::MAX, NonZero::get);
    }

    pub fn of(&mut self, group: Group) -> &mut Limit {
        let unlimited = || Limit { most: u32::MAX, working: 0, waiting: BTreeSet::new(), offered: None };
        self.0.entry(group).or_insert_with(unlimited)
    }

    /// No message is in any group's order any more.
    pub fn empty(&mut self) {
        for limit in self.0.values_mut() {
            limit.waiting.clear();
            limit.offered = None;
        }
    }
}

impl Limit {
    pub fn insert(&mut self, level: Level, arrived: Epoch, key: Key) {
        self.waiting.insert((level, arrived, key));
    }

    pub fn remove(&mut self, level: Level, arrived: Epoch, key: Key) {
        self.waiting.remove(&(level, arrived, key));
    }

    /// Which of its messages may be offered now.
    pub fn candidate(&self) -> Option<Key> {
        self.waiting.first().filter(|_| self.working < self.most).map(|(_, _, key)| *key)
    }
}
