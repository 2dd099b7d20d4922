//! What each running scheduler says of itself: one file a process in `running/`.
//!
//! For people and dashboards; nobody's mail depends on it. The process holds a lock on its file as long as it lives, so
//! a file that a dead one left is known for what it is. It is overwritten in place, in one write that never makes it
//! shorter, and never synced: after a power loss nobody runs. A reader that meets it half written finds no JSON, or the
//! beginning of one edition and the end of another, looks again, and in the end does without.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::Spool;
use super::disk::{Dir, Kind, Result, SpoolFile, unless_gone};
use super::layout::{self, SchedulerName};
use crate::mail::{Epoch, Level};

/// A scheduler, as it sees itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Scheduler {
    pub host: String,
    pub pid: u32,
    /// Unix seconds.
    pub since: u64,
    pub version: String,
    pub workers: usize,
    pub relays: Vec<Relay>,
    /// What its workers are on, by worker. As of a second ago or so; nothing while all of them wait.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub work: Vec<Work>,
    /// How fast messages go, by id: as [`Pace`] has it. At most [`MOST_RATES`], the fastest; nothing while all workers wait.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rates: BTreeMap<String, f64>,
    /// Recipients that relays took since `since`, by level. Grows only.
    #[serde(default)]
    pub sent: [u64; Level::COUNT],
    #[serde(default)]
    pub pace: Pace,
    /// When it said all this, by its host's clock; unix seconds. 0: it doesn't tell.
    #[serde(default)]
    pub written: u64,
    /// It has work, and has said nothing for so many seconds. Nobody says this of himself: see [`heard`].
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub silent: Option<u64>,
}

/// What is in a file. The members stand in this order: where the first and the last differ, they are of two writes. Versions
/// that write neither are taken at their word.
#[derive(Serialize, Deserialize)]
struct Edition<T> {
    #[serde(default)]
    edition: u64,
    #[serde(flatten)]
    scheduler: T,
    #[serde(default)]
    end: u64,
}

/// How fast all of it goes: recipients a second who were tried for the first time, over the last minute, or since something is
/// being sent, whichever is shorter.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Pace {
    pub rate: f64,
    /// By level.
    pub levels: [f64; Level::COUNT],
    /// Recipients who were tried for the first time since the scheduler's `since`, by level. Grows only.
    pub passed: [u64; Level::COUNT],
}

impl Scheduler {
    /// One of which no more is known than that it runs.
    fn unknown(name: &SchedulerName) -> Scheduler {
        Scheduler {
            host: name.host.clone(),
            pid: name.pid,
            since: 0,
            version: String::new(),
            workers: 0,
            relays: Vec::new(),
            work: Vec::new(),
            rates: BTreeMap::new(),
            sent: [0; Level::COUNT],
            pace: Pace::default(),
            written: 0,
            silent: None,
        }
    }

    /// What is said in the file of that name: whose it is, the name says. Sums over several must not overflow.
    fn of(self, name: &SchedulerName) -> Scheduler {
        Scheduler { host: name.host.clone(), pid: name.pid, workers: self.workers.min(MOST_WORKERS), ..self }
    }

    /// It runs, and nothing else is known of it: the rest is empty.
    pub fn is_unknown(&self) -> bool {
        self.version.is_empty()
    }
}

/// A packet in a worker's hands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Work {
    pub worker: usize,
    /// Its id.
    pub message: String,
    /// As its file is named.
    pub packet: String,
    /// Where the message stands.
    pub priority: String,
    /// Of the packet.
    pub recipients: u64,
    /// Behind the checkpoint.
    pub done: u64,
    /// Since when the worker has it; unix seconds.
    pub since: u64,
}

/// A relay, as a scheduler sees it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Relay {
    pub relay: String,
    /// `closed`: in use. `open`: left alone until `next_try`. `half-open`: being tried.
    pub state: String,
    /// Since when it is out of use; unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A few relays, and what they said last; what a thousand workers are on, a thousand rates.
