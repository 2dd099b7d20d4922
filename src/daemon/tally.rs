//! What was done since the process began, in numbers: what a metrics page adds up over time.
//!
//! Exact, unlike events: a counter is never lost. Workers add to them once a transaction.

use std::array;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::mail::Level;

/// See the module.
pub struct Tally {
    /// By the level that the message stood at.
    pub levels: [LevelTally; Level::COUNT],
    /// From level, to level. Equal ones: a small message went past a big one.
    pub preemptions: [[Counter; Level::COUNT]; Level::COUNT],
    pub packets: PacketTally,
    /// Recipients of whom nobody knows whether they got the message.
    pub uncertain: Counter,
    /// From a more urgent message's being found to the boundary at which a worker gives way to it; seconds.
    pub preemption_latency: Histogram,
    /// From MAIL to the reply to the final dot; seconds.
    pub transaction_duration: Histogram,
    /// Writing down how far a packet is, sync included; seconds.
    pub checkpoint_duration: Histogram,
}

/// Recipients by what became of them, and what carried them.
#[derive(Default)]
pub struct LevelTally {
    pub sent: Counter,
    pub deferred: Counter,
    pub failed: Counter,
    /// Recipients who were tried for the first time, and what became of them is written down: what [`super::rate`] is about.
    pub passed: Counter,
    pub transactions: Counter,
    /// Messages distributed.
    pub messages: Counter,
}

/// Packets by how a worker's hold on them ended.
#[derive(Default)]
pub struct PacketTally {
    pub finished: Counter,
    /// Left for a more urgent message.
    pub preempted: Counter,
    /// Left for another reason: relay, stop, reload, hold.
    pub given_back: Counter,
    pub set_aside: Counter,
}

impl Default for Tally {
    fn default() -> Tally {
        // From 50 µs, well below a transaction on loopback, to half an hour, beyond the 10 minutes of RFC 5321 §4.5.3.2.6.
        let buckets = || exponential_buckets(50e-6, 2.0, 26);
        Tally {
            levels: array::from_fn(|_| LevelTally::default()),
            preemptions: array::from_fn(|_| array::from_fn(|_| Counter::default())),
            packets: PacketTally::default(),
            uncertain: Counter::default(),
            preemption_latency: Histogram::new(buckets()),
            transaction_duration: Histogram::new(buckets()),
            checkpoint_duration: Histogram::new(buckets()),
        }
    }
}

impl Tally {
    /// One transaction of a message at `level`.
    pub fn transaction(&self, level: Level, took: Duration) {
        self.levels[level.index()].transactions.inc();
        self.transaction_duration.observe(took.as_secs_f64());
    }

    pub fn preemption(&self, from: Level, to: Level, waited: Duration) {
        self.preemptions[from.index()][to.index()].inc();
        self.preemption_latency.observe(waited.as_secs_f64());
    }
}
