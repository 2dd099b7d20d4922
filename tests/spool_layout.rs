//! The spool's contract: the table and the trees of `spool-layout/`, held against the code.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use support::reports;
use support::scheduler::{self, Running};
use sympa_dist::deliver::sink::{Sink, SinkOptions};
use sympa_dist::mail::{Epoch, Packet, ReversePath, checkpoint};
use sympa_dist::render::{head, mode};
use sympa_dist::spool::Spool;
use sympa_dist::spool::check::{self, Knowledge};
use sympa_dist::spool::disk::Disk;
use sympa_dist::spool::failures::Failure;
use sympa_dist::spool::layout::{self, BadName, Entry, FileName, Incoming, PauseName, SchedulerName};
use sympa_dist::spool::mark::Mark;
use sympa_dist::spool::note::Note;
use sympa_dist::spool::pause::Pause;
use sympa_dist::spool::reports::Reported;
use sympa_dist::spool::running::Scheduler;

fn contract() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("spool-layout")
}

/// A file of a sample spool: where it lies and what the grammar calls it.
struct Sample {
    path: PathBuf,
    kind: String,
    file: Option<FileName>,
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Parses a name and prints it back.
fn name<T: std::str::FromStr<Err = BadName> + std::fmt::Display>(text: &str) -> T {
    let parsed: T = layout::parse(text.as_ref()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(parsed.to_string(), text, "a name prints back byte for byte");
    parsed
}

/// What the README's table calls a file of a message's folder.
fn kind(file: &FileName) -> String {
    let packet = |retry: bool| match retry {
        true => "recipients.<mode>.<serial>.r<n>:at<time>",
        false => "recipients.<mode>.<serial>",
    };
    match file {
        FileName::Message => "message".into(),
        FileName::Variant(_) => "message.<mode>".into(),
        FileName::Packet(name) => packet(name.retry.is_some()).into(),
        FileName::Status(name) => format!("{}.status", packet(name.retry.is_some())),
        FileName::Failures => "failures".into(),
        FileName::Reported => "reported".into(),
        FileName::Report(_) => "report.<n>".into(),
        FileName::Held => "held".into(),
        FileName::Reason => "reason".into(),
    }
}

fn folder(dir: &Path, samples: &mut Vec<Sample>) {
    for text in names(dir) {
        let file: FileName = name(&text);
        let path = dir.join(&text);
        if let FileName::Report(_) = file {
            folder(&path, samples);
        }
        samples.push(Sample { path, kind: kind(&file), file: Some(file) });
    }
}

fn samples() -> Vec<Sample> {
    let root = contract().join("sample");
    let mut samples = Vec::new();
    for priority in names(&root.join("distribute")) {
        priority.parse::<sympa_dist::mail::Priority>().unwrap();
        let place = root.join("distribute").join(priority);
        for text in names(&place) {
            let path = place.join(&text);
            match name::<Entry>(&text) {
                Entry::Message(_) if path.is_dir() => folder(&path, &mut samples),
                Entry::Message(_) => {
                    samples.push(Sample { path, kind: "flat message".into(), file: Some(FileName::Message) });
                }
                Entry::FlatPart(_, file) => samples.push(Sample { path, kind: "flat part".into(), file: Some(file) }),
            }
        }
    }
    for text in names(&root.join("incoming")) {
        let path = root.join("incoming").join(&text);
        let kind = match name::<Incoming>(&text) {
            Incoming::Draft(_) => "draft",
            Incoming::Adoption(..) => "adoption",
        };
        folder(&path, &mut samples);
        samples.push(Sample { path, kind: kind.into(), file: None });
    }
    for text in names(&root.join("bad")) {
        folder(&root.join("bad").join(text), &mut samples);
    }
    for text in names(&root.join("running")) {
        let path = root.join("running").join(&text);
        let running: Scheduler = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let name = name::<SchedulerName>(&text);
        assert_eq!((name.host, name.pid), (running.host, running.pid));
        samples.push(Sample { path, kind: "<host>.<process id>".into(), file: None });
    }
    let mark = root.join("cluster");
    serde_json::from_str::<Mark>(&fs::read_to_string(&mark).unwrap()).unwrap();
    samples.push(Sample { path: mark, kind: "cluster".into(), file: None });
    for text in names(&root.join("paused")) {
        let path = root.join("paused").join(&text);
        name::<PauseName>(&text);
        serde_json::from_str::<Pause>(&fs::read_to_string(&path).unwrap()).unwrap();
        samples.push(Sample { path, kind: "pause".into(), file: None });
    }
    samples
}

/// The first column of the README's table of kinds.
fn documented() -> BTreeSet<String> {
    let readme = fs::read_to_string(contract().join("README.md")).unwrap();
    let table = readme.split("## Kinds of file").nth(1).unwrap().split("\nSpool header lines").next().unwrap();
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| kind") && !line.starts_with("| ---"));
    rows.map(|row| row.split('|').nth(1).unwrap().trim().trim_matches('`').to_owned()).collect()
}

#[test]
fn every_sample_is_of_a_documented_kind_and_every_documented_kind_has_a_sample() {
    let found: BTreeSet<String> = samples().into_iter().map(|sample| sample.kind).collect();
    assert_eq!(found, documented());
}

#[test]
fn the_samples_contents_are_what_the_contract_says() {
    for Sample { path, file, .. } in samples() {
        let Some(file) = file else { continue };
        let content = if path.is_dir() { Vec::new() } else { fs::read(&path).unwrap() };
        let shown = path.display();
        match file {
            FileName::Message | FileName::Variant(_) => {
                drop(head::split(&content).unwrap_or_else(|e| panic!("{shown}: {e}")))
            }
            FileName::Packet(_) => {
                assert!(!Packet::parse(content).unwrap_or_else(|e| panic!("{shown}: {e}")).is_empty())
            }
            FileName::Status(_) => {
                let last = checkpoint::decode(&content).unwrap_or_else(|error| panic!("{shown}: {error}"));
                let packet = path.to_str().unwrap().strip_suffix(".status").unwrap();
                let packet = Packet::parse(fs::read(packet).unwrap()).unwrap();
                // What lies in bad/ lies there for this reason.
                let is_bad = path.components().any(|part| part.as_os_str() == "bad");
                assert_eq!(packet.position(last.unwrap()).is_none(), is_bad, "{shown}");
            }
            FileName::Failures => {
                for line in std::str::from_utf8(&content).unwrap().lines() {
                    serde_json::from_str::<Failure>(line).unwrap_or_else(|error| panic!("{shown}: {error}"));
                }
            }
            FileName::Reported => {
                assert_eq!(content.len(), 128);
                let reported: Reported = serde_json::from_slice(&content).unwrap();
                assert_eq!(reported.octets, fs::metadata(path.with_file_name("failures")).unwrap().len(), "{shown}");
            }
            FileName::Report(_) => {
                let message = fs::read(path.join("message")).unwrap();
                let (head, rest) = head::split(&message).unwrap();
                assert_eq!(head.sender, Some(ReversePath::Null));
                assert_eq!(reports::read(rest).failed.len(), 1);
            }
            FileName::Held | FileName::Reason => {
                let note: Note = serde_json::from_slice(&content).unwrap_or_else(|error| panic!("{shown}: {error}"));
                assert!(note.from_priority().is_some(), "{shown}");
            }
        }
    }
}

#[test]
fn every_broken_case_gets_its_text() {
    let cases = names(&contract().join("broken"));
    assert!(cases.len() >= 10, "{cases:?}");
    for case in cases {
        let case = contract().join("broken").join(case);
        let spool = tempfile::tempdir().unwrap();
        copy(&case.join("spool"), spool.path());
        Spool::create(&Disk::default(), spool.path()).unwrap();
        let knowledge = Knowledge {
            bad_head: |message| head::split(message).err().map(|error| error.to_string()),
            is_built_in: mode::is_built_in,
        };
        let findings = check::check(spool.path(), &knowledge, Epoch(4_000_000_000)).unwrap();
        let found: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
        assert_eq!(found, fs::read_to_string(case.join("expected")).unwrap(), "{}", case.display());
    }
}

#[test]
fn the_sample_spool_has_nothing_to_be_found_in_it_but_what_waits_for_its_producers() {
    let spool = tempfile::tempdir().unwrap();
    copy(&contract().join("sample"), spool.path());
    Spool::create(&Disk::default(), spool.path()).unwrap();
    let knowledge = Knowledge { bad_head: |_| None, is_built_in: mode::is_built_in };
    let now = fs::metadata(spool.path()).unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    let findings = check::check(spool.path(), &knowledge, Epoch(now.as_secs())).unwrap();
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn a_restart_makes_of_every_leftover_what_the_contract_says() {
    let cases = names(&contract().join("recover"));
    assert!(cases.len() >= 10, "{cases:?}");
    for case in cases {
        let case = contract().join("recover").join(case);
        let spool = tempfile::tempdir().unwrap();
        copy(&case.join("before"), spool.path());
        Spool::create(&Disk::default(), spool.path()).unwrap();
        let sink = Sink::start(SinkOptions { record: true, ..SinkOptions::default() }).unwrap();
        let running = Running::start(scheduler::settings(spool.path(), sink.url(), 1));
        let expected = tree(&case.join("after"));
        let patience = Instant::now() + support::PATIENCE;
        while tree(spool.path()) != expected && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
        running.stop();
        assert_eq!(tree(spool.path()), expected, "{}", case.display());
        let sent: Vec<String> = sink.stop().into_iter().flat_map(|delivery| delivery.recipients).collect();
        let expected = fs::read_to_string(case.join("sent")).unwrap_or_default();
        assert_eq!(sent, expected.lines().collect::<Vec<_>>(), "{}: who was sent to", case.display());
    }
}

/// Files and links, by path; times in notes left out, and what only keeps an empty directory in version control.
fn tree(root: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, dir: &Path, found: &mut BTreeMap<String, String>) {
        for name in names(dir) {
            let path = dir.join(&name);
            if path == root.join("running") {
                // Of the scheduler that is there meanwhile.
            } else if path.is_dir() && !path.is_symlink() {
                walk(root, &path, found);
            } else if name != ".nothing" {
                let content = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
                found.insert(path.strip_prefix(root).unwrap().display().to_string(), timeless(&content));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

/// `"since":1192613300` and `"time":…` of what was written now are nobody's to foresee.
fn timeless(content: &str) -> String {
    let mut text = content.to_owned();
    for key in ["\"since\":", "\"time\":"] {
        let parts: Vec<&str> = text.split(key).collect();
        let rest =
            parts[1..].iter().map(|part| format!("{key}0{}", part.trim_start_matches(|c: char| c.is_ascii_digit())));
        text = std::iter::once(parts[0].to_owned()).chain(rest).collect();
    }
    text
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&from).unwrap(), &to).unwrap();
        } else if from.is_dir() {
            copy(&from, &to);
        } else if name != ".nothing" {
            fs::copy(&from, &to).unwrap();
        }
    }
}
