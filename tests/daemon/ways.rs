//! Messages that are moved while nobody works on them: told alike by a watch, a poll and a scan.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sympa_dist::daemon::events::{Happening, Subscription};
use sympa_dist::daemon::live::Live;
use sympa_dist::daemon::settings::{Settings, WatchMode, WatchSettings};
use sympa_dist::mail::{Epoch, Level, Priority};
use sympa_dist::spool::moves::{self, Rest};

use crate::support::relay::{Policy, Relay};
use crate::support::scheduler::{Running, settings};
use crate::support::spool::{TestSpool, id, members, now, wait_until};

/// What was told of each message.
#[derive(Default)]
struct Told(BTreeMap<String, Vec<String>>);

impl Told {
    fn hear(&mut self, heard: &Subscription) {
        assert_eq!(heard.take_lost(), 0);
        for event in heard.events.try_iter() {
            let time = |at: &Option<u64>| at.map_or(String::new(), |at| format!(" at {at}"));
            let text = match &event.what {
                Happening::Arrived { priority, not_before, .. } => format!("arrived {priority}{}", time(not_before)),
                Happening::Requeued { from, to, why, .. } => {
                    let why = why.as_ref().map_or(String::new(), |why| format!(" {why}"));
                    format!("requeued {from} {to}{why}")
                }
                Happening::Rescheduled { priority, not_before, .. } => {
                    format!("rescheduled {priority}{}", time(not_before))
                }
                Happening::Gone { why, .. } => format!("gone {}", why.as_deref().unwrap_or_default()),
                other => format!("{other:?}"),
            };
            if let Some(message) = event.what.message() {
                self.0.entry(message.to_string()).or_default().push(text);
            }
        }
    }
}

/// Moves a message in every way there is, each once the one before was told.
#[track_caller]
fn moved_in_every_way(change: impl FnOnce(&mut Settings)) {
    const ID: &str = "list@moved.example.org.1700000000.1";
    const HELD: &str = "held@moved.example.org.1700000000.2";
    let spool = TestSpool::new();
    let relay = Relay::start(Policy::new());
    let live = Arc::new(Live::default());
    let heard = live.events.subscribe(1000);
    spool.put_packets("z", HELD, &[members("h", 3)]);
    let mut settings = settings(spool.path(), relay.url(), 1);
    change(&mut settings);
    let running = Running::start_live(settings, &live);
    let (told, mut expected) = (RefCell::new(Told::default()), Vec::new());
    let mut until = |what: &str| {
        expected.extend(what.split(", ").map(str::to_owned));
        let seen = || {
            told.borrow_mut().hear(&heard);
            told.borrow().0.get(ID).is_some_and(|told| told.len() >= expected.len())
        };
        wait_until(what, seen, || format!("{:?} {:?}", told.borrow().0, spool.waiting()));
        assert_eq!(told.borrow().0[ID], expected);
    };
    let opened = spool.open();
    spool.put_packets("3", &format!("{ID}:at4000000000"), &[members("m", 3)]);
    until("arrived 3 at 4000000000");
    let requeue = |to: &str| moves::requeue(&opened, &id(ID), to.parse().unwrap()).unwrap();
    requeue("7");
    until("requeued 3 7");
    requeue("2");
    until("requeued 7 2");
    moves::hold(&opened, &id(ID), now(), "pat", "a look").unwrap();
    until("requeued 2 z pat: a look");
    moves::reschedule(&opened, &id(ID), Some(Epoch(4_000_000_001))).unwrap();
    until("rescheduled z at 4000000001");
    moves::release(&opened, &id(ID), None, Priority::At(Level::LAST)).unwrap();
    until("requeued z 2");
    moves::reschedule(&opened, &id(ID), Some(Epoch(4_000_000_002))).unwrap();
    until("rescheduled 2 at 4000000002");
    let place = |priority: &str, time: u64| spool.at(priority).join(format!("{ID}:at{time}"));
    std::fs::rename(place("2", 4_000_000_002), place("8", 4_000_000_003)).unwrap();
    until("requeued 2 8, rescheduled 8 at 4000000003");
    moves::cancel(&opened, &id(ID), now(), "pat", "a mistake", Rest::Keep).unwrap();
    until("gone pat: a mistake");
    running.stop();
    let all = told.into_inner().0;
    assert_eq!(all[HELD], ["arrived z"]);
    assert_eq!(all.len(), 2, "{all:?}");
}

#[test]
fn each_move_of_an_idle_message_is_told_by_the_watch() {
    moved_in_every_way(|_| {});
}

#[test]
fn each_move_of_an_idle_message_is_told_by_the_poll() {
    moved_in_every_way(|settings| {
        settings.watch = WatchSettings { mode: WatchMode::Poll, interval: Duration::from_millis(20) };
    });
}

#[test]
fn each_move_of_an_idle_message_is_told_by_the_scan() {
    moved_in_every_way(|settings| {
        settings.watch = WatchSettings { mode: WatchMode::Poll, interval: Duration::from_secs(3600) };
        settings.run.rescan = Duration::from_millis(50);
    });
}

#[test]
fn holds_that_end_at_once_and_new_times_are_told_as_such_however_many_there_are_at_a_time() {
    let spool = TestSpool::new();
    let relay = Relay::start(Policy::new());
    let live = Arc::new(Live::default());
    let heard = live.events.subscribe(10_000);
    let names: Vec<String> = (1..=100).map(|n| format!("list@many.example.org.1700000000.{n}")).collect();
    for name in &names {
        spool.put_packets("3", &format!("{name}:at4000000000"), &[members("m", 1)]);
    }
    let running = Running::start_live(settings(spool.path(), relay.url(), 1), &live);
    let told = RefCell::new(Told::default());
    let until = |n: usize| {
        let seen = || {
            told.borrow_mut().hear(&heard);
            told.borrow().0.values().filter(|told| told.len() >= n).count() == names.len()
        };
        wait_until("it is told", seen, || format!("{:?}", told.borrow().0));
    };
    until(1);
    for name in &names {
        let place = |priority: &str, time: u64| spool.at(priority).join(format!("{name}:at{time}"));
        std::fs::rename(place("3", 4_000_000_000), place("z", 4_000_000_000)).unwrap();
        std::fs::rename(place("z", 4_000_000_000), place("3", 4_000_000_000)).unwrap();
        std::fs::rename(place("3", 4_000_000_000), place("3", 4_000_000_001)).unwrap();
    }
    until(4);
    running.stop();
    let all = told.into_inner().0;
    let expected = ["arrived 3 at 4000000000", "requeued 3 z", "requeued z 3", "rescheduled 3 at 4000000001"];
    for (name, told) in all {
        assert_eq!(told, expected, "{name}");
    }
}
