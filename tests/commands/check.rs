//! `sympa-dist check`.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::bench::{Bench, DONE, FINDINGS, assert_once_each};
use crate::support::relay::{Policy, Relay};
use crate::support::spool::{lines, members, message};

const ID: &str = "a@check.example.org.1700000000.1";

/// What has just changed may be a worker's or a producer's step; what is older is left over.
fn age(path: impl AsRef<Path>) {
    let two_days = Duration::from_secs(2 * 24 * 60 * 60);
    File::open(path).unwrap().set_modified(SystemTime::now() - two_days).unwrap();
}

/// A message of which half was sent.
fn half_sent(bench: &Bench) {
    let addresses = members("m", 20);
    let files = [
        ("message", message(ID)),
        ("recipients.mail.0001", lines(&addresses)),
        ("recipients.mail.0001.status", format!("{}\n", addresses[9])),
    ];
    bench.spool.put("5", ID, &files.each_ref().map(|(name, text)| (*name, text.as_str())));
}

/// The paths that are named, sorted.
fn found(stdout: &str) -> Vec<&str> {
    let mut paths: Vec<&str> = stdout.lines().filter_map(|line| line.split_once(": ")).map(|(path, _)| path).collect();
    paths.sort_unstable();
    paths
}

#[test]
fn a_spool_at_work_is_in_order() {
    let bench = Bench::new();
    bench.runs("check", DONE).prints(&["in order"]);
    half_sent(&bench);
    bench.spool.put_packets("z", "b@check.example.org.1700000000.2", &[members("m", 3)]);
    bench.runs("hold --list a@check.example.org", DONE);
    bench.spool.put_packets("3", "c@check.example.org.1700000000.3:at4102444800", &[members("m", 3)]);
    bench.runs("cancel --list b@check.example.org --yes", DONE);
    let told = bench.runs("check", DONE);
    assert_eq!(told.stdout, format!("{}: in order\n", bench.spool.path().display()));
    bench.runs("check --repair", DONE).prints(&["in order"]);
}

#[test]
fn what_cannot_be_mended_is_named_and_left_as_it_is() {
    let bench = Bench::new();
    half_sent(&bench);
    let folder = bench.spool.at("5").join(ID);
    fs::write(folder.join("recipients.mail.0001.status"), "nobody@example.org\n").unwrap();
    fs::write(bench.spool.at("2").join("notes.txt"), "mine").unwrap();
    fs::create_dir(bench.spool.path().join("bad/x")).unwrap();
    fs::write(bench.spool.path().join("running/x"), "").unwrap();
    fs::create_dir(bench.spool.path().join("distribute/old")).unwrap();
    fs::write(folder.join("reported"), "half").unwrap();
    fs::create_dir(bench.spool.at("7").join("b@check.example.org.1700000000.2")).unwrap();
    fs::write(bench.spool.at("7").join("b@check.example.org.1700000000.2/recipients.mail.1"), "a@b.org\n").unwrap();
    let status = format!("distribute/5/{ID}/recipients.mail.0001.status");
    let lost = "distribute/7/b@check.example.org.1700000000.2/message";
    let first = bench.runs("check", FINDINGS);
    let reported = format!("distribute/5/{ID}/reported");
    let expected = ["bad/x", "distribute/2/notes.txt", &status, &reported, lost, "distribute/old", "running/x"];
    assert_eq!(found(&first.stdout), expected);
    first.prints(&["nobody@example.org, which is not in recipients.mail.0001", "the message file is missing"]);
    let second = bench.runs("check --repair", FINDINGS);
    assert_eq!(second.stdout, first.stdout, "nothing was mended, nothing is hidden");
    assert_eq!(fs::read_to_string(folder.join("recipients.mail.0001.status")).unwrap(), "nobody@example.org\n");
    assert_eq!(fs::read_to_string(bench.spool.at("2").join("notes.txt")).unwrap(), "mine");
}

#[test]
fn repair_mends_what_loses_nothing_and_everybody_gets_the_message_once() {
    let bench = Bench::new();
    half_sent(&bench);
    let folder = bench.spool.at("5").join(ID);
    fs::write(folder.join("held"), "{}").unwrap();
    fs::write(folder.join("reason"), "{}").unwrap();
    // A packet that is finished leaves its checkpoint until the message ends.
    fs::write(folder.join("recipients.mail.0000.status"), "old@example.org\n").unwrap();
    age(&folder);
    let empty = bench.spool.at("6").join("b@check.example.org.1700000000.2");
    fs::create_dir(&empty).unwrap();
    age(&empty);
    let draft = bench.spool.path().join("incoming/c@check.example.org.1700000000.3");
    fs::create_dir(&draft).unwrap();
    fs::write(draft.join("recipients.mail.0001"), "half an addr").unwrap();
    age(&draft);

    let told = bench.runs("check", FINDINGS);
    assert!(told.stdout.lines().all(|line| line.ends_with(" (--repair mends this)")), "{}", told.stdout);
    let mut expected: Vec<String> = ["held", "reason"]
        .map(|file| format!("distribute/5/{ID}/{file}"))
        .into_iter()
        .chain(
            ["distribute/6/b@check.example.org.1700000000.2", "incoming/c@check.example.org.1700000000.3"]
                .map(String::from),
        )
        .collect();
    expected.sort();
    assert_eq!(found(&told.stdout), expected);
    assert!(folder.join("held").exists() && empty.exists() && draft.exists(), "a look changes nothing");

    bench.runs("check --repair", DONE).prints(&["4 mended\n", "in order"]);
    bench.runs("check", DONE);
    assert_eq!((bench.spool.waiting(), bench.spool.incoming()), (vec![format!("5/{ID}")], vec![]));
    let relay = Relay::start(Policy::new());
    let scheduler = bench.scheduler(&relay, 1);
    bench.spool.wait_until_empty();
    scheduler.stop();
    assert_once_each(&relay, members("m", 20).split_off(10));
    assert_eq!(bench.spool.bad(), [""; 0]);
}

#[test]
fn what_may_be_a_step_under_way_is_no_finding() {
    let bench = Bench::new();
    half_sent(&bench);
    fs::write(bench.spool.at("5").join(ID).join("held"), "{}").unwrap();
    fs::create_dir(bench.spool.at("6").join("b@check.example.org.1700000000.2")).unwrap();
    fs::create_dir(bench.spool.path().join("incoming/c@check.example.org.1700000000.3")).unwrap();
    bench.runs("check --repair", DONE).prints(&["in order"]);
    assert!(bench.spool.at("6").join("b@check.example.org.1700000000.2").exists());
}

#[test]
fn a_missing_directory_is_made_again() {
    let bench = Bench::new();
    half_sent(&bench);
    for dir in ["distribute/8", "incoming"] {
        fs::remove_dir(bench.spool.path().join(dir)).unwrap();
        bench.runs("check", FINDINGS).prints(&[dir, "missing", "--repair mends this"]);
        assert!(!bench.spool.path().join(dir).exists());
        bench.runs("check --repair", DONE).prints(&["1 mended"]);
        bench.runs("check", DONE);
    }
    assert_eq!(bench.spool.waiting(), [format!("5/{ID}")]);
}
