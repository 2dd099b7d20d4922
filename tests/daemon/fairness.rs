//! Inside a level, and for the urgent: who goes first when nobody is preempted by priority.

use std::num::NonZero;

use sympa_dist::daemon::lists::{ListSettings, Lists, Pattern};
use sympa_dist::deliver::Limits;
use sympa_dist::mail::Level;

use crate::support::log;
use crate::support::relay::{Gate, Policy, Relay};
use crate::support::scheduler::{Running, settings};
use crate::support::spool::{TestSpool, members};

/// A big one drains with one worker; a small one of its level arrives during its `held_up`th transaction. Gives the
/// subjects in the order in which the relay took them.
fn small_behind_big(case: &str, fair: bool) -> Vec<String> {
    const HELD_UP: usize = 20;
    let [big, small] = [1, 2].map(|n| format!("list{n}@{case}.example.org.170000000{n}.{n}"));
    let spool = TestSpool::new();
    spool.put_packets("5", &big, &[members("big", 400)]);
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(Policy::new().dot(move |envelope| {
        if envelope.order == HELD_UP as u64 {
            theirs.pass();
        }
        crate::support::relay::Dot::Take
    }));
    let mut settings = settings(spool.path(), relay.url(), 1);
    settings.fairness.fair = fair;
    let running = Running::start(settings);
    gate.wait_for(1);
    spool.put_packets("5", &small, &[members("small", 5)]);
    log::wait_for_line(&["message has arrived", &small]);
    gate.open();
    spool.wait_until_empty();
    running.stop();
    assert_eq!(relay.record().copies().len(), 405);
    assert!(relay.record().copies().values().all(|&copies| copies == 1));
    assert_eq!(log::lines_with(&["gives way to another message of its level", &big, &small]).len(), usize::from(fair));
    let taken = relay.record().taken.into_iter().map(|taken| taken.subject);
    let places = taken.enumerate().filter(|(_, subject)| *subject == small).map(|(place, _)| place.to_string());
    places.collect()
}

#[test]
fn a_small_message_slips_past_a_big_one_of_its_level_at_the_next_boundary() {
    assert_eq!(small_behind_big("slips", true), ["21"]);
}

#[test]
fn with_fifo_it_waits_for_the_big_ones_end() {
    assert_eq!(small_behind_big("fifo", false), ["40"]);
}

#[test]
fn an_urgent_message_goes_out_by_an_express_worker_while_all_others_hang_in_a_slow_relay() {
    const URGENT: &str = "urgent@express.example.org.1700000000.2";
    const MIDDLE: &str = "middle@express.example.org.1700000000.3";
    let spool = TestSpool::new();
    spool.put_packets(
        "6",
        "big@express.example.org.1700000000.1",
        &[members("m", 20), members("n", 20), members("o", 20)],
    );
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(Policy::new().dot(move |envelope| {
        if !envelope.recipients[0].starts_with("urgent") {
            theirs.pass();
        }
        crate::support::relay::Dot::Take
    }));
    let mut settings = settings(spool.path(), relay.url(), 8);
    settings.run.express_workers = 1;
    settings.run.express_up_to = Level::new(2).unwrap();
    // The others may have two of them.
    settings.relays[0].limits = Limits { max_connections: NonZero::new(3), ..Limits::default() };
    let running = Running::start(settings);
    gate.wait_for(2);
    spool.put_packets("3", MIDDLE, &[members("middle", 5)]);
    spool.put_packets("0", URGENT, &[members("urgent", 5)]);
    relay.wait_for("the urgent one", |record| record.taken.iter().any(|taken| taken.subject == URGENT));
    assert_eq!(relay.record().taken.len(), 1, "nobody else's transaction has ended");
    gate.open();
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    assert_eq!((record.copies().len(), record.most_at_once), (70, 3));
}

#[test]
fn with_ageing_a_message_that_has_waited_goes_before_more_urgent_ones() {
    let spool = TestSpool::new();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let old = format!("old@ageing.example.org.{}.1", now - 7200);
    let new = format!("new@ageing.example.org.{now}.2");
    spool.put_packets("7", &old, &[members("old", 1)]);
    spool.put_packets("5", &new, &[members("new", 1)]);
    let relay = Relay::start(Policy::new());
    let mut settings = settings(spool.path(), relay.url(), 1);
    settings.ageing = Some(std::time::Duration::from_secs(2000));
    let running = Running::start(settings);
    spool.wait_until_empty();
    running.stop();
    let subjects: Vec<String> = relay.record().taken.into_iter().map(|taken| taken.subject).collect();
    assert_eq!(subjects, [old, new]);
}

#[test]
fn a_list_has_no_more_workers_than_it_may_and_others_go_past_it() {
    const OTHER: &str = "other@most.example.org.1700000000.2";
    let spool = TestSpool::new();
    let packets: Vec<Vec<String>> = (1..=6).map(|n| members(&format!("p{n}x"), 20)).collect();
    spool.put_packets("3", "news@most.example.org.1700000000.1", &packets);
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(Policy::new().dot(move |envelope| {
        if envelope.recipients[0].starts_with('p') {
            theirs.pass();
        }
        crate::support::relay::Dot::Take
    }));
    let mut settings = settings(spool.path(), relay.url(), 4);
    let news = ListSettings::new(Pattern::new("news@*").unwrap());
    settings.lists = Lists(vec![ListSettings { max_workers: NonZero::new(2), ..news }]);
    let running = Running::start(settings);
    gate.wait_for(2);
    spool.put_packets("9", OTHER, &[members("other", 30)]);
    relay.wait_for_recipients(30);
    assert!(relay.record().taken.iter().all(|taken| taken.subject == OTHER));
    gate.open();
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    assert_eq!((record.copies().len(), record.most_at_once), (150, 3), "two of the list's, and one of the other");
}
