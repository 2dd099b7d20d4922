//! The same decisions under callgrind, in a process of their own: instructions, and misses of a cache that it simulates. Counts
//! are no measurements: they are the same on every machine and in every run of one program.

use std::process::{Command, Stdio};

use super::{BATCH, INSTRUCTIONS, KINDS, Site};
use crate::packages;
use crate::record::{Record, output, scratch};

/// Makes this program the process that is looked at; the number of messages follows.
pub const CHILD: &str = "--be-a-backlog";

/// Of each kind.
const BATCHES: usize = 20;
/// One of 1 MiB: what a core has for itself these days, its second. What is not in there is a long way off.
const CACHE: [&str; 2] = ["--cache-sim=yes", "--D1=1048576,16,64"];
/// callgrind's names for what is counted: instructions; misses of that cache when reading, and when writing.
const EVENTS: [&str; 3] = ["Ir", "D1mr", "D1mw"];

pub fn be_one(waiting: Option<&String>) {
    let waiting = waiting.and_then(|text| text.parse().ok()).expect("a number of messages");
    let mut site = Site::with(waiting);
    for _ in 0..BATCHES {
        for (_, batch) in KINDS {
            batch(&mut site);
        }
    }
}

pub fn count(record: &mut Record, sizes: &[u64]) {
    if let Err(reason) = packages::require(&["valgrind"]) {
        return record.missing(format!("decision, instructions: {reason}"));
    }
    record.fact("valgrind", packages::version("valgrind").unwrap_or_default());
    for &waiting in sizes {
        let counted = under_callgrind(waiting);
        for (name, _) in KINDS {
            let [instructions, read, write] = inclusive(&counted, name);
            let many = BATCHES as f64 * if name.starts_with("arrive") { BATCH as f64 / 2.0 } else { BATCH as f64 };
            record.point(&INSTRUCTIONS, name, waiting, vec![instructions / many]);
            let what = format!("{name}, {waiting} messages waiting: not in a cache of 1 MiB");
            record.add("decision", what, "misses", vec![(read + write) / many]);
        }
    }
}

/// What callgrind_annotate says, a line a function, with what it calls.
fn under_callgrind(waiting: u64) -> String {
    let out = tempfile::tempdir_in(scratch()).expect("a directory for the counts");
    let file = out.path().join("counts").display().to_string();
    let own = std::env::current_exe().expect("this program has a path");
    let status = Command::new("valgrind")
        .args(["-q", "--tool=callgrind", &format!("--callgrind-out-file={file}")])
        .args(CACHE)
        .arg(own)
        .args([CHILD, &waiting.to_string()])
        .stdin(Stdio::null())
        // It says that it takes the size of the other cache from this machine; nobody asks for that one.
        .stderr(Stdio::null())
        .status()
        .expect("valgrind");
    assert!(status.success(), "valgrind: {status}");
    output(
        "callgrind_annotate",
        &["--inclusive=yes", "--threshold=100", &format!("--show={}", EVENTS.join(",")), &file],
    )
}

/// The counts of a kind's batches.
fn inclusive(told: &str, kind: &str) -> [f64; EVENTS.len()] {
    let function = format!(":house::decision::{} ", kind.replace(' ', "_"));
    let line = told.lines().find(|line| format!("{line} ").contains(&function));
    let line = line.unwrap_or_else(|| panic!("callgrind saw no {function}"));
    // `1,234 (5.6%)  78 (0.9%)  .  /somewhere/file.rs:house::decision::take [/somewhere/house]`
    let counts = line.split(&function).next().expect("in front of it").split_whitespace();
    let counts = counts.filter(|word| *word == "." || word.starts_with(|c: char| c.is_ascii_digit()));
    let counts: Vec<f64> = counts.map(|word| word.replace(',', "").parse().unwrap_or(0.0)).collect();
    counts[..EVENTS.len()].try_into().expect("as many as were asked for")
}
