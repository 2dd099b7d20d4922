//! `sympa-dist reschedule`, times in names, and messages that are too late.

use std::fs;

use serde_json::Value;

use crate::bench::{Bench, DONE, FINDINGS, USAGE, assert_once_each, gated};
use crate::support::relay::{Policy, Relay};
use crate::support::spool::{lines, members, message, now, wait_until};

const ID: &str = "a@when.example.org.1700000000.1";
const LATER: u64 = 4_000_000_000;

/// A message that is too late behind that second.
fn put_not_after(bench: &Bench, name: &str, not_after: u64, members: &[String]) {
    let text = format!("Return-Path: <x@example.org>\nX-Sympa-Dist-Not-After: {not_after}\n{}", message(name));
    bench.spool.put("5", name, &[("recipients.mail.0001", &lines(members)), ("message", &text)]);
}

fn held(bench: &Bench, name: &str) -> Value {
    serde_json::from_slice(&fs::read(bench.spool.at("z").join(name).join("held")).unwrap()).unwrap()
}

#[test]
fn a_message_gets_another_time_by_a_rename_within_its_priority() {
    let bench = Bench::new();
    bench.spool.put_packets("4", ID, &[members("m", 3)]);
    bench.runs(&format!("reschedule {ID} --at {LATER} --dry-run"), DONE).prints(&["would be not sent before 2096-"]);
    assert_eq!(bench.spool.waiting(), [format!("4/{ID}")]);
    bench.runs(&format!("reschedule {ID} --at {LATER}"), DONE).prints(&[ID, "is not sent before 2096-"]);
    assert_eq!(bench.spool.waiting(), [format!("4/{ID}:at{LATER}")]);
    bench.runs(&format!("reschedule {ID} --at {LATER}"), DONE).prints(&["already"]);
    bench
        .runs(&format!("reschedule {ID} --at 2026-12-01T18:00[Europe/Paris]"), DONE)
        .prints(&["it was: not before 2096-"]);
    assert_eq!(bench.spool.waiting(), [format!("4/{ID}:at1796144400")]);
    bench.runs(&format!("hold {ID}"), DONE);
    bench.runs("reschedule --all --now", DONE).prints(&["is sent at once"]);
    assert_eq!(bench.spool.waiting(), [format!("z/{ID}")]);
}

#[test]
fn what_makes_no_sense_reschedules_nothing() {
    let bench = Bench::new();
    bench.spool.put_packets("4", ID, &[members("m", 3)]);
    bench.runs(&format!("reschedule {ID}"), USAGE).complains(&["--at"]);
    bench.runs(&format!("reschedule {ID} --at 5 --now"), USAGE);
    bench.runs(&format!("reschedule {ID} --at soon"), USAGE).complains(&["soon", "nothing was changed"]);
    bench.runs("reschedule --now", USAGE).complains(&["which messages?"]);
    bench.runs("reschedule b@when.example.org.1.1 --now", FINDINGS).complains(&["no such message is waiting"]);
    assert_eq!(bench.spool.waiting(), [format!("4/{ID}")]);
}

#[test]
fn a_message_rescheduled_in_flight_stops_at_the_boundary_and_everybody_gets_it_once() {
    let bench = Bench::new();
    bench.spool.put_packets("4", ID, &[members("m", 50)]);
    let (relay, gate) = gated();
    let scheduler = bench.scheduler(&relay, 1);
    gate.wait_for(1);
    bench.runs(&format!("reschedule {ID} --at {LATER}"), DONE);
    gate.open();
    scheduler.wait_for_line(&["rescheduled while being sent", ID]);
    assert_once_each(&relay, members("m", 20));
    assert_eq!(bench.spool.waiting(), [format!("4/{ID}:at{LATER}")]);
    assert_eq!(bench.json("queue --json")[0]["state"], "scheduled");
    bench.runs(&format!("reschedule {ID} --now"), DONE);
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_once_each(&relay, members("m", 50));
}

