//! How urgent a message is: a level from `0` (first) to `9`, or held.

use std::fmt;
use std::str::FromStr;

/// A level of urgency, `0` (first) to `9` (last). Only levels are ever distributed, so the backlog takes a `Level`
/// and "held messages are never sent" needs no condition anywhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Level(u8);

impl Level {
    pub const COUNT: usize = 10;
    pub const FIRST: Level = Level(0);
    pub const LAST: Level = Level(9);

    /// `None` beyond 9.
    pub const fn new(level: u8) -> Option<Level> {
        if level < Self::COUNT as u8 { Some(Level(level)) } else { None }
    }

    pub const fn index(self) -> usize {
        self.0 as usize
    }

    pub fn all() -> impl DoubleEndedIterator<Item = Level> {
        (0..Self::COUNT as u8).map(Level)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where a message stands: at a level, or held (`z`), which is never distributed until it is moved.
///
/// Ordered from the most urgent to held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Priority {
    At(Level),
    Held,
}

impl Priority {
    pub const COUNT: usize = Level::COUNT + 1;

    /// The name of this priority's directory below `distribute/`.
    pub const fn dir_name(self) -> &'static str {
        const NAMES: [&str; Level::COUNT] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
        match self {
            Priority::At(level) => NAMES[level.index()],
            Priority::Held => "z",
        }
    }

    /// 0 to 9 for the levels, 10 for held: a place in an array of all priorities.
    pub const fn index(self) -> usize {
        match self {
            Priority::At(level) => level.index(),
            Priority::Held => Level::COUNT,
        }
    }

    pub const fn level(self) -> Option<Level> {
        match self {
            Priority::At(level) => Some(level),
            Priority::Held => None,
        }
    }

    /// From the most urgent to held.
    pub fn all() -> impl DoubleEndedIterator<Item = Priority> {
        Level::all().map(Priority::At).chain([Priority::Held])
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.dir_name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a priority: expected a digit from 0 (first) to 9, or z (held)")]
pub struct BadPriority(pub String);

impl FromStr for Priority {
    type Err = BadPriority;

    fn from_str(text: &str) -> Result<Self, BadPriority> {
        Priority::all().find(|priority| priority.dir_name() == text).ok_or_else(|| BadPriority(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_priority_reads_back_from_its_directory_name() {
        for priority in Priority::all() {
            assert_eq!(priority.dir_name().parse(), Ok(priority));
        }
        assert_eq!(Priority::all().count(), Priority::COUNT);
    }

    #[test]
    fn nothing_but_the_eleven_names_is_a_priority() {
        for text in ["", "10", "-1", "Z", "00", " 1", "z ", "１"] {
            assert!(text.parse::<Priority>().is_err(), "{text:?}");
        }
    }
}
