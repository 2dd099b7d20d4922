//! How fast all schedulers on a spool are together: what each says of itself, added up. What a rate is, says
//! [`crate::daemon::rate`].

use std::collections::HashMap;

#[cfg(feature = "http")]
use crate::daemon::rate::Rates;
use crate::mail::Level;
use crate::spool::running::Scheduler;

/// See the module.
#[derive(Clone, Default, Debug)]
pub struct Paces {
    messages: HashMap<String, f64>,
    pub levels: [f64; Level::COUNT],
    pub all: f64,
}

impl Paces {
    pub fn of<'s>(schedulers: impl IntoIterator<Item = &'s Scheduler>) -> Paces {
        let mut paces = Paces::default();
        for Scheduler { rates, pace, .. } in schedulers {
            rates.iter().for_each(|(id, rate)| paces.add_message(id, *rate));
            paces.add_sums(&pace.levels, pace.rate);
        }
        paces
    }

    /// With those of this process.
    #[cfg(feature = "http")]
    pub fn and(mut self, own: &Rates) -> Paces {
        own.messages.iter().for_each(|(id, rate)| self.add_message(id, *rate));
        self.add_sums(&own.levels, own.all);
        self
    }

    pub fn message(&self, id: &str) -> f64 {
        self.messages.get(id).copied().unwrap_or(0.0)
    }

    fn add_message(&mut self, id: &str, rate: f64) {
        if let Some(rate) = sound(rate) {
            *self.messages.entry(id.to_owned()).or_default() += rate;
        }
    }

    fn add_sums(&mut self, levels: &[f64; Level::COUNT], all: f64) {
        for (sum, rate) in self.levels.iter_mut().zip(levels) {
            *sum += sound(*rate).unwrap_or(0.0);
        }
        self.all += sound(all).unwrap_or(0.0);
    }
}

/// What another process has written may be anything.
fn sound(rate: f64) -> Option<f64> {
    /// No relay takes so many.
    const MOST: f64 = 1e12;
    (rate > 0.0 && rate <= MOST).then_some(rate)
}
