//! What may have changed since the scheduler looked last: names that may have come or gone, directories to be listed again.
//!
//! Whoever knows something drops it here: the kernel's watch, the poll of a network file system, other hosts. Nothing is
//! queued: names are a set of bounded size, and one that is full becomes "list that directory"; the scheduler's thread is
//! woken through a channel of one. The scan is the truth: losing all of this costs time, and never mail.
//!
//! Which way a message went is noted beside its names, for whoever is told of it; nobody's mail goes by that.

use std::collections::HashSet;
use std::ffi::OsString;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::mail::Priority;
use crate::spool::layout::{self, Entry, MessageName};

/// As many names as are looked at one by one; with more, one listing is cheaper.
const MAX_NAMES: usize = 1024;
/// As many steps as are noted; of those behind them only where they ended is told.
const MAX_STEPS: usize = 4096;

/// Where a message stands, or stood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spot {
    pub priority: Priority,
    pub name: MessageName,
}

/// A name that has come to a priority's directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// `None`: from elsewhere.
    pub from: Option<Spot>,
    pub to: Spot,
}

/// What may have changed since it was taken last.
#[derive(Default)]
pub struct Hints {
    pub names: HashSet<(Priority, OsString)>,
    /// In the order in which they were made.
    pub steps: Vec<Step>,
    /// Directories to list again, by [`Priority::index`].
    pub rescan: [bool; Priority::COUNT],
    /// Pauses may have come or gone.
    pub pauses: bool,
    /// Claims are to be had again.
    pub claims: bool,
}

impl Hints {
    pub fn note(&mut self, priority: Priority, name: OsString) {
        if self.names.len() < MAX_NAMES {
            self.names.insert((priority, name));
        } else {
            self.rescan[priority.index()] = true;
        }
    }

    pub fn step(&mut self, step: Step) {
        if self.steps.len() < MAX_STEPS {
            self.steps.push(step);
        }
    }

    pub fn everything(&mut self) {
        self.rescan = [true; Priority::COUNT];
        self.pauses = true;
    }
}

/// Where hints are dropped.
pub struct Desk {
    hints: Mutex<Hints>,
    wake: Sender<()>,
}

impl Desk {
    /// With the channel that wakes whoever reads them.
    pub fn new() -> (Desk, Receiver<()>) {
        let (wake, woken) = bounded(1);
        (Desk { hints: Mutex::default(), wake }, woken)
    }

    pub fn drop_in(&self, hints: impl FnOnce(&mut Hints)) {
        hints(&mut self.hints.lock());
        // Full: the reader has not yet looked, and will see this as well.
        let _ = self.wake.try_send(());
    }

    /// What may have changed since the last call.
    pub fn take(&self) -> Hints {
        std::mem::take(&mut self.hints.lock())
    }
}

/// How hosts tell each other what has come to be: a message's name below `distribute/`, or that pauses have changed.
pub const PAUSES: &str = layout::PAUSED;

pub fn announced(priority: Priority, name: &str) -> String {
    format!("{}/{name}", priority.dir_name())
}

/// What another host has announced; `None`: nothing that this program knows.
#[cfg_attr(not(any(feature = "cluster", test)), expect(dead_code, reason = "nobody announces anything"))]
pub fn heard(text: &str) -> Option<(Priority, OsString)> {
    let (priority, name) = text.split_once('/')?;
    let priority = priority.parse().ok()?;
    matches!(layout::parse(name.as_ref()), Ok(Entry::Message(_))).then(|| (priority, name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_heard_and_nothing_else_is() {
        let name = "my-list@my.dom.1192613090.972:at1192680000";
        assert_eq!(heard(&announced(Priority::Held, name)), Some((Priority::Held, name.into())));
        for strange in ["", "0", "0/", "0/../../etc/passwd", "q/my-list@my.dom.1.1", "5/x\u{1b}[2J"] {
            assert_eq!(heard(strange), None, "{strange:?}");
        }
    }
}
