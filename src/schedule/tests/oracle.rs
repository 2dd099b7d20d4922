//! The core against a naive oracle: every answer, over random histories.

use std::num::NonZero;

use proptest::prelude::*;

use super::*;
use crate::schedule::{Ageing, Group, Order, Policy};

/// The specification, word by word, in linear time. Within a level by arrival: fairness has properties of its own.
struct Oracle {
    rows: Vec<Row>,
    ageing: Option<u64>,
    limits: [u32; 3],
}

struct Row {
    key: Key,
    arrival: Arrival,
    ready: u32,
    working: u32,
    put_off: Option<u64>,
}

impl Oracle {
    fn row(&mut self, key: Key) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.key == key)
    }

    fn lifted(&self, row: &Row, now: u64) -> Level {
        let since = row.arrival.arrived.max(row.arrival.due.unwrap_or_default()).0;
        let steps = self.ageing.map_or(0, |step| now.saturating_sub(since) / step);
        level((row.arrival.level.index() as u64).saturating_sub(steps) as u8)
    }

    /// `leaving`: a worker on that message would give its place up.
    fn first(&self, now: u64, leaving: Option<Key>) -> Option<(Level, Key)> {
        let is_due =
            |row: &&Row| row.arrival.due.is_none_or(|due| due.0 <= now) && row.put_off.is_none_or(|until| until <= now);
        let has_room = |row: &&Row| {
            let Some(Group(group)) = row.arrival.group else { return true };
            let of_group = self.rows.iter().filter(|other| other.arrival.group == row.arrival.group);
            let working: u32 =
                of_group.map(|other| other.working - u32::from(leaving.is_some_and(|key| key == other.key))).sum();
            working < self.limits[group.get() as usize - 1]
        };
        let ready = self.rows.iter().filter(|row| row.ready > 0).filter(is_due).filter(has_room);
        ready.map(|row| (self.lifted(row, now), row.arrival.arrived, row.key)).min().map(|(level, _, key)| (level, key))
    }

    fn reserve(&mut self, key: Key) {
        let row = self.row(key).unwrap();
        row.ready -= 1;
        row.working += 1;
    }

    fn take(&mut self, last: Level, now: u64) -> Option<Key> {
        let (_, key) = self.first(now, None).filter(|(level, _)| *level <= last)?;
        self.reserve(key);
        Some(key)
    }

    fn boundary(&mut self, last: Level, current: Key, now: u64) -> Answer {
        let Some(row) = self.rows.iter().find(|row| row.key == current) else { return Answer::Gone };
        let from = self.lifted(row, now);
        match self.first(now, Some(current)).filter(|(level, _)| *level < from && *level <= last) {
            Some((level, key)) => {
                self.reserve(key);
                Answer::Yield(key, from, level)
            }
            None if from > last => Answer::TooFar,
            None => Answer::Continue,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    Continue,
    Yield(Key, Level, Level),
    TooFar,
    Gone,
}

#[derive(Clone, Debug)]
enum Step {
    Arrive {
        level: u8,
        arrived: u64,
        due: Option<u64>,
        group: Option<u32>,
    },
    /// By a worker that takes nothing less urgent.
    Take(u8),
    /// By the n-th worker that has a packet; also the ones below.
    Boundary(usize, u8),
    Done(usize),
    GiveBack(usize),
    Opened(usize, u32),
    /// Of the n-th message.
    Requeue(usize, u8),
    Regroup(usize, Option<u32>),
    Gone(usize),
    /// When nobody works on it and nothing is ready.
    Sleep(usize, u64),
    /// When nobody works on it.
    PutOff(usize, u64),
    Limit(u32, u32),
    Ageing(Option<u64>),
    Tick(u64),
    /// The clock is set, forward or back.
    Clock(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let last = || prop_oneof![Just(9u8), 0..10u8];
    let step = prop_oneof![
        6 => (0..10u8, 0..50u64, prop::option::weighted(0.3, 1..200u64), prop::option::of(0..3u32))
            .prop_map(|(level, arrived, due, group)| Step::Arrive { level, arrived, due, group }),
        8 => last().prop_map(Step::Take),
        8 => (any::<usize>(), last()).prop_map(|(n, last)| Step::Boundary(n, last)),
        2 => any::<usize>().prop_map(Step::Done),
        2 => any::<usize>().prop_map(Step::GiveBack),
        2 => (any::<usize>(), 0..5u32).prop_map(|(n, ready)| Step::Opened(n, ready)),
        1 => (any::<usize>(), 0..10u8).prop_map(|(n, level)| Step::Requeue(n, level)),
        1 => (any::<usize>(), prop::option::of(0..3u32)).prop_map(|(n, group)| Step::Regroup(n, group)),
        1 => any::<usize>().prop_map(Step::Gone),
        1 => (any::<usize>(), 1..200u64).prop_map(|(n, until)| Step::Sleep(n, until)),
        1 => (any::<usize>(), 1..200u64).prop_map(|(n, until)| Step::PutOff(n, until)),
        1 => (0..3u32, 1..4u32).prop_map(|(group, most)| Step::Limit(group, most)),
        1 => prop::option::of(1..60u64).prop_map(Step::Ageing),
        2 => (0..20u64).prop_map(Step::Tick),
        1 => (0..200u64).prop_map(Step::Clock),
    ];
    prop::collection::vec(step, 0..200)
}

fn group(n: u32) -> Group {
    Group(NonZero::new(n + 1).unwrap())
}

fn fifo(ageing: Option<u64>) -> Policy {
    Policy { order: Order::Fifo, ageing: ageing.and_then(NonZero::new).map(Ageing) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Same answers as the oracle; with it come strictness (nobody is handed a packet while a more urgent one is ready),
    /// that as many give way as are needed, that nobody idles while a packet is ready that its limits allow, that a limit is
    /// kept, that a worker for urgent mail takes no other, that levels are lifted as said, and that nothing is early, whichever way the clock is set.
    #[test]
    fn the_backlog_answers_as_the_oracle_does(steps in steps()) {
        let mut backlog = Backlog::with(fifo(None));
        let mut oracle = Oracle { rows: Vec::new(), ageing: None, limits: [u32::MAX; 3] };
        // What each busy worker works on.
        let mut busy: Vec<Key> = Vec::new();
        let mut now = 0;
        for step in steps {
            let worker = |n: usize| (!busy.is_empty()).then(|| n % busy.len());
            let message = |n: usize| (!oracle.rows.is_empty()).then(|| n % oracle.rows.len());
            match step {
                Step::Arrive { level: n, arrived, due, group: g } => {
                    let arrival = Arrival { due: due.map(Epoch), group: g.map(group), ..arrival(n, arrived) };
                    let key = backlog.arrive(arrival);
                    oracle.rows.push(Row { key, arrival, ready: 1, working: 0, put_off: None });
                }
                Step::Take(last) => {
                    let taken = backlog.take_up_to(level(last), at(now));
                    prop_assert_eq!(taken, oracle.take(level(last), now));
                    busy.extend(taken);
                }
                Step::Boundary(n, last) => if let Some(n) = worker(n) {
                    let answer = match backlog.boundary_up_to(level(last), busy[n], at(now)) {
                        Boundary::Gone => Answer::Gone,
                        Boundary::Continue => Answer::Continue,
                        Boundary::TooFar => Answer::TooFar,
                        Boundary::Yield(Preemption { to, from, to_level, .. }) => Answer::Yield(to, from, to_level),
                    };
                    prop_assert_eq!(answer, oracle.boundary(level(last), busy[n], now));
                    let left = match answer {
                        Answer::Continue => continue,
                        Answer::Yield(to, ..) => std::mem::replace(&mut busy[n], to),
                        Answer::TooFar | Answer::Gone => busy.swap_remove(n),
                    };
                    backlog.give_back(left);
                    if let Some(row) = oracle.row(left) { row.working -= 1; row.ready += 1 }
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
                    backlog.opened(busy[n], ready, ready * 20);
                    if let Some(row) = oracle.row(busy[n]) { row.ready = ready }
                },
                Step::Requeue(n, to) => if let Some(n) = message(n) {
                    backlog.requeued(oracle.rows[n].key, level(to));
                    oracle.rows[n].arrival.level = level(to);
                },
                Step::Regroup(n, g) => if let Some(n) = message(n) {
                    backlog.regroup(oracle.rows[n].key, g.map(group));
                    oracle.rows[n].arrival.group = g.map(group);
                },
                Step::Gone(n) => if let Some(n) = message(n) {
                    let row = oracle.rows.swap_remove(n);
                    backlog.gone(row.key);
                },
                Step::Sleep(n, until) => if let Some(n) = message(n) {
                    let row = &mut oracle.rows[n];
                    prop_assert_eq!(backlog.is_idle(row.key), row.ready == 0 && row.working == 0);
                    if row.ready == 0 && row.working == 0 {
                        backlog.sleep(row.key, Epoch(until));
                        row.ready = 1;
                        row.arrival.due = Some(Epoch(until));
                        row.put_off = None;
                    }
                },
                Step::PutOff(n, until) => if let Some(n) = message(n) {
                    let row = &mut oracle.rows[n];
                    if row.working == 0 {
                        backlog.put_off(row.key, Epoch(until));
                        row.ready = 1;
                        row.put_off = Some(until);
                        // One that lies before its arrival is not kept.
                        row.arrival.due = row.arrival.due.filter(|due| *due > row.arrival.arrived);
                    }
                },
                Step::Limit(g, most) => {
                    backlog.set_limit(group(g), NonZero::new(most));
                    oracle.limits[g as usize] = most;
                }
                Step::Ageing(step) => {
                    backlog.set_policy(fifo(step), at(now));
                    oracle.ageing = step;
                }
                Step::Tick(seconds) => now += seconds,
                Step::Clock(at_once) => {
                    now = at_once;
                    backlog.clock_was_set(at(now), |_| false);
                    oracle.rows.iter_mut().for_each(|row| row.put_off = None);
                }
            }
            for row in &oracle.rows {
                prop_assert_eq!(backlog.is_working(row.key), row.working > 0);
            }
            prop_assert_eq!(backlog.len(), oracle.rows.len());
        }
    }
}
