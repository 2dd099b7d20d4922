//! What all workers together know of each relay: whether it is up, how much it takes, and whether it makes sense.
//!
//! Four things are kept of a relay:
//! - a circuit breaker: closed (in use), open (left alone for a time that doubles) or half open (one worker probes). An
//!   outage is one line in the log when it begins and one when it ends, and costs the relay one connection at a time.
//! - a window: how many connections it is given. An answer that asks for less halves it, each success widens it again; at
//!   one connection, the pace is lowered instead. (Additive increase, multiplicative decrease, as TCP does it.)
//! - when its rates allow the next transaction.
//! - refusals in a row, for the mistake guard.
//!
//! Nothing here is on disk: a restart begins with closed breakers and wide windows, and learns again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::deliver::{Limits, Relay};
use crate::mail::{Epoch, Level, Reply};
use crate::spool::running;

use super::crew::Crew;
use super::settings::BreakerSettings;

/// All relays, in order of preference.
pub struct Relays {
    relays: Vec<(Arc<dyn Relay>, Limits)>,
    breaker: BreakerSettings,
    /// By weight, and not in order.
    spread: bool,
    /// Connections of each relay that only express workers get.
    express: usize,
    states: Mutex<Vec<State>>,
}

struct State {
    breaker: Breaker,
    /// By an operator.
    paused: bool,
    connections: usize,
    /// Of these, express workers'.
    express: usize,
    window: f64,
    /// As wide as the window gets.
    widest: f64,
    /// Least time between two transactions, at the relay's wish.
    pace: Duration,
    last_cut: Option<Instant>,
    /// When rates and pace allow the next transaction.
    free_at: Option<Instant>,
    /// Workers that wait for it, by level.
    turns: [usize; Level::COUNT],
    refusals: Refused,
    successes: u64,
    /// Recipients that it took in one transaction before it said it was enough, and when that was.
    takes: Option<(usize, Instant)>,
}

#[derive(Clone, Debug)]
enum Breaker {
    Closed,
    Open(Outage),
    /// One worker is trying whether it is back.
    HalfOpen(Outage),
}

/// Why and since when a relay is out of use.
#[derive(Clone, Debug)]
struct Outage {
    since: Instant,
    /// Not before that.
    until: Instant,
    failures: u32,
    why: String,
}

#[derive(Clone, Copy, Default)]
struct Refused {
    in_a_row: u32,
    last: Option<Instant>,
}

/// Answer to a worker that needs a connection.
pub enum Pick {
    Use(Slot),
    /// No relay is usable: ask again then.
    Wait(Instant),
}

/// One of a relay's connections. Dropped, the connection counts no more; and if it was a probe of which nobody has said
/// how it went, the next worker probes.
pub struct Slot {
    relays: Arc<Relays>,
    index: usize,
    probes: bool,
    express: bool,
}

/// A worker's place among those that wait for a slow rate.
pub struct Turn {
    relays: Arc<Relays>,
    index: usize,
    level: Level,
}

/// Answer to a worker that has a connection, before each transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    Go,
    /// Rates don't allow it sooner.
    Wait(Instant),
    /// This connection is one too many, or a better relay is to be tried.
    Leave,
}

/// What a success has changed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Good {
    /// It was out of use.
    pub back: bool,
    /// It takes one connection more.
    pub wider: bool,
}

/// How often a worker asks that waits for other workers: for the end of their probe, or for their connection.
const FOR_OTHERS: Duration = Duration::from_secs(1);
/// The same, for the next turn of a slow rate.
const FOR_THE_URGENT: Duration = Duration::from_millis(2);
/// Answers to what was sent before a cut don't cut again.
const BETWEEN_CUTS: Duration = Duration::from_millis(200);
const FIRST_PACE: Duration = Duration::from_millis(100);
const SLOWEST_PACE: Duration = Duration::from_secs(60);
/// Refusals are "in a row" only if they are not further apart.
const ROW: Duration = Duration::from_secs(60 * 60);
/// How long a limit of recipients is believed that the relay has shown and not announced.
const LESSON: Duration = Duration::from_secs(60 * 60);

