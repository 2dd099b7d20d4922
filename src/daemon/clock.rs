//! The only place that asks what time it is.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::mail::{Epoch, Moment};

/// The wall clock.
pub fn now() -> Moment {
    // Before 1970 there is no mail; a clock that says so is treated as saying 1970.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(since.as_micros() as u64)
}

pub fn epoch() -> Epoch {
    now().epoch()
}

/// Sees whether somebody sets the wall clock, against the one that nobody sets.
pub struct Hands {
    at: (Instant, Moment),
}

/// How the wall clock was set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Set {
    Forward(Duration),
    Back(Duration),
}

impl Hands {
    pub fn watch() -> Hands {
        Hands { at: (Instant::now(), now()) }
    }

    /// How it was set since the last look, if it was by a second or more: less is what keeps it right. (The clock that nobody
    /// sets stands still while the machine sleeps: that looks like one set forward, and is one.)
    pub fn look(&mut self) -> Option<Set> {
        let (then, was) = std::mem::replace(&mut self.at, (Instant::now(), now()));
        let (should_be, is) = (was.plus(self.at.0.duration_since(then)), self.at.1);
        let (forward, back) = (is.since(should_be), should_be.since(is));
        match Duration::from_secs(1) {
            least if forward >= least => Some(Set::Forward(forward)),
            least if back >= least => Some(Set::Back(back)),
            _ => None,
        }
    }
}
