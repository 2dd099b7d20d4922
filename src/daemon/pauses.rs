//! What is paused, as this scheduler knows it.
//!
//! The files in `paused/` are the truth. They are read when the watch hints at a change, with every scan, when a pause ends,
//! and at boundaries once a second by one of the workers: so a pause that another host made, of which no watch tells, acts
//! within a second as long as anything is sent.
//!
//! A message that is paused is asleep on the board without an end, and among [`super::board`]'s `paused`; when the pauses
//! change, those that are paused no more wake up. Whoever is handed a paused message (it was known before the pause) lays it
//! down: nobody goes through a million messages to pause a level.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tracing::error;

use crate::mail::{Epoch, Level};
use crate::spool::Spool;
use crate::spool::layout::PauseName;
use crate::spool::pause::{self, Paused};

use super::clock;

/// The pauses in force. Replaced as a whole when they change.
#[derive(Default)]
pub struct InForce(pub(super) Vec<Paused>);

impl InForce {
    /// The pause that stops such a message.
    pub fn stopping(&self, list: &str, level: Level) -> Option<&Paused> {
        self.0.iter().find(|paused| paused.stops(list, level))
    }

    pub fn stops(&self, list: &str, level: Level) -> bool {
        self.stopping(list, level).is_some()
    }

    /// The relays that are paused, by name.
    pub fn relays(&self) -> HashSet<&str> {
        let relays = self.0.iter().filter_map(|paused| match &paused.name {
            PauseName::Relay(relay) => Some(relay.as_str()),
            _ => None,
        });
        relays.collect()
    }

    /// When the next one ends by itself, of those that have not ended yet.
    fn next_end(&self, now: Epoch) -> Option<Epoch> {
        let ends = self.0.iter().filter_map(|paused| paused.pause.as_ref()?.until);
        ends.filter(|&until| until > now.0).min().map(Epoch)
    }
}

/// See the module.
#[derive(Default)]
pub struct Pauses {
    pub(super) in_force: RwLock<Arc<InForce>>,
    /// Whoever reads the files has this; when they were read last.
    pub(super) looked: Mutex<Option<Instant>>,
    troubled: AtomicBool,
}

impl Pauses {
    pub fn in_force(&self) -> Arc<InForce> {
        self.in_force.read().clone()
    }

    /// How long until the next pause ends; `None` if none ends by itself.
    pub fn until_next_end(&self) -> Option<Duration> {
        let now = clock::epoch();
        let end = self.in_force.read().next_end(now)?;
        Some(Duration::from_secs(end.since(now)))
    }

    /// While this is held, the pauses in force stay as they are.
    pub fn hold_still(&self) -> impl Drop + '_ {
        self.looked.lock()
    }

    pub(super) fn read(&self, spool: &Spool) -> Option<Vec<Paused>> {
        let now = clock::epoch();
        // What is over and can't be removed is over all the same.
        let _ = pause::clear(spool, now);
        match pause::list(spool, now) {
            Ok(pauses) => {
                self.troubled.store(false, Ordering::Relaxed);
                Some(pauses)
            }
            Err(error) => {
                if !self.troubled.swap(true, Ordering::Relaxed) {
                    error!("{}", error.fate("what was paused stays so; what is paused or resumed now is not noticed"));
                }
                None
            }
        }
    }
}
