//! `sympa-dist requeue`.

use crate::bench::{Bench, DONE, FINDINGS, USAGE, assert_once_each, gated, quiet};
use crate::support::spool::members;

const A1: &str = "a@x.example.org.1700000000.1";
const A2: &str = "a@x.example.org.1700000000.2";
const B: &str = "b@x.example.org.1700000000.3";
const LATER: &str = "a@x.example.org.1700000000.4:at4102444800";

/// a's at 5, 7 and 9 (one of them for later), b's at 5.
fn four() -> Bench {
    let bench = Bench::new();
    for (priority, name) in [("5", A1), ("7", A2), ("5", B), ("9", LATER)] {
        bench.spool.put_packets(priority, name, &[members("m", 3)]);
    }
    bench
}

#[track_caller]
fn check(line: &str, waiting: [&str; 4]) {
    let bench = four();
    let before = bench.spool.waiting();
    let would = bench.runs(&format!("{line} --dry-run"), DONE);
    assert_eq!(bench.spool.waiting(), before, "{line} --dry-run");
    let done = bench.runs(line, DONE);
    assert_eq!(bench.spool.waiting(), waiting, "{line}");
    let ids = |text: &str| text.lines().map(|l| l.split(": ").next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&would.stdout), ids(&done.stdout), "what --dry-run names is what is moved");
    assert_eq!((would.stderr.as_str(), done.stderr.as_str()), ("", ""));
}

fn at(priority: &str, name: &str) -> String {
    format!("{priority}/{name}")
}

#[test]
fn exactly_the_messages_meant_are_moved_and_a_dry_run_moves_none() {
    let (five_a, seven_a, five_b, nine) = (at("5", A1), at("7", A2), at("5", B), at("9", LATER));
    check(&format!("requeue {A1} --to 0"), [&at("0", A1), &five_b, &seven_a, &nine]);
    check(&format!("requeue {A2} {B} --to 1"), [&at("1", A2), &at("1", B), &five_a, &nine]);
    check("requeue --list b@x.example.org --to 2", [&at("2", B), &five_a, &seven_a, &nine]);
    check("requeue --list a@x.example.org --to 8", [&five_b, &at("8", A1), &at("8", A2), &at("8", LATER)]);
    check("requeue --from 5 --to 6", [&at("6", A1), &at("6", B), &seven_a, &nine]);
    check("requeue --from 5 --list a@x.example.org --to 6", [&five_b, &at("6", A1), &seven_a, &nine]);
    check("requeue --all --to 4", [&at("4", A1), &at("4", A2), &at("4", LATER), &at("4", B)]);
    let id_of_later = LATER.split(':').next().unwrap();
    check(&format!("requeue {id_of_later} --to 0"), [&at("0", LATER), &five_a, &five_b, &seven_a]);
}

#[test]
fn what_is_there_already_stays_and_is_told() {
    let bench = four();
    let before = bench.spool.waiting();
    let told = bench.runs(&format!("requeue {A1} {B} --to 5"), DONE);
    told.prints(&[&format!("{A1}: is at 5 already"), &format!("{B}: is at 5 already")]);
    assert_eq!(bench.spool.waiting(), before);
}

#[test]
fn where_nothing_matches_the_exit_code_is_1() {
    let bench = four();
    let before = bench.spool.waiting();
    for line in [
        "requeue nobody@x.example.org.1700000000.1 --to 1",
        "requeue nobody@x.example.org.1700000000.1 --to 1 --dry-run",
        "requeue --list nobody@x.example.org --to 1",
        // The name of a list is not the beginning of another.
        "requeue --list a@x.example --to 1",
        "requeue --from 3 --to 1",
        "requeue --from 3 --to 1 --dry-run",
        "requeue --from 7 --list b@x.example.org --to 1",
    ] {
        let told = bench.runs(line, FINDINGS);
        assert!(told.stdout.is_empty() && told.stderr.starts_with("sympa-dist: "), "{line}: {told:?}");
    }
    assert_eq!(bench.spool.waiting(), before);
    bench.spool.put_packets("0", "c@x.example.org.1700000000.5", &[members("m", 1)]);
    // One of two is something.
    let told = bench.runs("requeue nobody@x.example.org.1700000000.1 c@x.example.org.1700000000.5 --to 3", DONE);
    told.complains(&["nobody@x.example.org.1700000000.1: no such message is waiting"]);
    told.prints(&["c@x.example.org.1700000000.5: moved from 0 to 3"]);
}

#[test]
fn what_makes_no_sense_is_refused_and_moves_nothing() {
    let bench = four();
    let before = bench.spool.waiting();
    for (line, why) in [
        ("requeue nonsense --to 1", "nonsense"),
        ("requeue ../5/a@x.example.org.1700000000.1 --to 1", "../5"),
        (&format!("requeue {A1} --to 10"), "10"),
        (&format!("requeue {A1} --to urgent"), "urgent"),
        (&format!("requeue {A1} --to -1"), "-1"),
        (&format!("requeue {A1}"), "--to"),
        ("requeue --to 1", "--all"),
        ("requeue --from 11 --to 1", "11"),
        (&format!("requeue {A1} --all --to 1"), "--all"),
        (&format!("requeue {A1} --from 5 --to 1"), "--from"),
        ("requeue --all --list a@x.example.org --to 1", "--all"),
    ] {
        bench.runs(line, USAGE).complains(&[why]);
        assert_eq!(bench.spool.waiting(), before, "{line}");
    }
}

#[test]
fn all_are_moved_also_when_nobody_reads_what_became_of_them() {
    let bench = four();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(quiet(bench.command("requeue --all --to 1"), writer), "");
    assert_eq!(bench.spool.waiting(), [at("1", A1), at("1", A2), at("1", LATER), at("1", B)]);
}

#[test]
fn a_message_requeued_in_flight_gives_way_to_what_is_more_urgent_now_and_goes_on_behind_it() {
    const OTHER: &str = "other@x.example.org.1700000000.9";
    let bench = Bench::new();
    bench.spool.put_packets("3", A1, &[members("m", 50)]);
    let (relay, gate) = gated();
    let scheduler = bench.scheduler(&relay, 1);
    gate.wait_for(1);
    bench.spool.put_packets("5", OTHER, &[members("other", 1)]);
    scheduler.wait_for_line(&["message has arrived", OTHER]);
    let told = bench.runs(&format!("requeue {A1} --to 7"), DONE);
    assert_eq!(told.stdout, format!("{A1}: moved from 3 to 7\n"));
    gate.open();
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_once_each(&relay, members("m", 50).into_iter().chain(members("other", 1)));
    let record = relay.record();
    let subjects: Vec<&str> = record.taken.iter().map(|taken| taken.subject.as_str()).collect();
    assert_eq!(subjects, [A1, A1, OTHER, A1, A1, A1], "it acts at the boundary of the transaction in flight");
}
