//! What an express worker buys: all ordinary workers hang in a slow relay when an urgent message comes. Once without, once
//! with one.

use std::collections::HashMap;
use std::num::NonZero;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{CliError, PACKET, Play, Progress, Scheduler, Tally, URGENT_RECIPIENTS, settings};
use crate::deliver::sink::{Sink, SinkOptions};
use crate::spool::Spool;
use crate::spool::disk::Disk;

/// How long the slow relay takes to answer a transaction.
pub const HANGS: Duration = Duration::from_millis(600);
const WORKERS: NonZero<usize> = NonZero::new(4).expect("not zero");
/// Whatever is waited for comes within that.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the sink saw.
#[derive(Debug)]
pub struct Scene {
    /// From the urgent message's rename into `distribute/0` to its DATA at the sink.
    pub wait: Duration,
    pub tally: Tally,
}

/// Plays it in a spool of its own at `dir`.
pub fn play(dir: &Path, express: usize, progress: &Progress) -> Result<Scene, CliError> {
    let sink = Sink::start(SinkOptions { record: true, delay: HANGS, ..SinkOptions::default() })
        .map_err(|error| CliError::TryAgain(format!("cannot start a server on loopback: {error}")))?;
    let spool = Spool::create(&Disk::default(), dir)?;
    let mut settings = settings(dir, &sink, WORKERS);
    settings.run.express_workers = express;
    let mut play = Play { spool, arrivals: HashMap::new(), expected: 0 };
    // A packet for each worker, and more than one transaction of each.
    let each = 2 * settings.run.recipients_per_transaction.get() as u32;
    play.queue_in_packets("slow", WORKERS.get() as u32 * each, each.min(PACKET), '5')?;
    let scheduler = Scheduler::start(settings);
    let patience = Instant::now() + PATIENCE;
    while sink.transactions() < WORKERS.get() as u64 && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(1));
    }
    let told = if express == 0 { "without" } else { "with" };
    progress
        .say(&format!("an urgent message while all {WORKERS} workers hang in a slow relay, {told} an express worker"));
    let urgent = play.queue("urgent", URGENT_RECIPIENTS, '0')?;
    while sink.recipients() < play.expected && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(1));
    }
    scheduler.stop()?;
    let deliveries = sink.stop();
    let is_urgent = |subject: &str| subject == urgent.as_str();
    let began =
        deliveries.iter().filter(|one| one.subject.as_deref().is_some_and(is_urgent)).map(|one| one.data_at).min();
    let wait = began.map_or(Duration::MAX, |at| at.saturating_duration_since(play.arrivals[&urgent]));
    Ok(Scene { wait, tally: Tally::of(&deliveries, play.expected) })
}