const MAX_LENGTH: u64 = 1024 * 1024;
/// Rates that are told of.
pub const MOST_RATES: usize = 1000;
/// More than any machine has.
const MOST_WORKERS: usize = 1_000_000;
/// Seconds. Whoever has work writes once a second; who has not for so long hangs, or its machine does.
const SILENT: u64 = 10;
/// Seconds that another host's clock may be behind this one's.
const CLOCKS_APART: u64 = 300;
/// How often a file is read that is being written.
const MOST_LOOKS: usize = 4;

/// This process's file. Dropped, it is removed.
pub struct Running {
    place: Dir,
    file: SpoolFile,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    /// Octets the file has.
    length: usize,
    /// The number of the last edition.
    edition: u64,
}

impl Running {
    /// Takes the places of processes of this host that have died, and one of its own.
    pub fn begin(spool: &Spool, host: &str, pid: u32) -> Result<Running> {
        let place = spool.root.open_dir(layout::RUNNING)?;
        // One after another: a file that another has created and not locked yet looks like a dead one's.
        let _turn = place.lock()?;
        for (name, file) in files(&place)? {
            if name.host == host && file.try_lock()? {
                unless_gone(place.remove(&name.to_string()))?;
            }
        }
        let name = SchedulerName { host: host.to_owned(), pid }.to_string();
        let file = place.create(&name)?;
        file.lock()?;
        Ok(Running { place, file, written: Mutex::default() })
    }

