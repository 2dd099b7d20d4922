//! A wall clock that is set by hours, forward and back, while the program runs: nothing is sent early by it, nothing is lost,
//! and what is due is sent soon.
//!
//! libfaketime (Debian's package `faketime`) stands between the program and the wall clock; the clock that nobody sets, by which
//! it waits, and the times of files stay what they are.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sympa_dist::mail::Epoch;
use tempfile::TempDir;

use crate::bench::{Bench, DONE, Scheduler, Told, assert_once_each, gated};
use crate::support::random::Random;
use crate::support::relay::{Dot, Gate, Policy, Rcpt, Relay};
use crate::support::spool::{members, now, wait_until};

const HOUR: u64 = 3600;

/// The clock that some processes believe in.
struct Clock {
    files: TempDir,
    library: PathBuf,
    /// What is added to the real time, seconds.
    offset: i64,
}

impl Clock {
    fn at(time: u64) -> Clock {
        let libraries = fs::read_dir("/usr/lib").unwrap().flatten();
        let library = libraries
            .map(|dir| dir.path().join("faketime/libfaketimeMT.so.1"))
            .find(|library| library.exists())
            .expect("libfaketime, of Debian's package faketime");
        let mut clock = Clock { files: tempfile::tempdir().unwrap(), library, offset: 0 };
        clock.set(time);
        clock
    }

    /// Somebody sets the clock.
    fn set(&mut self, time: u64) {
        self.offset = time.cast_signed() - now().0.cast_signed();
        let file = self.files.path().join("new");
        fs::write(&file, format!("{:+}\n", self.offset)).unwrap();
        fs::rename(file, self.file()).unwrap();
    }

    fn now(&self) -> u64 {
        now().0.checked_add_signed(self.offset).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.files.path().join("offset")
    }

    fn of<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", self.file());
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1")
    }

    fn runs(&self, bench: &Bench, line: &str) -> Told {
        Told::of(self.of(&mut bench.command(line)), DONE)
    }

    /// One worker that sends ten recipients a transaction, and looks around each second.
    fn scheduler(&self, bench: &Bench, relay: &Relay, settings: &str) -> Scheduler {
        let all = format!(
            "{settings}\n[run]\nworkers = 1\nrecipients_per_transaction = 10\nrescan = \"1s\"\n[retry]\nschedule = [\"1h\"]\n\
             [[relay]]\nurl = \"{}\"\n",
            relay.url()
        );
        let file = bench.file("c.toml", &all);
        let mut command = bench.bare_command("run --log-format json");
        command.arg("--spool").arg(bench.spool.path()).arg("--config").arg(file);
        let scheduler = Scheduler::start(self.of(&mut command));
        scheduler.wait_until_ready();
        scheduler
    }

    /// Sets it, and waits until the scheduler has noticed.
    #[track_caller]
    fn set_under(&mut self, scheduler: &Scheduler, time: u64) {
        let notices = || scheduler.lines_with(&["the clock was set"]).len();
        let before = notices();
        self.set(time);
        wait_until("it is noticed", || notices() > before, || scheduler.log());
    }
}

/// `2026-03-28T12:00[Europe/Paris]`
fn at(zoned: &str) -> u64 {
    zoned.parse::<jiff::ZonedDateTime>().unwrap().timestamp().as_second() as u64
}

fn id(list: &str, arrived: u64, n: usize) -> String {
    format!("{list}@clock.example.org.{arrived}.{n}")
}

/// A message at the end of the queue: when it is sent, all that may be sent before it is.
fn wait_for_marker(bench: &Bench, relay: &Relay, scheduler: &Scheduler, n: usize) {
    let marker = id("marker", 1_700_000_000, n);
    bench.spool.put_packets("9", &marker, &[members(&format!("marker{n}x"), 1)]);
    // Sent, and its folder gone.
    let is_through = || {
        let record = relay.record();
        record.taken.iter().any(|taken| taken.subject == marker)
            && !bench.spool.waiting().iter().any(|name| name.ends_with(&marker))
    };
    wait_until("the marker", is_through, || format!("{:?}\n{}", bench.spool.waiting(), scheduler.log()));
}

