//! What a scheduler tells whoever listens, and what can be asked of it.

use std::sync::Arc;

use sympa_dist::daemon::events::{Event, Happening, Subscription};
use sympa_dist::daemon::live::Live;
use sympa_dist::mail::{Level, Priority};
use sympa_dist::spool::moves;

use crate::support::log;
use crate::support::relay::{Dot, Gate, Policy, Rcpt, Relay};
use crate::support::scheduler::{Running, settings};
use crate::support::spool::{TestSpool, id, members, wait_until};

/// What happened to the message, so far, as the tag of each event's JSON.
fn story(subscription: &Subscription, told: &mut Vec<Arc<Event>>, message: &str) -> Vec<String> {
    told.extend(subscription.events.try_iter());
    let of_it = told.iter().filter(|event| event.what.message().is_some_and(|of| of.to_string() == message));
    of_it.map(|event| serde_json::to_value(&**event).unwrap()["event"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_story_of_a_message_that_gives_way_is_told_and_its_worker_is_seen() {
    const BIG: &str = "big@events.example.org.1700000000.1";
    const URGENT: &str = "urgent@events.example.org.1700000000.2";
    let spool = TestSpool::new();
    spool.put_packets("6", BIG, &[members("m", 50)]);
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(Policy::new().dot(move |envelope| {
        if envelope.order == 1 {
            theirs.pass();
        }
        Dot::Take
    }));
    let live = Arc::new(Live::default());
    assert!(!live.readiness().is_ready() && live.working().is_empty());
    let (subscription, mut told) = (live.events.subscribe(1000), Vec::new());
    let running = Running::start_live(settings(spool.path(), relay.url(), 1), &live);
    gate.wait_for(1);
    let working = live.working();
    assert_eq!((working.len(), working[0].done, working[0].recipients), (1, 10, 50), "{working:?}");
    assert!(live.readiness().is_ready(), "{:?}", live.readiness());
    let relays = live.relays();
    assert_eq!((relays.len(), relays[0].connections), (1, 1));
    spool.put_packets("0", URGENT, &[members("urgent", 3)]);
    log::wait_for_line(&["message has arrived", URGENT]);
    gate.open();
    spool.wait_until_empty();
    running.stop();
    assert_eq!(
        story(&subscription, &mut told, BIG),
        [
            "arrived",
            "started",
            "packet-taken",
            "preempted",
            "packet-left",
            "resumed",
            "packet-taken",
            "packet-left",
            "done"
        ]
    );
    assert_eq!(story(&subscription, &mut told, URGENT), ["arrived", "started", "packet-taken", "packet-left", "done"]);
    let preempted = told.iter().find_map(|event| match &event.what {
        Happening::Preempted { by, latency, .. } => Some((by.to_string(), *latency)),
        _ => None,
    });
    assert!(preempted.is_some_and(|(by, latency)| by == URGENT && latency >= 0.0));
    let level = |n| &live.tally.levels[Level::new(n).unwrap().index()];
    assert_eq!((level(6).sent.get(), level(0).sent.get(), level(6).transactions.get()), (50, 3, 5));
    assert_eq!(live.tally.preemptions[6][0].get(), 1);
    assert!(live.working().is_empty());
}

#[test]
fn a_message_that_is_moved_is_told_of_as_moved_and_refusals_are_told_with_the_reply() {
    const ID: &str = "big@moved.example.org.1700000000.1";
    let spool = TestSpool::new();
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(
        Policy::new()
            .rcpt(|recipient, before| match recipient {
                "m000003@example.org" if before == 0 => Rcpt::Say("450 4.2.0 greylisted"),
                "m000004@example.org" => Rcpt::Say("550 5.1.1 no such user"),
                _ => Rcpt::Take,
            })
            .dot(move |envelope| {
                if envelope.order == 1 {
                    theirs.pass();
                }
                Dot::Take
            }),
    );
    let live = Arc::new(Live::default());
    let (subscription, mut told) = (live.events.subscribe(1000), Vec::new());
    let running = Running::start_live(settings(spool.path(), relay.url(), 1), &live);
    log::wait_for_line(&["distributing", &spool.path().display().to_string()]);
    spool.put_packets("3", ID, &[members("m", 20)]);
    gate.wait_for(1);
    moves::requeue(&spool.open(), &id(ID), "7".parse().unwrap()).unwrap();
    let mut seen = || story(&subscription, &mut told, ID).contains(&"requeued".to_owned());
    wait_until("it is told", &mut seen, String::new);
    gate.open();
    spool.wait_until_empty();
    running.stop();
    let story = story(&subscription, &mut told, ID);
    for what in ["arrived", "deferred", "failed", "done"] {
        assert_eq!(story.iter().filter(|event| *event == what).count(), 1, "{what}: {story:?}");
    }
    assert_eq!(story.iter().filter(|event| *event == "requeued").count(), 1, "{story:?}");
    assert!(told.iter().any(
        |event| matches!(&event.what, Happening::Deferred { reply, recipients: 1, .. } if reply.contains("greylisted"))
    ));
    assert!(
        told.iter()
            .any(|event| matches!(&event.what, Happening::Failed { reply, .. } if reply.contains("no such user")))
    );
}

/// Each requeue of the message, in order: from and to.
fn requeues(told: &[Arc<Event>], message: &str) -> Vec<String> {
    let of = told.iter().filter_map(|event| match &event.what {
        Happening::Requeued { message: of, from, to, .. } if of.to_string() == message => Some(format!("{from} {to}")),
        _ => None,
    });
    of.collect()
}

#[test]
fn a_hold_is_told_once_when_it_is_made_however_many_work_on_the_message_and_so_is_a_release_before_their_boundary() {
    const ID: &str = "two@held.example.org.1700000000.1";
    let spool = TestSpool::new();
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(Policy::new().dot(move |envelope| {
        if envelope.order <= 2 {
            theirs.pass();
        }
        Dot::Take
    }));
    let live = Arc::new(Live::default());
    let (subscription, mut told) = (live.events.subscribe(1000), Vec::new());
    let running = Running::start_live(settings(spool.path(), relay.url(), 2), &live);
    log::wait_for_line(&["distributing", &spool.path().display().to_string()]);
    spool.put_packets("2", ID, &[members("m", 30), members("n", 30)]);
    gate.wait_for(2);
    let now = sympa_dist::mail::Epoch(1_700_000_000);
    let mut wait_for_requeues = |n: usize| {
        let seen = || {
            story(&subscription, &mut told, ID);
            requeues(&told, ID).len() >= n
        };
        wait_until("it is told", seen, || n.to_string());
    };
    moves::hold(&spool.open(), &id(ID), now, "pat", "a look").unwrap();
    wait_for_requeues(1);
    moves::release(&spool.open(), &id(ID), None, Priority::At(Level::LAST)).unwrap();
    wait_for_requeues(2);
    moves::hold(&spool.open(), &id(ID), now, "pat", "another look").unwrap();
    wait_for_requeues(3);
    gate.open();
    wait_until("both stop", || live.working().is_empty(), String::new);
    moves::release(&spool.open(), &id(ID), None, Priority::At(Level::LAST)).unwrap();
    spool.wait_until_empty();
    running.stop();
    let story = story(&subscription, &mut told, ID);
    assert_eq!(requeues(&told, ID), ["2 z", "z 2", "2 z", "z 2"], "{story:?}");
    assert_eq!(story.iter().filter(|event| *event == "arrived").count(), 1, "{story:?}");
    assert!(!story.contains(&"gone".to_owned()), "{story:?}");
}
