//! `[events]`: what `run` writes down of what happens, and what becomes of mail where it can't.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::bench::{Bench, Scheduler};
use crate::support::mount::Mount;
use crate::support::relay::{Policy, Rcpt, Relay};
use crate::support::spool::{members, wait_until};

const ID: &str = "list@kept.example.org.1700000000.1";
const NEXT: &str = "list@kept.example.org.1700000000.2";

/// A scheduler that writes its events to `path`, with more of `[events]`.
fn keeping(bench: &Bench, relay: &Relay, path: &Path, more: &str) -> Scheduler {
    let config = configure(bench, relay, Some(path), more);
    let spool = bench.spool.path().display();
    bench.scheduler_in(&format!("--log-format json --spool {spool} --config {config}"))
}

fn configure(bench: &Bench, relay: &Relay, path: Option<&Path>, more: &str) -> String {
    let path = path.map_or(String::new(), |path| path.display().to_string());
    let run = "[run]\nworkers = 1\nrecipients_per_transaction = 10\n";
    let events = format!("[events]\npath = \"{path}\"\n{more}\n");
    let config = bench.file("events.toml", &format!("{run}{events}[[relay]]\nurl = \"{}\"\n", relay.url()));
    config.display().to_string()
}

/// The whole lines of a log.
#[track_caller]
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

fn names(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["event"].as_str().unwrap()).collect()
}

fn wait_for_event(path: &Path, event: &str, id: &str) {
    let is_it = |line: &Value| line["event"] == event && line["message"].as_str().is_none_or(|of| of == id);
    wait_until(event, || lines(path).iter().any(is_it), || fs::read_to_string(path).unwrap_or_default());
}

fn distribute(bench: &Bench, id: &str, count: usize) {
    bench.spool.put_packets("3", id, &[members("m", count)]);
    bench.spool.wait_until_empty();
}

#[test]
fn each_event_is_a_line_that_says_whose_it_is_and_the_last_is_written_before_the_end() {
    let bench = Bench::new();
    let relay = Relay::start(Policy::new().rcpt(|address, _| match address {
        "m000003@example.org" => Rcpt::Say("550 5.1.1 who is \u{7f}that"),
        _ => Rcpt::Take,
    }));
    let path = bench.file("events.jsonl", "");
    let scheduler = keeping(&bench, &relay, &path, "");
    let pid = scheduler.id();
    scheduler.wait_until_ready();
    distribute(&bench, ID, 15);
    scheduler.stop();
    let lines = lines(&path);
    let of_it: Vec<Value> = lines.iter().filter(|line| line["message"] == ID).cloned().collect();
    assert_eq!(names(&of_it), ["arrived", "started", "packet-taken", "failed", "packet-left", "done"]);
    assert!(
        lines.iter().all(|line| line["pid"] == pid && line["host"].is_string() && line["at"].is_f64()),
        "{lines:?}"
    );
    assert_eq!((&of_it[4]["done"], &of_it[4]["why"]), (&15.into(), &"finished".into()));
    assert_eq!(names(&lines)[0], "scheduler-started");
    assert_eq!(names(&lines).last(), Some(&"scheduler-stopped"));
}

#[test]
fn without_a_path_nothing_is_written_until_a_reload_names_one_and_nothing_more_after_one_that_does_not() {
    let bench = Bench::new();
    let relay = Relay::start(Policy::new());
    let config = configure(&bench, &relay, None, "");
    let path = Path::new(&config).with_file_name("events.jsonl");
    let spool = bench.spool.path().display();
    let scheduler = bench.scheduler_in(&format!("--log-format json --spool {spool} --config {config}"));
    scheduler.wait_until_ready();
    distribute(&bench, ID, 5);
    assert!(!path.exists());
    configure(&bench, &relay, Some(&path), "");
    scheduler.signal(Signal::HUP);
    wait_for_event(&path, "reloaded", "");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o027, 0, "others may not read it");
    distribute(&bench, NEXT, 5);
    wait_for_event(&path, "done", NEXT);
    let other = path.with_file_name("other.jsonl");
    configure(&bench, &relay, Some(&other), "");
    scheduler.signal(Signal::HUP);
    wait_for_event(&other, "reloaded", "");
    let (kept, size) = (lines(&path), fs::metadata(&path).unwrap().len());
    assert!(kept.iter().all(|line| line["message"] != ID), "{kept:?}");
    configure(&bench, &relay, None, "");
    scheduler.signal(Signal::HUP);
    wait_until(
        "the second reload",
        || scheduler.log().matches("configuration reloaded").count() == 3,
        || scheduler.log(),
    );
    distribute(&bench, ID, 5);
    scheduler.stop();
    assert_eq!(fs::metadata(&path).unwrap().len(), size);
    assert!(lines(&other).iter().all(|line| line["message"] != ID));
}

