//! Ageing: a message that waits long is chosen as if it stood at a more urgent level. Off unless asked for.
//!
//! One level for each `step` of waiting; it never goes below level 0, and never above where the message stands: its folder
//! is not moved. So each message that waits at level n stands first among all levels after n steps at the latest, and goes
//! by arrival among those: nobody starves, as long as level 0 itself gets its turn.
//!
//! "Waiting" is counted from what is on disk, so that it survives a restart and `queue` shows the same: from the arrival
//! in the message's id, or from the time it became due if that is later (scheduled, or its deferred recipients' next try). What
//! was sent meanwhile doesn't stop it: a message that was lifted, and began, is not dropped back to the end.

use std::num::NonZero;

use crate::mail::{Epoch, Level, Moment};

/// Seconds a level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ageing(pub NonZero<u64>);

impl Ageing {
    /// At which level a message of `level` is chosen at `now`, that waits since `since`.
    pub fn lifted(self, level: Level, since: Epoch, now: Epoch) -> Level {
        let steps = now.since(since) / self.0;
        let lifted = (level.index() as u64).saturating_sub(steps);
        Level::new(lifted as u8).expect("not below where it stood")
    }

    /// When it is lifted next; `None`: it stands first already.
    pub fn next_lift(self, level: Level, since: Epoch, now: Epoch) -> Option<Moment> {
        let steps = now.since(since) / self.0;
        let next = steps.saturating_add(1);
        (next <= level.index() as u64).then(|| since.plus(self.0.get().saturating_mul(next)).into())
    }
}
