//! T12: what a decision of the scheduler's core costs, by messages waiting, and how much memory one takes. The core alone,
//! in this process: no file, no thread, no relay.

use std::time::Instant;

use sympa_dist::mail::{Epoch, Level, Moment};
use sympa_dist::schedule::{Arrival, Backlog, Boundary, Key};

use super::plot::{Curve, Reference};
use super::record::{Record, percentile};

const COST: Curve = Curve {
    name: "decision",
    title: "A scheduling decision, by messages waiting",
    scenario: "decision",
    x: "messages waiting",
    y: "ns",
    reference: Reference::Logarithm,
};
const MEMORY: Curve = Curve {
    name: "decision-memory",
    title: "The core's memory for a waiting message",
    scenario: "decision",
    x: "messages waiting",
    y: "octets a message",
    reference: Reference::None,
};

/// Decisions of each kind that are timed together.
const BATCH: u64 = 1000;

const KINDS: [&str; 5] = ["arrive", "take", "boundary", "give_back", "gone"];

const NOW: Moment = Moment(1_800_000_000_000_000);

/// The `n`-th message that was found: on all levels, in no order of arrival.
fn arrival(n: u64) -> Arrival {
    let shuffled = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let level = Level::new((shuffled % 10) as u8).expect("below 10");
    Arrival { level, arrived: Epoch(1_700_000_000 + shuffled % 10_000_000), due: None, seen: NOW, group: None }
}

pub fn decision(record: &mut Record, quick: bool) {
    let sizes: &[u64] = if quick { &[1_000, 10_000, 100_000] } else { &[1_000, 10_000, 100_000, 1_000_000] };
    let (mut firsts, mut growths) = ([None; KINDS.len()], [1.0; KINDS.len()]);
    for &waiting in sizes {
        let before = in_use();
        let mut backlog = Backlog::new();
        for n in 0..waiting {
            backlog.arrive(arrival(n));
        }
        record.point(&MEMORY, "core", waiting, vec![(in_use() - before) as f64 / waiting as f64]);
        let mut found = waiting;
        let mut costs = [const { Vec::new() }; KINDS.len()];
        for _ in 0..if quick { 20 } else { 200 } {
            let timed = round(&mut backlog, &mut found);
            for (costs, cost) in costs.iter_mut().zip(timed) {
                costs.push(cost);
            }
        }
        assert_eq!(backlog.len() as u64, waiting, "as many wait as before");
        for (at, (name, costs)) in KINDS.into_iter().zip(costs).enumerate() {
            let median = percentile(&costs, 50.0);
            let first = *firsts[at].get_or_insert(median);
            growths[at] = (median / first) / ((waiting as f64).ln() / (sizes[0] as f64).ln());
            record.point(&COST, name, waiting, costs);
        }
    }
    let (least, most) = (sizes[0], sizes[sizes.len() - 1]);
    for (name, growth) in KINDS.into_iter().zip(growths) {
        let what = format!("{name}: growth from {least} to {most} messages");
        record.add("decision", what, "of the logarithm's", vec![growth]);
    }
}

/// A batch of messages comes in; the most urgent ones are taken, asked about, given back, and in the end forgotten: ns each.
/// As many wait afterwards as before.
fn round(backlog: &mut Backlog, found: &mut u64) -> [f64; KINDS.len()] {
    let arrive = each(|_| {
        backlog.arrive(arrival(*found));
        *found += 1;
    });
    let mut taken: Vec<Key> = Vec::with_capacity(BATCH as usize);
    let take = each(|_| taken.push(backlog.take(NOW).expect("something waits")));
    let boundary = each(|n| {
        let answer = backlog.boundary(taken[n], NOW);
        assert_eq!(answer, Boundary::Continue, "nothing more urgent waits");
    });
    let give_back = each(|n| backlog.give_back(taken[n]));
    let gone = each(|n| backlog.gone(taken[n]));
    [arrive, take, boundary, give_back, gone]
}

fn each(mut what: impl FnMut(usize)) -> f64 {
    let started = Instant::now();
    (0..BATCH as usize).for_each(&mut what);
    started.elapsed().as_secs_f64() * 1e9 / BATCH as f64
}

/// Octets that this process has from the allocator.
fn in_use() -> usize {
    // SAFETY: it takes nothing and gives a struct of numbers.
    let told = unsafe { libc::mallinfo2() };
    told.uordblks + told.hblkhd
}