impl Relays {
    /// `workers`: as many connections as there can be, beside those of `express` workers.
    pub fn new(
        relays: Vec<(Arc<dyn Relay>, Limits)>,
        breaker: BreakerSettings,
        workers: usize,
        express: usize,
    ) -> Relays {
        let workers = workers + express;
        let state = |limits: &Limits| {
            let widest = limits.max_connections.map_or(workers, |most| most.get().min(workers)).max(1) as f64;
            State {
                breaker: Breaker::Closed,
                paused: false,
                connections: 0,
                express: 0,
                window: widest,
                widest,
                pace: Duration::ZERO,
                last_cut: None,
                free_at: None,
                turns: [0; Level::COUNT],
                refusals: Refused::default(),
                successes: 0,
                takes: None,
            }
        };
        let states = Mutex::new(relays.iter().map(|(_, limits)| state(limits)).collect());
        let spread = relays.iter().any(|(_, limits)| limits.weight.is_some());
        Relays { relays, breaker, spread, express, states }
    }

    pub fn get(&self, index: usize) -> &Arc<dyn Relay> {
        &self.relays[index].0
    }

    pub fn limits(&self, index: usize) -> &Limits {
        &self.relays[index].1
    }

    /// Those of these names are not used, until this is called without them. Connections end at their next boundary.
    pub fn pause(&self, names: &HashSet<&str>) {
        for ((relay, _), state) in self.relays.iter().zip(self.states.lock().iter_mut()) {
            state.paused = names.contains(relay.name());
        }
    }

    /// The relay to connect to: one that it is time to probe, else, of those that are in use, the first, or by weight the one
    /// with the fewest connections for its share. Whoever gets one says how it went, with [`Relays::works`] or
    /// [`Relays::fails`], or nothing, if it came to no answer.
    ///
    /// `only`: none but those of these names.
    pub fn pick(self: &Arc<Relays>, crew: Crew, only: Option<&[String]>, now: Instant) -> Pick {
        let mut states = self.states.lock();
        let index = match self.choose(&states, crew, |index| self.is_among(index, only), now) {
            Ok(index) => index,
            Err(until) => return Pick::Wait(until),
        };
        let (state, express) = (&mut states[index], crew != Crew::Any);
        let probes = match &state.breaker {
            Breaker::Open(outage) => {
                state.breaker = Breaker::HalfOpen(outage.clone());
                true
            }
            _ => false,
        };
        state.connections += 1;
        state.express += usize::from(express);
        Pick::Use(Slot { relays: self.clone(), index, probes, express })
    }

    /// Whether [`Relays::pick`] would find one; else, when to ask again. `by_list`: some lists have relays of their own, so
    /// each is of use by itself.
    pub fn may_pick(&self, crew: Crew, by_list: bool, now: Instant) -> Result<(), Instant> {
        let states = self.states.lock();
        let all = self.choose(&states, crew, |_| true, now).map(drop);
        let one = |wanted| self.choose(&states, crew, |index| index == wanted, now).is_ok();
        if by_list && (0..states.len()).any(one) { Ok(()) } else { all }
    }

    fn choose(
        &self,
        states: &[State],
        crew: Crew,
        is_wanted: impl Fn(usize) -> bool,
        now: Instant,
    ) -> Result<usize, Instant> {
        let mut soonest = now + self.breaker.longest_pause;
        let mut best: Option<(f64, usize)> = None;
        for (index, state) in states.iter().enumerate() {
            if state.paused || !is_wanted(index) {
                continue;
            }
            match &state.breaker {
                Breaker::Open(outage) if outage.until <= now => return Ok(index),
                Breaker::Open(outage) => soonest = soonest.min(outage.until),
                Breaker::HalfOpen(_) => soonest = soonest.min(now + FOR_OTHERS),
                Breaker::Closed if state.has_room(crew, self.express) => {
                    let weight = self.limits(index).weight.map_or(1, |weight| weight.get());
                    let load = (state.connections + 1) as f64 / f64::from(weight);
                    if best.is_none_or(|(least, _)| load < least) {
                        best = Some((load, index));
                    }
                }
                Breaker::Closed => soonest = soonest.min(now + FOR_OTHERS),
            }
            // In order: the next one is for when this one is down, and not for when it is busy.
            if !self.spread && matches!(state.breaker, Breaker::Closed) {
                break;
            }
        }
        best.map(|(_, index)| index).ok_or(soonest)
    }

    /// Whether that relay is one of these names.
    pub fn is_among(&self, index: usize, only: Option<&[String]>) -> bool {
        only.is_none_or(|only| only.iter().any(|name| name == self.get(index).name()))
    }

