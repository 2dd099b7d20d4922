//! Looking at the directories now and then, where the kernel does not tell what other hosts do.
//!
//! A round is a look at twelve directories. Each is opened anew, since that is when a network file system asks its server;
//! one that has changed is to be listed again, now and once more in the next round: a change within the same tick of the
//! server's clock would not show. So is each in the first round, since the first scan may have been within that tick.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::mail::Priority;
use crate::spool::Spool;

use super::hints::Desk;

/// The polling thread; it ends when this is dropped.
pub struct Poll(#[expect(dead_code, reason = "its end tells the thread")] Sender<Never>);

enum Never {}

/// When a directory changed; `None`: it can't be looked at.
type Changed = Option<(u64, u64)>;

impl Poll {
    /// To be begun before the first scan.
    pub fn begin(spool: &Spool, every: Duration, desk: Arc<Desk>) -> crate::spool::Result<Poll> {
        // Its own, since the scheduler may have let go of the spool while the thread looks.
        let spool = Spool::open(&Default::default(), spool.path())?;
        let (alive, end) = bounded(0);
        // Here, and not by the thread, which may come to it behind the first scan.
        let known = look(&spool).into_iter().map(|changed| (changed, true)).collect();
        let poll = move || run(&spool, known, every, &desk, &end);
        // Without the thread, the slow scan is left.
        let _ = thread::Builder::new().name("poll".into()).spawn(poll);
        Ok(Poll(alive))
    }
}

/// `known`: with whether it is to be listed in any case.
fn run(spool: &Spool, mut known: Vec<(Changed, bool)>, every: Duration, desk: &Desk, end: &Receiver<Never>) {
    while let Err(RecvTimeoutError::Timeout) = end.recv_timeout(every) {
        let mut changed = Vec::new();
        for (index, (now, (before, again))) in look(spool).into_iter().zip(&mut known).enumerate() {
            let differs = now != *before;
            if differs || *again {
                changed.push(index);
            }
            (*before, *again) = (now, differs);
        }
        if !changed.is_empty() {
            desk.drop_in(|hints| {
                for index in changed {
                    match hints.rescan.get_mut(index) {
                        Some(rescan) => *rescan = true,
                        None => hints.pauses = true,
                    }
                }
            });
        }
    }
}

/// By [`Priority::index`], and the pauses behind them.
fn look(spool: &Spool) -> Vec<Changed> {
    let levels = Priority::all().map(|priority| spool.at(priority).open_dir(".").and_then(|dir| dir.look_self()));
    let pauses = spool.pauses_changed();
    levels.map(|look| look.ok().map(|look| (look.modified, look.modified_nanos))).chain([pauses]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::disk::Disk;

    #[test]
    fn what_comes_while_the_first_scan_goes_on_is_listed_in_the_first_round() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(&Disk::default(), dir.path()).unwrap();
        let (desk, woken) = Desk::new();
        let desk = Arc::new(desk);
        // A change that doesn't show: within one tick of the clock.
        let _poll = Poll::begin(&spool, Duration::from_millis(1), desk.clone()).unwrap();
        woken.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(desk.take().rescan, [true; Priority::COUNT]);
    }
}
