//! TERM and HUP, as the scheduler hears them: stop, stop now, reload.

use std::num::NonZero;
use std::time::Duration;

use sympa_dist::daemon::Control;

use crate::support::log;
use crate::support::relay::{Data, Dot, Ended, Gate, Policy, Relay};
use crate::support::scheduler::{Running, settings};
use crate::support::spool::{TestSpool, members};

#[test]
fn a_stop_before_the_final_dot_drops_the_transaction_at_once_and_nobody_got_it() {
    const ID: &str = "big@stop.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 30)]);
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(Policy::new().data(move |envelope| {
        if envelope.order == 1 {
            theirs.pass();
        }
        Data::Go
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    gate.wait_for(1);
    // The relay never answers; the stop must not wait for it.
    let summary = running.stop();
    assert!(summary.uncertain.is_empty());
    gate.open();
    let record = relay.wait_for("the connection's end", |record| record.connections == [Ended::Cut]);
    assert_eq!(record.recipients().collect::<Vec<_>>(), members("m", 10));
    assert_eq!(spool.checkpoint("3", ID, "recipients.mail.0001").as_deref(), Some("m000010@example.org"));

    let running = Running::start(settings(spool.path(), relay.url(), 1));
    spool.wait_until_empty();
    running.stop();
    assert_eq!(relay.record().recipients().collect::<Vec<_>>(), members("m", 30));
}

#[test]
fn a_stop_behind_the_final_dot_waits_for_its_answer() {
    const ID: &str = "big@dot.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 30)]);
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(Policy::new().dot(move |envelope| {
        if envelope.order == 1 {
            theirs.pass();
        }
        Dot::Take
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    gate.wait_for(1);
    running.tell(Control::Stop);
    log::wait_for_line(&["stopping: no new transaction"]);
    assert!(!running.has_ended());
    gate.open();
    let summary = running.wait();
    assert!(summary.uncertain.is_empty());
    assert_eq!(spool.checkpoint("3", ID, "recipients.mail.0001").as_deref(), Some("m000020@example.org"));
    assert_eq!(relay.record().recipients().collect::<Vec<_>>(), members("m", 20));
}

#[test]
fn where_the_grace_is_exceeded_the_uncertain_recipients_are_named() {
    const ID: &str = "big@grace.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 30)]);
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(Policy::new().dot(move |envelope| {
        if envelope.order == 1 {
            theirs.pass();
        }
        Dot::Take
    }));
    let mut settings = settings(spool.path(), relay.url(), 1);
    settings.run.shutdown_grace = Duration::from_millis(200);
    let running = Running::start(settings);
    gate.wait_for(1);
    let summary = running.stop();
    let named = log::lines_with(&["uncertain", ID]);
    assert!(
        named.iter().any(|line| line.contains("m000011@example.org") && line.contains("m000020@example.org")),
        "{named:#?}"
    );
    assert_eq!(summary.uncertain, [format!("{ID} recipients.mail.0001 recipients 11..20")]);
    gate.open();
}

#[test]
fn a_second_stop_ends_at_once_and_says_what_may_be_repeated() {
    const ID: &str = "big@second.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 30)]);
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(Policy::new().dot(move |_| {
        theirs.pass();
        Dot::Take
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    gate.wait_for(1);
    running.tell(Control::Stop);
    running.tell(Control::Stop);
    let summary = running.wait();
    assert_eq!(summary.uncertain, [format!("{ID} recipients.mail.0001 recipients 1..10")]);
    gate.open();
}

#[test]
fn a_reload_brings_more_workers_then_fewer_then_another_relay() {
    const ID: &str = "big@reload.example.org.1700000000.1";
    let spool = TestSpool::new();
    let packets: Vec<Vec<String>> = (1..=4).map(|n| members(&format!("p{n}x"), 100)).collect();
    spool.put_packets("3", ID, &packets);
    let gates = [Gate::new(), Gate::new()];
    let theirs = gates.clone();
    let first = Relay::start(Policy::new().dot(move |envelope| {
        match (envelope.connection, envelope.order) {
            (0, 1) => theirs[0].pass(),
            // Whoever comes after the reload.
            (1.., 0) => theirs[1].pass(),
            _ => {}
        }
        Dot::Take
    }));
    let second = Relay::start(Policy::new());
    let one = settings(spool.path(), first.url(), 1);
    let mut four = one.clone();
    four.run.workers = NonZero::new(4).unwrap();
    let mut elsewhere = settings(spool.path(), second.url(), 2);
    elsewhere.run.recipients_per_transaction = NonZero::new(25).unwrap();

    let running = Running::start(one);
    gates[0].wait_for(1);
    running.reload(four);
    gates[1].wait_for(3);
    assert_eq!(first.record().connections.len(), 4, "three workers more");
    running.reload(elsewhere);
    log::wait_for_line(&["configuration reloaded"]);
    running.tell(Control::Reload(Box::new(Err("line 3: nonsense".into()))));
    log::wait_for_line(&["configuration not reloaded", "line 3: nonsense"]);
    gates.iter().for_each(Gate::open);
    spool.wait_until_empty();
    running.stop();
    let (first, second) = (first.record(), second.record());
    assert_eq!(first.copies().len() + second.copies().len(), 400);
    let twice = first.recipients().chain(second.recipients()).count();
    assert_eq!(twice, 400);
    assert!(second.taken.iter().any(|taken| taken.envelope.recipients.len() == 25), "{second:?}");
    assert!(second.connections.len() <= 2, "{:?}", second.connections);
    assert!(first.connections.iter().all(|ended| *ended == Ended::Quit), "{:?}", first.connections);
}

#[test]
fn workers_that_were_idle_at_a_reload_send_by_the_new_settings() {
    let spool = TestSpool::new();
    let (first, second) = (Relay::start(Policy::new()), Relay::start(Policy::new()));
    let running = Running::start(settings(spool.path(), first.url(), 4));
    spool.put_packets("3", "before@idle-reload.example.org.1700000000.1", &[members("before", 1)]);
    spool.wait_until_empty();
    running.reload(settings(spool.path(), second.url(), 1));
    // The connection to the old relay is given up at once, not with the next message.
    first.wait_for("QUIT", |record| record.connections.iter().all(|ended| *ended == Ended::Quit));
    let packets: Vec<Vec<String>> = (1..=4).map(|n| members(&format!("p{n}x"), 20)).collect();
    spool.put_packets("3", "after@idle-reload.example.org.1700000000.2", &packets);
    spool.wait_until_empty();
    running.stop();
    assert_eq!(first.record().recipients().count(), 1);
    assert_eq!(second.record().recipients().count(), 80);
    assert_eq!(second.record().connections.len(), 1, "one worker is left");
}

#[test]
fn a_reload_does_not_change_the_spool_and_brings_the_rest() {
    let (spool, other) = (TestSpool::new(), TestSpool::new());
    let (first, second) = (Relay::start(Policy::new()), Relay::start(Policy::new()));
    other.put_packets("3", "b@spool.example.org.1700000000.2", &[members("other", 1)]);
    spool.put_packets("3", "a@spool.example.org.1700000000.1", &[members("m", 1)]);
    let running = Running::start(settings(spool.path(), first.url(), 1));
    spool.wait_until_empty();
    running.reload(settings(other.path(), second.url(), 1));
    first.wait_for("QUIT", |record| record.connections.iter().all(|ended| *ended == Ended::Quit));
    spool.put_packets("3", "a@spool.example.org.1700000000.3", &[members("n", 1)]);
    spool.wait_until_empty();
    running.stop();
    assert_eq!(second.record().recipients().collect::<Vec<_>>(), members("n", 1));
    assert_eq!(other.waiting(), ["3/b@spool.example.org.1700000000.2"]);
}