    /// Whether a transaction of so many recipients, of a message at `level`, may begin now on one of this relay's
    /// connections. Whoever has to wait says so with [`Relays::wait`].
    pub fn admit(
        &self,
        index: usize,
        only: Option<&[String]>,
        recipients: usize,
        level: Level,
        now: Instant,
    ) -> Admission {
        let mut states = self.states.lock();
        let better = |(index, state): (usize, &State)| match &state.breaker {
            _ if state.paused || !self.is_among(index, only) => false,
            Breaker::Closed => true,
            Breaker::Open(outage) => outage.until <= now,
            Breaker::HalfOpen(_) => false,
        };
        let is_one_too_many = states[index].connections > states[index].allowed();
        if states[index].paused || is_one_too_many || !self.spread && states[..index].iter().enumerate().any(better) {
            return Admission::Leave;
        }
        let state = &mut states[index];
        let limits = self.limits(index);
        let per = |rate: Option<f64>, count: usize| {
            rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(count as f64 / rate))
        };
        let costs = state.pace.max(per(limits.max_transaction_rate, 1)).max(per(limits.max_recipient_rate, recipients));
        if let Some(free_at) = state.free_at.filter(|&free_at| free_at > now) {
            return Admission::Wait(free_at);
        }
        if state.turns[..level.index()].iter().any(|&waiting| waiting > 0) {
            // It is about to wake up.
            return Admission::Wait(now + FOR_THE_URGENT);
        }
        state.free_at = (!costs.is_zero()).then(|| now + costs);
        Admission::Go
    }

    /// A worker waits for the relay's next turn, until this is dropped: nobody less urgent gets it before.
    pub fn wait(self: &Arc<Relays>, index: usize, level: Level) -> Turn {
        self.states.lock()[index].turns[level.index()] += 1;
        Turn { relays: self.clone(), index, level }
    }

    /// The relay has answered as it should: it is up.
    pub fn works(&self, index: usize) -> bool {
        let before = std::mem::replace(&mut self.states.lock()[index].breaker, Breaker::Closed);
        !matches!(before, Breaker::Closed)
    }

    /// The relay has taken mail for somebody.
    pub fn takes_mail(&self, index: usize) -> Good {
        let state = &mut self.states.lock()[index];
        let before = std::mem::replace(&mut state.breaker, Breaker::Closed);
        state.successes += 1;
        state.refusals = Refused::default();
        let allowed = state.allowed();
        if !state.pace.is_zero() {
            state.pace = if state.pace < FIRST_PACE { Duration::ZERO } else { state.pace.mul_f64(0.8) };
        } else if state.window < state.widest {
            state.window = (state.window + 1.0 / state.window).min(state.widest);
        }
        Good { back: !matches!(before, Breaker::Closed), wider: state.allowed() > allowed }
    }

    /// The relay is in trouble. `Some` if that is news: how long it is left alone.
    pub fn fails(&self, index: usize, now: Instant, why: &str) -> Option<Duration> {
        let state = &mut self.states.lock()[index];
        let (failures, since, news) = match &state.breaker {
            Breaker::Closed => (0, now, true),
            // Several workers were connected when it went down; the first one's word is enough.
            Breaker::Open(_) => return None,
            Breaker::HalfOpen(outage) => (outage.failures, outage.since, false),
        };
        let BreakerSettings { first_pause, longest_pause } = self.breaker;
        let longest = first_pause.saturating_mul(1 << failures.min(16)).min(longest_pause);
        // Between half and all of it: hosts that share a relay don't come back together.
        let pause = longest.mul_f64(0.5 + 0.5 * jitter());
        state.breaker =
            Breaker::Open(Outage { since, until: now + pause, failures: failures + 1, why: why.to_owned() });
        news.then_some(pause)
    }

    /// The relay asks for less. `Some` if that is news: how many connections it gets from now on. `all`: it would take
    /// nothing, from anybody; then it is left in peace for a while where there is no connection to spare.
    pub fn asks_for_less(&self, index: usize, all: bool, now: Instant) -> Option<usize> {
        let state = &mut self.states.lock()[index];
        if state.last_cut.is_some_and(|cut| now.saturating_duration_since(cut) < BETWEEN_CUTS) {
            return None;
        }
        let news = state.window >= state.widest && state.pace.is_zero();
        state.last_cut = Some(now);
        let used = state.window.min(state.connections as f64).max(1.0);
        if used <= 1.0 && all {
            state.pace = (state.pace * 2).clamp(FIRST_PACE, SLOWEST_PACE);
            state.free_at = Some(now + state.pace);
        }
        state.window = (used / 2.0).max(1.0);
        news.then(|| state.allowed())
    }

    /// Whether other workers are connected to it.
    pub fn is_shared(&self, index: usize) -> bool {
        self.states.lock()[index].connections > 1
    }

    /// The relay has refused everything for good; how often in a row, over all messages.
    pub fn refuses(&self, index: usize, now: Instant) -> u32 {
        let Refused { in_a_row, last } = &mut self.states.lock()[index].refusals;
        if last.is_some_and(|last| now.saturating_duration_since(last) > ROW) {
            *in_a_row = 0;
        }
        *last = Some(now);
        *in_a_row += 1;
        *in_a_row
    }

    /// Transactions in which it took mail for somebody.
    pub fn successes(&self, index: usize) -> u64 {
        self.states.lock()[index].successes
    }

    /// The relay took so many recipients in one transaction, and said that it was enough.
    pub fn takes_at_most(&self, index: usize, recipients: usize, now: Instant) {
        self.states.lock()[index].takes = Some((recipients.max(1), now));
    }

    /// How many recipients to ask for in one transaction.
    pub fn recipients(&self, index: usize, wanted: usize, now: Instant) -> usize {
        match self.states.lock()[index].takes {
            Some((most, learnt)) if now.saturating_duration_since(learnt) < LESSON => wanted.min(most),
            _ => wanted,
        }
    }

    /// Of each, the connections that it has and those that it is given.
    pub fn used(&self) -> Vec<(usize, usize)> {
        self.states.lock().iter().map(|state| (state.connections, state.allowed())).collect()
    }

    /// How each stands, for whoever asks.
    pub fn report(&self, now: Instant, date: Epoch) -> Vec<running::Relay> {
        let states = self.states.lock();
        let report = |(relay, state): (&(Arc<dyn Relay>, Limits), &State)| {
            let (name, outage) = match &state.breaker {
                Breaker::Closed => ("closed", None),
                Breaker::Open(outage) => ("open", Some(outage)),
                Breaker::HalfOpen(outage) => ("half-open", Some(outage)),
            };
            let since = outage.map(|outage| now.saturating_duration_since(outage.since));
            let ahead = outage.map(|outage| outage.until.saturating_duration_since(now));
            running::Relay {
                relay: relay.0.name().to_owned(),
                state: name.to_owned(),
                since: since.map(|since| date.0.saturating_sub(since.as_secs())),
                next_try: ahead.map(|ahead| date.0 + ahead.as_secs()),
                why: outage.map(|outage| outage.why.clone()),
            }
        };
        self.relays.iter().zip(states.iter()).map(report).collect()
    }
}

