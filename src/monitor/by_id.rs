//! Things that have a message's id, each once, in little memory: there may be a hundred thousand.
//!
//! The table holds a pointer a thing; its room for more, which a table of the things themselves would have too, costs
//! next to nothing. The id is there once, in the thing.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::mail::MessageId;

pub trait HasId {
    fn id(&self) -> &MessageId;
}

/// See the module.
pub struct ById<T> {
    table: HashTable<Box<T>>,
    hasher: RandomState,
}

impl<T> Default for ById<T> {
    fn default() -> ById<T> {
        ById { table: HashTable::new(), hasher: RandomState::new() }
    }
}

impl<T: HasId> ById<T> {
    pub fn get(&self, id: &MessageId) -> Option<&T> {
        self.table.find(self.hasher.hash_one(id), |thing| thing.id() == id).map(Box::as_ref)
    }

    pub fn get_mut(&mut self, id: &MessageId) -> Option<&mut T> {
        self.table.find_mut(self.hasher.hash_one(id), |thing| thing.id() == id).map(Box::as_mut)
    }

    /// In place of another one with that id.
    pub fn insert(&mut self, thing: T) {
        self.remove(thing.id());
        let hasher = &self.hasher;
        let hash = hasher.hash_one(thing.id());
        self.table.insert_unique(hash, Box::new(thing), |thing| hasher.hash_one(thing.id()));
    }

    pub fn remove(&mut self, id: &MessageId) {
        if let Ok(found) = self.table.find_entry(self.hasher.hash_one(id), |thing| thing.id() == id) {
            found.remove();
        }
    }

    pub fn retain(&mut self, is_kept: impl Fn(&T) -> bool) {
        self.table.retain(|thing| is_kept(thing));
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.table.iter().map(Box::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(MessageId, u32);

    impl HasId for Named {
        fn id(&self) -> &MessageId {
            &self.0
        }
    }

    #[test]
    fn each_is_there_once_until_it_is_removed() {
        let id = |n: u32| -> MessageId { format!("l@d.1.{n}").parse().unwrap() };
        let mut all = ById::default();
        (0..100).for_each(|n| all.insert(Named(id(n), 0)));
        all.insert(Named(id(7), 1));
        assert_eq!((all.values().count(), all.get(&id(7)).unwrap().1), (100, 1));
        all.get_mut(&id(8)).unwrap().1 = 2;
        all.remove(&id(7));
        all.remove(&id(7));
        assert!(all.get(&id(7)).is_none());
        all.retain(|named| named.1 == 2);
        assert_eq!(all.values().map(|named| named.0.clone()).collect::<Vec<_>>(), [id(8)]);
    }
}
