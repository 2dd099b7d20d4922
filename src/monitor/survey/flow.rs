//! How much goes out, by what the schedulers have counted.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::LevelSum;
use crate::daemon::rate::Rate;
use crate::mail::{Level, Moment, Priority};
use crate::spool::running::Scheduler;

/// Looks that are told of.
const RECENT: usize = 256;
/// Looks that a recent rate is taken over.
const SMOOTH: usize = 3;
/// From then on, what was counted here says more about a level than its messages' rates do.
const WARM: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Default)]
pub struct Flow {
    /// By host and process.
    counted: HashMap<(String, u32), [u64; Level::COUNT]>,
    sent: [u64; Level::COUNT],
    levels: [Rate; Level::COUNT],
    since: Option<Moment>,
    samples: VecDeque<(Moment, u64)>,
    /// The same over the last few seconds, at each look so far, oldest first.
    pub recent: VecDeque<f64>,
}

impl Flow {
    pub fn take_in(&mut self, schedulers: &[Scheduler], now: Moment) {
        self.since.get_or_insert(now);
        for scheduler in schedulers {
            let of = (scheduler.host.clone(), scheduler.pid);
            // Of one that was not known, what it did before is not known to be recent.
            let before = self.counted.insert(of, scheduler.sent).unwrap_or(scheduler.sent);
            for ((sent, now), before) in self.sent.iter_mut().zip(scheduler.sent).zip(before) {
                *sent += now.saturating_sub(before);
            }
        }
        self.counted.retain(|(host, pid), _| schedulers.iter().any(|at| at.host == *host && at.pid == *pid));
        for (rate, sent) in self.levels.iter_mut().zip(self.sent) {
            rate.add(now, sent);
        }
        let total = self.sent.iter().sum();
        self.samples.push_back((now, total));
        if self.samples.len() > SMOOTH + 1 {
            self.samples.pop_front();
        }
        let (first, before) = self.samples[0];
        let time = now.since(first).as_secs_f64();
        if time > 0.0 {
            self.recent.push_back((total - before) as f64 / time);
        }
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// Levels' rates, once they are known better than by the messages that are still there.
    pub fn tell(&self, levels: &mut [LevelSum; Priority::COUNT], now: Moment) {
        if self.since.is_some_and(|since| now.since(since) >= WARM) {
            for (level, rate) in levels.iter_mut().zip(&self.levels) {
                level.rate = rate.at(now);
            }
        }
    }
}
