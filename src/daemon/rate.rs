//! How fast something goes: recipients a second, over the last minute.

use std::collections::VecDeque;
use std::time::Duration;

use crate::mail::Moment;

/// What a rate is taken over.
const WINDOW: Duration = Duration::from_secs(60);

/// Seconds until so much is done, at that rate; none where nothing moves.
pub fn time_left(left: u64, rate: f64) -> Option<f64> {
    (rate > 0.0 && left > 0).then(|| left as f64 / rate)
}

/// A figure that only grows, sampled: its rate over the last minute.
#[derive(Default, PartialEq, Debug)]
pub struct Rate {
    samples: VecDeque<(Moment, u64)>,
}

impl Rate {
    pub fn add(&mut self, now: Moment, total: u64) {
        // A clock that was set back would make the samples' order meaningless.
        if self.samples.back().is_some_and(|(last, _)| *last > now) {
            self.samples.clear();
        }
        self.samples.push_back((now, total));
        while self.samples.get(1).is_some_and(|(second, _)| now.since(*second) >= WINDOW) {
            self.samples.pop_front();
        }
    }

    /// A second, over the last minute or since the first sample, whichever is shorter.
    pub fn at(&self, now: Moment) -> f64 {
        // Nothing happened while nobody sampled: what the last one from before that minute had, the minute began with.
        let before = self.samples.iter().take_while(|(at, _)| now.since(*at) >= WINDOW).last();
        let Some((first, before)) = before.or(self.samples.front()) else { return 0.0 };
        let (_, last) = self.samples.back().expect("there is a first one");
        let time = now.since(*first).min(WINDOW).as_secs_f64();
        // A message whose folder was read again may count fewer than before.
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
        (0..=200).for_each(|second| rate.add(at(second), if second <= 140 { 0 } else { (second - 140) * 10 }));
        assert!((9.8..=10.0).contains(&rate.at(at(200))), "{}", rate.at(at(200)));
        assert!(rate.at(at(230)) < 10.0, "nothing has come since");
        assert_eq!(rate.at(at(400)), 0.0);
        assert_eq!(Rate::default().at(at(1)), 0.0);
    }

    #[test]
    fn what_is_sent_at_once_after_a_long_silence_is_in_the_rate() {
        let mut rate = Rate::default();
        rate.add(at(0), 0);
        rate.add(at(3600), 1200);
        assert_eq!(rate.at(at(3600)), 20.0);
        assert_eq!(rate.at(at(3659)), 20.0);
        assert_eq!(rate.at(at(3661)), 0.0);
    }
}