    pub fn write(&self, scheduler: &Scheduler) -> Result<()> {
        let mut written = self.written.lock();
        written.edition += 1;
        let edition = Edition { edition: written.edition, scheduler, end: written.edition };
        let mut text = serde_json::to_vec(&edition).expect("strings and numbers are always JSON");
        text.push(b'\n');
        // Shorter, it would be no JSON between two calls.
        text.resize(text.len().max(written.length), b'\n');
        written.length = text.len();
        self.file.write_at(&text, 0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Whoever comes next on this host removes it otherwise.
        let _ = self.place.remove(self.file.name());
    }
}

/// The schedulers that run on this spool now.
pub fn list(spool: &Spool) -> Result<Vec<Scheduler>> {
    list_with(spool, |_| false)
}

/// The same, with those of which somebody else knows that they run: other hosts' locks need not be seen here.
pub fn list_with(spool: &Spool, runs: impl Fn(&SchedulerName) -> bool) -> Result<Vec<Scheduler>> {
    let Some(place) = unless_gone(spool.root.open_dir(layout::RUNNING))? else { return Ok(Vec::new()) };
    let mut schedulers: Vec<Scheduler> = Vec::new();
    for (name, file) in files(&place)? {
        // Where there are no locks of files that are only read, it runs for all we know.
        if !runs(&name) && file.try_lock().unwrap_or(false) {
            continue;
        }
        let mut said = None;
        for _ in 0..MOST_LOOKS {
            if said.is_some() || file.look()?.size > MAX_LENGTH {
                break;
            }
            said = whole(&file.read_all(MAX_LENGTH)?);
        }
        // It holds the lock, so it is there: it has not said anything yet, or there is no room to.
        schedulers.push(said.map_or_else(|| Scheduler::unknown(&name), |said: Scheduler| said.of(&name)));
    }
    schedulers.sort_by(|a, b| (&a.host, a.pid).cmp(&(&b.host, b.pid)));
    Ok(schedulers)
}

/// What one write wrote.
fn whole(text: &[u8]) -> Option<Scheduler> {
    let Edition { edition, scheduler, end } = serde_json::from_slice(text).ok()?;
    (edition == end).then_some(scheduler)
}

/// Notes who of them has fallen silent. What such a one said of its rates does not hold any more.
pub fn heard(mut schedulers: Vec<Scheduler>, now: Epoch) -> Vec<Scheduler> {
    let here = host();
    for scheduler in &mut schedulers {
        scheduler.silent = scheduler.silent_for(now, &here);
        if scheduler.silent.is_some() {
            scheduler.rates.clear();
            (scheduler.pace.rate, scheduler.pace.levels) = Default::default();
        }
    }
    schedulers
}

impl Scheduler {
    fn silent_for(&self, now: Epoch, here: &str) -> Option<u64> {
        // Idle ones write nothing.
        let has_work = self.written > 0 && !self.work.is_empty();
        let allowed = if self.host == here { SILENT } else { CLOCKS_APART };
        Some(now.0.saturating_sub(self.written)).filter(|silent| has_work && *silent >= allowed)
    }
}

fn files(place: &Dir) -> Result<Vec<(SchedulerName, SpoolFile)>> {
    let mut files = Vec::new();
    for (name, kind) in place.list()? {
        let Ok(name) = layout::parse::<SchedulerName>(&name) else { continue };
        if kind != Kind::File {
            continue;
        }
        if let Some(file) = unless_gone(place.open_read(&name.to_string()))? {
            files.push((name, file));
        }
    }
    Ok(files)
}

/// This host, as the file's name has it.
pub fn host() -> String {
    let name = rustix::system::uname();
    let name: String = name.nodename().to_string_lossy().chars().filter(|c| layout::is_of_host(*c)).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::super::disk::Disk;
    use super::*;

    #[test]
    fn a_scheduler_is_listed_as_long_as_it_lives() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(&Disk::default(), dir.path()).unwrap();
        let running = Running::begin(&spool, "mail.example.org", 17).unwrap();
        let said = list(&spool).unwrap();
        assert!(said.len() == 1 && said[0].is_unknown() && said[0].pid == 17, "it has said nothing yet: {said:?}");
        let relay = Relay {
            relay: "smtp://relay".into(),
            state: "open".into(),
            since: Some(5),
            next_try: Some(7),
            why: Some("refused".into()),
        };
        let (host, version) = ("mail.example.org".into(), "1".into());
        let work = Work {
            worker: 3,
            message: "my-list@my.dom.1192613090.972".into(),
            packet: "recipients.mail.0001".into(),
            priority: "5".into(),
            recipients: 1000,
            done: 50,
            since: 4,
        };
        let rates = BTreeMap::from([(work.message.clone(), 12.5)]);
        let idle = Scheduler {
            host,
            pid: 17,
            since: 3,
            version,
            workers: 8,
            relays: vec![relay],
            work: vec![],
            rates: BTreeMap::new(),
            sent: [7; Level::COUNT],
            pace: Pace { rate: 12.5, passed: [8; Level::COUNT], ..Pace::default() },
            written: 5,
            silent: None,
        };
        let busy = Scheduler { work: vec![work], rates, ..idle.clone() };
        for me in [busy, idle] {
            running.write(&me).unwrap();
            assert_eq!(list(&spool).unwrap(), [me], "the shorter one is read as well");
        }
        let boasts =
            Scheduler { host: "\u{1b}[31m".into(), pid: 4, workers: usize::MAX, ..list(&spool).unwrap().remove(0) };
        running.write(&boasts).unwrap();
        let said = list(&spool).unwrap().remove(0);
        assert_eq!((said.host.as_str(), said.pid, said.workers), ("mail.example.org", 17, MOST_WORKERS));
        // As kill -9 leaves it.
        let left = dir.path().join("running/mail.example.org.4711");
        std::fs::write(&left, "{}").unwrap();
        assert_eq!(list(&spool).unwrap().len(), 1);
        drop(running);
        assert_eq!(list(&spool).unwrap(), []);
        drop(Running::begin(&spool, "mail.example.org", 18).unwrap());
        assert!(!left.exists());
    }

