//! Which relay a worker connects to, and when nobody should try.
//!
//! A relay that is down is everybody's trouble at once: the first worker that meets it takes it out of use for all, for
//! a time that doubles from a second to a minute; then one worker probes. So an outage is one line in the log when it
//! begins and one when it ends, and costs the relay one connection attempt at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::deliver::Relay;

/// All relays, in order of preference.
pub struct Relays {
    relays: Vec<Arc<dyn Relay>>,
    states: Mutex<Vec<State>>,
}

#[derive(Clone, Copy)]
enum State {
    Usable,
    /// Not before `until`. `failures` in a row so far.
    Down {
        until: Instant,
        failures: u32,
    },
    /// One worker is trying whether it is back.
    Probed {
        failures: u32,
    },
}

/// Answer to a worker that needs a connection.
pub enum Pick {
    Use(usize),
    /// No relay is usable: ask again then.
    Wait(Instant),
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often workers ask while another one probes; the end of the probe wakes them sooner.
const WHILE_PROBED: Duration = Duration::from_secs(5);

impl Relays {
    pub fn new(relays: Vec<Arc<dyn Relay>>) -> Relays {
        let states = Mutex::new(vec![State::Usable; relays.len()]);
        Relays { relays, states }
    }

    pub fn get(&self, index: usize) -> &Arc<dyn Relay> {
        &self.relays[index]
    }

    /// The first relay that is usable, or that it is time to probe. Whoever gets it says how it went: with
    /// [`Relays::works`], [`Relays::fails`] or [`Relays::no_answer`].
    pub fn pick(&self, now: Instant) -> Pick {
        let mut states = self.states.lock();
        let mut soonest = now + LONGEST_PAUSE;
        for (index, state) in states.iter_mut().enumerate() {
            match *state {
                State::Usable => return Pick::Use(index),
                State::Down { until, failures } if until <= now => {
                    *state = State::Probed { failures };
                    return Pick::Use(index);
                }
                State::Down { until, .. } => soonest = soonest.min(until),
                State::Probed { .. } => soonest = soonest.min(now + WHILE_PROBED),
            }
        }
        Pick::Wait(soonest)
    }

    /// The relay has answered as it should. `true`: it was down before.
    pub fn works(&self, index: usize) -> bool {
        let before = std::mem::replace(&mut self.states.lock()[index], State::Usable);
        !matches!(before, State::Usable)
    }

    /// The relay is in trouble. `Some` if that is news: how long it is left alone.
    pub fn fails(&self, index: usize, now: Instant) -> Option<Duration> {
        let state = &mut self.states.lock()[index];
        let (failures, news) = match *state {
            State::Usable => (0, true),
            // Several workers were connected when it went down; the first one's word is enough.
            State::Down { .. } => return None,
            State::Probed { failures } => (failures, false),
        };
        let longest = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE);
        // Between half and all of it: hosts that share a relay don't come back together.
        let pause = longest.mul_f64(0.5 + 0.5 * jitter());
        *state = State::Down { until: now + pause, failures: failures + 1 };
        news.then_some(pause)
    }

    /// The try was given up before there was an answer.
    pub fn no_answer(&self, index: usize, now: Instant) {
        let state = &mut self.states.lock()[index];
        if let State::Probed { failures } = *state {
            *state = State::Down { until: now, failures };
        }
    }
}

/// From 0 to 1, different from call to call. Not for secrets.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(()) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::{Connection, Interrupt, Trouble};

    struct Nothing;
    impl Relay for Nothing {
        fn name(&self) -> &str {
            "nothing"
        }
        fn connect(&self, _: &Interrupt) -> Result<Box<dyn Connection>, Trouble> {
            unreachable!()
        }
    }

    fn used(pick: Pick) -> Option<usize> {
        match pick {
            Pick::Use(index) => Some(index),
            Pick::Wait(_) => None,
        }
    }

    #[test]
    fn a_relay_that_is_down_is_passed_over_and_then_probed_by_one_worker() {
        let relays = Relays::new(vec![Arc::new(Nothing), Arc::new(Nothing)]);
        let start = Instant::now();
        assert_eq!(used(relays.pick(start)), Some(0));
        assert!(relays.fails(0, start).is_some(), "news");
        assert!(relays.fails(0, start).is_none(), "no news");
        assert_eq!(used(relays.pick(start)), Some(1));
        assert!(relays.fails(1, start).is_some());
        assert_eq!(used(relays.pick(start)), None);
        let later = start + LONGEST_PAUSE;
        assert_eq!(used(relays.pick(later)), Some(0));
        assert_eq!(used(relays.pick(later)), Some(1));
        assert_eq!(used(relays.pick(later)), None, "both are being probed");
        assert!(relays.works(0));
        assert_eq!(used(relays.pick(later)), Some(0));
    }
}