#[test]
fn the_log_is_rotated_by_size_and_so_many_predecessors_are_kept() {
    let bench = Bench::new();
    let relay = Relay::start(Policy::new());
    let path = bench.file("events.jsonl", "");
    let scheduler = keeping(&bench, &relay, &path, "max_size = 4000\nkeep = 2");
    for n in 0..20 {
        let id = format!("list@rotated.example.org.1700000000.{n}");
        distribute(&bench, &id, 5);
        // Each message's lines are written by themselves, then.
        let last = || path.with_file_name("events.jsonl.1");
        let told = || {
            [&path, &last()]
                .iter()
                .any(|path| lines(path).iter().any(|line| line["event"] == "done" && line["message"] == id))
        };
        wait_until("it is written", told, String::new);
    }
    scheduler.stop();
    let file = |end: &str| path.with_file_name(format!("events.jsonl{end}"));
    assert!(!file(".3").exists());
    let all: Vec<Value> = [".2", ".1", ""].iter().flat_map(|end| lines(&file(end))).collect();
    for end in ["", ".1", ".2"] {
        let size = fs::metadata(file(end)).unwrap().len();
        assert!(size > 0 && size <= 4000, "{end}: {size}");
    }
    // Within a file, threads that tell at the same moment may come in either order.
    let first = |end: &str| lines(&file(end))[0]["at"].as_f64().unwrap();
    assert!(first(".2") < first(".1") && first(".1") < first(""), "{all:?}");
    assert_eq!(names(&all).last(), Some(&"scheduler-stopped"));
}

#[test]
fn a_log_that_was_moved_away_is_followed_by_another_also_after_a_reload_that_is_refused() {
    let bench = Bench::new();
    let relay = Relay::start(Policy::new());
    let path = bench.file("events.jsonl", "");
    let scheduler = keeping(&bench, &relay, &path, "");
    distribute(&bench, ID, 5);
    wait_for_event(&path, "done", ID);
    let away = path.with_file_name("away");
    fs::rename(&path, &away).unwrap();
    scheduler.signal(Signal::HUP);
    wait_for_event(&path, "reloaded", "");
    fs::rename(&path, path.with_file_name("away-too")).unwrap();
    bench.file("events.toml", "nonsense = 1");
    scheduler.signal(Signal::HUP);
    scheduler.wait_for_line(&["configuration not reloaded"]);
    distribute(&bench, NEXT, 5);
    wait_for_event(&path, "done", NEXT);
    scheduler.stop();
    assert!(lines(&away).iter().any(|line| line["message"] == ID));
    assert!(lines(&path).iter().all(|line| line["message"] != ID));
}

#[test]
fn a_path_that_cannot_be_written_is_told_of_once_stops_no_mail_and_is_tried_again() {
    let bench = Bench::new();
    let relay = Relay::start(Policy::new());
    let place = bench.file("x", "").with_file_name("not-there");
    let path = place.join("events.jsonl");
    let scheduler = keeping(&bench, &relay, &path, "");
    distribute(&bench, ID, 5);
    distribute(&bench, NEXT, 5);
    assert_eq!(relay.record().recipients().count(), 10);
    let told = ["WARN", "cannot write the event log", "not-there/events.jsonl", "No such file", "mail is distributed"];
    scheduler.wait_for_line(&told);
    fs::create_dir(&place).unwrap();
    wait_for_event(&path, "done", NEXT);
    assert!(lines(&path).iter().any(|line| line["message"] == ID), "what happened meanwhile has waited");
    scheduler.wait_for_line(&["is written again"]);
    assert_eq!(scheduler.log().matches("cannot write the event log").count(), 1);
    scheduler.stop();
}

#[test]
fn a_full_disk_stops_no_mail_is_told_of_once_and_leaves_at_most_a_piece_of_a_line() {
    let bench = Bench::new();
    let mount = Mount::new("size=64k");
    let path = mount.path().join("events.jsonl");
    let ballast = mount.path().join("ballast");
    let relay = Relay::start(Policy::new());
    let scheduler = keeping(&bench, &relay, &path, "");
    wait_for_event(&path, "scheduler-started", "");
    let mut full = fs::File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut full, &[b'x'; 1024]).is_ok() {}
    // The rest of the log's page is room for some more.
    for n in 0..40 {
        distribute(&bench, &format!("list@full.example.org.1700000000.{n}"), 5);
    }
    assert_eq!(relay.record().recipients().count(), 200);
    scheduler.wait_for_line(&["WARN", "cannot write the event log", "No space left on device", "mail is distributed"]);
    drop(full);
    fs::remove_file(&ballast).unwrap();
    scheduler.wait_for_line(&["is written again"]);
    scheduler.stop();
    let text = fs::read_to_string(&path).unwrap();
    let read: Vec<Result<Value, _>> = text.lines().filter(|line| !line.is_empty()).map(serde_json::from_str).collect();
    let is_done = |line: &&Result<Value, _>| line.as_ref().is_ok_and(|line| line["event"] == "done");
    assert_eq!(read.iter().filter(is_done).count(), 40, "what happened meanwhile has waited: {text}");
    assert!(read.iter().filter(|line| line.is_err()).count() <= 1, "{text}");
}
