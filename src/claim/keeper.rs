//! The thread that talks to the database: takes leases for workers, renews them all in one statement, gives them back.
//!
//! One connection a process, whatever the number of workers. A statement that gets no answer may have been carried out
//! or not: the connection is given up, and what the next renewal finds under this process's name and nobody here holds is
//! given back. So there is no state in which a packet stays claimed by somebody who doesn't know it.
//!
//! While the database is away, nothing new is claimed, and what is held holds until its end. The log is told of each
//! change, once.
//!
//! Whether another process's lease has ended is decided without any clock but this machine's own: it was seen, and did not
//! change for as long as it lasts. Sooner only where its process was this machine's, and is certainly dead.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::process::Pid;
use tracing::{info, warn};

use super::database::{Access, Claimed, Database, DatabaseError, Holder, Process, Version};
use super::lease::{Held, Instant, Key};
use super::settings::LONGEST;

/// What the thread is asked for.
pub enum Order {
    /// `None`: somebody else has it.
    Claim {
        key: Key,
        worker: String,
        reply: Sender<Result<Option<Arc<Held>>, String>>,
    },
    /// If that was not done since it was `asked` for.
    Renew {
        asked: Instant,
        reply: Sender<Result<(), String>>,
    },
    Release {
        held: Arc<Held>,
        finished: bool,
    },
    /// There are names to be announced.
    Announce,
    /// Gives all back, and ends.
    Leave {
        reply: Sender<()>,
    },
}

/// How often a database that is away is tried.
const RETRY: Duration = Duration::from_secs(1);
/// Leases of others that are watched; beyond that, those that nobody has asked for lately are forgotten.
const MOST_WATCHED: usize = 10_000;

/// See the module.
pub struct Keeper {
    pub access: Access,
    pub me: Process,
    /// Of the tables that belong to the spool.
    pub identity: String,
    /// What the database calls this process; 0: nothing yet. For the listener, too.
    pub process: Arc<AtomicI64>,
    pub orders: Receiver<Order>,
    pub announced: Arc<Mutex<Vec<String>>>,
    /// Told when the database is back.
    pub on_back: Box<dyn Fn() + Send>,
    database: Option<Box<dyn Database>>,
    held: HashMap<Key, Arc<Held>>,
    /// Others' leases that somebody here wanted: as they were seen, and since when they have not changed.
    watched: HashMap<Key, (Version, Instant)>,
    /// For whoever would wait for an answer, too.
    pub is_away: Arc<AtomicBool>,
    /// What the log was told last of a database that an operator has to see to.
    unfit: String,
    next_try: Instant,
    next_renewal: Instant,
    /// When the last renewal was begun that was done.
    renewed: Instant,
}

impl Keeper {
    pub fn new(
        access: Access,
        me: Process,
        identity: String,
        process: Arc<AtomicI64>,
        orders: Receiver<Order>,
        announced: Arc<Mutex<Vec<String>>>,
        on_back: Box<dyn Fn() + Send>,
    ) -> Keeper {
        let now = Instant::now();
        let (held, watched) = (HashMap::new(), HashMap::new());
        Keeper {
            access,
            me,
            identity,
            process,
            orders,
            announced,
            on_back,
            database: None,
            held,
            watched,
            is_away: Arc::default(),
            unfit: String::new(),
            next_try: now,
            next_renewal: now,
            renewed: now,
        }
    }

