//! What a scheduler tells of messages that come, move and go, by hints that come whole, in halves, late, or not at all.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use super::*;
use crate::claim::flock::Flock;
use crate::daemon::board::{Board, Next};
use crate::daemon::crew::Crew;
use crate::daemon::events::{Happening, Subscription};
use crate::daemon::hints::{Desk, Step};
use crate::daemon::live::Live;
use crate::daemon::settings::Settings;
use crate::daemon::shared::{Current, Shared, list_limit};
use crate::daemon::way::Missed;
use crate::deliver::Interrupt;
use crate::spool::Spool;
use crate::spool::disk::Disk;

const ID: &str = "list@ways.example.org.1700000000.1";

/// A scheduler that has looked at an empty spool, without workers, and one who listens to it.
struct Bench {
    dir: tempfile::TempDir,
    scheduler: Scheduler,
    heard: Subscription,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(&Disk::default(), dir.path()).unwrap();
        let settings = Settings { spool: dir.path().to_owned(), ..Settings::default() };
        let live = Arc::new(Live::default());
        let heard = live.events.subscribe(1000);
        let current = Current::new(settings).unwrap();
        let board = Board::new(current.settings.policy(), list_limit(&current.settings));
        let interrupt = Interrupt::new().unwrap();
        let shared = Arc::new(Shared::new(spool, board, Arc::new(Flock), interrupt, current, live));
        let (alive, all_ended) = bounded(0);
        let mut scheduler = Scheduler {
            shared,
            desk: Arc::new(Desk::new().0),
            watch: None,
            poll: None,
            workers: Vec::new(),
            alive: (Some(alive), all_ended),
            told: HashSet::new(),
            scan_again: [false; Priority::COUNT],
            has_looked: false,
            missed: Missed::default(),
            has_gone: false,
            hands: clock::Hands::watch(),
        };
        scheduler.scan();
        Bench { dir, scheduler, heard }
    }

    /// `3`, or `3:at7`.
    fn path(&self, at: &str) -> PathBuf {
        let Spot { priority, name } = spot(at);
        self.dir.path().join(format!("distribute/{priority}/{name}"))
    }

    fn put(&self, at: &str) {
        fs::create_dir(self.path(at)).unwrap();
    }

    /// Moves it from each to the next.
    fn move_along(&self, way: &[&str]) {
        way.windows(2).for_each(|step| fs::rename(self.path(step[0]), self.path(step[1])).unwrap());
    }

    fn remove(&self, at: &str) {
        fs::remove_dir(self.path(at)).unwrap();
    }

    /// Names as the kernel tells of them, and steps as `3>z`.
    fn hint(&mut self, names: &str, steps: &str) {
        let mut hints = Hints::default();
        for name in names.split_whitespace().map(spot) {
            hints.note(name.priority, name.name.to_string().into());
        }
        for step in steps.split_whitespace() {
            let (from, to) = step.split_once('>').unwrap();
            hints.step(Step { from: (from != "-").then(|| spot(from)), to: spot(to) });
        }
        self.scheduler.follow(hints);
    }

    fn list(&mut self, directories: &str) {
        let mut hints = Hints::default();
        for priority in directories.split_whitespace() {
            hints.rescan[priority.parse::<Priority>().unwrap().index()] = true;
        }
        self.scheduler.follow(hints);
    }

    /// Nothing comes any more.
    fn give_up(&mut self) {
        let until = Instant::now() + Duration::from_secs(3600);
        let all: Vec<Spot> = std::iter::from_fn(|| self.scheduler.missed.take_due(until)).collect();
        all.into_iter().for_each(|last| self.scheduler.missed.insert(last, Instant::now()));
        self.scheduler.give_up_missed();
    }

    /// What was told since the last call.
    #[track_caller]
    fn tells(&self, expected: &str) {
        let told = |what: &Happening| {
            let time = |at: &Option<u64>| at.map_or(String::new(), |at| format!(":at{at}"));
            match what {
                Happening::Arrived { priority, not_before, .. } => format!("arrived {priority}{}", time(not_before)),
                Happening::Requeued { from, to, .. } => format!("requeued {from} {to}"),
                Happening::Rescheduled { priority, not_before, .. } => {
                    format!("rescheduled {priority}{}", time(not_before))
                }
                Happening::Gone { .. } => "gone".into(),
                other => format!("{other:?}"),
            }
        };
        let told: Vec<String> = self.heard.events.try_iter().map(|event| told(&event.what)).collect();
        assert_eq!(told.join(", "), expected);
    }

    fn board(&self) -> &Board {
        &self.scheduler.shared.board
    }

    /// A worker takes the message.
    #[track_caller]
    fn take(&self) -> Key {
        let Next::Work(assignment) = self.board().next(Crew::Any, Some(Instant::now())) else { panic!("no work") };
        assignment.key
    }
}

