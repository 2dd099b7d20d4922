//! How much goes out from look to look, by what the schedulers have counted: for the line that is drawn.

use std::collections::{HashMap, VecDeque};

use crate::mail::{Level, Moment};
use crate::spool::running::Scheduler;

/// Looks that are told of.
const RECENT: usize = 256;
/// Looks that a recent rate is taken over.
const SMOOTH: usize = 3;

/// See the module.
#[derive(Default)]
pub struct Flow {
    /// By host and process.
    counted: HashMap<(String, u32), [u64; Level::COUNT]>,
    passed: u64,
    samples: VecDeque<(Moment, u64)>,
    /// The rate over the last few seconds, at each look so far, oldest first.
    pub recent: VecDeque<f64>,
}

impl Flow {
    pub fn take_in(&mut self, schedulers: &[Scheduler], now: Moment) {
        for scheduler in schedulers {
            let (of, passed) = ((scheduler.host.clone(), scheduler.pid), scheduler.pace.passed);
            // Of one that was not known, what it did before is not known to be recent.
            let before = self.counted.insert(of, passed).unwrap_or(passed);
            for (now, before) in passed.into_iter().zip(before) {
                self.passed = self.passed.saturating_add(now.saturating_sub(before));
            }
        }
        self.counted.retain(|(host, pid), _| schedulers.iter().any(|at| at.host == *host && at.pid == *pid));
        self.samples.push_back((now, self.passed));
        if self.samples.len() > SMOOTH + 1 {
            self.samples.pop_front();
        }
        let (first, before) = self.samples[0];
        let time = now.since(first).as_secs_f64();
        if time > 0.0 {
            self.recent.push_back((self.passed - before) as f64 / time);
        }
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }
}
