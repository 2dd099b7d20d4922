//! The scheduler's core in virtual time: a described day of mail, relays that take their time, and four ways to choose.
//!
//! The core is the real one, [`sympa_dist::schedule`]. The peers' ways are models of what their sources say, no more: see
//! [`discipline`]. Everything is drawn from seeds, so a run repeats to the microsecond, but for the cost of a decision.

mod discipline;
mod plot;
mod site;
mod workload;

use sympa_dist::schedule::{Order, Policy};

use crate::record::{Record, percentile};
use discipline::{Discipline, Scheduler, SizeSlots, Snapshot};
use site::{History, Site};
use workload::{Post, Workload};

pub fn university(record: &mut Record, quick: bool) {
    simulate(record, &workload::university(quick));
}

pub fn newsletters(record: &mut Record, quick: bool) {
    simulate(record, &workload::newsletters(quick));
}

pub fn internet(record: &mut Record, quick: bool) {
    simulate(record, &workload::internet(quick));
}

/// From so many transactions on, a message is a big one in the tables.
const BIG: u32 = 100;

fn simulate(record: &mut Record, workload: &Workload) {
    let scenario = workload.scenario;
    let fifo = Policy { order: Order::Fifo, ageing: None };
    let disciplines: [(&str, Box<dyn Discipline>); 4] = [
        ("strict+fair", Box::new(Scheduler::new(Policy::default()))),
        ("strict+FIFO", Box::new(Scheduler::new(fifo))),
        ("snapshot (bulk.pl)", Box::new(Snapshot::default())),
        ("size slots (Postfix)", Box::new(SizeSlots::default())),
    ];
    let runs: Vec<(&str, History)> =
        disciplines.into_iter().map(|(name, discipline)| (name, Site::new(workload, discipline).run())).collect();
    let posts = &workload.posts;
    let by_arrival = &runs[1].1;
    let mut table = Table::new(&format!("{scenario}: {}", workload.what), runs.iter().map(|(name, _)| *name));
    for level in 0..10 {
        let at: Vec<usize> = (0..posts.len()).filter(|&n| posts[n].level == level).collect();
        if !at.is_empty() {
            let what = format!("level {level} ({} messages): wait, s", at.len());
            table.row(&what, runs.iter().map(|(_, history)| spread(at.iter().map(|&n| history.wait(n, posts)))));
        }
    }
    let is_small = |post: &Post| post.level == workload.common && post.transactions == 1 && post.comes > 0;
    let small: Vec<usize> = (0..posts.len()).filter(|&n| is_small(&posts[n])).collect();
    let what = format!("of level {}, those of one transaction ({}): wait, s", workload.common, small.len());
    table.row(&what, runs.iter().map(|(_, history)| spread(small.iter().map(|&n| history.wait(n, posts)))));
    let big: Vec<usize> = (0..posts.len()).filter(|&n| posts[n].transactions >= BIG).collect();
    let what = format!("messages of {BIG} transactions or more ({}): end, of strict+FIFO's", big.len());
    table.row(
        &what,
        runs.iter().map(|(_, history)| spread(big.iter().map(|&n| history.took(n, posts) / by_arrival.took(n, posts)))),
    );
    table.row("all is sent after, s", runs.iter().map(|(_, history)| format!("{:.0}", history.end())));
    table.row("preemptions between levels", runs.iter().map(|(_, history)| history.preemptions.to_string()));
    table.row("inside a level", runs.iter().map(|(_, history)| history.passings.to_string()));
    let cost = |history: &History| history.cost.as_nanos() as f64 / history.decisions as f64;
    table.row("a decision, ns", runs.iter().map(|(_, history)| format!("{:.0}", cost(history))));
    for (name, history) in &runs {
        record.add(scenario, format!("{name}: a decision, {} of them", history.decisions), "ns", vec![cost(history)]);
    }
    record.say(&table.text);
    let urgent: Vec<usize> = (0..posts.len()).filter(|&n| posts[n].level == 0).collect();
    let panel = |title: String, posts_of: &[usize]| {
        let waits = |history: &History| posts_of.iter().map(|&n| history.wait(n, posts)).collect();
        plot::Panel { title, curves: runs.iter().map(|(name, history)| (*name, waits(history))).collect() }
    };
    let panels = [
        panel(format!("level 0: {} messages", urgent.len()), &urgent),
        panel(format!("level {}, of one transaction: {} messages", workload.common, small.len()), &small),
    ];
    let title = format!("{scenario}: {}", workload.what);
    record.say(&format!("![{title}]({})\n", workload.plot));
    record.attach(workload.plot, plot::waits(&title, &panels));
}

/// The median, the 99th percentile and the most of them.
fn spread(values: impl Iterator<Item = f64>) -> String {
    let values: Vec<f64> = values.collect();
    let shown = |percent| {
        let value = percentile(&values, percent);
        if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
    };
    if values.is_empty() { "none".into() } else { [50.0, 99.0, 100.0].map(shown).join(" / ") }
}

/// For people: a column a discipline.
struct Table {
    text: String,
}

impl Table {
    fn new<'n>(title: &str, names: impl Iterator<Item = &'n str>) -> Table {
        let names: Vec<&str> = names.collect();
        let rule = "| --- ".repeat(names.len() + 1);
        Table { text: format!("{title} (p50 / p99 / max)\n\n| | {} |\n{rule}|\n", names.join(" | ")) }
    }

    fn row(&mut self, what: &str, cells: impl Iterator<Item = String>) {
        self.text += &format!("| {what} | {} |\n", cells.collect::<Vec<_>>().join(" | "));
    }
}
