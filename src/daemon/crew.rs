//! Which workers take what.

use crate::mail::Level;

/// What a worker takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crew {
    Any,
    /// Nothing less urgent than this level: express workers.
    UpTo(Level),
}

impl Crew {
    pub const COUNT: usize = 2;

    pub fn index(self) -> usize {
        match self {
            Crew::Any => 0,
            Crew::UpTo(_) => 1,
        }
    }

    /// The least urgent level of what it takes.
    pub fn last(self) -> Level {
        match self {
            Crew::Any => Level::LAST,
            Crew::UpTo(last) => last,
        }
    }
}
