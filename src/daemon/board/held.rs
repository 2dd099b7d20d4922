//! Messages that are held, as far as was told: so that a hold, or a release, is told once, by whoever sees it first.
//!
//! They are nobody's work, and the backlog doesn't hear of them.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::spool::layout::MessageName;

/// See the module. Names are hashed by their ids.
#[derive(Default)]
pub(super) struct Held {
    names: HashTable<Line>,
    hasher: RandomState,
}

struct Line {
    name: MessageName,
    /// In which look at the directory it was seen last.
    look: u32,
}

impl Held {
    /// It was seen in that look. `true`: it was not known to be held.
    pub fn insert(&mut self, name: &MessageName, look: u32) -> bool {
        let hash = self.hasher.hash_one(&name.id);
        if let Some(line) = self.names.find_mut(hash, |line| line.name == *name) {
            line.look = look;
            return false;
        }
        let (name, hasher) = (name.clone(), &self.hasher);
        self.names.insert_unique(hash, Line { name, look }, |line| hasher.hash_one(&line.name.id));
        true
    }

    /// It is held no more. `true`: it was.
    pub fn remove(&mut self, name: &MessageName) -> bool {
        let hash = self.hasher.hash_one(&name.id);
        self.names.find_entry(hash, |line| line.name == *name).map(|found| drop(found.remove())).is_ok()
    }

    pub fn contains(&self, name: &MessageName) -> bool {
        self.names.find(self.hasher.hash_one(&name.id), |line| line.name == *name).is_some()
    }

    /// The message of that id under another name.
    pub fn find_other(&self, name: &MessageName) -> Option<MessageName> {
        let is_it = |line: &Line| line.name.id == name.id && line.name != *name;
        self.names.find(self.hasher.hash_one(&name.id), is_it).map(|line| line.name.clone())
    }

    /// Those that were not seen in that look.
    pub fn unseen(&self, look: u32) -> Vec<MessageName> {
        self.names.iter().filter(|line| line.look != look).map(|line| line.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_known_by_its_name_and_found_by_its_id() {
        let mut held = Held::default();
        let [plain, later, other] = ["a@b.1.1", "a@b.1.1:at7", "c@d.1.2"].map(|name| name.parse().unwrap());
        assert!(held.insert(&plain, 1) && !held.insert(&plain, 2) && held.insert(&other, 1));
        assert_eq!([held.find_other(&later), held.find_other(&plain)], [Some(plain.clone()), None]);
        assert_eq!((held.unseen(2), held.unseen(1)), (vec![other.clone()], vec![plain.clone()]));
        assert!(held.remove(&plain) && !held.remove(&plain) && !held.remove(&later));
        assert_eq!([&plain, &later, &other].map(|name| held.contains(name)), [false, false, true]);
    }
}