    #[test]
    fn who_has_work_and_says_nothing_has_fallen_silent_and_who_waits_has_not() {
        let work = Work {
            worker: 0,
            message: "my-list@my.dom.1192613090.972".into(),
            packet: "recipients.mail.0001".into(),
            priority: "5".into(),
            recipients: 1000,
            done: 50,
            since: 4,
        };
        let busy = Scheduler {
            host: host(),
            pid: 17,
            since: 3,
            version: "1".into(),
            workers: 8,
            relays: vec![],
            rates: BTreeMap::from([(work.message.clone(), 12.5)]),
            work: vec![work],
            sent: [7; Level::COUNT],
            pace: Pace { rate: 12.5, ..Pace::default() },
            written: 1000,
            silent: None,
        };
        let told = |scheduler: &Scheduler, now| {
            let heard = heard(vec![scheduler.clone()], Epoch(now)).remove(0);
            assert_eq!(heard.silent.is_some(), heard.rates.is_empty());
            heard.silent
        };
        assert_eq!((told(&busy, 1009), told(&busy, 1010), told(&busy, 990)), (None, Some(10), None));
        let idle = Scheduler { work: vec![], rates: BTreeMap::from([("l@x.1.1".into(), 1.0)]), ..busy.clone() };
        assert_eq!(told(&idle, 100_000), None);
        let old = Scheduler { written: 0, ..busy.clone() };
        assert_eq!(told(&old, 100_000), None, "one of a version that does not tell");
        let elsewhere = Scheduler { host: "another.example.org".into(), ..busy };
        assert_eq!((told(&elsewhere, 1060), told(&elsewhere, 1300)), (None, Some(300)), "its clock may be another");
    }

    #[test]
    fn one_that_is_overwritten_meanwhile_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(&Disk::default(), dir.path()).unwrap();
        let running = Running::begin(&spool, "mail.example.org", 17).unwrap();
        let of = |workers: usize| Scheduler {
            host: "mail.example.org".into(),
            pid: 17,
            since: 3,
            version: "1".into(),
            workers,
            relays: vec![],
            work: vec![],
            rates: (0..workers).map(|n| (format!("my-list@my.dom.1192613090.{n}"), 1.0)).collect(),
            sent: [0; Level::COUNT],
            pace: Pace::default(),
            written: 5,
            silent: None,
        };
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (0..2000).for_each(|n| running.write(&of(n % 20)).unwrap()));
            let mut read = 0;
            while !writer.is_finished() {
                for scheduler in list(&spool).unwrap() {
                    assert_eq!(scheduler.rates.len(), scheduler.workers, "0 of one that was torn each time");
                    read += 1;
                }
            }
            assert!(read > 0);
        });
    }

    #[test]
    fn the_beginning_of_one_edition_and_the_end_of_another_is_neither() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(&Disk::default(), dir.path()).unwrap();
        let running = Running::begin(&spool, "mail.example.org", 17).unwrap();
        let name = running.file.name().parse().unwrap();
        let [old, new] = [1, 2].map(|workers| {
            let of = Scheduler {
                version: "1".into(),
                workers,
                sent: [workers as u64; Level::COUNT],
                ..Scheduler::unknown(&name)
            };
            running.write(&of).unwrap();
            (std::fs::read(dir.path().join("running").join(running.file.name())).unwrap(), of)
        });
        assert_eq!(old.0.len(), new.0.len());
        let mut torn = 0;
        for at in 0..=new.0.len() {
            match whole(&[&new.0[..at], &old.0[at..]].concat()) {
                Some(said) => assert!([&old.1, &new.1].contains(&&said), "{said:?}"),
                None => torn += 1,
            }
        }
        assert!(torn > 0 && torn < new.0.len());
    }

    #[test]
    fn of_many_that_begin_at_once_each_keeps_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(&Disk::default(), dir.path()).unwrap();
        for _ in 0..20 {
            let begun: Vec<Running> = std::thread::scope(|scope| {
                let begin = |pid| Running::begin(&spool, "mail.example.org", pid).unwrap();
                let threads: Vec<_> = (1..=8).map(|pid| scope.spawn(move || begin(pid))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(files(&begun[0].place).unwrap().len(), 8);
        }
    }
}
