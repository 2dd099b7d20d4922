//! Relays that refuse everything: a mistake is told from refusals, and costs nobody the message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sympa_dist::daemon::settings::{GuardSettings, Settings};
use sympa_dist::spool::layout;
use sympa_dist::spool::moves;
use sympa_dist::spool::note::Note;

use crate::support::log;
use crate::support::relay::{Data, Dot, Policy, Rcpt, Relay};
use crate::support::scheduler::{Running, settings};
use crate::support::spool::{TestSpool, id, members, wait_until};

fn held_because(spool: &TestSpool, name: &str) -> Option<String> {
    let dir = spool.open().at("z".parse().unwrap()).open_dir(name).ok()?;
    Some(Note::read(&dir, layout::HELD)?.why)
}

#[track_caller]
fn wait_until_held(spool: &TestSpool, name: &str) -> String {
    wait_until("held", || held_because(spool, name).is_some(), || format!("{:?} {:?}", spool.waiting(), spool.bad()));
    held_because(spool, name).unwrap()
}

fn release(spool: &TestSpool, name: &str) {
    moves::release(&spool.open(), &id(name), None, "5".parse().unwrap()).unwrap();
}

/// Where a relay refuses, until it is mended.
#[derive(Clone, Copy, Debug)]
enum Mistake {
    Rcpt,
    Data,
    Dot,
}

fn mistaken(mistake: Mistake, mended: &Arc<AtomicBool>) -> Relay {
    let refuses = |at: fn(Mistake) -> bool| {
        let mended = mended.clone();
        move || at(mistake) && !mended.load(Ordering::SeqCst)
    };
    let rcpt = refuses(|mistake| matches!(mistake, Mistake::Rcpt));
    let data = refuses(|mistake| matches!(mistake, Mistake::Data));
    let dot = refuses(|mistake| matches!(mistake, Mistake::Dot));
    Relay::start(
        Policy::new()
            .rcpt(move |_, _| if rcpt() { Rcpt::Say("550 relaying denied") } else { Rcpt::Take })
            .data(move |_| if data() { Data::Say("554 5.7.1 no mail from here") } else { Data::Go })
            .dot(move |_| if dot() { Dot::Say("554 5.7.1 no such thing") } else { Dot::Take }),
    )
}

#[test]
fn a_relay_that_refuses_everything_holds_the_message_and_after_its_release_nobody_was_lost() {
    for mistake in [Mistake::Rcpt, Mistake::Data, Mistake::Dot] {
        let name = format!("big@{mistake:?}.example.org.1700000000.1");
        let spool = TestSpool::new();
        spool.put_packets("3", &name, &[members("m", 200), members("n", 200)]);
        let mended = Arc::new(AtomicBool::new(false));
        let relay = mistaken(mistake, &mended);
        let running = Running::start(settings(spool.path(), relay.url(), 2));
        let why = wait_until_held(&spool, &name);
        assert!(why.contains("refuses everything for good") && why.contains("55"), "{why}");
        wait_until("the log", || log::lines_with(&["message is held", &name]).len() == 1, String::new);
        // Three transactions in a row, and what the other worker had under way.
        let asked = relay.record().tries.values().sum::<u64>();
        assert!(asked <= 5 * 10, "{asked} recipients were asked for");
        mended.store(true, Ordering::SeqCst);
        release(&spool, &name);
        spool.wait_until_empty();
        running.stop();
        let record = relay.record();
        assert_eq!(record.copies().len(), 400, "{mistake:?}");
        assert!(record.copies().values().all(|&count| count == 1));
        assert_eq!(spool.bad(), [""; 0], "nobody has failed");
    }
}

