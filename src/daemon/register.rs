//! The messages that the board knows, by key and by name, in little memory: there may be a million.
//!
//! A message's line has its key's slot, so the table of names holds numbers alone, and each name is there once: as it came,
//! its text shared with whoever else remembers it. Names are hashed by their ids: so a message is found that has another
//! time by now.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;

use crate::mail::{Level, MessageId};
use crate::schedule::Key;
use crate::spool::layout::MessageName;

use super::message::OpenMessage;

/// See the module.
#[derive(Default)]
pub struct Register {
    lines: Vec<Option<Known>>,
    by_name: HashTable<u32>,
    hasher: RandomState,
}

/// What is known of a message, beside what the backlog knows.
pub struct Known {
    key: Key,
    name: MessageName,
    pub open: Option<Arc<OpenMessage>>,
    /// In which look at its directory it was seen last.
    pub look: u32,
    pub level: Level,
    /// A watch or a scan has seen it since it is known.
    pub seen_again: bool,
    /// Where it came from was told.
    pub is_told: bool,
    /// That it is not at its level any more was told, while somebody works on it.
    pub away: Option<Away>,
}

/// Where a message has gone of which somebody has a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Away {
    Held,
    Gone,
}

impl Known {
    pub fn name(&self) -> MessageName {
        self.name.clone()
    }

    /// The list's address.
    pub fn list(&self) -> &str {
        self.name.id.list()
    }
}

impl Register {
    pub fn insert(&mut self, key: Key, name: MessageName, level: Level, look: u32) {
        let hash = self.hasher.hash_one(&name.id);
        if self.lines.len() <= key.slot() {
            self.lines.resize_with(key.slot() + 1, || None);
        }
        self.lines[key.slot()] =
            Some(Known { key, name, open: None, look, level, seen_again: false, is_told: false, away: None });
        let (lines, hasher) = (&self.lines, &self.hasher);
        self.by_name.insert_unique(hash, key.slot() as u32, |&slot| hasher.hash_one(&name_at(lines, slot).id));
    }

    pub fn find(&self, name: &MessageName) -> Option<Key> {
        self.search(&name.id, |there| there == name)
    }

    /// The message of that id under another name.
    pub fn find_other(&self, name: &MessageName) -> Option<Key> {
        self.search(&name.id, |there| there != name && there.id == name.id)
    }

    fn search(&self, id: &MessageId, is_it: impl Fn(&MessageName) -> bool) -> Option<Key> {
        let slot = self.by_name.find(self.hasher.hash_one(id), |&slot| is_it(name_at(&self.lines, slot)))?;
        self.lines[*slot as usize].as_ref().map(|known| known.key)
    }

    pub fn get(&self, key: Key) -> Option<&Known> {
        self.lines.get(key.slot())?.as_ref().filter(|known| known.key == key)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut Known> {
        self.lines.get_mut(key.slot())?.as_mut().filter(|known| known.key == key)
    }

    pub fn remove(&mut self, key: Key) -> Option<Known> {
        let hash = self.hasher.hash_one(&self.get(key)?.name.id);
        if let Ok(found) = self.by_name.find_entry(hash, |&slot| slot as usize == key.slot()) {
            found.remove();
        }
        self.lines[key.slot()].take()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Key, &Known)> {
        self.lines.iter().flatten().map(|known| (known.key, known))
    }
}

fn name_at(lines: &[Option<Known>], slot: u32) -> &MessageName {
    &lines[slot as usize].as_ref().expect("only messages that are known have a name in the table").name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Epoch, Moment};
    use crate::schedule::{Arrival, Backlog};

    #[test]
    fn messages_are_found_by_key_and_by_name_until_they_are_removed() {
        let (mut register, mut backlog) = (Register::default(), Backlog::new());
        let names: [MessageName; 4] =
            ["a@b.1.1", "a@b.1.1:at7", "a@b.1.1:at07", "c@d.1.2"].map(|name| name.parse().unwrap());
        let arrival = Arrival { level: Level::FIRST, arrived: Epoch(1), due: None, seen: Moment(1), group: None };
        let keys = names.each_ref().map(|name| {
            let key = backlog.arrive(arrival);
            register.insert(key, name.clone(), Level::FIRST, 0);
            key
        });
        assert_eq!(names.each_ref().map(|name| register.find(name)), keys.map(Some));
        let other = |name: &str| register.find_other(&name.parse().unwrap());
        assert!(other("a@b.1.1").is_some_and(|key| keys[1..3].contains(&key)));
        assert!(other("a@b.1.1:at8").is_some_and(|key| keys[..3].contains(&key)));
        assert_eq!([other("c@d.1.2"), other("c@d.1.2:at1"), other("c@d.1.3")], [None, Some(keys[3]), None]);
        assert!(register.remove(keys[1]).is_some() && register.remove(keys[1]).is_none());
        backlog.gone(keys[1]);
        let again = backlog.arrive(arrival);
        register.insert(again, names[1].clone(), Level::LAST, 0);
        assert_eq!(again.slot(), keys[1].slot());
        assert!(register.get(keys[1]).is_none(), "another message has its slot");
        assert_eq!(register.find(&names[1]), Some(again));
        assert_eq!(register.get(again).unwrap().name(), names[1]);
        assert_eq!(register.iter().count(), 4);
    }
}
