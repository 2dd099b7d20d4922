//! What the spool keeps in JSON beside the mail: `failures`, `held`, `reason`, and the files in `running/`.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use sympa_dist::mail::{Epoch, Mode, PacketName, Reply, Serial};
use sympa_dist::spool::Spool;
use sympa_dist::spool::disk::Disk;
use sympa_dist::spool::failures::{self, Failure, LatestFailures};
use sympa_dist::spool::note::Note;
use sympa_dist::spool::running;

use crate::inputs::{address, hostile};
use crate::target;

const PIECES: &[&str] = &[
    "\n",
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "\0",
    "\\u0000",
    "\\ud800",
    "null",
    "-1",
    "1e999",
    "18446744073709551616",
    "é",
    "\"retracted\":\"a@x.org\",",
    "\"recipient\":\"a@x.org\",",
    "\"since\":1,",
    "{\"a\":",
    "65536",
    "1.5",
    "{}\n",
];

fn packet(number: u32) -> PacketName {
    PacketName::fresh(Mode::mail(), Serial::new(number))
}

/// A line of `failures`, mostly about the same few recipients of two packets.
fn line() -> impl Strategy<Value = String> {
    let recipient =
        prop_oneof![4 => select(&["a@x.org", "b@x.org", "c@x.org"][..]).prop_map(str::to_owned), 1 => address()];
    (recipient, 1..3_u32, 0..3_usize, any::<u64>(), 0..4_u8).prop_map(|(recipient, number, start, time, kind)| {
        let reply = Reply::new(550, "5.1.1 no\u{e9}");
        let failure = Failure::new(&recipient, &packet(number), start, "smtp://relay", &reply, Epoch(time));
        match kind {
            0 => json!({"retracted": recipient, "packet": failure.packet, "time": time}).to_string(),
            _ => serde_json::to_string(&failure).unwrap(),
        }
    })
}

fn lines() -> impl Strategy<Value = Vec<u8>> {
    (vec(line(), 0..12), any::<bool>()).prop_map(|(lines, ended)| {
        let mut text = lines.join("\n").into_bytes();
        text.extend(ended.then_some(b'\n'));
        text
    })
}

/// A line that takes an earlier one back.
#[derive(serde::Deserialize)]
struct Retraction {
    retracted: String,
    packet: String,
    #[serde(rename = "time")]
    _time: u64,
}

/// What holds, by a reader that goes through the lines once for each: packet and recipient of each failure, in order.
fn holding(content: &[u8]) -> Vec<(String, String)> {
    let mut holding: Vec<(String, String)> = Vec::new();
    for line in content.split(|&octet| octet == b'\n') {
        // The whole line must be JSON: serde by itself looks at no octet of a member that it has no use for.
        if serde_json::from_slice::<Value>(line).is_err() {
            continue;
        }
        if let Ok(failure) = serde_json::from_slice::<Failure>(line) {
            let of = (failure.packet, failure.recipient);
            holding.retain(|before| *before != of);
            holding.push(of);
        } else if let Ok(Retraction { retracted, packet, .. }) = serde_json::from_slice(line) {
            holding.retain(|of| *of != (packet.clone(), retracted.clone()));
        }
    }
    holding
}

#[test]
fn failures_that_hold_are_those_a_naive_reader_finds_and_the_latest_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Disk::default().open_root(dir.path()).unwrap();
    let place = dir.path().join("failures");
    target::run("failures", 600, (hostile(lines(), PIECES), lines()), |(content, more)| {
        std::fs::write(&place, &content).unwrap();
        let of = |failure: Failure| (failure.packet, failure.recipient);
        let read = || failures::read(&folder).unwrap().into_iter().map(of).collect::<Vec<_>>();
        prop_assert_eq!(read(), holding(&content));

        // Read in two parts or in one: the same.
        let mut in_parts = LatestFailures::default();
        in_parts.of(&folder, &packet(1)).unwrap();
        std::fs::write(&place, [&content[..], b"\n", &more].concat()).unwrap();
        let parts = in_parts.of(&folder, &packet(1)).unwrap().to_vec();
        let latest = LatestFailures::default().of(&folder, &packet(1)).unwrap().to_vec();
        prop_assert_eq!(&parts, &latest);

        // The last batch that holds is told in full, so that taking it back leaves none of it.
        let last =
            failures::read(&folder).unwrap().into_iter().rev().find(|last| last.packet == "recipients.mail.0001");
        failures::retract(&folder, &packet(1), &latest, Epoch(9)).unwrap();
        prop_assert!(in_parts.of(&folder, &packet(1)).unwrap().is_empty());
        let own = |of: &(String, String)| of.0 == "recipients.mail.0001" && latest.contains(&of.1);
        prop_assert!(!read().iter().any(own));
        if let (Some(last), false) = (last, latest.is_empty()) {
            prop_assert!(!read().contains(&of(last)), "the latest failure is not among the latest");
        }
        Ok(())
    });
}

