//! T9, T11: memory, and what it does while there is nothing to do.

use std::path::Path;
use std::time::Duration;

use crate::record::{Record, percentile, scratch};
use crate::sinks::{Far, Kind};
use crate::subject::{DEFAULT, Setting, fill, launch, waiting};

/// Nobody listens there.
const NOBODY: &str = "smtp://127.0.0.1:1";

/// MiB that a scheduler has which has looked through the spool and can't send.
pub fn resident(spool: &Path) -> f64 {
    let run = launch(spool, NOBODY, DEFAULT);
    std::thread::sleep(Duration::from_secs(3));
    let resident = run.of_status("VmRSS:");
    run.term();
    resident / 1024.0
}

pub fn memory(record: &mut Record, quick: bool) {
    let spool = tempfile::tempdir_in(scratch()).expect("a directory for the spool");
    let idle: Vec<f64> = (0..3).map(|_| resident(spool.path())).collect();
    let least = percentile(&idle, 0.0);
    record.add("memory", "idle", "MiB", idle);
    for messages in if quick { vec![10_000] } else { vec![10_000, 100_000] } {
        let spool = waiting(messages);
        let each = (resident(spool.path()) - least) * 1024.0 * 1024.0 / f64::from(messages);
        record.add("memory", format!("{messages} messages waiting, each"), "octets", vec![each]);
    }
    let recipients = if quick { 200_000 } else { 1_000_000 };
    let filled = fill(recipients, 1000);
    let sink = Far::start(Kind::Own);
    let setting = Setting { workers: 16, ..DEFAULT };
    let run = launch(&filled.spool(), &sink.url(), setting);
    while filled.message.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let peak = run.of_status("VmHWM:") / 1024.0;
    run.term();
    record.add("memory", format!("{recipients} recipients, 16 workers, peak"), "MiB", vec![peak]);

    let run = launch(spool.path(), NOBODY, DEFAULT);
    std::thread::sleep(Duration::from_secs(2));
    let seconds = if quick { 10.0 } else { 60.0 };
    let before = run.wake_ups();
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let woken = (run.wake_ups() - before) / seconds;
    run.term();
    record.add("memory", "idle, all threads: wake-ups", "a second", vec![woken]);
}