/// Of each recipient that is in the spool, before when nothing may be sent to it.
fn dues(bench: &Bench) -> HashMap<String, u64> {
    let time = |name: &str| name.split_once(":at").map_or(0, |(_, at)| at.trim_end_matches(".status").parse().unwrap());
    let mut dues = HashMap::new();
    for message in bench.spool.waiting() {
        let folder = bench.spool.path().join("distribute").join(&message);
        for file in fs::read_dir(&folder).unwrap().flatten() {
            let name = file.file_name().into_string().unwrap();
            if name.starts_with("recipients.") && !name.ends_with(".status") {
                for line in fs::read_to_string(file.path()).unwrap().lines() {
                    let address = line.split('\t').next().unwrap().to_owned();
                    // While it is deferred it may stand in the packet it came from as well.
                    let due = dues.entry(address).or_default();
                    *due = time(&name).max(time(&message)).max(*due);
                }
            }
        }
    }
    dues
}

fn is_night_in_paris(time: u64) -> bool {
    let hour = Timestamp::from_second(time.cast_signed())
        .unwrap()
        .to_zoned_datetime(TimeZone::get("Europe/Paris").unwrap())
        .hour();
    !(6..20).contains(&hour)
}

/// Messages that are scheduled, that have a window, and of which everyone's last recipient is deferred at first. The clock is set
/// to and fro between full hours, so that everything is due, or closed, by half an hour or more.
fn walk(start: u64, seed: u64) {
    let bench = Bench::new();
    let mut random = Random::new(seed);
    let relay = Relay::start(Policy::new().rcpt(|address, tries| match address.starts_with("later") && tries == 0 {
        true => Rcpt::Say("450 4.2.1 later"),
        false => Rcpt::Take,
    }));
    let mut clock = Clock::at(start + HOUR / 2);
    let scheduler = clock.scheduler(&bench, &relay, "[lists.\"night@*\"]\ndeliver = \"20:00..06:00 Europe/Paris\"");
    let mut everybody = Vec::new();
    for n in 0..24 {
        let list = if n % 3 == 0 { "night" } else { "day" };
        let name = id(list, start, n);
        let scheduled = random.within(0..40) * HOUR;
        let name = if n % 2 == 0 { format!("{name}:at{}", start - 5 * HOUR + scheduled) } else { name };
        let mut to = members(&format!("{list}{n}x"), 2);
        to.extend(members(&format!("later{list}{n}x"), 1));
        bench.spool.put_packets(&(n % 9).to_string(), &name, &[to.clone()]);
        everybody.extend(to);
    }
    let mut seen = 0;
    let mut check = |clock: &Clock, before: &HashMap<String, u64>, n: usize| {
        wait_for_marker(&bench, &relay, &scheduler, n);
        everybody.extend(members(&format!("marker{n}x"), 1));
        let time = clock.now();
        let after = dues(&bench);
        let record = relay.record();
        for taken in &record.taken[seen..] {
            for to in &taken.envelope.recipients {
                assert!(before.get(to).is_none_or(|due| *due <= time), "{to} is early: {before:?} at {time}");
                assert!(!to.contains("night") || is_night_in_paris(time), "{to} outside of its window, at {time}");
            }
        }
        seen = record.taken.len();
        for (to, due) in &after {
            let may_go = *due <= time && (!to.contains("night") || is_night_in_paris(time));
            assert!(!may_go, "{to} was due at {due} and still waits at {time}\n{}", scheduler.log());
        }
        after
    };
    let mut before = check(&clock, &HashMap::new(), 0);
    for n in 1..=10 {
        // From 30 hours before to 40 after, mostly onward.
        let hours = random.within(0..70) * (30 + n as u64) / 40;
        clock.set_under(&scheduler, start - 30 * HOUR + hours * HOUR + HOUR / 2);
        before = check(&clock, &before, n);
    }
    // The night of the second day behind the last that is scheduled, and the next, for those deferred in it.
    for (n, night) in [(11, 72), (12, 96)] {
        clock.set_under(&scheduler, start - start % (24 * HOUR) + night * HOUR + 22 * HOUR + HOUR / 2);
        before = check(&clock, &before, n);
    }
    assert_eq!(before, HashMap::new(), "all is sent");
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_eq!(bench.spool.bad(), [""; 0]);
    assert_once_each(&relay, everybody);
}

