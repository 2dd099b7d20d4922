//! What a relay is spared: connections, rates, recipients; and what it asks to be spared.

use std::num::NonZero;
use std::time::Duration;

use sympa_dist::daemon::settings::Settings;
use sympa_dist::deliver::{Limits, RelaySettings};

use crate::support::log;
use crate::support::relay::{Counter, Data, Dot, Gate, Policy, Record, Relay};
use crate::support::scheduler::{Running, settings};
use crate::support::spool::{TestSpool, members};

fn limited(spool: &TestSpool, relay: &Relay, workers: usize, limits: Limits) -> Settings {
    let mut settings = settings(spool.path(), relay.url(), workers);
    settings.relays[0].limits = limits;
    settings
}

fn each_got_it_once(record: &Record, count: usize) {
    assert_eq!(record.copies().len(), count);
    assert!(record.copies().values().all(|&copies| copies == 1));
}

fn packets(count: usize, size: usize) -> Vec<Vec<String>> {
    (1..=count).map(|n| members(&format!("p{n}x"), size)).collect()
}

#[test]
fn a_relay_gets_no_more_connections_than_it_may() {
    let spool = TestSpool::new();
    spool.put_packets("3", "big@most.example.org.1700000000.1", &packets(12, 30));
    let relay = Relay::start(Policy::new().dot(|_| Dot::TakeAfter(Duration::from_millis(2))));
    let limits = Limits { max_connections: NonZero::new(3), ..Limits::default() };
    let running = Running::start(limited(&spool, &relay, 8, limits));
    spool.wait_until_empty();
    running.stop();
    each_got_it_once(&relay.record(), 360);
    assert_eq!(relay.record().most_at_once, 3);
}

#[test]
fn a_connection_carries_no_more_transactions_than_it_may() {
    let spool = TestSpool::new();
    spool.put_packets("3", "big@each.example.org.1700000000.1", &packets(1, 100));
    let relay = Relay::start(Policy::new());
    let limits = Limits { transactions_per_connection: NonZero::new(3), ..Limits::default() };
    let running = Running::start(limited(&spool, &relay, 1, limits));
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    each_got_it_once(&record, 100);
    // Ten transactions of ten recipients.
    assert_eq!(record.connections.len(), 4);
    assert!(record.taken.iter().all(|taken| taken.envelope.order < 3));
}

#[test]
fn an_urgent_message_has_the_next_turn_of_a_slow_rate() {
    const URGENT: &str = "urgent@rate.example.org.1700000000.2";
    let spool = TestSpool::new();
    spool.put_packets("7", "big@rate.example.org.1700000000.1", &packets(4, 30));
    let relay = Relay::start(Policy::new());
    let limits = Limits { max_transaction_rate: Some(5.0), ..Limits::default() };
    let running = Running::start(limited(&spool, &relay, 4, limits));
    relay.wait_for_recipients(20);
    spool.put_packets("0", URGENT, &[members("urgent", 5)]);
    let there = relay.record().taken.len();
    let record = relay.wait_for("the urgent one", |record| record.taken.iter().any(|taken| taken.subject == URGENT));
    // Each of the four workers may have been behind its turn already.
    let before = record.taken.iter().position(|taken| taken.subject == URGENT).unwrap();
    assert!(before <= there + 4 + 1, "{before} transactions before the urgent one");
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    each_got_it_once(&record, 125);
    // Thirteen transactions: twelve gaps of a fifth of a second.
    let (first, last) = (record.taken[0].dot_at, record.taken[12].dot_at);
    assert!(last.duration_since(first) >= Duration::from_millis(2200), "{:?}", last.duration_since(first));
}

#[test]
fn weights_share_connections_and_failover_keeps_order() {
    let spool = TestSpool::new();
    let gate = Gate::new();
    let relays: Vec<Relay> = (0..2)
        .map(|_| {
            let gate = gate.clone();
            Relay::start(Policy::new().data(move |envelope| {
                if envelope.order == 0 {
                    gate.pass();
                }
                Data::Go
            }))
        })
        .collect();
    spool.put_packets("3", "big@weight.example.org.1700000000.1", &packets(8, 20));
    let mut settings = settings(spool.path(), relays[0].url(), 8);
    settings.relays = [(&relays[0], 3), (&relays[1], 1)]
        .map(|(relay, weight)| {
            let limits = Limits { weight: NonZero::new(weight), ..Limits::default() };
            RelaySettings { limits, ..RelaySettings::new(relay.url()) }
        })
        .to_vec();
    let running = Running::start(settings);
    gate.wait_for(8);
    let connections = [relays[0].record().connections.len(), relays[1].record().connections.len()];
    gate.open();
    spool.wait_until_empty();
    running.stop();
    assert_eq!(connections, [6, 2]);
}

#[test]
fn a_relay_that_comes_back_is_preferred_again() {
    let spool = TestSpool::new();
    let mut first = Relay::start_down(Policy::new());
    let second = Relay::start(Policy::new().dot(|_| Dot::TakeAfter(Duration::from_millis(5))));
    let mut settings = settings(spool.path(), first.url(), 2);
    settings.relays.push(RelaySettings::new(second.url()));
    spool.put_packets("3", "big@back.example.org.1700000000.1", &packets(20, 200));
    let running = Running::start(settings);
    second.wait_for_recipients(100);
    first.come_up();
    // In the middle of its packets.
    first.wait_for_recipients(100);
    spool.wait_until_empty();
    running.stop();
    assert_eq!(first.record().copies().len() + second.record().copies().len(), 4000);
}

#[test]
fn too_many_connections_cost_nobody_anything_and_the_relay_is_not_out_of_use() {
    let spool = TestSpool::new();
    spool.put_packets("3", "big@busy.example.org.1700000000.1", &packets(16, 100));
    let relay = Relay::start(Policy::new().most_connections(2).dot(|_| Dot::TakeAfter(Duration::from_millis(2))));
    let running = Running::start(settings(spool.path(), relay.url(), 8));
    spool.wait_until_empty();
    running.stop();
    each_got_it_once(&relay.record(), 1600);
    let port = relay.url().to_string();
    assert!(!log::lines_with(&["relay asks for less", &port]).is_empty());
    assert!(log::lines_with(&["relay is out of use", &port]).is_empty());
}

#[test]
fn a_relay_that_defers_for_being_asked_too_fast_is_asked_more_slowly() {
    let spool = TestSpool::new();
    spool.put_packets("3", "big@fast.example.org.1700000000.1", &packets(8, 50));
    let dots = Counter::default();
    let relay = Relay::start(Policy::new().dot(move |_| match dots.next() {
        0..10 => Dot::Say("451 4.7.1 too fast"),
        _ => Dot::Take,
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 8));
    spool.wait_until_empty();
    running.stop();
    each_got_it_once(&relay.record(), 400);
    let port = relay.url().to_string();
    assert_eq!(log::lines_with(&["relay asks for less", &port]).len(), 1);
}

#[test]
fn a_limit_of_recipients_is_learnt_and_kept() {
    let spool = TestSpool::new();
    spool.put_packets("3", "big@seven.example.org.1700000000.1", &packets(1, 70));
    let relay = Relay::start(Policy::new().most_recipients(7));
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    each_got_it_once(&record, 70);
    let sizes: Vec<usize> = record.taken.iter().map(|taken| taken.envelope.recipients.len()).collect();
    assert_eq!(sizes, [7; 10]);
    let asked: u64 = record.tries.values().sum();
    assert_eq!(asked, 73, "only the first transaction asked for three too many");
}
