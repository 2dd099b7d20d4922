//! `sympa-dist cancel`.

use std::fs;

use crate::bench::{Bench, DONE, FINDINGS, Told, USAGE, assert_once_each, gated, quiet};
use crate::support::spool::{lines, members};

const ID: &str = "a@cancel.example.org.1700000000.1";
const OTHER: &str = "b@cancel.example.org.1700000000.2";

fn two() -> Bench {
    let bench = Bench::new();
    bench.spool.put_packets("3", ID, &[members("m", 3)]);
    bench.spool.put_packets("6", OTHER, &[members("m", 3)]);
    bench
}

fn cancel_with(bench: &Bench, reason: &str) -> Told {
    Told::of(bench.command(&format!("cancel {ID} --yes")).args(["--reason", reason]), DONE)
}

#[test]
fn without_yes_and_without_a_terminal_it_refuses_and_changes_nothing() {
    let bench = two();
    let before = bench.spool.waiting();
    for line in [format!("cancel {ID}"), "cancel --all --purge".to_owned()] {
        bench.runs(&line, USAGE).complains(&["--yes", "nothing was cancelled"]);
    }
    let told = bench.runs("cancel --all --dry-run", DONE);
    assert_eq!(told.stdout, format!("{ID}: would be cancelled\n{OTHER}: would be cancelled\n"));
    assert_eq!((bench.spool.waiting(), bench.spool.bad()), (before, vec![]));
    assert!(!bench.spool.at("3").join(ID).join("reason").exists());
}

#[test]
fn what_is_left_lies_in_bad_with_the_reason() {
    let bench = two();
    let told = cancel_with(&bench, "sent by mistake");
    assert_eq!(told.stdout, format!("{ID}: cancelled at 3; the rest is in bad/\n"));
    assert_eq!((bench.spool.waiting(), bench.spool.bad()), (vec![format!("6/{OTHER}")], vec![ID.to_owned()]));
    assert_eq!(bench.spool.reason(ID), "sent by mistake");
    let packet = bench.spool.path().join("bad").join(ID).join("recipients.mail.0001");
    assert_eq!(fs::read_to_string(packet).unwrap(), lines(&members("m", 3)));
    bench.runs(&format!("show {ID}"), FINDINGS).complains(&["bad show"]);
}

#[test]
fn purged_it_is_gone() {
    let bench = two();
    let told = bench.runs(&format!("cancel {ID} --yes --purge"), DONE);
    assert_eq!(told.stdout, format!("{ID}: cancelled at 3; the rest is deleted\n"));
    assert_eq!((bench.spool.waiting(), bench.spool.bad()), (vec![format!("6/{OTHER}")], vec![]));
}

#[test]
fn held_ones_and_whole_lists_can_be_cancelled() {
    let bench = two();
    bench.runs(&format!("hold {ID}"), DONE);
    bench.runs("cancel --list b@cancel.example.org --yes", DONE);
    assert_eq!((bench.spool.waiting(), bench.spool.bad()), (vec![format!("z/{ID}")], vec![OTHER.to_owned()]));
    bench.runs("cancel --from z --yes", DONE);
    assert_eq!((bench.spool.waiting(), bench.spool.bad()), (vec![], vec![ID.to_owned(), OTHER.to_owned()]));
}

#[test]
fn where_nothing_matches_the_exit_code_is_1() {
    let bench = two();
    let before = bench.spool.waiting();
    let gone = "nobody@cancel.example.org.1700000000.1";
    bench.runs(&format!("cancel {gone} --yes"), FINDINGS).complains(&[gone]);
    let told = bench.runs(&format!("cancel {gone} --dry-run"), FINDINGS);
    told.complains(&[gone]);
    assert_eq!(told.stdout, "");
    bench.runs("cancel --from 9 --yes", FINDINGS).complains(&["no message matches"]);
    bench.runs("cancel --yes", USAGE).complains(&["nothing was changed"]);
    bench.runs("cancel nonsense --yes", USAGE);
    assert_eq!((bench.spool.waiting(), bench.spool.bad()), (before, vec![]));
}

#[test]
fn all_are_cancelled_also_when_nobody_reads_what_became_of_them() {
    let bench = two();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(quiet(bench.command("cancel --all --yes"), writer), "");
    assert_eq!((bench.spool.waiting(), bench.spool.bad()), (vec![], vec![ID.to_owned(), OTHER.to_owned()]));
}

#[test]
fn cancelled_in_flight_nobody_gets_it_behind_the_boundary_and_the_rest_is_kept() {
    let bench = Bench::new();
    bench.spool.put_packets("3", ID, &[members("m", 50)]);
    let (relay, gate) = gated();
    let scheduler = bench.scheduler(&relay, 1);
    gate.wait_for(1);
    cancel_with(&bench, "typo");
    gate.open();
    scheduler.wait_for_line(&["taken away while being sent", ID]);
    scheduler.stop();
    assert_once_each(&relay, members("m", 20));
    assert_eq!((bench.spool.waiting(), bench.spool.reason(ID).as_str()), (vec![], "typo"));
    let status = bench.spool.path().join("bad").join(ID).join("recipients.mail.0001.status");
    let status = fs::read_to_string(status).unwrap();
    assert_eq!(status.lines().next(), Some("m000020@example.org"), "what lies in bad/ knows who got it");
}

#[test]
fn purged_in_flight_the_scheduler_goes_on_with_the_next() {
    let bench = Bench::new();
    bench.spool.put_packets("3", ID, &[members("m", 50)]);
    let (relay, gate) = gated();
    let scheduler = bench.scheduler(&relay, 1);
    gate.wait_for(1);
    bench.runs(&format!("cancel {ID} --yes --purge"), DONE);
    gate.open();
    bench.spool.put_packets("9", OTHER, &[members("other", 30)]);
    bench.spool.wait_until_empty();
    assert!(!scheduler.log().contains("\"ERROR\""), "{}", scheduler.log());
    scheduler.stop();
    assert_once_each(&relay, members("m", 20).into_iter().chain(members("other", 30)));
    assert_eq!(bench.spool.bad(), [""; 0]);
}