#[test]
fn set_to_and_fro_where_clocks_are_put_forward_nothing_is_early_or_late_or_lost() {
    walk(at("2026-03-28T12:00[Europe/Paris]"), 1);
}

#[test]
fn set_to_and_fro_where_clocks_are_put_back_nothing_is_early_or_late_or_lost() {
    walk(at("2026-10-24T12:00[Europe/Paris]"), 2);
}

#[test]
fn what_was_begun_and_is_not_due_any_more_by_a_clock_that_is_set_back_waits_for_its_time() {
    let bench = Bench::new();
    let noon = at("2026-10-24T12:00[Europe/Paris]");
    let (relay, gate) = gated();
    let mut clock = Clock::at(noon);
    let scheduler = clock.scheduler(&bench, &relay, "");
    let name = format!("{}:at{noon}", id("news", noon - 10 * HOUR, 1));
    bench.spool.put_packets("5", &name, &[members("m", 40), members("n", 40)]);
    gate.wait_for(1);
    clock.set(noon - 6 * HOUR);
    gate.open();
    scheduler.wait_for_line(&["the clock was set back: the message is not due any more", "news@clock.example.org"]);
    wait_for_marker(&bench, &relay, &scheduler, 1);
    assert_eq!(relay.record().recipients().count(), 20 + 1, "the transaction under way was the last");
    scheduler.wait_for_line(&["the clock was set back by"]);
    clock.set_under(&scheduler, noon + 1);
    bench.spool.wait_until_empty();
    scheduler.stop();
    let everybody = [members("m", 40), members("n", 40), members("marker1x", 1)];
    assert_once_each(&relay, everybody.into_iter().flatten());
}

#[test]
fn a_retry_in_the_middle_of_which_the_clock_is_set_back_waits_for_its_time() {
    let bench = Bench::new();
    let noon = at("2026-10-24T12:00[Europe/Paris]");
    let (relay, gate) = gated();
    let mut clock = Clock::at(noon);
    let scheduler = clock.scheduler(&bench, &relay, "");
    let (name, message) = (id("news", noon - 10 * HOUR, 1), "From: a@example.org\n\nHello.\n");
    let lines: String = members("m", 40).iter().map(|to| format!("{to}\n")).collect();
    bench.spool.put("5", &name, &[("message", message), (&format!("recipients.mail.0001.r1:at{noon}"), &lines)]);
    gate.wait_for(1);
    clock.set(noon - 6 * HOUR);
    gate.open();
    scheduler.wait_for_line(&["the clock was set back: these recipients are not due any more"]);
    wait_for_marker(&bench, &relay, &scheduler, 1);
    assert_eq!(relay.record().recipients().count(), 20 + 1);
    scheduler.wait_for_line(&["the clock was set back by"]);
    clock.set_under(&scheduler, noon + 1);
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_once_each(&relay, members("m", 40).into_iter().chain(members("marker1x", 1)));
}

#[test]
fn what_waits_some_seconds_does_not_wait_for_hours_when_the_clock_is_set_back() {
    let bench = Bench::new();
    let noon = at("2026-10-24T12:00[Europe/Paris]");
    let relay = Relay::start(Policy::new());
    let mut own = Relay::start_down(Policy::new());
    let mut clock = Clock::at(noon);
    let settings = format!("[lists.\"news@*\"]\nrelay = \"own\"\n[[relay]]\nname = \"own\"\nurl = \"{}\"", own.url());
    let scheduler = clock.scheduler(&bench, &relay, &settings);
    bench.spool.put_packets("5", &id("news", noon, 1), &[members("m", 3)]);
    scheduler.wait_for_line(&["relay is out of use"]);
    wait_for_marker(&bench, &relay, &scheduler, 1);
    clock.set_under(&scheduler, noon - 6 * HOUR);
    own.come_up();
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_once_each(&own, members("m", 3));
}

