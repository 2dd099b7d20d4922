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
use crate::mail::{Epoch, Reply};
use crate::spool::running;

use super::settings::BreakerSettings;

/// All relays, in order of preference.
pub struct Relays {
    relays: Vec<(Arc<dyn Relay>, Limits)>,
    breaker: BreakerSettings,
    /// By weight, and not in order.
    spread: bool,
    states: Mutex<Vec<State>>,
}

struct State {
    breaker: Breaker,
    /// By an operator.
    paused: bool,
    connections: usize,
    window: f64,
    /// As wide as the window gets.
    widest: f64,
    /// Least time between two transactions, at the relay's wish.
    pace: Duration,
    last_cut: Option<Instant>,
    /// When rates and pace allow the next transaction.
    free_at: Option<Instant>,
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
/// Answers to what was sent before a cut don't cut again.
const BETWEEN_CUTS: Duration = Duration::from_millis(200);
const FIRST_PACE: Duration = Duration::from_millis(100);
const SLOWEST_PACE: Duration = Duration::from_secs(60);
/// Refusals are "in a row" only if they are not further apart.
const ROW: Duration = Duration::from_secs(60 * 60);
/// How long a limit of recipients is believed that the relay has shown and not announced.
const LESSON: Duration = Duration::from_secs(60 * 60);

impl Relays {
    /// `workers`: as many connections as there can be.
    pub fn new(relays: Vec<(Arc<dyn Relay>, Limits)>, breaker: BreakerSettings, workers: usize) -> Relays {
        let state = |limits: &Limits| {
            let widest = limits.max_connections.map_or(workers, |most| most.get().min(workers)).max(1) as f64;
            State {
                breaker: Breaker::Closed,
                paused: false,
                connections: 0,
                window: widest,
                widest,
                pace: Duration::ZERO,
                last_cut: None,
                free_at: None,
                refusals: Refused::default(),
                successes: 0,
                takes: None,
            }
        };
        let states = Mutex::new(relays.iter().map(|(_, limits)| state(limits)).collect());
        let spread = relays.iter().any(|(_, limits)| limits.weight.is_some());
        Relays { relays, breaker, spread, states }
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
    pub fn pick(self: &Arc<Relays>, only: Option<&[String]>, now: Instant) -> Pick {
        let mut states = self.states.lock();
        let mut soonest = now + self.breaker.longest_pause;
        let mut best: Option<(f64, usize)> = None;
        for (index, state) in states.iter_mut().enumerate() {
            if state.paused || !self.is_among(index, only) {
                continue;
            }
            match &state.breaker {
                Breaker::Open(outage) if outage.until <= now => {
                    state.breaker = Breaker::HalfOpen(outage.clone());
                    return self.slot(state, index, true);
                }
                Breaker::Open(outage) => soonest = soonest.min(outage.until),
                Breaker::HalfOpen(_) => soonest = soonest.min(now + FOR_OTHERS),
                Breaker::Closed if state.connections < state.allowed() => {
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
        match best {
            Some((_, index)) => self.slot(&mut states[index], index, false),
            None => Pick::Wait(soonest),
        }
    }

    /// Whether that relay is one of these names.
    pub fn is_among(&self, index: usize, only: Option<&[String]>) -> bool {
        only.is_none_or(|only| only.iter().any(|name| name == self.get(index).name()))
    }

    fn slot(self: &Arc<Relays>, state: &mut State, index: usize, probes: bool) -> Pick {
        state.connections += 1;
        Pick::Use(Slot { relays: self.clone(), index, probes })
    }

    /// Whether a transaction of so many recipients may begin now on one of this relay's connections.
    pub fn admit(&self, index: usize, only: Option<&[String]>, recipients: usize, now: Instant) -> Admission {
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
        state.free_at = (!costs.is_zero()).then(|| now + costs);
        Admission::Go
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
}

impl Slot {
    pub fn index(&self) -> usize {
        self.index
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let state = &mut self.relays.states.lock()[self.index];
        state.connections -= 1;
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
mod tests {
    use super::*;
    use crate::deliver::{Connection, Interrupt, Trouble};
    use std::num::NonZero;

    struct Nothing;
    impl Relay for Nothing {
        fn name(&self) -> &str {
            "nothing"
        }
        fn connect(&self, _: &Interrupt) -> Result<Box<dyn Connection>, Trouble> {
            unreachable!()
        }
    }

    const LONGEST: Duration = Duration::from_secs(60);

    fn relays(limits: &[Limits], workers: usize) -> Arc<Relays> {
        let relays = limits.iter().map(|&limits| (Arc::new(Nothing) as Arc<dyn Relay>, limits)).collect();
        let breaker = BreakerSettings { first_pause: Duration::from_secs(1), longest_pause: LONGEST };
        Arc::new(Relays::new(relays, breaker, workers))
    }

    fn used(pick: Pick) -> Option<Slot> {
        match pick {
            Pick::Use(slot) => Some(slot),
            Pick::Wait(_) => None,
        }
    }

    #[test]
    fn a_relay_that_is_down_is_passed_over_and_then_probed_by_one_worker() {
        let relays = relays(&[Limits::default(); 2], 8);
        let start = Instant::now();
        let pick = |at| used(relays.pick(None, at)).map(|slot| slot.index());
        assert_eq!(pick(start), Some(0));
        assert!(relays.fails(0, start, "gone").is_some(), "news");
        assert!(relays.fails(0, start, "gone").is_none(), "no news");
        let second = used(relays.pick(None, start)).unwrap();
        assert_eq!((second.index(), relays.admit(1, None, 50, start)), (1, Admission::Go));
        assert_eq!(relays.admit(1, None, 50, start + LONGEST), Admission::Leave, "the first is to be probed");
        assert!(relays.fails(1, start, "gone").is_some());
        assert_eq!(pick(start), None);
        let later = start + LONGEST;
        let probes = [used(relays.pick(None, later)).unwrap(), used(relays.pick(None, later)).unwrap()];
        assert_eq!(probes.each_ref().map(Slot::index), [0, 1]);
        assert_eq!(pick(later), None, "both are being probed");
        assert!(relays.works(0));
        assert_eq!(pick(later), Some(0));
    }

    #[test]
    fn a_probe_that_came_to_no_answer_leaves_the_relay_to_the_next_one() {
        let relays = relays(&[Limits::default()], 8);
        let start = Instant::now();
        assert!(relays.fails(0, start, "gone").is_some());
        let later = start + LONGEST;
        let probe = used(relays.pick(None, later)).unwrap();
        assert!(used(relays.pick(None, later)).is_none(), "it is being probed");
        drop(probe);
        let probe = used(relays.pick(None, later)).expect("the next probe");
        assert!(relays.fails(0, later, "gone").is_none(), "no news");
        drop(probe);
        assert!(used(relays.pick(None, later)).is_none(), "what was said of a probe holds");
    }

    #[test]
    fn weights_share_the_connections_out() {
        let weight = |n| Limits { weight: NonZero::new(n), ..Limits::default() };
        let relays = relays(&[weight(3), weight(1)], 8);
        let now = Instant::now();
        let slots: Vec<usize> = (0..8)
            .map(|_| {
                let slot = used(relays.pick(None, now)).unwrap();
                let index = slot.index();
                // As if the worker kept it.
                std::mem::forget(slot);
                index
            })
            .collect();
        assert_eq!(slots.iter().filter(|&&index| index == 0).count(), 6, "{slots:?}");
    }

    #[test]
    fn a_limit_of_connections_is_kept_and_not_made_up_for_elsewhere() {
        let one = Limits { max_connections: NonZero::new(1), ..Limits::default() };
        let relays = relays(&[one, Limits::default()], 8);
        let now = Instant::now();
        let slot = used(relays.pick(None, now)).unwrap();
        assert!(used(relays.pick(None, now)).is_none());
        drop(slot);
        assert_eq!(used(relays.pick(None, now)).map(|slot| slot.index()), Some(0));
    }

    #[test]
    fn rates_space_transactions_out() {
        let limits = Limits { max_transaction_rate: Some(10.0), max_recipient_rate: Some(100.0), ..Limits::default() };
        let relays = relays(&[limits], 8);
        let _slot = used(relays.pick(None, Instant::now())).unwrap();
        let start = Instant::now();
        assert_eq!(relays.admit(0, None, 1, start), Admission::Go);
        let next = start + Duration::from_millis(100);
        assert_eq!(relays.admit(0, None, 1, start), Admission::Wait(next));
        assert_eq!(relays.admit(0, None, 50, next), Admission::Go);
        assert_eq!(relays.admit(0, None, 1, next), Admission::Wait(next + Duration::from_millis(500)), "50 recipients");
    }

    #[test]
    fn a_relay_that_asks_for_less_gets_less_and_with_success_more_again() {
        let relays = relays(&[Limits::default()], 8);
        let mut now = Instant::now();
        let slots: Vec<Slot> = (0..8).map(|_| used(relays.pick(None, now)).unwrap()).collect();
        assert_eq!(relays.asks_for_less(0, true, now), Some(4), "news");
        assert_eq!(relays.asks_for_less(0, true, now), None, "the answer to what was sent before the cut");
        assert_eq!(relays.admit(0, None, 50, now), Admission::Leave);
        drop(slots);
        let _slot = used(relays.pick(None, now)).unwrap();
        for _ in 0..3 {
            now += BETWEEN_CUTS;
            assert_eq!(relays.asks_for_less(0, true, now), None, "no news");
        }
        assert!(used(relays.pick(None, now)).is_none(), "one connection");
        assert!(matches!(relays.admit(0, None, 50, now), Admission::Wait(_)), "and a slow one");
        let mut widened = 0;
        for _ in 0..100 {
            widened += usize::from(relays.takes_mail(0).wider);
        }
        assert_eq!(widened, 7, "back to eight");
    }

    #[test]
    fn refusals_in_a_row_are_counted_until_somebody_gets_mail() {
        let relays = relays(&[Limits::default()], 8);
        let now = Instant::now();
        assert_eq!((relays.refuses(0, now), relays.refuses(0, now)), (1, 2));
        relays.takes_mail(0);
        assert_eq!(relays.refuses(0, now), 1);
        assert_eq!(relays.refuses(0, now + ROW * 2), 1, "yesterday's do not count");
    }

    #[test]
    fn statuses_tell_too_fast_and_no_such_mailbox_from_the_rest() {
        for (code, text, less, mailbox) in [
            (421, "closing", true, false),
            (450, "4.7.1 greylisted", true, false),
            (451, "4.3.2 later", true, false),
            (452, "4.4.5 congested", true, false),
            (452, "4.3.1 disk full", false, false),
            (450, "busy", false, false),
            (550, "5.1.1 unknown", false, true),
            (550, "5.7.1 relaying denied", false, false),
            (550, "relaying denied", false, false),
            (551, "5.1.6 moved", false, true),
        ] {
            let reply = Reply::new(code, text);
            assert_eq!((asks_for_less(&reply), is_about_the_mailbox(&reply)), (less, mailbox), "{reply}");
        }
    }
}
