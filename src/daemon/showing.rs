//! What goes on in this process and how fast, for whoever looks: kept for this process, and written into the spool's
//! `running/`, once a second, as long as something is sent.
//!
//! The scheduler's thread does it, so that no worker waits for it. It is told when a worker has something to send after
//! all have waited, and sets its timer only then: an idle scheduler does not wake up for this. Once nobody works, it says
//! so, at most a second later; once nobody has for some seconds, it rests, and nothing has a rate any more.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;

use crate::mail::{Level, MessageId, Moment};
use crate::spool::running::MOST_RATES;

use super::clock;
use super::message::OpenMessage;
use super::rate::{PERIOD, REST, Rate, Rates};
use super::shared::{InFlight, Shared};
use super::tally::Tally;

/// See the module.
#[derive(Default)]
pub struct Showing {
    /// When it is written next. `None`: it rests.
    pub next: Option<Instant>,
    last: Option<Instant>,
    /// When somebody was seen to work last.
    worked: Option<Instant>,
    paces: HashMap<MessageId, Pace>,
    levels: [Rate; Level::COUNT],
    all: Rate,
}

/// A message's rate, and what it is made of.
struct Pace {
    message: Weak<OpenMessage>,
    rate: Rate,
}

impl Showing {
    pub fn new() -> Showing {
        Showing::default()
    }

    /// A worker has something to send.
    pub fn begin(&mut self) {
        let now = Instant::now();
        self.next = self.next.or(Some(self.last.map_or(now, |last| now.max(last + PERIOD))));
    }

    /// The time has come.
    pub fn show(&mut self, shared: &Shared) {
        shared.set_stirred(false);
        let working = |slot: &Mutex<Option<InFlight>>| Some(slot.lock().as_ref()?.message.clone());
        let work: Vec<Arc<OpenMessage>> = shared.in_flight.iter().filter_map(working).collect();
        let now = Instant::now();
        if !work.is_empty() {
            shared.set_stirred(true);
            self.worked = Some(now);
        }
        self.look_at(&work, &shared.live.tally, clock::now());
        let rests = self.worked.is_none_or(|worked| now.duration_since(worked) >= REST);
        self.next = (!rests).then(|| now + PERIOD);
        if rests {
            self.paces.clear();
        }
        shared.set_rates(if rests { Rates::default() } else { self.rates(clock::now()) });
        shared.publish();
        self.last = Some(now);
    }

    fn look_at(&mut self, work: &[Arc<OpenMessage>], tally: &Tally, now: Moment) {
        for message in work {
            let fresh = || Pace { message: Weak::new(), rate: Rate::default() };
            let pace = self.paces.entry(message.folder.id().clone()).or_insert_with(fresh);
            if !std::ptr::eq(pace.message.as_ptr(), Arc::as_ptr(message)) {
                // Opened anew, it counts anew.
                *pace = Pace { message: Arc::downgrade(message), rate: Rate::default() };
            }
        }
        let going: HashSet<&MessageId> = work.iter().map(|message| message.folder.id()).collect();
        self.paces.retain(|id, pace| {
            let Some(message) = pace.message.upgrade() else { return false };
            pace.rate.add(now, message.passed.load(Ordering::Relaxed), going.contains(id));
            true
        });
        let (mut all, is_going) = (0, !work.is_empty());
        for (rate, tally) in self.levels.iter_mut().zip(&tally.levels) {
            let passed = tally.passed.get();
            // All of them over the same time: so that they add up.
            rate.add(now, passed, is_going);
            all += passed;
        }
        self.all.add(now, all, is_going);
    }

    fn rates(&self, now: Moment) -> Rates {
        let at = |rate: &Rate| (rate.at(now) * 10.0).round() / 10.0;
        let pace = |(id, pace): (&MessageId, &Pace)| (id.to_string(), at(&pace.rate));
        // The fastest.
        let mut messages: Vec<(String, f64)> = self.paces.iter().map(pace).filter(|(_, rate)| *rate > 0.0).collect();
        messages.sort_by(|a, b| b.1.total_cmp(&a.1));
        messages.truncate(MOST_RATES);
        let messages: BTreeMap<String, f64> = messages.into_iter().collect();
        Rates { messages, levels: self.levels.each_ref().map(at), all: at(&self.all) }
    }
}
