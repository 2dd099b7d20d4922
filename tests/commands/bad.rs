//! `sympa-dist bad`.

use std::fs;
use std::path::PathBuf;

use crate::bench::{Bench, DONE, FINDINGS, USAGE, assert_once_each};
use crate::support::relay::{Policy, Relay};
use crate::support::spool::members;

const ID: &str = "a@bad.example.org.1700000000.1";
const OTHER: &str = "b@bad.example.org.1700000000.2";

/// One message whose checkpoint names somebody else, and one that was cancelled.
fn two() -> Bench {
    let bench = Bench::new();
    bench.spool.put_packets("3", ID, &[members("m", 5)]);
    fs::write(bench.spool.at("3").join(ID).join("recipients.mail.0001.status"), "nobody@example.org\n").unwrap();
    bench.spool.put_packets("6", OTHER, &[members("other", 3)]);
    bench.runs(&format!("cancel {OTHER} --yes"), DONE);
    let relay = Relay::start(Policy::new());
    let scheduler = bench.scheduler(&relay, 1);
    bench.spool.wait_until_bad(ID);
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert!(relay.record().taken.is_empty());
    bench
}

fn status(bench: &Bench, entry: &str) -> PathBuf {
    bench.spool.path().join("bad").join(entry).join("recipients.mail.0001.status")
}

#[test]
fn each_is_listed_with_its_reason() {
    let bench = two();
    let told = bench.runs("bad", DONE).stdout;
    assert!(told.contains(&format!("{ID}\n  ")) && told.contains("nobody@example.org, which is not in"), "{told}");
    assert!(told.contains("from 6, by pat: cancelled by hand"), "{told}");
    assert_eq!(bench.runs("bad list", DONE).stdout, told);
    let rows = bench.json("bad --json");
    assert_eq!(rows.iter().map(|row| row["name"].as_str().unwrap()).collect::<Vec<_>>(), [ID, OTHER]);
    assert_eq!((rows[0]["by"].as_str(), rows[0]["from"].as_str()), (Some("sympa-dist"), Some("3")));
    assert_eq!(Bench::new().runs("bad", DONE).stdout, "");
}

#[test]
fn shown_it_says_what_has_to_be_mended() {
    let bench = two();
    let told = bench.runs(&format!("bad show {ID}"), DONE).stdout;
    assert!(told.contains("to be mended: recipients.mail.0001.status: names nobody@example.org"), "{told}");
    let shown = &bench.json(&format!("bad show {OTHER} --json"))[0];
    assert_eq!(shown["obstacles"].as_array().unwrap().len(), 0);
    assert_eq!((shown["packets"][0]["recipients"].as_u64(), shown["packets"][0]["done"].as_u64()), (Some(3), Some(0)));
    bench.runs("bad show c@bad.example.org.1700000000.3", FINDINGS).complains(&["no such message in bad/"]);
    bench.runs("bad show ../distribute", USAGE);
}

#[test]
fn mended_it_is_put_back_and_goes_on_where_it_was() {
    let bench = two();
    bench.runs(&format!("bad retry {ID}"), FINDINGS).complains(&["names nobody@example.org", "stays in bad/"]);
    assert_eq!(bench.spool.bad(), [ID, OTHER]);
    fs::write(status(&bench, ID), "m000002@example.org\n").unwrap();
    let told = bench.runs(&format!("bad retry {ID} --dry-run"), DONE);
    assert_eq!((told.stdout, bench.spool.waiting()), (format!("{ID}: would be put back to 3\n"), vec![]));
    assert_eq!(bench.runs(&format!("bad retry {ID}"), DONE).stdout, format!("{ID}: put back to 3\n"));
    assert_eq!(bench.runs(&format!("bad retry {OTHER} --to 1"), DONE).stdout, format!("{OTHER}: put back to 1\n"));
    assert_eq!((bench.spool.waiting(), bench.spool.bad()), (vec![format!("1/{OTHER}"), format!("3/{ID}")], vec![]));
    assert!(!bench.spool.at("3").join(ID).join("reason").exists());
    let relay = Relay::start(Policy::new());
    let scheduler = bench.scheduler(&relay, 1);
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_once_each(&relay, members("m", 5).split_off(2).into_iter().chain(members("other", 3)));
}

#[test]
fn one_that_was_held_when_it_was_cancelled_is_not_held_where_it_is_put_back() {
    let bench = Bench::new();
    bench.spool.put_packets("6", OTHER, &[members("other", 3)]);
    let cancel = || {
        bench.runs(&format!("hold {OTHER} --reason wait"), DONE);
        bench.runs(&format!("cancel {OTHER} --yes"), DONE);
    };
    cancel();
    bench.runs(&format!("bad retry {OTHER}"), DONE);
    assert!(bench.spool.at("z").join(OTHER).join("held").exists());
    cancel();
    bench.runs(&format!("bad retry {OTHER} --to 3"), DONE);
    assert!(!bench.spool.at("3").join(OTHER).join("held").exists());
}

#[test]
fn what_could_not_be_sent_is_not_put_back() {
    let bench = two();
    let entry = bench.spool.path().join("bad").join(OTHER);
    bench.spool.put_packets("4", OTHER, &[members("m", 1)]);
    bench.runs(&format!("bad retry {OTHER}"), FINDINGS).complains(&["its id is in use at 4"]);
    bench.runs("cancel --all --yes --purge", DONE);
    fs::remove_file(entry.join("recipients.mail.0001")).unwrap();
    bench.runs(&format!("bad retry {OTHER}"), FINDINGS).complains(&["nobody is left to be sent to"]);
    fs::write(entry.join("recipients.digest.0001"), "a@example.org\n").unwrap();
    bench.runs(&format!("bad retry {OTHER}"), FINDINGS).complains(&["need a file message.digest"]);
    fs::write(entry.join("message"), "").unwrap();
    bench.runs(&format!("bad retry {OTHER} {ID}"), FINDINGS).complains(&["the message file is empty", ID]);
    assert_eq!((bench.spool.waiting(), bench.spool.bad()), (vec![], vec![ID.to_owned(), OTHER.to_owned()]));
}

#[test]
fn a_second_entry_of_a_message_is_put_back_under_the_messages_name() {
    let bench = two();
    bench.runs(&format!("bad retry {OTHER}"), DONE);
    bench.runs(&format!("cancel {OTHER} --yes"), DONE);
    fs::rename(bench.spool.path().join("bad").join(OTHER), bench.spool.path().join("bad").join(format!("{OTHER}~2")))
        .unwrap();
    assert_eq!(bench.runs(&format!("bad retry {OTHER}~2"), DONE).stdout, format!("{OTHER}~2: put back to 6\n"));
    assert_eq!(bench.spool.waiting(), [format!("6/{OTHER}")]);
}
