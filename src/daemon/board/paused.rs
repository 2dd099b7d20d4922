//! Messages that are paused, or outside their list's windows: known, asleep, and woken when pauses or settings change.

use std::sync::Arc;

use super::{Board, Inner};
use crate::daemon::clock;
use crate::daemon::pauses::InForce;
use crate::mail::Epoch;
use crate::schedule::Key;

/// Until somebody wakes it: the last second that a name can have.
pub(super) const FOREVER: Epoch = Epoch(999_999_999_999_999);

impl Board {
    /// The worker that was assigned a packet of the message can't send it, since one of `pauses` stops it. Where the pauses
    /// have changed meanwhile, the packet is handed out again.
    pub fn lay_down(&self, key: Key, pauses: &Arc<InForce>) {
        let mut inner = self.inner.lock();
        inner.backlog.done(key);
        if let Some(known) = inner.known.get_mut(key) {
            // Whoever is handed it next looks anew what of it waits.
            known.open = None;
            let until = if Arc::ptr_eq(&inner.pauses, pauses) { FOREVER } else { clock::epoch() };
            inner.backlog.put_off(key, until);
            if until == FOREVER {
                inner.paused.insert(key);
            } else {
                self.hand_out(&mut inner);
            }
        }
    }

    /// The worker that was assigned a packet of the message can't send it before its list's next window opens.
    pub fn close(&self, key: Key, opens: Epoch) {
        self.put_off(key, opens);
        let mut inner = self.inner.lock();
        if inner.known.get(key).is_some() {
            inner.paused.insert(key);
        }
    }

    /// Other pauses are in force, or other settings: messages that none of them stops may be sent.
    pub fn pauses_changed(&self, pauses: &Arc<InForce>) {
        let mut inner = self.inner.lock();
        inner.pauses = pauses.clone();
        let is_free = |key: &Key| {
            let known = inner.known.get(*key);
            known.is_none_or(|known| !pauses.stops(known.list(), known.level))
        };
        let free: Vec<Key> = inner.paused.iter().copied().filter(is_free).collect();
        for key in free {
            inner.look_again(key);
        }
        self.hand_out(&mut inner);
        drop(inner);
        // Scheduled ones sleep on, and whoever waits has to wait for their time.
        self.wake_the_idle();
    }
}

impl Inner {
    /// If the message is paused, it is handed out again in its time; whoever gets it sees whether it still is.
    pub(super) fn look_again(&mut self, key: Key) {
        if self.paused.remove(&key)
            && let Some(known) = self.known.get(key)
        {
            let due = known.name().not_before().unwrap_or_default().max(clock::epoch());
            self.backlog.put_off(key, due);
        }
    }
}
