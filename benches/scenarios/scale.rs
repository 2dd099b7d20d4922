//! How it grows: by recipients of a message, by messages waiting, by workers.

use super::{inject, memory, start};
use crate::plot::{Curve, Reference};
use crate::record::Record;
use crate::sinks::Kind;
use crate::subject::{DEFAULT, Setting, distribute, waiting};

const RATE: Curve = Curve {
    name: "rate",
    title: "Recipients a second, by recipients of the message (8 workers, start included)",
    scenario: "scale",
    x: "recipients",
    y: "recipients/s",
    reference: Reference::None,
};
const DRAIN: Curve = Curve {
    name: "drain",
    title: "Distributing one message, process start included",
    scenario: "scale",
    x: "recipients",
    y: "s",
    reference: Reference::Proportional,
};
const INJECT: Curve = Curve {
    name: "inject",
    title: "Taking a message in, process start included",
    scenario: "scale",
    x: "recipients",
    y: "s",
    reference: Reference::Proportional,
};
const MEMORY: Curve = Curve {
    name: "memory",
    title: "Peak memory, by recipients of the message",
    scenario: "scale",
    x: "recipients",
    y: "MiB",
    reference: Reference::None,
};
const START: Curve = Curve {
    name: "start",
    title: "From process start to the first connection",
    scenario: "scale",
    x: "messages waiting",
    y: "ms",
    reference: Reference::Proportional,
};
const WAITING: Curve = Curve {
    name: "memory-waiting",
    title: "Memory of the process, by messages waiting",
    scenario: "scale",
    x: "messages waiting",
    y: "MiB",
    reference: Reference::Proportional,
};
const EACH: Curve = Curve {
    name: "memory-each",
    title: "Memory for a waiting message (the process, less what it takes with an empty spool)",
    scenario: "scale",
    x: "messages waiting",
    y: "octets",
    reference: Reference::None,
};
const WORKERS: Curve = Curve {
    name: "workers",
    title: "Recipients a second, by workers",
    scenario: "scale",
    x: "workers",
    y: "recipients/s",
    reference: Reference::Proportional,
};

pub fn scale(record: &mut Record, quick: bool) {
    by_recipients(record, quick);
    by_messages(record, quick);
    by_workers(record, quick);
}

fn by_recipients(record: &mut Record, quick: bool) {
    let (counts, rounds): (&[u64], usize) = if quick {
        (&[1_000, 10_000, 100_000], 3)
    } else {
        (&[1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000], 5)
    };
    for &count in counts {
        let (mut times, mut rates, mut peaks, mut takes, mut take_peaks) = (vec![], vec![], vec![], vec![], vec![]);
        let members = inject::Members::new(count);
        for _ in 0..rounds {
            let (took, peak) = members.inject();
            takes.push(took);
            take_peaks.push(peak);
            let drain = distribute(Kind::SmtpSink, count, 1000, DEFAULT);
            rates.push(count as f64 / drain.took);
            times.push(drain.took);
            peaks.push(drain.peak);
        }
        record.point(&RATE, "into smtp-sink", count, rates);
        record.point(&DRAIN, "into smtp-sink", count, times);
        record.point(&INJECT, "inject", count, takes);
        record.point(&MEMORY, "run, 8 workers", count, peaks);
        record.point(&MEMORY, "inject", count, take_peaks);
    }
}

fn by_messages(record: &mut Record, quick: bool) {
    let (counts, rounds): (&[u32], usize) =
        if quick { (&[1_000, 10_000], 3) } else { (&[1_000, 3_000, 10_000, 30_000, 100_000], 5) };
    let nothing = waiting(0);
    let least = (0..3).map(|_| memory::resident(nothing.path())).fold(f64::INFINITY, f64::min);
    for &count in counts {
        let spool = waiting(count);
        let (firsts, finds) = (0..rounds).map(|_| start::first_and_find(spool.path())).unzip();
        let sizes: Vec<f64> = (0..rounds.min(3)).map(|_| memory::resident(spool.path())).collect();
        let each = sizes.iter().map(|size| (size - least) * 1024.0 * 1024.0 / f64::from(count)).collect();
        let count = u64::from(count);
        record.point(&START, "first connection", count, firsts);
        record.point(&START, "find over the same tree", count, finds);
        record.point(&WAITING, "run", count, sizes);
        record.point(&EACH, "a message to one recipient", count, each);
    }
}

fn by_workers(record: &mut Record, quick: bool) {
    let (recipients, rounds) = if quick { (100_000, 1) } else { (500_000, 3) };
    const WORKERS_TRIED: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
    for kind in [Kind::SmtpSink, Kind::Own] {
        let mut rates = [const { Vec::new() }; WORKERS_TRIED.len()];
        // All in turn, so that what the machine does meanwhile hits each of them.
        for _ in 0..rounds {
            for (rates, workers) in rates.iter_mut().zip(WORKERS_TRIED) {
                let drain = distribute(kind, recipients, 1000, Setting { workers, ..DEFAULT });
                rates.push(recipients as f64 / drain.took);
            }
        }
        for (rates, workers) in rates.into_iter().zip(WORKERS_TRIED) {
            record.point(&WORKERS, kind.name(), workers as u64, rates);
        }
    }
}
