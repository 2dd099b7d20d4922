//! Relays that are down, go down, and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sympa_dist::daemon::settings::OnUncertain;

use crate::support::log;
use crate::support::relay::{Counter, Data, Dot, Policy, Rcpt, Relay};
use crate::support::reports;
use crate::support::scheduler::{Running, settings};
use crate::support::spool::{TestSpool, members};

fn port(relay: &Relay) -> String {
    relay.url().to_string()
}

#[test]
fn a_relay_that_is_down_at_the_start_is_waited_for() {
    let spool = TestSpool::new();
    spool.put_packets("3", "big@down.example.org.1700000000.1", &[members("m", 30)]);
    let mut relay = Relay::start_down(Policy::new());
    let running = Running::start(settings(spool.path(), relay.url(), 3));
    log::wait_for_line(&["relay is out of use", &port(&relay)]);
    relay.come_up();
    spool.wait_until_empty();
    running.stop();
    assert_eq!(relay.record().recipients().collect::<Vec<_>>(), members("m", 30));
    assert_eq!(log::lines_with(&["relay is out of use", &port(&relay)]).len(), 1);
    assert_eq!(log::lines_with(&["relay is back", &port(&relay)]).len(), 1);
}

#[test]
fn a_relay_that_goes_down_and_comes_back_loses_nobody_and_repeats_nobody_and_costs_a_line_a_change() {
    let spool = TestSpool::new();
    let packets: Vec<Vec<String>> = (1..=8).map(|n| members(&format!("p{n}x"), 50)).collect();
    spool.put_packets("3", "big@again.example.org.1700000000.1", &packets);
    // When the connections are cut, none of them is behind a final dot: all wait in DATA.
    let closing = Arc::new(AtomicBool::new(false));
    let gate = crate::support::relay::Gate::new();
    let (theirs, their_gate) = (closing.clone(), gate.clone());
    let mut relay = Relay::start(Policy::new().data(move |envelope| {
        if envelope.order == 2 && !theirs.load(Ordering::SeqCst) {
            their_gate.pass();
            return Data::HangUp;
        }
        Data::Go
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 4));
    gate.wait_for(4);
    relay.go_down();
    closing.store(true, Ordering::SeqCst);
    gate.open();
    log::wait_for_line(&["relay is out of use", &port(&relay)]);
    assert_eq!(relay.record().copies().len(), 4 * 2 * 10);
    relay.come_up();
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    assert_eq!(record.copies().len(), 400);
    assert!(record.copies().values().all(|&count| count == 1));
    assert_eq!(log::lines_with(&["relay is out of use", &port(&relay)]).len(), 1);
    assert_eq!(log::lines_with(&["relay is back", &port(&relay)]).len(), 1);
}

#[test]
fn with_one_relay_down_the_next_one_is_used() {
    let spool = TestSpool::new();
    spool.put_packets("3", "big@next.example.org.1700000000.1", &[members("m", 30), members("n", 30)]);
    let down = Relay::start_down(Policy::new());
    let up = Relay::start(Policy::new());
    let mut settings = settings(spool.path(), down.url(), 2);
    settings.relays.push(sympa_dist::deliver::RelaySettings::new(up.url()));
    let running = Running::start(settings);
    spool.wait_until_empty();
    running.stop();
    assert_eq!(up.record().recipients().count(), 60);
    assert_eq!(log::lines_with(&["relay is out of use", &port(&down)]).len(), 1);
}

#[test]
fn a_relay_that_closes_with_421_or_cuts_connections_before_the_dot_costs_nobody_anything() {
    let spool = TestSpool::new();
    spool.put_packets("3", "big@421.example.org.1700000000.1", &[members("m", 100)]);
    let relay = Relay::start(
        Policy::new()
            .data(|envelope| match (envelope.connection % 3, envelope.order) {
                (0, 2) => Data::Bye("421 4.3.2 enough for one connection"),
                (1, 2) => Data::HangUp,
                (2, 2) => Data::HangUpInBody,
                _ => Data::Go,
            })
            .dot(|envelope| match (envelope.connection, envelope.order) {
                // Not taken, by its answer.
                (0, 1) => Dot::Bye("421 4.3.2 shutting down"),
                _ => Dot::Take,
            }),
    );
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    spool.wait_until_empty();
    running.stop();
    assert_eq!(relay.record().recipients().collect::<Vec<_>>(), members("m", 100));
}

#[test]
fn only_recipients_behind_a_final_dot_without_an_answer_are_sent_to_again() {
    const ID: &str = "big@unanswered.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 50)]);
    let dots = Counter::default();
    let relay = Relay::start(Policy::new().dot(move |_| match dots.next() {
        1 => Dot::TakeAndHangUp,
        3 => Dot::HangUp,
        _ => Dot::Take,
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    let all = members("m", 50);
    let expected: Vec<&str> =
        [&all[..20], &all[10..20], &all[20..]].into_iter().flatten().map(String::as_str).collect();
    assert_eq!(record.recipients().collect::<Vec<_>>(), expected);
    assert_eq!(log::lines_with(&["uncertain", ID]).len(), 2);
}

#[test]
fn with_skip_recipients_behind_a_final_dot_without_an_answer_count_as_sent() {
    const ID: &str = "big@skipped.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 50)]);
    let dots = Counter::default();
    let relay = Relay::start(Policy::new().dot(move |_| match dots.next() {
        0 => Dot::TakeAndHangUp,
        // The third one, and the packet's last.
        2 | 4 => Dot::HangUp,
        _ => Dot::Take,
    }));
    let mut settings = settings(spool.path(), relay.url(), 1);
    settings.run.on_uncertain = OnUncertain::Skip;
    let running = Running::start(settings);
    spool.wait_until_empty();
    running.stop();
    let all = members("m", 50);
    let expected: Vec<&str> = [&all[..20], &all[30..40]].into_iter().flatten().map(String::as_str).collect();
    assert_eq!(relay.record().recipients().collect::<Vec<_>>(), expected);
    let lines = log::lines_with(&["uncertain", "count as sent", ID]);
    assert_eq!(lines.len(), 3, "each is told of once");
    assert!(lines[1].contains(&all[20..30].join(" ")) && lines[1].contains("uncertain_total=20"), "{}", lines[1]);
    assert!(lines[2].contains("uncertain_total=30"), "{}", lines[2]);
}

#[test]
fn with_skip_a_transaction_in_which_somebody_was_refused_is_repeated_all_the_same() {
    const ID: &str = "big@mixed.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 20)]);
    let dots = Counter::default();
    let relay = Relay::start(
        Policy::new()
            .rcpt(|to, _| match to {
                "m000003@example.org" => Rcpt::Say("550 5.1.1 unknown"),
                _ => Rcpt::Take,
            })
            .dot(move |_| match dots.next() {
                0 => Dot::TakeAndHangUp,
                _ => Dot::Take,
            }),
    );
    let mut settings = settings(spool.path(), relay.url(), 1);
    settings.run.on_uncertain = OnUncertain::Skip;
    let running = Running::start(settings);
    spool.wait_until_empty();
    running.stop();
    // Skipping them would lose the one who was refused.
    assert_eq!(reports::failed(&relay.record().reports, ID).len(), 1);
    assert_eq!(log::lines_with(&["uncertain", "are sent to again", ID]).len(), 1);
}
