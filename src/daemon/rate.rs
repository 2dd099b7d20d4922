//! How fast something goes.
//!
//! A rate means the same of a message, of a level and of all, and wherever it is shown (`queue`, `top`, HTTP, the page):
//! recipients a second who were tried for the first time, whatever became of them, over the last minute, or since it is
//! being sent, whichever is shorter (of levels and all: since anything is, so that they add up). So they are those by whom
//! what is left has become less, and what is left, divided by its rate, is the time left. Deferred recipients who are tried
//! again are in no rate, as they are in no time left.
//!
//! They are counted where a checkpoint is written ([`super::transaction`]), looked at once a second while something is sent,
//! in one place ([`super::showing`]), and told from there to this process and, by the spool's `running/`, to all others.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::mail::{Level, Moment};

/// What a rate is taken over.
const WINDOW: Duration = Duration::from_secs(60);
/// Nothing of it being sent for longer than that is a pause: behind it, a rate begins anew.
pub const REST: Duration = Duration::from_secs(5);
/// How often it is looked at while something is sent.
pub const PERIOD: Duration = Duration::from_secs(1);

/// Seconds until so much is done, at that rate; none where nothing moves.
pub fn time_left(left: u64, rate: f64) -> Option<f64> {
    (rate > 0.0 && left > 0).then(|| left as f64 / rate)
}

/// How fast a scheduler's work goes: nothing while it rests.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Rates {
    /// The fastest messages, by id.
    pub messages: BTreeMap<String, f64>,
    pub levels: [f64; Level::COUNT],
    pub all: f64,
}

/// A figure that only grows, sampled: its rate over the last minute.
#[derive(Default, PartialEq, Debug)]
pub struct Rate {
    samples: VecDeque<(Moment, u64)>,
}

impl Rate {
    /// `is_going`: something of it is being sent.
    pub fn add(&mut self, now: Moment, total: u64, is_going: bool) {
        if let Some(&(last, before)) = self.samples.back() {
            if !is_going && total == before {
                return;
            }
            // A clock that was set back would make the samples' order meaningless.
            if last > now {
                self.samples.clear();
            } else if now.since(last) > REST {
                self.samples.clear();
                if total > before {
                    // Sent since it was looked at last, or just now: it is looked at soon after something begins.
                    self.samples.push_back((now.minus(PERIOD), before));
                }
            }
        }
        self.samples.push_back((now, total));
        while self.samples.get(1).is_some_and(|(second, _)| now.since(*second) >= WINDOW) {
            self.samples.pop_front();
        }
    }

    /// A second, over the last minute or since it has begun, whichever is shorter.
    pub fn at(&self, now: Moment) -> f64 {
        // Nothing happened while nobody sampled: what the last one from before that minute had, the minute began with.
        let before = self.samples.iter().take_while(|(at, _)| now.since(*at) >= WINDOW).last();
        let Some((first, before)) = before.or(self.samples.front()) else { return 0.0 };
        let (_, last) = self.samples.back().expect("there is a first one");
        let time = now.since(*first).min(WINDOW).as_secs_f64();
        if time < 0.5 { 0.0 } else { last.saturating_sub(*before) as f64 / time }
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
    fn a_rate_is_that_of_the_last_minute() {
        let mut rate = Rate::default();
        (0..=200).for_each(|second| rate.add(at(second), if second <= 140 { 0 } else { (second - 140) * 10 }, true));
        assert!((9.8..=10.0).contains(&rate.at(at(200))), "{}", rate.at(at(200)));
        assert!(rate.at(at(230)) < 10.0, "nothing has come since");
        assert_eq!(rate.at(at(400)), 0.0);
        assert_eq!(Rate::default().at(at(1)), 0.0);
    }

    #[test]
    fn a_rate_begins_anew_behind_a_pause_and_not_behind_a_moment_without_work() {
        let mut rate = Rate::default();
        (0..=10).for_each(|second| rate.add(at(second), second * 10, true));
        (11..=13).for_each(|second| rate.add(at(second), 100, false));
        (14..=20).for_each(|second| rate.add(at(second), 100 + (second - 13) * 10, true));
        assert_eq!(rate.at(at(20)), 170.0 / 20.0);
        (21..=50).for_each(|second| rate.add(at(second), 170, false));
        assert_eq!(rate.at(at(50)), 170.0 / 50.0, "until it goes on");
        (51..=55).for_each(|second| rate.add(at(second), 170 + (second - 50) * 30, true));
        assert_eq!(rate.at(at(55)), 30.0);
    }

    #[test]
    fn what_is_sent_at_once_after_a_long_silence_is_in_the_rate() {
        let mut rate = Rate::default();
        rate.add(at(0), 0, true);
        rate.add(at(3600), 1200, true);
        assert_eq!(rate.at(at(3600)), 1200.0);
        assert_eq!(rate.at(at(3659)), 20.0);
        assert_eq!(rate.at(at(3661)), 0.0);
    }
}
