//! The event log, read back after something went wrong: lines that are believed, logs that are told from, and the memory that
//! this takes.

use std::io::Write;
use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use sympa_dist::mail::{Epoch, MessageId, Moment};
use sympa_dist::monitor::event_log::evidence::Evidence;
use sympa_dist::monitor::event_log::line::{BadLine, Line};
use sympa_dist::monitor::event_log::reader::Reader;
use sympa_dist::monitor::event_log::story::Stories;

use crate::inputs::hostile;
use crate::memory::peak_of;
use crate::target;

const ID: &str = "l@d.org.1700000000.1";
const NOW: Moment = Moment(1_800_000_000_000_000);
/// A day behind now, at most, and not before there was this program.
const CREDIBLE: RangeInclusive<Moment> = Moment(1_577_836_800_000_000)..=Moment(1_800_086_400_000_000);

const PIECES: &[&str] = &[
    "\n",
    "{",
    "}",
    "[",
    "\"",
    ",",
    ":",
    "\0",
    "\u{1b}",
    "\\u001b[2J",
    "\\ud800",
    "null",
    "-",
    "1e300",
    "1e999",
    "-0",
    "18446744073709551616",
    "999999999999999999",
    "1900000000",
    "\"at\":1,",
    "\"event\":\"gone\",",
    "\"message\":\"l@d.org.1700000000.1\",",
    "\"host\":\"h\",",
    "\"pid\":1,",
    "\"recipients\":4000000000,",
    "recipients.mail.0001",
    ":at7",
    "../",
];

