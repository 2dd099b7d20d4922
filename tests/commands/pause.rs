//! `sympa-dist pause` and `sympa-dist resume`.

use std::fs;

use serde_json::Value;

use crate::bench::{Bench, DONE, FINDINGS, OPERATOR, Told, USAGE, assert_once_each, gated};
use crate::support::relay::{Policy, Relay};
use crate::support::spool::{members, wait_until};

const ID: &str = "a@pause.example.org.1700000000.1";
const OTHER: &str = "b@pause.example.org.1700000000.2";

fn pause(bench: &Bench, what: &str, reason: &str) -> Told {
    let mut command = bench.command(&format!("pause {what}"));
    Told::of(command.args(["--reason", reason]), DONE)
}

fn pauses(bench: &Bench) -> Vec<String> {
    let entries = fs::read_dir(bench.spool.path().join("paused")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_queue_says_who_paused_what_when_why_and_until_when() {
    let bench = Bench::new();
    bench.spool.put_packets("3", ID, &[members("m", 3)]);
    bench.spool.put_packets("3", OTHER, &[members("m", 3)]);
    let told = pause(&bench, "--list a@pause.example.org", "wait for the \"dean\"");
    assert_eq!(told.stdout, "list a@pause.example.org is paused until it is resumed\n");
    bench.file("c.toml", "[[relay]]\nurl = \"smtp://mx.example.org\"\n");
    pause(&bench, "--relay smtp://mx.example.org:25 --for 2h --config c.toml", "maintenance");
    assert_eq!(pauses(&bench), ["list:a@pause.example.org", "relay:smtp:%2F%2Fmx.example.org"]);
    let by = format!("paused by {OPERATOR}@");
    bench.runs("queue", DONE).prints(&["list a@pause.example.org is", &by, "since 2", "wait for the \"dean\""]);
    bench.runs("queue --pauses", DONE).prints(&["relay smtp://mx.example.org is paused", "until 2", "maintenance"]);
    let rows = bench.json("queue --json");
    assert_eq!(rows[0]["paused"]["why"], "wait for the \"dean\"");
    assert!(rows[1].get("paused").is_none(), "the other list's is not: {}", rows[1]);
    let listed = bench.json("queue --pauses --json");
    let time = |member: &str| listed[1][member].as_u64().unwrap();
    assert_eq!(listed[1]["what"], "relay:smtp://mx.example.org");
    assert_eq!(time("until") - time("since"), 7200);
    bench.runs(&format!("show {ID}"), DONE).prints(&["paused      list a@pause.example.org"]);
    bench.runs("check", DONE);
}

#[test]
fn what_is_resumed_is_paused_no_more() {
    let bench = Bench::new();
    bench.file("c.toml", "[[relay]]\nurl = \"maildir:/tmp/somewhere\"\n");
    for what in ["", "--priority 5", "--list a@pause.example.org", "--relay maildir:/tmp/somewhere --config c.toml"] {
        pause(&bench, what, "x");
    }
    bench.runs("resume", DONE).prints(&["everything is resumed"]);
    bench.runs("resume --priority 5", DONE).prints(&["priority 5 is resumed"]);
    bench.runs("resume --priority 5", FINDINGS).complains(&["priority 5 is not paused"]);
    bench.runs("resume", FINDINGS).complains(&[
        "everything is not paused",
        "list a@pause.example.org is paused",
        "--all",
    ]);
    bench.runs("resume --all", DONE).prints(&["list a@pause", "relay maildir:/tmp/somewhere"]);
    assert!(pauses(&bench).is_empty());
    bench.runs("resume --all", FINDINGS);
    bench.runs("queue --pauses", FINDINGS);
}

#[test]
fn a_pause_that_makes_no_sense_pauses_nothing() {
    let bench = Bench::new();
    bench.runs("pause", USAGE).complains(&["--reason"]);
    for (what, complaint) in [
        ("--priority z", "what is held is not sent anyway"),
        ("--priority 12", "12"),
        ("--list nobody", "has no @"),
        ("--relay ftp://x", "is not a relay"),
        ("--relay smtp://typo.example.org", "neither the configuration nor a scheduler that runs has it"),
        ("--for soon", "expected a duration"),
        ("--for 0s", "at least a second"),
        ("--list a@x.org --priority 3", "cannot be used with"),
    ] {
        bench.runs(&format!("pause --reason x {what}"), USAGE).complains(&[complaint]);
    }
    assert!(pauses(&bench).is_empty());
}

#[test]
fn a_list_paused_in_flight_stops_at_the_boundary_others_go_on_and_resumed_everybody_gets_it_once() {
    let bench = Bench::new();
    bench.spool.put_packets("3", ID, &[members("m", 50)]);
    let (relay, gate) = gated();
    let scheduler = bench.scheduler(&relay, 1);
    gate.wait_for(1);
    pause(&bench, "--list a@pause.example.org", "typo");
    gate.open();
    scheduler.wait_for_line(&["paused while being sent", ID]);
    bench.spool.put_packets("7", OTHER, &[members("o", 3)]);
    wait_until("the other is sent", || bench.spool.waiting().len() == 1, || scheduler.log());
    // Arrived while paused, and moved while paused.
    const LATE: &str = "a@pause.example.org.1700000000.3";
    bench.spool.put_packets("2", LATE, &[members("late", 1)]);
    bench.runs(&format!("requeue {ID} --to 1"), DONE);
    scheduler.wait_for_line(&["message has arrived", LATE]);
    assert_once_each(&relay, members("m", 20).into_iter().chain(members("o", 3)));
    bench.runs("resume --list a@pause.example.org", DONE);
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_once_each(&relay, members("m", 50).into_iter().chain(members("o", 3)).chain(members("late", 1)));
}

#[test]
fn a_message_moved_out_of_a_paused_priority_is_sent() {
    let bench = Bench::new();
    let relay = Relay::start(Policy::new());
    pause(&bench, "--priority 4", "x");
    bench.spool.put_packets("4", ID, &[members("m", 3)]);
    bench.spool.put_packets("4", OTHER, &[members("o", 3)]);
    let scheduler = bench.scheduler(&relay, 2);
    scheduler.wait_until_ready();
    bench.runs(&format!("requeue {ID} --to 5"), DONE);
    wait_until("it is sent", || bench.spool.waiting().len() == 1, || scheduler.log());
    assert_eq!(bench.spool.waiting(), [format!("4/{OTHER}")]);
    scheduler.stop();
    assert_once_each(&relay, members("m", 3));
}

#[test]
fn everything_paused_stays_so_after_a_restart_until_its_time() {
    let bench = Bench::new();
    let relay = Relay::start(Policy::new());
    pause(&bench, "", "x");
    bench.spool.put_packets("0", ID, &[members("m", 3)]);
    let first = bench.scheduler(&relay, 2);
    first.wait_until_ready();
    first.stop();
    assert_once_each(&relay, []);
    // Pausing again replaces what was said before, and this one ends by itself.
    pause(&bench, "--for 1s", "y");
    let second = bench.scheduler(&relay, 2);
    bench.spool.wait_until_empty();
    wait_until("it is removed", || pauses(&bench).is_empty(), || format!("{:?}", pauses(&bench)));
    second.stop();
    assert_once_each(&relay, members("m", 3));
}

#[test]
fn mail_for_a_paused_relay_goes_over_the_others_and_waits_where_there_is_none() {
    let bench = Bench::new();
    let (one, two) = (Relay::start(Policy::new()), Relay::start(Policy::new()));
    bench.file("c.toml", &format!("[[relay]]\nurl = \"{}\"\n", one.url()));
    pause(&bench, &format!("--relay {} --config c.toml", one.url()), "x");
    let scheduler = bench.scheduler_with(&format!("--workers 1 --relay {} --relay {}", one.url(), two.url()));
    scheduler.wait_until_ready();
    bench.spool.put_packets("5", ID, &[members("m", 3)]);
    bench.spool.wait_until_empty();
    // No configuration has it, but the scheduler that runs does.
    pause(&bench, &format!("--relay {}", two.url()), "x");
    scheduler.wait_for_line(&["paused: x", two.url().to_string().rsplit(':').next().unwrap()]);
    bench.spool.put_packets("5", OTHER, &[members("o", 3)]);
    scheduler.wait_for_line(&["message has arrived", OTHER]);
    assert_once_each(&one, []);
    assert_once_each(&two, members("m", 3));
    bench.runs(&format!("resume --relay {}", one.url()), DONE);
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_once_each(&one, members("o", 3));
    assert_once_each(&two, members("m", 3));
}

#[test]
fn a_pause_that_cannot_be_read_pauses_and_is_named_by_check() {
    let bench = Bench::new();
    fs::write(bench.spool.path().join("paused/everything"), "").unwrap();
    bench
        .runs("check", FINDINGS)
        .prints(&["paused/everything: a pause that can't be read; it lasts until it is resumed"]);
    bench.runs("queue", DONE).prints(&["everything is paused; its file can't be read"]);
    let listed: Vec<Value> = bench.json("queue --pauses --json");
    assert_eq!(listed[0]["what"], "everything");
    bench.runs("resume", DONE);
}

#[test]
fn a_relay_that_is_a_directory_is_on_a_command_line_the_one_from_there_on() {
    let bench = Bench::new();
    bench.spool.put_packets("3", ID, &[members("m", 3)]);
    let scheduler = bench.scheduler_with("--workers 1 --relay maildir:out");
    bench.spool.wait_until_empty();
    let out = bench.file("x", "").with_file_name("out");
    assert!(out.is_dir());
    let told = pause(&bench, "--relay maildir:out", "x");
    assert_eq!(told.stdout, format!("relay maildir:{} is paused until it is resumed\n", out.display()));
    scheduler.stop();
    bench.runs("resume --relay maildir:out", DONE);
}