impl State {
    fn allowed(&self) -> usize {
        self.window as usize
    }

    /// Whether a worker may open one connection more. `express` of them are kept for express workers, but for the last:
    /// with one connection alone, all have to share it.
    fn has_room(&self, crew: Crew, express: usize) -> bool {
        let others = self.allowed().saturating_sub(express).max(1);
        self.connections < self.allowed() && (crew != Crew::Any || self.connections - self.express < others)
    }
}

impl Slot {
    pub fn index(&self) -> usize {
        self.index
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.relays.states.lock()[self.index].turns[self.level.index()] -= 1;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let state = &mut self.relays.states.lock()[self.index];
        state.connections -= 1;
        state.express -= usize::from(self.express);
        // Else everybody would wait for the end of this probe, for ever.
        if self.probes
            && let Breaker::HalfOpen(outage) = &state.breaker
        {
            state.breaker = Breaker::Open(outage.clone());
        }
    }
}

/// Whether a refusal means "not so fast" and not "not this": 421, and of the other passing ones those about policy
/// (X.7.x), a system that takes no mail for now (X.3.2) and congestion (X.4.5), by RFC 3463.
pub fn asks_for_less(reply: &Reply) -> bool {
    let enhanced = reply.enhanced.map(|status| (status.subject, status.detail));
    match reply.code {
        421 => true,
        450..=452 => matches!(enhanced, Some((7, _) | (3, 2) | (4, 5))),
        _ => false,
    }
}

/// Whether a refusal is about the recipient's address, by RFC 3463: no such mailbox (X.1.1), moved (X.1.6), disabled
/// (X.2.1); or this program's own word (X.6.7) for an address that the relay can't be asked about.
pub fn is_about_the_mailbox(reply: &Reply) -> bool {
    reply.enhanced.is_some_and(|status| matches!((status.subject, status.detail), (1, 1 | 6) | (2, 1) | (6, 7)))
}

/// From 0 to 1, different from call to call. Not for secrets.
pub fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(()) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests;