/// An event of one of two messages, or of none, as it stands in a log.
fn line() -> impl Strategy<Value = String> {
    let packet = select(&["recipients.mail.0001", "recipients.mail.0002", "recipients.mail.0001.r1:at1700000100"][..]);
    let message = select(&[ID, "m@d.org.1700000000.2"][..]);
    let numbers = (0..4_usize, 0..200_usize, 0..200_usize, 0..1_000_000_u64);
    (0..16_usize, message, packet, numbers).prop_map(|(kind, message, packet, (worker, recipients, done, at))| {
        let (at, done) = (1_700_000_000.0 + at as f64 / 1000.0, done.min(recipients));
        let of = format!(r#""message":"{message}""#);
        let packet = format!(r#"{of},"packet":"{packet}""#);
        let progress = format!(r#""worker":{worker},"recipients":{recipients},"done":{done},"relay":"smtp://a""#);
        let (event, more) = match kind {
            0 => ("scheduler-started", r#""workers":4"#.to_owned()),
            1 => ("scheduler-stopped", r#""x":1"#.to_owned()),
            2 => ("pauses-changed", r#""paused":["priority:5 by pat: why","relay:smtp://a by pat: why"]"#.to_owned()),
            3 => ("arrived", format!(r#"{of},"priority":"5""#)),
            4 => ("requeued", format!(r#"{of},"from":"5","to":"z","why":"pat: why""#)),
            5 => ("rescheduled", format!(r#"{of},"priority":"5","not_before":1700000300"#)),
            6 => ("started", format!(r#"{of},"priority":"5","packets":2,"recipients":{recipients}"#)),
            7 => ("packet-taken", format!("{packet},{progress}")),
            8 => ("packet-left", format!(r#"{packet},{progress},"claimed_for":0.5,"why":"finished""#)),
            9 => (
                "preempted",
                format!(r#"{packet},"priority":"5","worker":1,"by":"{ID}","by_priority":"0","latency":0.5"#),
            ),
            10 => ("resumed", format!(r#"{packet},"priority":"5","worker":1,"lasted":0.5"#)),
            11 => (
                "deferred",
                format!(r#"{packet},"recipients":1,"relay":"smtp://a","reply":"450 no","until":1700000100"#),
            ),
            12 => ("failed", format!(r#"{packet},"recipients":1,"relay":"smtp://a","reply":"550 no""#)),
            13 => ("gone", of),
            14 => ("relay-down", r#""relay":"smtp://a","why":"x","pause":1.5"#.to_owned()),
            _ => ("done", format!(r#"{of},"priority":"5""#)),
        };
        format!(r#"{{"at":{at},"event":"{event}",{more},"host":"h","pid":{}}}"#, 1 + at as u64 % 3)
    })
}

/// What a naive reader finds wrong with a line, of what it looks at: members that are there twice, and the time.
fn is_damaged(line: &[u8]) -> bool {
    // Each member of the object by itself, as text: one that is there twice is seen.
    struct Names(Vec<String>);
    impl<'de> serde::Deserialize<'de> for Names {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
            struct Object;
            impl<'de> serde::de::Visitor<'de> for Object {
                type Value = Names;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                    let mut names = Vec::new();
                    while let Some((name, _)) = map.next_entry::<String, Value>()? {
                        names.push(name);
                    }
                    Ok(Names(names))
                }
            }
            deserializer.deserialize_map(Object)
        }
    }
    let Ok(Names(mut names)) = serde_json::from_slice::<Names>(line) else { return true };
    let count = names.len();
    names.sort();
    names.dedup();
    let value: Value = serde_json::from_slice(line).expect("it was read");
    let at = value["at"].as_f64().map(|at| Moment((at * 1e6).round() as u64));
    names.len() < count
        || at.is_none_or(|at| !CREDIBLE.contains(&at))
        || value["host"].as_str().is_none_or(str::is_empty)
}

#[test]
fn a_line_that_is_believed_is_one_that_could_have_been_written() {
    let line = line().prop_map(String::into_bytes);
    target::run("events, lines", 4000, hostile(line, PIECES), |text| {
        let Ok(line) = Line::read(&text, &CREDIBLE) else { return Ok(()) };
        prop_assert!(!is_damaged(&text), "{:?}", String::from_utf8_lossy(&text));
        let mut written = Vec::new();
        line.write(&mut written);
        prop_assert_eq!(Line::read(written.trim_ascii_end(), &CREDIBLE), Ok(line));
        Ok(())
    });
}

#[test]
fn each_line_of_a_log_is_told_of_or_counted_and_no_figure_is_absurd() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let log = vec(line(), 0..40).prop_map(|lines| (lines.join("\n") + "\n").into_bytes());
    target::run("events, logs", 400, hostile(log, PIECES), |content| {
        std::fs::write(&path, &content).unwrap();
        let mut expected = (0_u64, 0_u64, 0_u64);
        for line in content.split(|&octet| octet == b'\n').filter(|line| !line.is_empty()) {
            match Line::read(line, &CREDIBLE) {
                Ok(_) => expected.0 += 1,
                Err(BadLine::Damaged(_)) => expected.1 += 1,
                Err(BadLine::Unknown) => expected.2 += 1,
            }
        }
        let mut reader = Reader::open(std::slice::from_ref(&path), NOW).unwrap();
        let id: MessageId = ID.parse().unwrap();
        let (mut stories, mut evidence, mut count) = (Stories::default(), Evidence::of(&id), 0);
        while let Some(line) = reader.next() {
            stories.hear(&line, |_| true);
            evidence.hear(&line, reader.length);
            count += 1;
        }
        prop_assert_eq!((count, reader.damage.damaged, reader.damage.unknown), expected);
        prop_assert!(reader.damage.named.iter().all(|what| what.len() < 250));
        prop_assert!(evidence.tell().len() as u64 <= count);
        for story in stories.tell() {
            let durations = [story.waited, story.took, Some(story.busy), Some(story.preempted_for)];
            let is_sane = |seconds: &f64| (0.0..6e8).contains(seconds);
            prop_assert!(durations.iter().flatten().all(is_sane), "{story:?}");
            prop_assert!(story.rate.is_none_or(|rate| rate.is_finite() && rate > 0.0), "{story:?}");
        }
        Ok(())
    });
}

#[test]
fn lines_without_an_end_take_no_more_memory_than_a_long_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    let mut log = std::fs::File::create(&path).unwrap();
    let x = vec![b'x'; 10 << 20];
    for _ in 0..3 {
        log.write_all(b"{\"at\":1700000000,\"event\":\"").unwrap();
        log.write_all(&x).unwrap();
        log.write_all(b"\"}\n").unwrap();
    }
    // Believed, and each of another message.
    for n in 0..20_000 {
        let why = "y".repeat(2000);
        writeln!(
            log,
            r#"{{"at":{},"event":"set-aside","message":"l@d.org.1700000000.{n}","why":"{why}","host":"h{n}","pid":1}}"#,
            1_700_000_000 + n
        )
        .unwrap();
    }
    drop(log);
    let read = || {
        let mut reader = Reader::open(std::slice::from_ref(&path), Epoch(1_800_000_000).into()).unwrap();
        let mut stories = Stories::default();
        for line in reader.by_ref() {
            stories.hear(&line, |_| true);
        }
        (reader.damage.damaged, stories.tell().len())
    };
    let (told, peak) = peak_of(read);
    assert_eq!(told, (3, 20_000));
    // 40 MiB of reasons, of which a half may be kept, and what a message takes by itself.
    assert!(peak < 80 << 20, "{peak} octets");
    let only_one = || {
        let mut reader = Reader::open(std::slice::from_ref(&path), Epoch(1_800_000_000).into()).unwrap();
        let mut stories = Stories::default();
        let wanted: MessageId = "l@d.org.1700000000.5".parse().unwrap();
        for line in reader.by_ref() {
            stories.hear(&line, |id| *id == wanted);
        }
        stories.tell().len()
    };
    let (told, peak) = peak_of(only_one);
    assert_eq!(told, 1);
    assert!(peak < 8 << 20, "{peak} octets");
}