#[test]
fn a_failure_that_lacks_nothing_but_its_newline_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Disk::default().open_root(dir.path()).unwrap();
    let failure = Failure::new("a@x.org", &packet(1), 0, "smtp://relay", &Reply::new(550, "no"), Epoch(5));
    std::fs::write(dir.path().join("failures"), serde_json::to_vec(&failure).unwrap()).unwrap();
    assert_eq!(failures::read(&folder).unwrap(), [failure]);
    let latest = LatestFailures::default().of(&folder, &packet(1)).unwrap().to_vec();
    assert_eq!(latest, ["a@x.org"]);
    failures::retract(&folder, &packet(1), &latest, Epoch(6)).unwrap();
    assert_eq!(failures::read(&folder).unwrap(), []);
}

fn note() -> impl Strategy<Value = Vec<u8>> {
    (any::<u64>(), "[a-z]{1,9}", "[ -~é\n]{0,20}", select(&["0", "9", "z", "10", ""][..])).prop_map(
        |(since, by, why, from)| {
            format!("{}\n", json!({"since": since, "by": by, "why": why, "from": from})).into_bytes()
        },
    )
}

#[test]
fn a_note_is_what_its_json_says_or_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Disk::default().open_root(dir.path()).unwrap();
    target::run("notes", 1500, hostile(note(), PIECES), |content| {
        std::fs::write(dir.path().join("held"), &content).unwrap();
        let Some(note) = Note::read(&folder, "held") else { return Ok(()) };
        // JSON that is read as a note is an object with these members; one said twice is no note.
        let value: Value = serde_json::from_slice(&content).expect("it was read as JSON");
        let said = (value["since"].as_u64(), value["by"].as_str(), value["why"].as_str(), value["from"].as_str());
        prop_assert_eq!(said, (Some(note.since), Some(&*note.by), Some(&*note.why), Some(&*note.from)));
        let is_priority = note.from.len() == 1 && note.from.contains(|c: char| c.is_ascii_digit() || c == 'z');
        prop_assert_eq!(note.from_priority().map(|from| from.to_string()), is_priority.then_some(note.from));
        Ok(())
    });
}

fn scheduler() -> impl Strategy<Value = Vec<u8>> {
    (any::<u32>(), vec(select(&["open", "closed", "half-open"][..]), 0..3)).prop_map(|(pid, states)| {
        let relays: Vec<Value> =
            states.iter().map(|state| json!({"relay": "smtp://r", "state": state, "since": 5})).collect();
        let own = json!({"host": "h", "pid": pid, "since": 3, "version": "1", "workers": 8, "relays": relays});
        format!("{own}\n").into_bytes()
    })
}

#[test]
fn schedulers_are_listed_whatever_else_lies_beside_them() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::create(&Disk::default(), dir.path()).unwrap();
    let place = dir.path().join("running");
    let cases = vec(hostile(scheduler(), PIECES), 1..4);
    target::run("running", 400, cases, |contents| {
        let mut expected = Vec::new();
        let mut alive = Vec::new();
        for (pid, content) in contents.iter().enumerate() {
            let path = place.join(format!("h.{pid}"));
            std::fs::write(&path, content).unwrap();
            let file = std::fs::File::open(&path).unwrap();
            file.lock().unwrap();
            alive.push(file);
            // Whose it is, its name says.
            let said = serde_json::from_slice::<running::Scheduler>(content);
            let own = |said: running::Scheduler| {
                let workers = said.workers.min(1_000_000);
                running::Scheduler { host: "h".into(), pid: pid as u32, workers, ..said }
            };
            expected.extend(said.map(own));
        }
        let mut listed = running::list(&spool).unwrap();
        // Whoever says nothing that can be read runs all the same.
        prop_assert_eq!(listed.len(), contents.len());
        for scheduler in &expected {
            let at = listed.iter().position(|one| one == scheduler);
            prop_assert!(at.is_some(), "{scheduler:?} is not listed");
            listed.swap_remove(at.unwrap());
        }
        prop_assert!(listed.iter().all(|rest| rest.is_unknown() && (rest.pid as usize) < contents.len()));
        // Dropping them is not enough: a child that another target starts holds them until it has become its program.
        alive.iter().for_each(|file| file.unlock().unwrap());
        // All are dead now: one that starts takes their places.
        let _own = running::Running::begin(&spool, "h", 99).unwrap();
        prop_assert_eq!(std::fs::read_dir(&place).unwrap().count(), 1);
        Ok(())
    });
}

#[test]
fn what_is_no_schedulers_file_keeps_nobody_from_starting_or_looking() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::create(&Disk::default(), dir.path()).unwrap();
    let place = dir.path().join("running");
    std::fs::create_dir(place.join("h.1")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.join("h.2")).unwrap();
    std::fs::write(place.join("h.3"), vec![b' '; 2 << 20]).unwrap();
    let long = std::fs::File::open(place.join("h.3")).unwrap();
    long.lock().unwrap();
    let own = running::Running::begin(&spool, "h", 99).unwrap();
    let listed = running::list(&spool).unwrap();
    assert!(listed.iter().all(running::Scheduler::is_unknown));
    assert_eq!(listed.iter().map(|scheduler| scheduler.pid).collect::<Vec<_>>(), [3, 99], "they hold their locks");
    drop(own);
}
