//! The last hour by minutes.
//!
//! Nothing wakes up to be sampled: while something is sent, the view's thread adds a sample a second; what lies between
//! two looks without one is filled with what was known at the first. Where the clock was ahead and is set right, the minutes
//! that have not come yet are forgotten.

use std::collections::VecDeque;

use serde::Serialize;

use crate::daemon::tally::Tally;
use crate::mail::{Moment, Priority};

const MINUTES: usize = 60;

/// A minute that is over, or the one that is not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Minute {
    /// Its beginning; Unix seconds.
    pub time: u64,
    /// Messages by priority, `0` to `9` and `z`, as they were last known in it.
    pub queued: [u32; Priority::COUNT],
    /// Recipients.
    pub sent: u64,
    pub deferred: u64,
    pub failed: u64,
}

/// See the module.
#[derive(Default)]
pub struct History {
    minutes: VecDeque<Minute>,
    /// Sent, deferred and failed as they were counted last.
    counted: [u64; 3],
}

impl History {
    /// Takes down how things are.
    pub fn sample(&mut self, now: Moment, tally: &Tally, queued: [u32; Priority::COUNT]) {
        let mut totals = [0; 3];
        for level in &tally.levels {
            for (total, counter) in totals.iter_mut().zip([&level.sent, &level.deferred, &level.failed]) {
                *total += counter.get();
            }
        }
        self.begin_minute(now);
        let minute = self.minutes.back_mut().expect("it has just begun");
        minute.queued = queued;
        let mut since = [0; 3];
        for ((since, total), counted) in since.iter_mut().zip(totals).zip(&mut self.counted) {
            *since = total - std::mem::replace(counted, total);
        }
        minute.sent += since[0];
        minute.deferred += since[1];
        minute.failed += since[2];
    }

    fn begin_minute(&mut self, now: Moment) {
        let time = now.epoch().0 / 60 * 60;
        self.minutes.retain(|minute| minute.time <= time);
        let Some(&last) = self.minutes.back() else {
            let queued = [0; Priority::COUNT];
            return self.minutes.push_back(Minute { time, queued, sent: 0, deferred: 0, failed: 0 });
        };
        let missed = (time.saturating_sub(last.time) / 60).min(MINUTES as u64);
        for ago in (0..missed).rev() {
            let minute = Minute { time: time - ago * 60, sent: 0, deferred: 0, failed: 0, ..last };
            self.minutes.push_back(minute);
        }
        while self.minutes.len() > MINUTES {
            self.minutes.pop_front();
        }
    }

    /// The last hour, oldest first.
    pub fn minutes(&self) -> Vec<Minute> {
        self.minutes.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Epoch;

    fn at(second: u64) -> Moment {
        Epoch(second).into()
    }

    #[test]
    fn minutes_in_which_nobody_looked_are_as_the_last_one_that_was_seen() {
        let (mut history, tally) = (History::default(), Tally::default());
        let mut queued = [0; Priority::COUNT];
        queued[5] = 7;
        tally.levels[5].sent.inc_by(100);
        history.sample(at(60), &tally, queued);
        tally.levels[5].sent.inc_by(10);
        history.sample(at(60 * 4 + 5), &tally, [0; Priority::COUNT]);
        let seen: Vec<_> =
            history.minutes().iter().map(|minute| (minute.time, minute.queued[5], minute.sent)).collect();
        assert_eq!(seen, [(60, 7, 100), (120, 7, 0), (180, 7, 0), (240, 0, 10)]);
        history.sample(at(60 * 1000), &tally, queued);
        assert_eq!(history.minutes().len(), MINUTES);
    }

    #[test]
    fn a_clock_that_was_ahead_and_is_set_right_leaves_no_minute_in_the_future() {
        let (mut history, tally) = (History::default(), Tally::default());
        let send = |history: &mut History, second: u64| {
            tally.levels[5].sent.inc_by(10);
            history.sample(at(second), &tally, [1; Priority::COUNT]);
        };
        let seen = |history: &History| -> Vec<(u64, u64)> {
            history.minutes().iter().map(|minute| (minute.time, minute.sent)).collect()
        };
        [600, 4200, 4260].into_iter().for_each(|second| send(&mut history, second));
        [660, 700, 720].into_iter().for_each(|second| send(&mut history, second));
        assert_eq!(seen(&history), [(660, 20), (720, 10)]);
        // A minute that was there goes on.
        send(&mut history, 670);
        assert_eq!(seen(&history), [(660, 30)]);
    }
}
