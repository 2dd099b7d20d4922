//! What goes on in this process, for whoever looks from outside: written into the spool's `running/` once a second, as long
//! as something is sent.
//!
//! The scheduler's thread does it, so that no worker waits for it. It is told when a worker has something to send after
//! all have waited, and sets its timer only then: an idle scheduler does not wake up for this. Once nobody works, it says
//! so, at most a second later.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::mail::{MessageId, Moment};
use crate::spool::running::MOST_RATES;

use super::clock;
use super::message::OpenMessage;
use super::rate::Rate;
use super::shared::Shared;

const PERIOD: Duration = Duration::from_secs(1);

/// See the module.
pub struct Showing {
    /// When it is written next. `None`: all workers wait.
    pub next: Option<Instant>,
    last: Option<Instant>,
    paces: HashMap<MessageId, Pace>,
}

/// A message's rate, and what it is made of.
struct Pace {
    message: Weak<OpenMessage>,
    rate: Rate,
}

impl Showing {
    pub fn new() -> Showing {
        Showing { next: None, last: None, paces: HashMap::new() }
    }

    /// A worker has something to send.
    pub fn begin(&mut self) {
        let now = Instant::now();
        self.next = self.next.or(Some(self.last.map_or(now, |last| now.max(last + PERIOD))));
    }

    /// The time has come.
    pub fn show(&mut self, shared: &Shared) {
        shared.set_stirred(false);
        let working: Vec<Arc<OpenMessage>> =
            shared.in_flight.iter().filter_map(|slot| Some(slot.lock().as_ref()?.message.clone())).collect();
        let now = Instant::now();
        if working.is_empty() {
            self.next = None;
            self.paces.clear();
        } else {
            shared.set_stirred(true);
            self.next = Some(now + PERIOD);
            self.look_at(&working, clock::now());
        }
        shared.set_rates(self.rates(clock::now()));
        shared.publish();
        self.last = Some(now);
    }

    fn look_at(&mut self, working: &[Arc<OpenMessage>], now: Moment) {
        for message in working {
            let fresh = || Pace { message: Weak::new(), rate: Rate::default() };
            let pace = self.paces.entry(message.folder.id().clone()).or_insert_with(fresh);
            if !std::ptr::eq(pace.message.as_ptr(), Arc::as_ptr(message)) {
                // Opened anew, it counts anew.
                *pace = Pace { message: Arc::downgrade(message), rate: Rate::default() };
            }
        }
        self.paces.retain(|_, pace| {
            let Some(message) = pace.message.upgrade() else { return false };
            pace.rate.add(now, message.passed.load(Ordering::Relaxed));
            true
        });
    }

    /// The fastest.
    fn rates(&self, now: Moment) -> BTreeMap<String, f64> {
        let rate = |(id, pace): (&MessageId, &Pace)| (id.to_string(), (pace.rate.at(now) * 10.0).round() / 10.0);
        let mut rates: Vec<(String, f64)> = self.paces.iter().map(rate).filter(|(_, rate)| *rate > 0.0).collect();
        rates.sort_by(|a, b| b.1.total_cmp(&a.1));
        rates.truncate(MOST_RATES);
        rates.into_iter().collect()
    }
}