fn spot(text: &str) -> Spot {
    let (priority, time) = text.split_at(1);
    Spot { priority: priority.parse().unwrap(), name: format!("{ID}{time}").parse().unwrap() }
}

#[test]
fn what_is_held_and_released_before_anybody_looks_is_told_as_both() {
    let mut bench = Bench::new();
    bench.put("3");
    bench.hint("3", "->3");
    bench.tells("arrived 3");
    bench.move_along(&["3", "z", "3"]);
    bench.hint("3 z", "3>z z>3");
    bench.tells("requeued 3 z, requeued z 3");
    // Where the kernel has told of the names alone, nobody knows.
    bench.move_along(&["3", "z", "3"]);
    bench.hint("3 z", "");
    bench.list("3 z");
    bench.tells("");
    // And where it tells late, it is told late.
    bench.move_along(&["3", "z", "3"]);
    bench.hint("3", "");
    bench.tells("");
    bench.hint("3 z", "3>z z>3");
    bench.tells("requeued 3 z, requeued z 3");
}

#[test]
fn what_comes_and_moves_before_anybody_looks_has_come_and_moved() {
    let mut bench = Bench::new();
    bench.put("5");
    bench.hint("3 5", "->3 3>5");
    bench.tells("arrived 3, requeued 3 5");
    bench.move_along(&["5", "7", "2:at9"]);
    bench.hint("5 7 2:at9", "5>7 7>2:at9");
    bench.tells("requeued 5 7, requeued 7 2, rescheduled 2:at9");
}

#[test]
fn a_rename_of_which_the_halves_come_apart_is_one() {
    let mut bench = Bench::new();
    bench.put("3");
    bench.hint("3", "->3");
    bench.move_along(&["3", "3:at4000000000"]);
    bench.hint("3", "");
    bench.tells("arrived 3");
    bench.hint("3:at4000000000", "3>3:at4000000000");
    bench.tells("rescheduled 3:at4000000000");
    bench.give_up();
    bench.tells("");
    // Without the kernel's word for where it was, and to another place.
    bench.move_along(&["3:at4000000000", "5"]);
    bench.hint("3:at4000000000", "");
    bench.tells("");
    bench.hint("5", "");
    bench.tells("requeued 3 5, rescheduled 5");
    // The other half first, as another host may announce it.
    bench.move_along(&["5", "5:at7"]);
    bench.hint("5:at7", "");
    bench.tells("rescheduled 5:at7");
    bench.hint("5", "");
    bench.move_along(&["5:at7", "z:at7"]);
    bench.hint("z:at7", "");
    bench.tells("requeued 5 z");
    bench.move_along(&["z:at7", "z"]);
    bench.hint("z:at7", "");
    bench.hint("z", "");
    bench.give_up();
    bench.tells("rescheduled z");
}

#[test]
fn what_is_not_seen_again_has_gone_after_a_while() {
    let mut bench = Bench::new();
    for at in ["3", "z"] {
        bench.put(at);
        bench.hint(at, "");
        bench.remove(at);
        bench.hint(at, "");
        bench.tells(&format!("arrived {at}"));
        bench.scheduler.give_up_missed();
        bench.tells("");
        bench.give_up();
        bench.tells("gone");
    }
    // What is missed goes on, and on.
    bench.put("3");
    bench.hint("3", "");
    bench.move_along(&["3", "4:at7"]);
    bench.hint("3", "");
    bench.tells("arrived 3");
    bench.move_along(&["4:at7", "5:at8"]);
    bench.hint("4:at7", "3>4:at7");
    bench.tells("requeued 3 4, rescheduled 4:at7");
    bench.remove("5:at8");
    bench.hint("5:at8", "4:at7>5:at8");
    bench.tells("requeued 4 5, rescheduled 5:at8");
    bench.give_up();
    bench.tells("gone");
    // It comes back to where it was, and is told to.
    bench.put("3");
    bench.hint("3", "");
    bench.move_along(&["3", "5:at7"]);
    bench.hint("3", "");
    bench.tells("arrived 3");
    bench.move_along(&["5:at7", "3"]);
    bench.give_up();
    bench.tells("");
}

