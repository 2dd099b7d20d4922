//! The core against a naive oracle, and the specification's sentences as small stories.

use proptest::prelude::*;

use super::*;
use crate::mail::{Epoch, Level, Moment};

fn level(n: u8) -> Level {
    Level::new(n).unwrap()
}

fn at(second: u64) -> Moment {
    Epoch(second).into()
}

fn arrival(n: u8, arrived: u64) -> Arrival {
    Arrival { level: level(n), arrived: Epoch(arrived), due: None, seen: at(arrived) }
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
    backlog.opened(big, 3);
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
    backlog.opened(big, 3);
    for _ in 0..3 {
        backlog.take(at(1));
    }
    let urgent = backlog.arrive(arrival(3, 2));
    assert!(matches!(backlog.boundary(big, at(2)), Boundary::Yield(_)));
    backlog.opened(urgent, 2);
    assert!(matches!(backlog.boundary(big, at(2)), Boundary::Yield(_)));
    assert!(matches!(backlog.boundary(big, at(2)), Boundary::Yield(_)));
    assert_eq!(backlog.boundary(big, at(2)), Boundary::Continue);
}

#[test]
fn a_worker_does_not_give_way_within_its_level() {
    let mut backlog = Backlog::new();
    let first = backlog.arrive(arrival(5, 2));
    backlog.take(at(2));
    backlog.arrive(arrival(5, 1));
    assert_eq!(backlog.boundary(first, at(3)), Boundary::Continue);
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
    backlog.opened(gone, 7);
    assert_eq!(backlog.take(at(9)), None);
    assert!(backlog.is_empty());
}

/// The specification, word by word, in linear time.
#[derive(Default)]
struct Oracle(Vec<Row>);

struct Row {
    key: Key,
    arrival: Arrival,
    ready: u32,
    working: u32,
}

impl Oracle {
    fn row(&mut self, key: Key) -> Option<&mut Row> {
        self.0.iter_mut().find(|row| row.key == key)
    }

    fn first(&self, now: Moment) -> Option<(Level, Key)> {
        let is_due = |row: &&Row| row.arrival.due.is_none_or(|due| Moment::from(due) <= now);
        let ready = self.0.iter().filter(|row| row.ready > 0).filter(is_due);
        ready.map(|row| (row.arrival.level, row.arrival.arrived, row.key)).min().map(|(level, _, key)| (level, key))
    }

    fn reserve(&mut self, key: Key) {
        let row = self.row(key).unwrap();
        row.ready -= 1;
        row.working += 1;
    }

    fn take(&mut self, now: Moment) -> Option<Key> {
        let (_, key) = self.first(now)?;
        self.reserve(key);
        Some(key)
    }

