//! What a message in the backlog is called.

/// A message in the backlog. Ordered by when it was found. (A key comes again after 2^32 further messages; by then nobody
/// remembers the first one.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    pub(super) serial: u32,
    pub(super) slot: u32,
}

impl Key {
    /// A small number that no other message in the backlog has: a place in an array beside it.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}