#[test]
fn a_flat_drop_with_a_time_in_its_name_waits_for_it() {
    let bench = Bench::new();
    let relay = Relay::start(Policy::new());
    let scheduler = bench.scheduler(&relay, 1);
    scheduler.wait_until_ready();
    let name = format!("{ID}:at{LATER}");
    fs::write(bench.spool.at("6").join(format!("{name}.recipients.mail.001")), lines(&members("m", 3))).unwrap();
    fs::write(bench.spool.at("6").join(format!(".{ID}")), message(ID)).unwrap();
    fs::rename(bench.spool.at("6").join(format!(".{ID}")), bench.spool.at("6").join(&name)).unwrap();
    scheduler.wait_for_line(&["flat drop is adopted", ID]);
    assert!(bench.spool.at("6").join(&name).join("recipients.mail.001").exists());
    assert_eq!(bench.json("queue --json")[0]["not_before"], LATER);
    assert_once_each(&relay, []);
    bench.runs(&format!("reschedule {ID} --at +1s"), DONE);
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_once_each(&relay, members("m", 3));
}

#[test]
fn a_message_that_is_too_late_is_held_and_released_it_is_sent_all_the_same() {
    let bench = Bench::new();
    put_not_after(&bench, ID, 1_700_000_100, &members("m", 3));
    put_not_after(&bench, "b@when.example.org.1700000000.2", LATER, &members("b", 3));
    bench.runs("queue", DONE).prints(&["not after 2023-", "not after 2096-"]);
    bench.runs("check", DONE);
    let relay = Relay::start(Policy::new());
    let scheduler = bench.scheduler(&relay, 1);
    wait_until("one is sent", || bench.spool.waiting() == [format!("z/{ID}")], || scheduler.log());
    assert_once_each(&relay, members("b", 3));
    let note = held(&bench, ID);
    assert_eq!((&note["by"], &note["from"]), (&"sympa-dist".into(), &"5".into()));
    assert!(note["why"].as_str().unwrap().starts_with("too late: it was not to be sent after 2023-11-14T22:15:00Z"));
    bench.runs(&format!("release {ID}"), DONE);
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_once_each(&relay, members("b", 3).into_iter().chain(members("m", 3)));
    assert!(bench.spool.incoming().is_empty());
}

#[test]
fn a_message_that_becomes_too_late_in_flight_stops_at_the_boundary() {
    let bench = Bench::new();
    let not_after = now().plus(3).0;
    put_not_after(&bench, ID, not_after, &members("m", 50));
    let (relay, gate) = gated();
    let scheduler = bench.scheduler(&relay, 1);
    gate.wait_for(1);
    wait_until("it is too late", || now().0 > not_after, String::new);
    gate.open();
    scheduler.wait_for_line(&["message is held: too late", ID]);
    assert_once_each(&relay, members("m", 20));
    bench.runs(&format!("release {ID}"), DONE);
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_once_each(&relay, members("m", 50));
}

#[test]
fn inject_writes_when_it_is_too_late_from_its_flag_or_else_by_the_list() {
    let bench = Bench::new();
    bench.file("c.toml", "[lists.\"news@*\"]\nnot_after = \"1d\"\n");
    bench.file("post.eml", "From: a@example.org\n\nHello.\n");
    bench.file("members.txt", "a@example.org\n");
    let inject = |list: &str, flags: &str, code| {
        let files = "--message post.eml --recipients mail=members.txt";
        bench.runs(&format!("inject --config c.toml --list {list} {files} {flags}"), code)
    };
    let row = |list: &str| bench.json(&format!("queue --json --list {list}")).remove(0);
    inject("news@my.dom", &format!("--at {LATER}"), DONE);
    assert_eq!(row("news@my.dom")["not_after"], LATER + 86_400);
    inject("news@x.dom", &format!("--at {LATER} --not-after {}", LATER + 5), DONE);
    assert_eq!(row("news@x.dom")["not_after"], LATER + 5);
    inject("talk@my.dom", "", DONE);
    assert!(row("talk@my.dom").get("not_after").is_none());
    inject("talk@my.dom", "--not-after 5", USAGE).complains(&["too late before it is sent", "nothing was queued"]);
    inject("talk@my.dom", &format!("--at {LATER} --not-after {LATER}"), USAGE);
    inject("talk@my.dom", "--not-after tomorrow", USAGE).complains(&["--not-after", "tomorrow"]);
}