    /// Connects, as at every other time; what an operator has to do first is an error here.
    pub fn begin(&mut self) -> Result<(), String> {
        match self.connect() {
            Ok(()) => Ok(()),
            Err(error @ DatabaseError::Away(_)) => {
                self.is_lost(&error);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    pub fn run(mut self) {
        loop {
            let now = Instant::now();
            let next = if self.database.is_some() { self.next_renewal } else { self.next_try };
            match self.orders.recv_timeout(next.since(now)) {
                Ok(Order::Leave { reply }) => {
                    self.leave();
                    let _ = reply.send(());
                    return;
                }
                Ok(order) => self.obey(order),
                Err(RecvTimeoutError::Timeout) if self.database.is_some() => self.renew(),
                Err(RecvTimeoutError::Timeout) => self.try_again(),
                Err(RecvTimeoutError::Disconnected) => return self.leave(),
            }
            // Orders without a pause must not keep it from renewing.
            if self.database.is_some() && self.next_renewal <= Instant::now() {
                self.renew();
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Claim { key, worker, reply } => {
                let answer = self.claim(key, &worker);
                if let Err(unheard) = reply.send(answer)
                    && let Ok(Some(held)) = unheard.into_inner()
                {
                    self.release(&held, false);
                }
            }
            Order::Renew { asked, reply } => {
                // Many workers that ask at once are served by one statement.
                if self.renewed < asked {
                    self.renew();
                }
                let _ = reply.send(if self.database.is_some() { Ok(()) } else { Err(self.whereabouts()) });
            }
            Order::Release { held, finished } => self.release(&held, finished),
            Order::Announce => self.announce(),
            Order::Leave { .. } => unreachable!("the loop ends with it"),
        }
    }

    fn whereabouts(&self) -> String {
        format!("the database {} is away", self.access.url)
    }

    fn process(&self) -> i64 {
        self.process.load(Ordering::Relaxed)
    }

    /// Does something with the database; `None`: it is away, or has just gone.
    fn with<T>(&mut self, what: impl FnOnce(&mut dyn Database, i64) -> Result<T, DatabaseError>) -> Option<T> {
        let process = self.process();
        let database = self.database.as_mut()?;
        match what(&mut **database, process) {
            Ok(value) => Some(value),
            Err(error) => {
                self.is_lost(&error);
                None
            }
        }
    }

    fn is_lost(&mut self, error: &DatabaseError) {
        self.database = None;
        self.next_try = Instant::now().plus(RETRY);
        let was_away = self.is_away.swap(true, Ordering::Relaxed);
        let is_new = match error {
            DatabaseError::Away(_) => !was_away,
            error => {
                let why = error.to_string();
                std::mem::replace(&mut self.unfit, why.clone()) != why
            }
        };
        if is_new {
            warn!(
                database = %self.access.url, held = self.held.len(),
                "the claims' database is away: {error}; nothing new is claimed, packets that are held are sent on for as \
                 long as their leases last"
            );
        }
    }

    fn try_again(&mut self) {
        match self.connect() {
            Ok(()) => (self.on_back)(),
            Err(error) => self.is_lost(&error),
        }
    }

    fn connect(&mut self) -> Result<(), DatabaseError> {
        let mut database = self.access.connect()?;
        let found = database.identity()?;
        if found != self.identity {
            return Err(DatabaseError::Unfit(format!(
                "its tables belong to another spool ({found}, and this one is {}): processes that claim through different \
                 databases would send to members twice",
                self.identity
            )));
        }
        if self.process() == 0 {
            self.process.store(database.register(&self.me)?, Ordering::Relaxed);
        }
        self.database = Some(database);
        self.renew();
        if self.database.is_some() && self.is_away.swap(false, Ordering::Relaxed) {
            self.unfit.clear();
            info!(database = %self.access.url, "the claims' database is back");
        }
        Ok(())
    }

    fn renew(&mut self) {
        let lasts = self.access.settings.lease;
        let asked = Instant::now();
        self.next_renewal = asked.plus(lasts / 3);
        let Some(renewed) = self.with(|database, process| {
            let renewed = database.renew(process, lasts)?;
            database.tidy()?;
            Ok(renewed)
        }) else {
            return;
        };
        let Some(renewed) = renewed else {
            // Somebody has cleared the tables, or made others. Whose they are is asked as at the beginning.
            self.held.drain().for_each(|(_, held)| tell_lost(&held));
            self.process.store(0, Ordering::Relaxed);
            self.is_lost(&DatabaseError::Away("its tables do not know this process any more".to_owned()));
            return;
        };
        self.renewed = asked;
        let mut renewed: HashMap<Key, i64> = renewed.into_iter().collect();
        self.held.retain(|key, held| match renewed.remove(key) {
            Some(fence) if fence == held.fence as i64 => {
                held.renewed(asked);
                true
            }
            _ => {
                tell_lost(held);
                false
            }
        });
        // Nobody here has shut anybody out under these.
        for (key, fence) in renewed {
            self.with(|database, process| database.give_back(&key, process, fence, false));
        }
    }

    fn claim(&mut self, key: Key, worker: &str) -> Result<Option<Arc<Held>>, String> {
        // A thread of this process has it.
        if self.held.contains_key(&key) {
            return Ok(None);
        }
        let lasts = self.access.settings.lease;
        // Whoever has it may be about to give it back; then it is asked for once more.
        for _ in 0..3 {
            let asked = Instant::now();
            let claimed = self.with(|database, process| database.claim(&key, process, worker, lasts));
            let (fence, clean) = match claimed {
                None => return Err(self.whereabouts()),
                Some(Claimed::Won { fence, clean }) => (fence, clean),
                Some(Claimed::Moved) => continue,
                Some(Claimed::HeldBy(holder)) if self.has_ended(&key, &holder) => {
                    let seen = holder.version;
                    let won = self.with(|database, process| database.take_over(&key, seen, process, worker, lasts));
                    match won {
                        None => return Err(self.whereabouts()),
                        Some(None) => continue,
                        Some(Some(fence)) => {
                            info!(
                                lease = %key, host = holder.host, pid = holder.pid, fence,
                                "takes a packet over from a process that does not renew its lease"
                            );
                            (fence, false)
                        }
                    }
                }
                Some(Claimed::HeldBy(_)) => return Ok(None),
            };
            self.watched.remove(&key);
            let held = Arc::new(Held::new(key.clone(), fence as u64, clean, asked, lasts));
            self.held.insert(key, held.clone());
            return Ok(Some(held));
        }
        Ok(None)
    }

    /// Whether it is certain that whoever has this lease does not believe in it any more.
    fn has_ended(&mut self, key: &Key, holder: &Holder) -> bool {
        // Nobody here has it: the answer to an earlier claim was lost.
        if holder.process == self.process() || is_dead(holder, &self.me) {
            return true;
        }
        let now = Instant::now();
        // No process believes in a longer one, whatever the row says.
        let lasts = holder.lasts.min(LONGEST);
        if self.watched.len() >= MOST_WATCHED {
            let lasts = lasts * 4;
            self.watched.retain(|_, (_, since)| now.since(*since) < lasts);
        }
        match self.watched.get(key) {
            // A fiftieth more: clocks of two machines need not run alike.
            Some((version, since)) if *version == holder.version => now.since(*since) > lasts + lasts / 50,
            _ => {
                self.watched.insert(key.clone(), (holder.version, now));
                false
            }
        }
    }

    fn release(&mut self, held: &Arc<Held>, finished: bool) {
        if self.held.get(&held.key).is_some_and(|known| Arc::ptr_eq(known, held)) {
            self.held.remove(&held.key);
            let fence = held.fence as i64;
            self.with(|database, process| match finished {
                true => database.finish(&held.key, process, fence),
                false => database.give_back(&held.key, process, fence, held.leaves_clean()),
            });
        }
    }

    fn announce(&mut self) {
        let names = std::mem::take(&mut *self.announced.lock());
        self.with(|database, process| database.announce(process, &names));
    }

    fn leave(&mut self) {
        self.with(|database, process| database.leave(process));
        self.held.clear();
    }
}

fn tell_lost(held: &Held) {
    held.is_lost();
    warn!(lease = %held.key, fence = held.fence, "the lease is lost: another process may have taken the packet over");
}

/// This process, as others on this machine can recognise it.
pub fn this_process(host: &str, workers: usize) -> Process {
    let pid = std::process::id();
    Process {
        host: host.to_owned(),
        pid,
        boot: boot().unwrap_or_default(),
        started: started(pid).unwrap_or_default(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        workers: i32::try_from(workers).unwrap_or(i32::MAX),
    }
}

/// Where a pid means the same process: this start of the kernel, this namespace of pids. `None` where `/proc` is another
/// namespace's: it tells of other processes.
fn boot() -> Option<String> {
    let own = fs::read_link("/proc/self").ok()?;
    if own.as_os_str().to_str()?.parse() != Ok(std::process::id()) {
        return None;
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

/// The 22nd field of proc_pid_stat(5), behind the name, which may have anything in it.
fn started(pid: u32) -> Option<i64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Not "ends soon": a process of which a thread still waits for the disk has not gone. Nor is one dead of which nothing can
/// be read, for want of a descriptor, say.
fn is_dead(holder: &Holder, me: &Process) -> bool {
    if me.boot.is_empty() || holder.boot != me.boot {
        return false;
    }
    // A row may say anything.
    let Some(pid) = i32::try_from(holder.pid).ok().and_then(Pid::from_raw) else { return false };
    match rustix::process::test_kill_process(pid) {
        Err(Errno::SRCH) => true,
        _ => holder.started != 0 && started(holder.pid).is_some_and(|started| started != holder.started),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_machine_is_known_to_be_dead() {
        let me = this_process("here", 1);
        assert!(me.started > 0 && me.boot.contains("pid:["), "{me:?}");
        let holder = |pid, started, boot: &str| Holder {
            process: 1,
            version: Version { fence: 1, renewed: 1 },
            lasts: Duration::from_secs(1),
            host: "here".into(),
            pid,
            boot: boot.into(),
            started,
        };
        assert!(!is_dead(&holder(me.pid, me.started, &me.boot), &me), "it lives");
        assert!(is_dead(&holder(me.pid, me.started - 1, &me.boot), &me), "another process has its number");
        assert!(is_dead(&holder(4_194_305, 17, &me.boot), &me), "no process has such a number");
        assert!(!is_dead(&holder(4_194_305, 17, "another machine"), &me));
        assert!(!is_dead(&holder(me.pid, 0, &me.boot), &me), "when it was started is not known");
    }
}
