//! T10: from process start to the first connection, on a spool of waiting messages, against `find` over the same tree.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sympa_dist::deliver::sink::{Sink, SinkOptions};

use crate::record::Record;
use crate::subject::{DEFAULT, Setting, launch, waiting};

pub fn start(record: &mut Record, quick: bool) {
    for messages in if quick { vec![10_000] } else { vec![10_000, 100_000] } {
        let spool = waiting(messages);
        let (firsts, finds): (Vec<f64>, Vec<f64>) = (0..5).map(|_| first_and_find(spool.path())).unzip();
        let ratios = firsts.iter().zip(&finds).map(|(first, find)| first / find).collect();
        record.add("start", format!("{messages} messages: first connection after process start"), "ms", firsts);
        record.add("start", format!("{messages} messages: find"), "ms", finds);
        record.add("start", format!("{messages} messages: ratio"), "of find", ratios);
    }
}

/// Milliseconds to the first connection, and those that `find` takes.
pub fn first_and_find(spool: &Path) -> (f64, f64) {
    let started = Instant::now();
    assert!(Command::new("find").arg(spool).stdout(Stdio::null()).status().expect("find").success());
    let find = started.elapsed().as_secs_f64();
    // Nobody gets further than the first transaction: what waits stays the same from round to round.
    let sink = Sink::start(SinkOptions { record: true, delay: Duration::from_secs(60), ..SinkOptions::default() });
    let sink = sink.expect("a sink");
    let started = Instant::now();
    let run = launch(spool, &sink.url().to_string(), Setting { workers: 1, ..DEFAULT });
    while sink.connections() == 0 {
        std::thread::sleep(Duration::from_micros(200));
    }
    let first = started.elapsed().as_secs_f64();
    run.kill();
    (first * 1000.0, find * 1000.0)
}