    fn boundary(&mut self, current: Key, now: Moment) -> Option<Option<Key>> {
        let from = self.row(current)?.arrival.level;
        let first = self.first(now).filter(|(level, _)| *level < from).map(|(_, key)| key);
        if let Some(key) = first {
            self.reserve(key);
        }
        Some(first)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Arrive {
        level: u8,
        arrived: u64,
        due: Option<u64>,
    },
    Take,
    /// By the n-th worker that has a packet; also the ones below.
    Boundary(usize),
    Done(usize),
    GiveBack(usize),
    Opened(usize, u32),
    /// Of the n-th message.
    Requeue(usize, u8),
    Gone(usize),
    /// When nobody works on it and nothing is ready.
    Sleep(usize, u64),
    Tick(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..10u8, 0..50u64, prop::option::weighted(0.3, 0..200u64))
            .prop_map(|(level, arrived, due)| Step::Arrive { level, arrived, due }),
        6 => Just(Step::Take),
        6 => any::<usize>().prop_map(Step::Boundary),
        2 => any::<usize>().prop_map(Step::Done),
        2 => any::<usize>().prop_map(Step::GiveBack),
        2 => (any::<usize>(), 0..5u32).prop_map(|(n, ready)| Step::Opened(n, ready)),
        1 => (any::<usize>(), 0..10u8).prop_map(|(n, level)| Step::Requeue(n, level)),
        1 => any::<usize>().prop_map(Step::Gone),
        1 => (any::<usize>(), 0..200u64).prop_map(|(n, until)| Step::Sleep(n, until)),
        2 => (0..20u64).prop_map(Step::Tick),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Same answers as the oracle; with it come strictness (nobody is handed a packet while a more urgent one is ready),
    /// that as many give way as are needed, that nobody idles while a packet is ready, and that nothing is early.
    #[test]
    fn the_backlog_answers_as_the_oracle_does(steps in steps()) {
        let mut backlog = Backlog::new();
        let mut oracle = Oracle::default();
        // What each busy worker works on.
        let mut busy: Vec<Key> = Vec::new();
        let mut now = 0;
        for step in steps {
            let worker = |n: usize| (!busy.is_empty()).then(|| n % busy.len());
            match step {
                Step::Arrive { level: n, arrived, due } => {
                    let arrival = Arrival { due: due.map(Epoch), ..arrival(n, arrived) };
                    let key = backlog.arrive(arrival);
                    oracle.0.push(Row { key, arrival, ready: 1, working: 0 });
                }
                Step::Take => {
                    let taken = backlog.take(at(now));
                    prop_assert_eq!(taken, oracle.take(at(now)));
                    busy.extend(taken);
                }
                Step::Boundary(n) => if let Some(n) = worker(n) {
                    let expected = oracle.boundary(busy[n], at(now));
                    match backlog.boundary(busy[n], at(now)) {
                        Boundary::Gone => {
                            prop_assert_eq!(expected, None);
                            busy.swap_remove(n);
                        }
                        Boundary::Continue => prop_assert_eq!(expected, Some(None)),
                        Boundary::Yield(preemption) => {
                            prop_assert_eq!(expected, Some(Some(preemption.to)));
                            prop_assert!(preemption.to_level < preemption.from);
                            backlog.give_back(busy[n]);
                            let row = oracle.row(busy[n]).unwrap();
                            row.working -= 1;
                            row.ready += 1;
                            busy[n] = preemption.to;
                        }
                    }
                },
                Step::Done(n) => if let Some(n) = worker(n) {
                    let key = busy.swap_remove(n);
                    backlog.done(key);
                    if let Some(row) = oracle.row(key) { row.working -= 1 }
                },
                Step::GiveBack(n) => if let Some(n) = worker(n) {
                    let key = busy.swap_remove(n);
                    backlog.give_back(key);
                    if let Some(row) = oracle.row(key) { row.working -= 1; row.ready += 1 }
                },
                Step::Opened(n, ready) => if let Some(n) = worker(n) {
                    backlog.opened(busy[n], ready);
                    if let Some(row) = oracle.row(busy[n]) { row.ready = ready }
                },
                Step::Requeue(n, to) => if !oracle.0.is_empty() {
                    let n = n % oracle.0.len();
                    backlog.requeued(oracle.0[n].key, level(to));
                    oracle.0[n].arrival.level = level(to);
                },
                Step::Gone(n) => if !oracle.0.is_empty() {
                    let row = oracle.0.swap_remove(n % oracle.0.len());
                    backlog.gone(row.key);
                },
                Step::Sleep(n, until) => if !oracle.0.is_empty() {
                    let n = n % oracle.0.len();
                    let row = &mut oracle.0[n];
                    prop_assert_eq!(backlog.is_idle(row.key), row.ready == 0 && row.working == 0);
                    if row.ready == 0 && row.working == 0 {
                        backlog.sleep(row.key, Epoch(until));
                        row.ready = 1;
                        row.arrival.due = Some(Epoch(until));
                    }
                },
                Step::Tick(seconds) => now += seconds,
            }
            for row in &oracle.0 {
                prop_assert_eq!(backlog.is_working(row.key), row.working > 0);
            }
            prop_assert_eq!(backlog.len(), oracle.0.len());
        }
    }
}
