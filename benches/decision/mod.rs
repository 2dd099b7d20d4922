//! T12: what a decision of the scheduler's core costs, by messages waiting, in time, in instructions and in misses of the
//! processor's caches; and how much memory one takes. The core alone, in this process: no file, no thread, no relay.

pub mod count;

use std::time::Instant;

use sympa_dist::mail::{Epoch, Level, Moment};
use sympa_dist::schedule::{Arrival, Backlog, Boundary, Key};

use super::plot::{Curve, Reference};
use super::record::Record;

const COST: Curve = curve("decision", "A scheduling decision, by messages waiting", "ns", Reference::Logarithm);
const INSTRUCTIONS: Curve =
    curve("decision-instructions", "A scheduling decision, by messages waiting", "instructions", Reference::Logarithm);
const MEMORY: Curve =
    curve("decision-memory", "The core's memory for a waiting message", "octets a message", Reference::None);

const fn curve(name: &'static str, title: &'static str, y: &'static str, reference: Reference) -> Curve {
    Curve { name, title, scenario: "decision", x: "messages waiting", y, reference }
}

/// Decisions of each kind that are timed together.
const BATCH: usize = 1000;

const NOW: Moment = Moment(1_800_000_000_000_000);

/// A backlog under work.
struct Site {
    backlog: Backlog,
    /// How many messages ever came.
    found: u64,
    taken: Vec<Key>,
}

/// Does a batch, and gives how many decisions that were.
type Batch = fn(&mut Site) -> usize;

/// What is asked of it: messages come in; the most urgent ones are taken, asked about, given back, and in the end forgotten.
/// As many wait afterwards as before.
const KINDS: [(&str, Batch); 6] = [
    ("arrive", arrive),
    ("arrive in order", arrive_in_order),
    ("take", take),
    ("boundary", boundary),
    ("give_back", give_back),
    ("gone", gone),
];

impl Site {
    fn with(waiting: u64) -> Site {
        let mut site = Site { backlog: Backlog::new(), found: 0, taken: Vec::with_capacity(BATCH) };
        for _ in 0..waiting {
            site.come(false);
        }
        site
    }

    /// The next message that is found: on any level; and older than some of those that wait there, or the youngest of all.
    fn come(&mut self, in_order: bool) {
        let shuffled = self.found.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let level = Level::new((shuffled % 10) as u8).expect("below 10");
        let arrived = if in_order { 1_710_000_000 + self.found } else { 1_700_000_000 + shuffled % 10_000_000 };
        self.found += 1;
        self.backlog.arrive(Arrival { level, arrived: Epoch(arrived), due: None, seen: NOW, group: None });
    }
}

/// As after a restart, if directories were not sorted; and as what is requeued, or comes due.
#[inline(never)]
fn arrive(site: &mut Site) -> usize {
    (0..BATCH / 2).for_each(|_| site.come(false));
    BATCH / 2
}

/// As new messages do, and those that a scan finds.
#[inline(never)]
fn arrive_in_order(site: &mut Site) -> usize {
    (0..BATCH / 2).for_each(|_| site.come(true));
    BATCH / 2
}

#[inline(never)]
fn take(site: &mut Site) -> usize {
    site.taken.clear();
    for _ in 0..BATCH {
        site.taken.push(site.backlog.take(NOW).expect("something waits"));
    }
    BATCH
}

#[inline(never)]
fn boundary(site: &mut Site) -> usize {
    for key in &site.taken {
        assert_eq!(site.backlog.boundary(*key, NOW), Boundary::Continue, "nothing more urgent waits");
    }
    BATCH
}

#[inline(never)]
fn give_back(site: &mut Site) -> usize {
    site.taken.iter().for_each(|key| site.backlog.give_back(*key));
    BATCH
}

#[inline(never)]
fn gone(site: &mut Site) -> usize {
    site.taken.iter().for_each(|key| site.backlog.gone(*key));
    BATCH
}

pub fn decision(record: &mut Record, quick: bool) {
    let sizes: &[u64] = if quick { &[1_000, 10_000, 100_000] } else { &[1_000, 10_000, 100_000, 1_000_000] };
    for &waiting in sizes {
        let before = in_use();
        let mut site = Site::with(waiting);
        record.point(&MEMORY, "core", waiting, vec![(in_use() - before) as f64 / waiting as f64]);
        let mut costs = [const { Vec::new() }; KINDS.len()];
        for _ in 0..if quick { 20 } else { 200 } {
            for (costs, (_, batch)) in costs.iter_mut().zip(KINDS) {
                let started = Instant::now();
                let many = batch(&mut site);
                costs.push(started.elapsed().as_secs_f64() * 1e9 / many as f64);
            }
        }
        assert_eq!(site.backlog.len() as u64, waiting, "as many wait as before");
        for ((name, _), costs) in KINDS.into_iter().zip(costs) {
            record.point(&COST, name, waiting, costs);
        }
    }
    count::count(record, sizes);
    let (least, most) = (sizes[0], sizes[sizes.len() - 1]);
    let logarithm = (most as f64).ln() / (least as f64).ln();
    for curve in [&COST, &INSTRUCTIONS] {
        for (name, _) in KINDS {
            let at = |waiting| record.median(curve, name, waiting);
            let Some((first, last)) = at(least).zip(at(most)) else { continue };
            let what = format!("{name}: growth of its {} from {least} to {most} messages", curve.y);
            record.add("decision", what, "of the logarithm's", vec![last / first / logarithm]);
        }
    }
}

/// Octets that this process has from the allocator.
fn in_use() -> usize {
    // SAFETY: it takes nothing and gives a struct of numbers.
    let told = unsafe { libc::mallinfo2() };
    told.uordblks + told.hblkhd
}