#[test]
fn a_pause_for_some_time_ends_by_the_clock_as_it_is() {
    let bench = Bench::new();
    let noon = at("2026-10-24T12:00[Europe/Paris]");
    let relay = Relay::start(Policy::new());
    let mut clock = Clock::at(noon);
    let scheduler = clock.scheduler(&bench, &relay, "");
    let mut command = bench.command("pause --list news@clock.example.org --for 2h --reason x");
    Told::of(clock.of(&mut command), DONE);
    let name = id("news", noon - HOUR, 1);
    bench.spool.put_packets("5", &name, &[members("m", 3)]);
    for (n, time) in [noon, noon - 5 * HOUR, noon + 2 * HOUR - 600].into_iter().enumerate() {
        if n > 0 {
            clock.set_under(&scheduler, time);
        }
        wait_for_marker(&bench, &relay, &scheduler, n);
        assert_eq!(bench.spool.waiting(), [format!("5/{name}")]);
        clock.runs(&bench, "queue").prints(&["list news@clock.example.org is paused", "until 2026-10-24 12:00:0"]);
        let ages = clock.runs(&bench, "queue --json").stdout;
        assert_eq!(ages.lines().count(), 1, "{ages}");
    }
    clock.set(noon + 2 * HOUR + 1);
    bench.spool.wait_until_empty();
    scheduler.stop();
}

#[test]
fn waiting_lifts_by_the_clock_as_it_is() {
    let bench = Bench::new();
    let noon = at("2026-10-24T12:00[Europe/Paris]");
    let gates = [Gate::new(), Gate::new()];
    let [first, second] = gates.clone();
    let relay = Relay::start(Policy::new().dot(move |envelope| {
        match envelope.order {
            1 => first.pass(),
            2 => second.pass(),
            _ => {}
        }
        Dot::Take
    }));
    let mut clock = Clock::at(noon);
    let scheduler = clock.scheduler(&bench, &relay, "ageing = \"1h\"");
    let (busy, old, urgent) = (id("busy", noon - 1200, 1), id("old", noon - 600, 2), id("urgent", noon, 3));
    bench.spool.put_packets("0", &busy, &[members("busy", 30)]);
    gates[0].wait_for(1);
    bench.spool.put_packets("8", &old, &[members("old", 1)]);
    scheduler.wait_for_line(&["message has arrived", &old]);
    // By a clock that is wrong it has waited for long.
    clock.set_under(&scheduler, noon + 10 * HOUR);
    assert!(clock.runs(&bench, "queue --json --config c.toml").stdout.contains("\"chosen_priority\":\"0\""));
    gates[0].open();
    gates[1].wait_for(1);
    clock.set_under(&scheduler, noon);
    bench.spool.put_packets("4", &urgent, &[members("urgent", 1)]);
    scheduler.wait_for_line(&["message has arrived", &urgent]);
    gates[1].open();
    bench.spool.wait_until_empty();
    scheduler.stop();
    let record = relay.record();
    let order: Vec<&str> = record.taken.iter().map(|taken| taken.subject.as_str()).collect();
    assert_eq!(order, [&busy[..], &busy, &busy, &urgent, &old]);
}

#[test]
fn what_is_queued_by_a_clock_that_is_set_back_has_an_id_of_its_own_and_the_spool_is_sound() {
    let bench = Bench::new();
    let noon = at("2026-10-24T12:00[Europe/Paris]");
    let mut clock = Clock::at(noon);
    bench.file("post.eml", "From: a@example.org\n\nHello.\n");
    bench.file("members.txt", "a@example.org\n");
    let mut ids: Vec<String> = Vec::new();
    for (n, time) in [noon, noon - 7 * HOUR, noon, noon + 30 * HOUR, noon].into_iter().enumerate() {
        clock.set(time);
        let line = "inject --list a@my.dom --message post.eml --recipients mail=members.txt --at +2h";
        let id = clock.runs(&bench, line).stdout.trim_end().to_owned();
        assert!(!ids.contains(&id), "{id} again");
        ids.push(id);
        assert_eq!(clock.runs(&bench, "queue --json").stdout.lines().count(), n + 1);
        clock.runs(&bench, "check");
    }
    let scheduled = |(id, hours): (&String, u64)| {
        bench.spool.waiting().iter().any(|name| {
            let at = name.split_once(":at").map(|(_, at)| Epoch(at.parse().unwrap()));
            name.contains(id.as_str()) && at.is_some_and(|at| at.since(Epoch(noon - 7 * HOUR)) / HOUR == hours)
        })
    };
    assert!(ids.iter().zip([9, 2, 9, 39, 9]).all(scheduled), "{:?}", bench.spool.waiting());
}
