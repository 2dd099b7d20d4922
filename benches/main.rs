//! Whole-process benchmarks: `cargo bench -- [--quick] [SCENARIO…]`. What they measure, and how to read them, is in
//! `benches/README.md`.
//!
//! Everything is measured side by side in one run (A B A B …), counted at the receiving end, and stored under
//! `benches/runs/<date>-<commit>/`.

mod ceiling;
mod peers;
mod record;
mod scenarios;
mod sinks;
#[path = "../tests/support/mod.rs"]
mod support;

use record::Record;

/// A name, and what measures; quickly or not.
type Scenario = (&'static str, fn(&mut Record, bool));

const SCENARIOS: &[Scenario] = &[
    ("throughput", scenarios::throughput),
    ("peers", scenarios::peers),
    ("latency", scenarios::latency),
    ("stop", scenarios::stop),
    ("requeue", scenarios::requeue),
    ("start", scenarios::start),
    ("inject", scenarios::inject),
    ("memory", scenarios::memory),
    ("sweep", scenarios::sweep),
];

fn main() {
    // `--bench` is cargo's own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.first().is_some_and(|first| first == sinks::CHILD) {
        return sinks::serve();
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let unknown = wanted.iter().find(|name| !SCENARIOS.iter().any(|(known, _)| known == **name));
    if let Some(unknown) = unknown {
        let known: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
        eprintln!("{unknown} is no scenario; there are {}", known.join(", "));
        std::process::exit(2);
    }
    let mut record = Record::begin(&arguments);
    for (name, scenario) in SCENARIOS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            eprintln!("{name} …");
            scenario(&mut record, quick);
        }
    }
    let place = record.end();
    println!("{}", std::fs::read_to_string(place.join("README.md")).expect("just written"));
}
