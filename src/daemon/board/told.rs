//! That a message has come is told once, and before anything else of it.
//!
//! A worker may open a message as soon as it is on the board; where it came from, the scheduler's thread knows only when it
//! has read all that the watch has to say. Whoever is first tells.

use crate::schedule::Key;
use crate::spool::layout::MessageName;

use super::Board;

impl Board {
    /// A worker has opened the message. Where nobody has told yet that it has come, `tell` does so before anybody tells more.
    pub fn begins(&self, key: Key, tell: impl FnOnce()) {
        let mut inner = self.inner.lock();
        let Some(known) = inner.known.get_mut(key).filter(|known| !known.is_told) else { return };
        known.is_told = true;
        let id = known.name().id;
        inner.told.insert(id);
        tell();
    }

    /// The scheduler's thread knows where the message came from. `tell`s so, unless a worker has.
    pub fn came(&self, name: &MessageName, tell: impl FnOnce()) {
        let mut inner = self.inner.lock();
        if let Some(known) = inner.known.find(name).and_then(|key| inner.known.get_mut(key)) {
            known.is_told = true;
        }
        if !inner.told.remove(&name.id) {
            tell();
        }
    }
}
