//! The specification's sentences as small stories.

mod fair;
mod oracle;

use super::*;
use crate::mail::{Epoch, Level, Moment};

fn level(n: u8) -> Level {
    Level::new(n).unwrap()
}

fn at(second: u64) -> Moment {
    Epoch(second).into()
}

fn arrival(n: u8, arrived: u64) -> Arrival {
    Arrival { level: level(n), arrived: Epoch(arrived), due: None, seen: at(arrived), group: None }
}

#[test]
fn the_most_urgent_message_is_handed_out_first_and_within_a_level_the_first_to_arrive() {
    let mut backlog = Backlog::new();
    let late = backlog.arrive(arrival(5, 20));
    let early = backlog.arrive(arrival(5, 10));
    let urgent = backlog.arrive(arrival(0, 30));
    let order: Vec<_> = std::iter::from_fn(|| backlog.take(at(40))).collect();
    assert_eq!(order, [urgent, early, late]);
}

#[test]
fn one_urgent_packet_makes_one_worker_give_way() {
    let mut backlog = Backlog::new();
    let big = backlog.arrive(arrival(9, 1));
    assert_eq!(backlog.take(at(2)), Some(big));
    backlog.opened(big, 3, 3);
    for _ in 0..3 {
        assert_eq!(backlog.take(at(2)), Some(big));
    }
    let urgent = backlog.arrive(arrival(0, 3));
    let preemption =
        Preemption { to: urgent, waited: std::time::Duration::from_secs(2), from: level(9), to_level: level(0) };
    assert_eq!(backlog.boundary(big, at(5)), Boundary::Yield(preemption));
    for _ in 0..3 {
        assert_eq!(backlog.boundary(big, at(5)), Boundary::Continue, "the packet is taken care of");
    }
}

#[test]
fn as_many_workers_give_way_as_the_urgent_message_has_packets() {
    let mut backlog = Backlog::new();
    let big = backlog.arrive(arrival(9, 1));
    backlog.take(at(1));
    backlog.opened(big, 3, 3);
    for _ in 0..3 {
        backlog.take(at(1));
    }
    let urgent = backlog.arrive(arrival(3, 2));
    assert!(matches!(backlog.boundary(big, at(2)), Boundary::Yield(_)));
    backlog.opened(urgent, 2, 2);
    assert!(matches!(backlog.boundary(big, at(2)), Boundary::Yield(_)));
    assert!(matches!(backlog.boundary(big, at(2)), Boundary::Yield(_)));
    assert_eq!(backlog.boundary(big, at(2)), Boundary::Continue);
}

#[test]
fn a_worker_does_not_give_way_to_messages_that_came_later_and_are_no_smaller() {
    let mut backlog = Backlog::new();
    let first = backlog.arrive(arrival(5, 1));
    backlog.take(at(2));
    backlog.arrive(arrival(5, 2));
    assert_eq!(backlog.boundary(first, at(3)), Boundary::Continue);
}

#[test]
fn a_worker_for_urgent_mail_takes_no_other_and_gives_back_what_was_requeued_beyond_it() {
    let mut backlog = Backlog::new();
    backlog.arrive(arrival(5, 1));
    assert_eq!(backlog.take_up_to(level(2), at(2)), None);
    let urgent = backlog.arrive(arrival(2, 3));
    assert_eq!(backlog.take_up_to(level(2), at(3)), Some(urgent));
    assert_eq!(backlog.boundary_up_to(level(2), urgent, at(3)), Boundary::Continue);
    backlog.requeued(urgent, level(7));
    assert_eq!(backlog.boundary_up_to(level(2), urgent, at(3)), Boundary::TooFar);
}

#[test]
fn a_list_has_no_more_workers_than_it_may_and_its_own_urgent_message_still_goes_first() {
    let group = crate::schedule::Group(std::num::NonZero::<u32>::MIN);
    let mut backlog = Backlog::new();
    backlog.set_limit(group, std::num::NonZero::new(2));
    let big = backlog.arrive(Arrival { group: Some(group), ..arrival(3, 1) });
    let other = backlog.arrive(arrival(9, 1));
    assert_eq!(backlog.take(at(2)), Some(big));
    backlog.opened(big, 10, 200);
    assert_eq!(backlog.take(at(2)), Some(big));
    assert_eq!(backlog.take(at(2)), Some(other), "the third worker goes to another list");
    let urgent = backlog.arrive(Arrival { group: Some(group), ..arrival(0, 3) });
    assert_eq!(backlog.boundary(other, at(3)), Boundary::Continue);
    let Boundary::Yield(preemption) = backlog.boundary(big, at(3)) else { panic!("it goes first") };
    assert_eq!(preemption.to, urgent);
}

#[test]
fn a_packet_that_was_given_back_is_handed_out_again() {
    let mut backlog = Backlog::new();
    let big = backlog.arrive(arrival(9, 1));
    backlog.take(at(1));
    let urgent = backlog.arrive(arrival(0, 1));
    assert!(matches!(backlog.boundary(big, at(1)), Boundary::Yield(_)));
    backlog.give_back(big);
    backlog.done(urgent);
    assert!(backlog.is_idle(urgent) && !backlog.is_idle(big));
    assert_eq!(backlog.take(at(1)), Some(big));
}

#[test]
fn a_message_is_not_handed_out_before_its_time() {
    let mut backlog = Backlog::new();
    let scheduled = backlog.arrive(Arrival { due: Some(Epoch(100)), ..arrival(0, 1) });
    assert_eq!(backlog.take(Moment(at(100).0 - 1)), None);
    assert_eq!(backlog.next_due(), Some(Epoch(100)));
    assert_eq!(backlog.take(at(100)), Some(scheduled));
    backlog.sleep(scheduled, Epoch(200));
    backlog.done(scheduled);
    assert_eq!(backlog.take(at(199)), None);
    assert_eq!(backlog.take(at(200)), Some(scheduled));
}

#[test]
fn a_worker_whose_message_was_requeued_below_another_gives_way() {
    let mut backlog = Backlog::new();
    let first = backlog.arrive(arrival(1, 1));
    backlog.take(at(1));
    backlog.arrive(arrival(5, 1));
    assert_eq!(backlog.boundary(first, at(1)), Boundary::Continue);
    backlog.requeued(first, level(9));
    assert!(matches!(backlog.boundary(first, at(1)), Boundary::Yield(_)));
}

#[test]
fn what_is_said_of_a_forgotten_message_changes_nothing() {
    let mut backlog = Backlog::new();
    let gone = backlog.arrive(arrival(1, 1));
    backlog.take(at(1));
    backlog.gone(gone);
    assert_eq!(backlog.boundary(gone, at(1)), Boundary::Gone);
    backlog.give_back(gone);
    backlog.sleep(gone, Epoch(1));
    backlog.opened(gone, 7, 7);
    assert_eq!(backlog.take(at(9)), None);
    assert!(backlog.is_empty());
}
