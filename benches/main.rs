//! Whole-process benchmarks: `cargo bench -- [--quick] [SCENARIO…]`. What they measure, and how to read them, is in
//! `benches/README.md`.
//!
//! Everything is measured side by side in one run (A B A B …), counted at the receiving end, and stored under
//! `benches/runs/<date>-<commit>/`.

mod ceiling;
mod crowd;
mod decision;
mod distance;
mod packages;
mod peers;
mod plot;
mod record;
mod scenarios;
mod simulator;
mod sinks;
mod subject;
#[path = "../tests/support/mod.rs"]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::exit;

use record::Record;
use scenarios::ALL;

fn main() {
    // `--bench` is cargo's own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some(sinks::CHILD) => return sinks::serve(),
        Some(crowd::CHILD) => return crowd::be_one(&arguments[1..]),
        Some(peers::SENDMAIL) => return peers::sendmail(&arguments[1..]),
        _ => {}
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let all = arguments.iter().any(|argument| argument == "--all");
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let unknown = arguments.iter().find(|name| {
        !["--quick", "--all"].contains(&name.as_str()) && !ALL.iter().any(|scenario| scenario.is_called(name))
    });
    if let Some(unknown) = unknown {
        let known: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
        eprintln!("{unknown} is no scenario; there are {}, and the options --quick and --all", known.join(", "));
        exit(2);
    }
    if let Err(reason) = packages::require(&["postfix"]) {
        eprintln!("{reason}");
        exit(2);
    }
    let mut record = Record::begin(&arguments);
    for scenario in ALL {
        let named = wanted.iter().any(|wanted| scenario.is_called(wanted));
        if !(named || all || wanted.is_empty() && !scenario.optional) {
            continue;
        }
        eprintln!("{} …", scenario.name);
        // One that fails takes nobody else's figures with it. It has added none of its own that wasn't checked.
        if catch_unwind(AssertUnwindSafe(|| (scenario.measure)(&mut record, quick))).is_err() {
            record.missing(format!("{}: it failed, see what it said above", scenario.name));
        }
    }
    let complete = record.is_complete();
    let place = record.end();
    println!("{}", std::fs::read_to_string(place.join("README.md")).expect("just written"));
    if !complete {
        exit(1);
    }
}