#[test]
fn a_listing_tells_what_a_watch_would_have_told() {
    let mut bench = Bench::new();
    bench.put("3");
    bench.list("3");
    bench.tells("arrived 3");
    for (way, lists, expected) in [
        // All directories, as the slow scan lists them.
        (&["3", "7"][..], "0 1 2 3 4 5 6 7 8 9 z", "requeued 3 7"),
        (&["7", "2"], "0 1 2 3 4 5 6 7 8 9 z", "requeued 7 2"),
        (&["2", "z"], "0 1 2 3 4 5 6 7 8 9 z", "requeued 2 z"),
        (&["z", "4"], "0 1 2 3 4 5 6 7 8 9 z", "requeued z 4"),
        (&["4", "4:at7"], "0 1 2 3 4 5 6 7 8 9 z", "rescheduled 4:at7"),
        (&["4:at7", "1"], "0 1 2 3 4 5 6 7 8 9 z", "requeued 4 1, rescheduled 1"),
        // Only those that have changed, and not in one round.
        (&["1", "z"], "1, z", "requeued 1 z"),
        (&["z", "6"], "6, z", "requeued z 6"),
        (&["6", "3"], "6, 3", "requeued 6 3"),
        (&["3", "8"], "8, 3", "requeued 3 8"),
        (&["8", "2:at7"], "8, 2", "requeued 8 2, rescheduled 2:at7"),
        (&["2:at7", "9"], "9, 2", "requeued 2 9, rescheduled 9"),
        // The way back is not seen.
        (&["9", "z", "9"], "9 z", ""),
    ] {
        bench.move_along(way);
        lists.split(", ").for_each(|directories| bench.list(directories));
        bench.give_up();
        bench.tells(expected);
    }
    bench.remove("9");
    bench.list("9");
    bench.give_up();
    bench.tells("gone");
}

#[test]
fn what_moves_during_the_first_look_has_moved() {
    let mut bench = Bench::new();
    bench.scheduler.has_looked = false;
    bench.put("3");
    let mut seen = Seen { is_first: true, ..Seen::default() };
    assert!(bench.scheduler.list(spot("3").priority, &mut seen));
    bench.move_along(&["3", "z"]);
    assert!(bench.scheduler.list(Priority::Held, &mut seen));
    bench.scheduler.tell_of(seen);
    bench.tells("arrived 3, requeued 3 z");
}

#[test]
fn what_a_worker_did_not_find_is_told_by_the_next_look() {
    let mut bench = Bench::new();
    for (to, expected) in [("z", "requeued 3 z"), ("3:at4000000000", "rescheduled 3:at4000000000")] {
        bench.put("3");
        bench.list("3");
        bench.tells("arrived 3");
        bench.move_along(&["3", to]);
        bench.board().lost(bench.take());
        bench.tells("");
        bench.scheduler.scan();
        bench.tells(expected);
        bench.remove(to);
        bench.scheduler.scan();
        bench.give_up();
        bench.tells("gone");
    }
    bench.put("3");
    bench.list("3");
    bench.remove("3");
    bench.board().lost(bench.take());
    bench.hint("", "");
    bench.give_up();
    bench.tells("arrived 3, gone");
}

#[test]
fn what_a_worker_sees_at_its_boundary_is_told_once() {
    let mut bench = Bench::new();
    bench.put("3");
    bench.list("3");
    let key = bench.take();
    bench.tells("arrived 3");
    // Renamed: the worker first.
    bench.move_along(&["3", "5:at4000000000"]);
    bench.scheduler.shared.met_elsewhere(key, spot("3"), spot("5:at4000000000"));
    bench.tells("requeued 3 5, rescheduled 5:at4000000000");
    bench.hint("3 5:at4000000000", "3>5:at4000000000");
    bench.scheduler.scan();
    bench.board().let_go(key);
    bench.scheduler.scan();
    bench.give_up();
    bench.tells("");
    // The scheduler first, which doesn't say where it is before the other half has come.
    bench.move_along(&["5:at4000000000", "5"]);
    bench.hint("5:at4000000000 5", "");
    bench.tells("rescheduled 5");
    let key = bench.take();
    bench.move_along(&["5", "5:at4000000000"]);
    bench.hint("5", "");
    bench.tells("");
    bench.hint("5:at4000000000", "5>5:at4000000000");
    bench.tells("rescheduled 5:at4000000000");
    bench.scheduler.shared.met_elsewhere(key, spot("5"), spot("5:at4000000000"));
    // Its last packet was finished elsewhere.
    assert!(!bench.board().left(key, Away::Gone));
    bench.board().let_go(key);
    bench.scheduler.scan();
    bench.give_up();
    bench.tells("");
}

#[test]
fn what_is_distributed_has_not_gone_however_often_it_was_seen() {
    let mut bench = Bench::new();
    bench.put("3");
    bench.list("3");
    bench.list("3");
    bench.tells("arrived 3");
    let key = bench.take();
    bench.remove("3");
    bench.hint("3", "");
    bench.board().gone(key);
    bench.scheduler.scan();
    bench.give_up();
    // It came again, and nobody but a worker would find that out.
    bench.put("3");
    bench.scheduler.scan();
    bench.tells("arrived 3");
}