#[test]
fn those_refused_before_the_relay_was_mended_are_asked_for_once_more() {
    const MENDED: &str = "mended@guard.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", MENDED, &[members("m", 40)]);
    // The first two transactions are refused, and one recipient always.
    let relay = Relay::start(Policy::new().rcpt(|to, tries| match to.strip_prefix('m').map(|rest| &rest[..6]) {
        Some("000007") => Rcpt::Say("554 5.7.1 not for this one"),
        Some(number) if number <= "000020" && tries == 0 => Rcpt::Say("550 5.7.1 relaying denied"),
        _ => Rcpt::Take,
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    assert_eq!(record.copies().len(), 39);
    assert!(record.copies().values().all(|&count| count == 1));
    let failed = crate::support::reports::failed(&record.reports, MENDED);
    assert_eq!(failed.iter().map(|failed| &*failed.recipient).collect::<Vec<_>>(), ["m000007@example.org"]);
}

#[test]
fn those_deferred_in_a_transaction_whose_rest_is_then_refused_are_not_forgotten() {
    const ID: &str = "list@both.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 20)]);
    // The first four are taken, then there are too many, but one who is deferred; then the rest is refused, once.
    let relay = Relay::start(Policy::new().rcpt(|to, tries| match (to.get(1..7), tries) {
        (Some("000009"), 0) => Rcpt::Say("450 4.2.1 later"),
        (Some("000005" | "000006" | "000007" | "000008" | "000010"), 0) => Rcpt::Say("452 4.5.3 too many"),
        (Some("000005" | "000006" | "000007" | "000008" | "000010"), 1) => Rcpt::Say("550 5.7.1 relaying denied"),
        _ => Rcpt::Take,
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    assert_eq!(record.copies().len(), 20, "{:?}", record.copies());
    assert!(record.copies().values().all(|&count| count == 1));
}

#[test]
fn a_report_that_fails_is_never_reported_and_goes_to_bad() {
    const ID: &str = "list@report.example.org.1700000000.1";
    const REPORT: &str = "list+report-1@report.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 3)]);
    let relay = Relay::start(Policy::new().rcpt(|to, _| match to {
        "m000002@example.org" => Rcpt::Say("550 5.1.1 unknown"),
        to if to.starts_with("list-owner") => Rcpt::Say("550 5.7.1 no mail for owners"),
        _ => Rcpt::Take,
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    spool.wait_until_bad(REPORT);
    spool.wait_until_empty();
    running.stop();
    assert_eq!(spool.bad(), [REPORT]);
    assert_eq!(crate::support::reports::failed(&crate::support::reports::in_spool(&spool), ID).len(), 1);
}

#[test]
fn a_small_message_is_held_as_well() {
    const SMALL: &str = "small@guard.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", SMALL, &[members("m", 4)]);
    let mended = Arc::new(AtomicBool::new(false));
    let relay = mistaken(Mistake::Rcpt, &mended);
    let running = Running::start(settings(spool.path(), relay.url(), 2));
    wait_until_held(&spool, SMALL);
    mended.store(true, Ordering::SeqCst);
    release(&spool, SMALL);
    spool.wait_until_empty();
    running.stop();
    assert_eq!(relay.record().recipients().count(), 4);
}

#[test]
fn a_message_of_unknown_users_fails_and_is_not_held() {
    const DEAD: &str = "dead@guard.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", DEAD, &[members("m", 60)]);
    let relay = Relay::start(Policy::new().rcpt(|to, _| match to.starts_with('m') {
        true => Rcpt::Say("550 5.1.1 no such user"),
        false => Rcpt::Take,
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 2));
    spool.wait_until_empty();
    running.stop();
    assert_eq!(crate::support::reports::failed(&relay.record().reports, DEAD).len(), 60);
}

#[test]
fn refusals_without_a_status_are_believed_where_other_messages_get_through() {
    const REFUSED: &str = "refused@guard.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", REFUSED, &[members("m", 20)]);
    let relay = Relay::start(Policy::new().rcpt(|to, _| match to.starts_with('m') {
        true => Rcpt::Say("550 not here"),
        false => Rcpt::Take,
    }));
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    // Each of the two transactions, and the repetitions, is suspected until somebody else's message has got through.
    let mut others = 0;
    while spool.waiting().iter().any(|name| name.ends_with(REFUSED)) {
        others += 1;
        spool.put_packets("2", &format!("fine@guard.example.org.1700000000.{others}"), &[members("fine", 1)]);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(held_because(&spool, REFUSED).is_none(), "{:?}", spool.waiting());
    spool.wait_until_empty();
    running.stop();
    assert_eq!(crate::support::reports::failed(&relay.record().reports, REFUSED).len(), 20);
}

#[test]
fn without_the_guard_refusals_are_refusals() {
    const REFUSED: &str = "refused@unguarded.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", REFUSED, &[members("m", 50)]);
    let relay = Relay::start(Policy::new().rcpt(|to, _| match to.starts_with('m') {
        true => Rcpt::Say("554 5.7.1 relaying denied"),
        false => Rcpt::Take,
    }));
    let settings = Settings { guard: GuardSettings { transactions: 0 }, ..settings(spool.path(), relay.url(), 2) };
    let running = Running::start(settings);
    spool.wait_until_empty();
    running.stop();
    assert_eq!(crate::support::reports::failed(&relay.record().reports, REFUSED).len(), 50);
}

#[test]
fn an_empty_retry_packet_that_a_crash_left_holds_up_nobody() {
    let (relay, spool) = (Relay::start(Policy::new()), TestSpool::new());
    let name = "list@lists.example.org.1700000000.1";
    let everybody = members("m", 3);
    let files = [
        ("message", "Subject: x\n\nx\n"),
        ("recipients.mail.0001.r1:at1700000001", ""),
        ("recipients.mail.0002", &everybody.join("\n")),
    ];
    spool.put("5", name, &files);
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    spool.wait_until_empty();
    running.stop();
    assert_eq!(relay.record().recipients().count(), everybody.len());
}
