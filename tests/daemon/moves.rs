//! What operators do to a message that is being sent.

use std::sync::Arc;

use sympa_dist::mail::Priority;
use sympa_dist::spool::moves::{self, Moved, Rest};

use crate::support::log;
use crate::support::relay::{Dot, Gate, Policy, Relay};
use crate::support::scheduler::{Running, settings};
use crate::support::spool::{TestSpool, id, members, now};

/// A relay that holds up the second transaction of each connection at a gate.
fn gated() -> (Relay, Gate) {
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(Policy::new().dot(move |envelope| {
        if envelope.order == 1 {
            theirs.pass();
        }
        Dot::Take
    }));
    (relay, gate)
}

fn at(level: &str) -> Priority {
    level.parse().unwrap()
}

#[test]
fn a_message_requeued_in_flight_goes_on_from_its_new_level_without_a_repeat() {
    const ID: &str = "big@requeue.example.org.1700000000.1";
    const OTHER: &str = "other@requeue.example.org.1700000000.2";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 50)]);
    let (relay, gate) = gated();
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    gate.wait_for(1);
    // The other one becomes the more urgent one by the requeue.
    spool.put_packets("5", OTHER, &[members("other", 1)]);
    log::wait_for_line(&["message has arrived", OTHER]);
    let moved = moves::requeue(&spool.open(), &id(ID), at("7")).unwrap();
    assert_eq!(moved, Moved::Moved { from: at("3"), to: at("7") });
    gate.open();
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    assert_eq!(record.copies().len(), 51);
    assert!(record.copies().values().all(|&count| count == 1));
    let subjects: Vec<&str> = record.taken.iter().map(|taken| taken.subject.as_str()).collect();
    assert_eq!(subjects, [ID, ID, OTHER, ID, ID, ID], "the requeue acts at the very next boundary");
}

#[test]
fn a_message_held_in_flight_stops_at_the_next_boundary_and_released_resumes_behind_it() {
    const ID: &str = "big@hold.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 50)]);
    let (relay, gate) = gated();
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    gate.wait_for(1);
    moves::hold(&spool.open(), &id(ID), now(), "operator", "a test").unwrap();
    gate.open();
    log::wait_for_line(&["held while being sent", ID]);
    assert_eq!(relay.record().copies().len(), 20, "the transaction in flight was the last");
    assert_eq!(spool.waiting(), [format!("z/{ID}")]);
    assert_eq!(spool.checkpoint("z", ID, "recipients.mail.0001").as_deref(), Some("m000020@example.org"));
    let moved = moves::release(&spool.open(), &id(ID), None, at("9")).unwrap();
    assert_eq!(moved, Moved::Moved { from: Priority::Held, to: at("3") });
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    assert_eq!(record.recipients().collect::<Vec<_>>(), members("m", 50));
}

#[test]
fn a_message_cancelled_in_flight_stops_at_the_next_boundary_and_its_rest_is_kept() {
    const ID: &str = "big@cancel.example.org.1700000000.1";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 50)]);
    let (relay, gate) = gated();
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    gate.wait_for(1);
    moves::cancel(&spool.open(), &id(ID), now(), "operator", "sent by mistake", Rest::Keep).unwrap();
    gate.open();
    log::wait_for_line(&["taken away while being sent", ID]);
    running.stop();
    assert_eq!(relay.record().copies().len(), 20);
    assert_eq!((spool.waiting(), spool.bad()), (vec![], vec![ID.to_owned()]));
    assert_eq!(spool.reason(ID), "sent by mistake");
    let status =
        std::fs::read_to_string(spool.path().join("bad").join(ID).join("recipients.mail.0001.status")).unwrap();
    assert_eq!(status.lines().next(), Some("m000020@example.org"), "what lies in bad/ knows who got it");
}

#[test]
fn a_message_purged_in_flight_ends_without_fuss() {
    const ID: &str = "big@purge.example.org.1700000000.1";
    const NEXT: &str = "next@purge.example.org.1700000000.2";
    let spool = TestSpool::new();
    spool.put_packets("3", ID, &[members("m", 50)]);
    let (relay, gate) = gated();
    let running = Running::start(settings(spool.path(), relay.url(), 1));
    gate.wait_for(1);
    moves::cancel(&spool.open(), &id(ID), now(), "operator", "sent by mistake", Rest::Purge).unwrap();
    gate.open();
    spool.put_packets("9", NEXT, &[members("next", 1)]);
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    assert_eq!(record.copies().len(), 21);
    assert_eq!(spool.bad(), [""; 0]);
    assert!(log::lines_with(&["ERROR", "purge.example.org"]).is_empty());
}

#[test]
fn requeues_back_and_forth_while_four_workers_send_lose_nobody_and_repeat_nobody() {
    const ID: &str = "big@forth.example.org.1700000000.1";
    let spool = Arc::new(TestSpool::new());
    let packets: Vec<Vec<String>> = (1..=20).map(|n| members(&format!("p{n}x"), 100)).collect();
    spool.put_packets("0", ID, &packets);
    let relay = Relay::start(Policy::new());
    let running = Running::start(settings(spool.path(), relay.url(), 4));
    let opened = spool.open();
    let mut moved = 0;
    for level in ["5", "2", "9", "z", "1"].iter().cycle() {
        let result = moves::requeue(&opened, &id(ID), at(level)).unwrap();
        match result {
            Moved::NotFound => break,
            Moved::Moved { .. } => moved += 1,
            Moved::AlreadyThere(_) => {}
        }
        std::thread::yield_now();
        assert!(moved < 1_000_000);
        if relay.record().copies().len() > 1500 {
            break;
        }
    }
    // It may have come to rest in z.
    moves::release(&opened, &id(ID), Some(at("4")), at("4")).unwrap();
    spool.wait_until_empty();
    running.stop();
    let record = relay.record();
    assert_eq!(record.copies().len(), 2000);
    assert!(record.copies().values().all(|&count| count == 1));
}
