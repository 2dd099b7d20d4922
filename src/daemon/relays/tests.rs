//! Which relay is picked, and what it is spared.

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
    Arc::new(Relays::new(relays, breaker, workers, 0))
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
    let pick = |at| used(relays.pick(Crew::Any, None, at)).map(|slot| slot.index());
    assert_eq!(pick(start), Some(0));
    assert!(relays.fails(0, start, "gone").is_some(), "news");
    assert!(relays.fails(0, start, "gone").is_none(), "no news");
    let second = used(relays.pick(Crew::Any, None, start)).unwrap();
    assert_eq!((second.index(), relays.admit(1, None, 50, Level::FIRST, start)), (1, Admission::Go));
    assert_eq!(relays.admit(1, None, 50, Level::FIRST, start + LONGEST), Admission::Leave, "the first is to be probed");
    assert!(relays.fails(1, start, "gone").is_some());
    assert_eq!(pick(start), None);
    let later = start + LONGEST;
    let probes =
        [used(relays.pick(Crew::Any, None, later)).unwrap(), used(relays.pick(Crew::Any, None, later)).unwrap()];
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
    let probe = used(relays.pick(Crew::Any, None, later)).unwrap();
    assert!(used(relays.pick(Crew::Any, None, later)).is_none(), "it is being probed");
    drop(probe);
    let probe = used(relays.pick(Crew::Any, None, later)).expect("the next probe");
    assert!(relays.fails(0, later, "gone").is_none(), "no news");
    drop(probe);
    assert!(used(relays.pick(Crew::Any, None, later)).is_none(), "what was said of a probe holds");
}

#[test]
fn weights_share_the_connections_out() {
    let weight = |n| Limits { weight: NonZero::new(n), ..Limits::default() };
    let relays = relays(&[weight(3), weight(1)], 8);
    let now = Instant::now();
    let slots: Vec<usize> = (0..8)
        .map(|_| {
            let slot = used(relays.pick(Crew::Any, None, now)).unwrap();
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
    let slot = used(relays.pick(Crew::Any, None, now)).unwrap();
    assert!(used(relays.pick(Crew::Any, None, now)).is_none());
    drop(slot);
    assert_eq!(used(relays.pick(Crew::Any, None, now)).map(|slot| slot.index()), Some(0));
}

#[test]
fn express_workers_find_a_connection_free_that_the_others_do_not_get() {
    let three = Limits { max_connections: NonZero::new(3), ..Limits::default() };
    let all: Vec<(Arc<dyn Relay>, Limits)> = vec![(Arc::new(Nothing), three)];
    let breaker = BreakerSettings { first_pause: Duration::from_secs(1), longest_pause: LONGEST };
    let relays = Arc::new(Relays::new(all, breaker, 8, 1));
    let (now, express) = (Instant::now(), Crew::UpTo(Level::FIRST));
    let _slots = [used(relays.pick(Crew::Any, None, now)).unwrap(), used(relays.pick(Crew::Any, None, now)).unwrap()];
    assert!(relays.may_pick(Crew::Any, false, now).is_err() && relays.may_pick(express, false, now).is_ok());
    let third = used(relays.pick(express, None, now)).unwrap();
    assert!(used(relays.pick(express, None, now)).is_none());
    drop(third);
    assert!(relays.may_pick(Crew::Any, false, now).is_err() && relays.may_pick(express, false, now).is_ok());
}

#[test]
fn rates_space_transactions_out() {
    let limits = Limits { max_transaction_rate: Some(10.0), max_recipient_rate: Some(100.0), ..Limits::default() };
    let relays = relays(&[limits], 8);
    let _slot = used(relays.pick(Crew::Any, None, Instant::now())).unwrap();
    let start = Instant::now();
    assert_eq!(relays.admit(0, None, 1, Level::FIRST, start), Admission::Go);
    let next = start + Duration::from_millis(100);
    assert_eq!(relays.admit(0, None, 1, Level::FIRST, start), Admission::Wait(next));
    assert_eq!(relays.admit(0, None, 50, Level::FIRST, next), Admission::Go);
    assert_eq!(
        relays.admit(0, None, 1, Level::FIRST, next),
        Admission::Wait(next + Duration::from_millis(500)),
        "50 recipients"
    );
}

#[test]
fn the_next_turn_is_the_most_urgent_waiters() {
    let limits = Limits { max_transaction_rate: Some(10.0), ..Limits::default() };
    let relays = relays(&[limits], 8);
    let start = Instant::now();
    let _slot = used(relays.pick(Crew::Any, None, start)).unwrap();
    assert_eq!(relays.admit(0, None, 1, Level::LAST, start), Admission::Go);
    let next = start + Duration::from_millis(100);
    let turn = relays.wait(0, Level::FIRST);
    assert_eq!(relays.admit(0, None, 1, Level::LAST, next), Admission::Wait(next + FOR_THE_URGENT));
    assert_eq!(relays.admit(0, None, 1, Level::FIRST, next), Admission::Go);
    drop(turn);
    assert_eq!(relays.admit(0, None, 1, Level::LAST, next + Duration::from_millis(100)), Admission::Go);
}

#[test]
fn a_relay_that_asks_for_less_gets_less_and_with_success_more_again() {
    let relays = relays(&[Limits::default()], 8);
    let mut now = Instant::now();
    let slots: Vec<Slot> = (0..8).map(|_| used(relays.pick(Crew::Any, None, now)).unwrap()).collect();
    assert_eq!(relays.asks_for_less(0, true, now), Some(4), "news");
    assert_eq!(relays.asks_for_less(0, true, now), None, "the answer to what was sent before the cut");
    assert_eq!(relays.admit(0, None, 50, Level::FIRST, now), Admission::Leave);
    drop(slots);
    let _slot = used(relays.pick(Crew::Any, None, now)).unwrap();
    for _ in 0..3 {
        now += BETWEEN_CUTS;
        assert_eq!(relays.asks_for_less(0, true, now), None, "no news");
    }
    assert!(used(relays.pick(Crew::Any, None, now)).is_none(), "one connection");
    assert!(matches!(relays.admit(0, None, 50, Level::FIRST, now), Admission::Wait(_)), "and a slow one");
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
