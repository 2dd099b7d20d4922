//! `sympa-dist hold` and `sympa-dist release`.

use std::fs;

use serde_json::Value;

use crate::bench::{Bench, DONE, FINDINGS, OPERATOR, Told, USAGE, assert_once_each, gated};
use crate::support::spool::members;

const ID: &str = "a@hold.example.org.1700000000.1";
const OTHER: &str = "b@hold.example.org.1700000000.2";

fn two() -> Bench {
    let bench = Bench::new();
    bench.spool.put_packets("3", ID, &[members("m", 3)]);
    bench.spool.put_packets("6", OTHER, &[members("m", 3)]);
    bench
}

fn hold_with(bench: &Bench, reason: &str) {
    let mut command = bench.command(&format!("hold {ID}"));
    Told::of(command.args(["--reason", reason]), DONE);
}

fn note(bench: &Bench) -> Value {
    serde_json::from_slice(&fs::read(bench.spool.at("z").join(ID).join("held")).unwrap()).unwrap()
}

#[test]
fn a_held_message_says_who_held_it_why_and_where_it_was_and_goes_back_there() {
    let bench = two();
    hold_with(&bench, "wait for the \"dean\"");
    assert_eq!(bench.spool.waiting(), [format!("6/{OTHER}"), format!("z/{ID}")]);
    let note = note(&bench);
    assert_eq!(note["why"], "wait for the \"dean\"");
    assert_eq!((&note["by"], &note["from"]), (&OPERATOR.into(), &"3".into()));
    bench.runs("queue", DONE).prints(&[&format!("{ID}!"), "held by pat since", "wait for the \"dean\""]);
    let told = bench.runs(&format!("release {ID}"), DONE);
    assert_eq!(told.stdout, format!("{ID}: moved from z to 3\n"));
    assert_eq!(bench.spool.waiting(), [format!("3/{ID}"), format!("6/{OTHER}")]);
    assert!(!bench.spool.at("3").join(ID).join("held").exists(), "what is not held says nothing of it");
}

#[test]
fn released_with_to_it_goes_there_instead() {
    let bench = two();
    bench.runs(&format!("hold {ID}"), DONE);
    bench.runs(&format!("release {ID} --to 8"), DONE);
    assert_eq!(bench.spool.waiting(), [format!("6/{OTHER}"), format!("8/{ID}")]);
}

#[test]
fn holding_what_is_held_keeps_where_it_was() {
    let bench = two();
    hold_with(&bench, "first");
    bench.runs(&format!("hold {ID}"), DONE).prints(&["is at z already"]);
    bench.runs("hold --all", DONE);
    assert_eq!((&note(&bench)["why"], &note(&bench)["from"]), (&"first".into(), &"3".into()));
    bench.runs("release --from z", DONE);
    assert_eq!(bench.spool.waiting(), [format!("3/{ID}"), format!("6/{OTHER}")]);
}

#[test]
fn requeued_to_z_is_held_and_requeued_from_z_is_released() {
    let bench = two();
    bench.runs(&format!("requeue {ID} --to z"), DONE);
    assert_eq!(note(&bench)["from"], "3");
    bench.runs(&format!("requeue {ID} --to 1"), DONE);
    assert_eq!(bench.spool.waiting(), [format!("1/{ID}"), format!("6/{OTHER}")]);
    assert!(!bench.spool.at("1").join(ID).join("held").exists());
}

#[test]
fn a_release_of_what_is_not_held_leaves_it_where_it_is() {
    let bench = two();
    let before = bench.spool.waiting();
    bench.runs(&format!("release {ID}"), DONE).prints(&["is at 3 already"]);
    bench.runs(&format!("release {ID} --to 1"), DONE).prints(&["is at 3 already"]);
    bench.runs("release --all", DONE);
    assert_eq!(bench.spool.waiting(), before);
}

#[test]
fn what_lies_in_z_without_a_note_goes_where_new_messages_go() {
    let bench = Bench::new();
    bench.spool.put_packets("z", ID, &[members("m", 1)]);
    bench.file("conf.toml", "[inject]\npriority = 4\n");
    bench.runs(&format!("--config conf.toml release {ID}"), DONE);
    assert_eq!(bench.spool.waiting(), [format!("4/{ID}")]);
}

#[test]
fn a_dry_run_and_what_makes_no_sense_hold_and_release_nothing() {
    let bench = two();
    let before = bench.spool.waiting();
    bench.runs(&format!("hold {ID} --dry-run"), DONE).prints(&[ID]);
    assert!(!bench.spool.at("3").join(ID).join("held").exists());
    bench.runs("hold", USAGE).complains(&["nothing was changed"]);
    bench.runs("hold nonsense", USAGE).complains(&["nonsense"]);
    bench.runs("hold --list nobody@hold.example.org", FINDINGS);
    bench.runs("release --from z", FINDINGS).complains(&["no message matches"]);
    bench.runs(&format!("release {ID} --to z"), USAGE).complains(&["nothing was changed"]);
    bench.runs(&format!("release {ID} --to 10"), USAGE);
    assert_eq!(bench.spool.waiting(), before);
    bench.runs(&format!("hold {ID}"), DONE);
    bench.runs(&format!("release {ID} --dry-run"), DONE).prints(&[ID]);
    assert_eq!(bench.spool.waiting(), [format!("6/{OTHER}"), format!("z/{ID}")]);
}

#[test]
fn a_message_held_in_flight_stops_at_the_boundary_and_released_everybody_gets_it_once() {
    let bench = Bench::new();
    bench.spool.put_packets("3", ID, &[members("m", 50)]);
    let (relay, gate) = gated();
    let scheduler = bench.scheduler(&relay, 1);
    gate.wait_for(1);
    bench.runs(&format!("hold {ID} --reason typo"), DONE);
    gate.open();
    scheduler.wait_for_line(&["held while being sent", ID]);
    assert_once_each(&relay, members("m", 20));
    assert_eq!(bench.spool.waiting(), [format!("z/{ID}")]);
    let shown = &bench.json(&format!("show {ID} --json"))[0];
    assert_eq!((&shown["state"], &shown["packets"][0]["done"]), (&"held".into(), &20.into()));
    assert_eq!((&shown["held"]["why"], &shown["recipients_left"]), (&"typo".into(), &30.into()));
    bench.runs(&format!("release {ID}"), DONE).prints(&["moved from z to 3"]);
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_once_each(&relay, members("m", 50));
}
