//! Urgent messages: who gives way, when, and where it goes on.

use std::collections::HashSet;

use crate::support::log;
use crate::support::relay::{Dot, Gate, Policy, Relay};
use crate::support::scheduler::{Running, settings};
use crate::support::spool::{TestSpool, members};

#[test]
fn for_one_urgent_packet_one_of_four_workers_gives_way_and_resumes_behind_its_last_recipient() {
    const BIG: &str = "big@preemption.example.org.1700000000.1";
    const URGENT: &str = "urgent@preemption.example.org.1700000000.2";
    let spool = TestSpool::new();
    let packets: Vec<Vec<String>> = (1..=4).map(|n| members(&format!("p{n}x"), 50)).collect();
    spool.put_packets("6", BIG, &packets);
    // All four are held up in their second transaction until the urgent message is known.
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(Policy::new().dot(move |envelope| {
        if envelope.order == 1 {
            theirs.pass();
        }
        Dot::Take
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 4));
    gate.wait_for(4);
    spool.put_packets("0", URGENT, &[members("urgent", 3)]);
    log::wait_for_line(&["message has arrived", URGENT]);
    gate.open();
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    assert!(record.copies().values().all(|&count| count == 1));
    assert_eq!(record.copies().len(), 4 * 50 + 3);

    let yields = log::lines_with(&["gives way to a more urgent message", BIG, URGENT]);
    assert_eq!(yields.len(), 1, "{yields:#?}");
    assert!(
        yields[0].contains("from=6") && yields[0].contains("to=0") && yields[0].contains("waited_us="),
        "{yields:?}"
    );

    // On its connection the urgent message comes right behind the transaction in flight.
    let urgent = record.taken.iter().find(|taken| taken.subject == URGENT).unwrap();
    assert_eq!(urgent.envelope.order, 2);
    assert_eq!(urgent.envelope.recipients, members("urgent", 3));
    // Each packet's recipients came in their order, the interrupted one's, too.
    for packet in &packets {
        let members: HashSet<&str> = packet.iter().map(String::as_str).collect();
        let got: Vec<&str> = record.recipients().filter(|recipient| members.contains(recipient)).collect();
        assert_eq!(got, packet.iter().map(String::as_str).collect::<Vec<_>>());
    }
    // Of the interrupted packet, two transactions came before.
    let interrupted = record
        .taken
        .iter()
        .find(|taken| taken.envelope.connection == urgent.envelope.connection && taken.envelope.order == 1);
    let last = interrupted.unwrap().envelope.recipients.last().unwrap().clone();
    let resumed = log::lines_with(&["packet is resumed", BIG, &last]);
    assert_eq!(resumed.len(), 1, "{resumed:?}");
}

#[test]
fn a_transaction_in_flight_finishes_before_the_urgent_message_starts() {
    const BIG: &str = "big@inflight.example.org.1700000000.1";
    const URGENT: &str = "urgent@inflight.example.org.1700000000.2";
    let spool = TestSpool::new();
    spool.put_packets("1", BIG, &[members("m", 30)]);
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(Policy::new().dot(move |envelope| {
        if envelope.order == 0 {
            theirs.pass();
        }
        Dot::Take
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    gate.wait_for(1);
    spool.put_packets("0", URGENT, &[members("urgent", 1)]);
    log::wait_for_line(&["message has arrived", URGENT]);
    assert_eq!(relay.record().taken.len(), 0);
    gate.open();
    spool.wait_until_empty();
    running.stop();
    let subjects: Vec<String> = relay.record().taken.into_iter().map(|taken| taken.subject).collect();
    assert_eq!(subjects, [BIG, URGENT, BIG, BIG]);
}

#[test]
fn between_levels_order_is_strict() {
    let spool = TestSpool::new();
    let name = |level: usize, n: usize| format!("list@strict.example.org.17000000{level}{n}.1");
    let mut expected = Vec::new();
    for level in 0..=9 {
        for n in 0..2 {
            expected.push((level, name(level, n)));
        }
    }
    // Written in an order of their own.
    for (level, name) in expected.iter().rev() {
        spool.put_packets(&level.to_string(), name, &[members("m", 1)]);
    }
    let relay = Relay::start(Policy::new());
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    spool.wait_until_empty();
    running.stop();
    let levels: Vec<usize> = relay
        .record()
        .taken
        .iter()
        .map(|taken| expected.iter().find(|(_, name)| *name == taken.subject).unwrap().0)
        .collect();
    let mut sorted = levels.clone();
    sorted.sort_unstable();
    assert_eq!(levels, sorted);
    assert_eq!(levels.len(), expected.len());
}

#[test]
fn what_is_held_is_never_sent_and_nobody_gives_way_to_it() {
    const BIG: &str = "big@held.example.org.1700000000.1";
    const HELD: &str = "held@held.example.org.1700000000.2";
    let spool = TestSpool::new();
    spool.put_packets("9", BIG, &[members("m", 20)]);
    spool.put_packets("z", HELD, &[members("held", 1)]);
    let relay = Relay::start(Policy::new());
    let mut settings = settings(spool.path(), relay.url(), 2);
    settings.run.rescan = std::time::Duration::from_millis(50);
    let running = Running::start(settings);
    relay.wait_for_recipients(20);
    running.stop();
    assert_eq!(spool.waiting(), [format!("z/{HELD}")]);
    assert!(!relay.record().copies().contains_key("held000001@example.org"));
    assert!(log::lines_with(&["gives way", BIG]).is_empty());
}
