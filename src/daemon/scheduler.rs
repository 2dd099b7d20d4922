//! The scheduler thread: finds messages and tells the board, until it is told to stop.
//!
//! The watch is armed before the first scan, and every directory is listed now and then whatever the watch says: the scan
//! is the truth, the watch is a hint. A crash in here loses nothing: the next start scans.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, at, bounded, never, select, tick};
use tracing::{error, info, warn};

use crate::claim;
use crate::deliver::{self, Interrupt};
use crate::mail::{MessageId, Priority};
use crate::spool::adopt::{self, Adoption};
use crate::spool::disk::{Disk, DiskError, Kind, Look};
use crate::spool::layout::{self, Entry, FileName, MessageName};
use crate::spool::progress::Sync;
use crate::spool::running;
use crate::spool::{Place, Spool};

use super::board::{Board, Found, Missing};
use super::clock::{self, Set};
use super::events::Happening;
use super::hints::{Desk, Hints};
use super::live::Live;
use super::poll::Poll;
use super::settings::{MAX_EXPRESS, Settings, WatchMode, WatchSettings};
use super::shared::{self, Current, MAX_WORKERS, Shared};
use super::sharing;
use super::showing::Showing;
use super::supervisor::Sign;
use super::watch::Watch;
use super::worker::Worker;

/// What a signal handler, or a program that embeds the scheduler, may ask for.
pub enum Control {
    /// Stop: nothing new starts, what is not behind its final dot is dropped, the rest is waited for during the grace.
    Stop,
    /// End at once; say what may be repeated.
    StopNow,
    /// New settings, or what was wrong with them.
    Reload(Box<Result<Settings, String>>),
}

/// How a run ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Transactions of which nobody knows how they ended: `message packet first..last` each. Their recipients get the
    /// message again at the next start.
    pub uncertain: Vec<String>,
}

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{0}; no mail is sent")]
    Spool(#[from] DiskError),
    #[error("{0}; no mail is sent")]
    Claims(String),
    #[error("{0}; no mail is sent")]
    Relay(#[from] deliver::SetupError),
    #[error("cannot start: {0}; no mail is sent")]
    System(#[from] std::io::Error),
}

/// Leftovers of producers that died are cleared when they are this old.
const LEFTOVERS: u64 = 24 * 60 * 60;
/// How soon a flat drop that is still being written is looked at again.
const DROP_PAUSE: Duration = Duration::from_secs(1);
/// How often a spool that has gone is looked for.
const GONE_PAUSE: Duration = Duration::from_secs(1);
/// Beside the grace: for a worker to get from its relay's answer to its end.
const JOIN_SLACK: Duration = Duration::from_millis(500);

/// Distributes until `control` says stop.
pub fn run(settings: Settings, control: &Receiver<Control>) -> Result<Summary, RunError> {
    run_on(&Disk::default(), settings, control, &Arc::default())
}

/// The same on a disk that may have faults, and seen by others.
pub fn run_on(
    disk: &Disk,
    mut settings: Settings,
    control: &Receiver<Control>,
    live: &Arc<Live>,
) -> Result<Summary, RunError> {
    let mut uncertain = Vec::new();
    loop {
        match run_on_a_spool(disk, settings, control, live)? {
            Ended::Stopped(mut summary) => {
                summary.uncertain.splice(0..0, uncertain);
                return Ok(summary);
            }
            Ended::Replaced(summary, current) => {
                uncertain.extend(summary.uncertain);
                settings = *current;
            }
        }
    }
}

/// Why a spool is left.
enum Ended {
    Stopped(Summary),
    /// Another spool is in its place. With the settings in force.
    Replaced(Summary, Box<Settings>),
}

fn run_on_a_spool(
    disk: &Disk,
    settings: Settings,
    control: &Receiver<Control>,
    live: &Arc<Live>,
) -> Result<Ended, RunError> {
    let spool = Spool::create(disk, &settings.spool)?;
    spool.require_owner()?;
    let (desk, watched) = Desk::new();
    let desk = Arc::new(desk);
    let claims = sharing::claims(&spool, &settings, &desk).map_err(RunError::Claims)?;
    let is_on_network = spool.is_on_network()?;
    if is_on_network && settings.run.checkpoint_sync == Sync::None {
        // Whoever takes a packet over would read what the server knows.
        let why = "the spool is on a network file system, where checkpoints have to be synced: run.checkpoint_sync = \"none\"";
        return Err(RunError::Claims(why.to_owned()));
    }
    if is_on_network && settings.cluster.database.is_none() {
        warn!(
            "the spool is on a network file system, and cluster.database is not set: if another host's scheduler works on \
             it as well, members get messages twice"
        );
    }
    let WatchSettings { mode, interval } = settings.watch;
    let watch = match mode {
        WatchMode::Poll => None,
        WatchMode::Auto | WatchMode::Inotify => match Watch::arm(&spool, desk.clone(), claims.clone()) {
            Ok(watch) => Some(watch),
            Err(error) => {
                error!("{error}");
                None
            }
        },
    };
    let polls = mode == WatchMode::Poll || mode == WatchMode::Auto && is_on_network;
    let poll = if polls { Some(Poll::begin(&spool, interval, desk.clone())?) } else { None };
    let current = Current::new(settings)?;
    let board = Board::new(current.settings.policy(), shared::list_limit(&current.settings));
    let shared = Shared::new(spool, board, claims, Interrupt::new()?, current, live.clone());
    shared.is_watching.store(watch.is_some() || poll.is_some(), Ordering::Relaxed);
    let shared = Arc::new(shared);
    live.attach(&shared);
    let (alive, all_ended) = bounded(0);
    let mut scheduler = Scheduler {
        shared,
        desk,
        watch,
        poll,
        workers: Vec::new(),
        alive: (Some(alive), all_ended),
        told: HashSet::new(),
        scan_again: [false; Priority::COUNT],
        has_gone: false,
        hands: clock::Hands::watch(),
    };
    scheduler.start()?;
    Ok(scheduler.obey(control, &watched))
}

/// Has no value.
enum Never {}

/// What a name in a priority's directory is.
enum Looked {
    Message(MessageName),
    /// A message file of the flat form.
    Drop,
    /// It has gone.
    Nothing(MessageName),
    Strange,
}

/// Messages that have come to a place, by id.
type Come = HashMap<MessageId, (Priority, MessageName, Found)>;

struct Scheduler {
    shared: Arc<Shared>,
    desk: Arc<Desk>,
    watch: Option<Watch>,
    poll: Option<Poll>,
    workers: Vec<thread::JoinHandle<()>>,
    /// Each worker has a clone of the sender, and nothing is ever sent.
    alive: (Option<Sender<Never>>, Receiver<Never>),
    /// Strange names that the log has named already.
    told: HashSet<(Priority, std::ffi::OsString)>,
    /// Directories in which a flat drop is still being written.
    scan_again: [bool; Priority::COUNT],
    /// The spool is not at its path any more.
    has_gone: bool,
    hands: clock::Hands,
}

impl Scheduler {
    fn start(&mut self) -> Result<(), RunError> {
        let settings = self.shared.current();
        let started = Instant::now();
        self.tidy();
        self.shared.look_for_pauses();
        for priority in Priority::all() {
            self.scan(priority);
        }
        info!(
            spool = %self.shared.spool.path().display(), workers = settings.settings.run.workers.get(),
            watch = self.watched_by(&settings.settings), scan_ms = started.elapsed().as_millis() as u64,
            "distributing"
        );
        self.shared.publish();
        self.shared.tell(|| Happening::SchedulerStarted {
            host: running::host(),
            pid: std::process::id(),
            workers: settings.settings.run.workers.get(),
        });
        self.hire()?;
        self.shared.live.show(Sign::Distributing);
        Ok(())
    }

    /// How new messages are found.
    fn watched_by(&self, settings: &Settings) -> String {
        let kernel = self.watch.as_ref().map(|_| "inotify".to_owned());
        let poll = self.poll.as_ref().map(|_| format!("a look at the directories every {:?}", settings.watch.interval));
        let ways: Vec<String> = [kernel, poll, self.shared.claims.hears_by()].into_iter().flatten().collect();
        if ways.is_empty() { "scan only".to_owned() } else { ways.join(", ") }
    }

    /// Starts as many workers as the settings want and are not there.
    fn hire(&mut self) -> std::io::Result<()> {
        self.workers.retain(|worker| !worker.is_finished());
        let run = self.shared.current().settings.run.clone();
        let express = (0..run.express_workers.min(MAX_EXPRESS)).map(|index| MAX_WORKERS + index);
        for index in (0..run.workers.get().min(MAX_WORKERS)).chain(express) {
            let name = match index.checked_sub(MAX_WORKERS) {
                None => format!("worker-{index}"),
                Some(index) => format!("express-{index}"),
            };
            if self.workers.iter().any(|worker| worker.thread().name() == Some(&name)) {
                continue;
            }
            let worker = Worker::new(index, self.shared.clone());
            let alive = self.alive.0.clone();
            let work = move || {
                worker.run();
                drop(alive);
            };
            self.workers.push(thread::Builder::new().name(name).spawn(work)?);
        }
        Ok(())
    }

    fn obey(mut self, control: &Receiver<Control>, watched: &Receiver<()>) -> Ended {
        let mut next_scan = Instant::now() + self.rescan_interval();
        let pulse = self.pulse();
        let shared = self.shared.clone();
        let mut showing = Showing::new();
        loop {
            let show = showing.next.map_or_else(never, at);
            let drops = if self.scan_again.contains(&true) { after(DROP_PAUSE) } else { never() };
            let scan = after(next_scan.saturating_duration_since(Instant::now()));
            let pause_ends = self.shared.pauses.until_next_end().map_or_else(never, after);
            select! {
                recv(pause_ends) -> _ => self.shared.look_for_pauses(),
                recv(control) -> order => match order {
                    Ok(Control::Reload(settings)) => self.reload(*settings),
                    Ok(Control::StopNow) => {
                        self.shared.live.show(Sign::Stopping { within: Duration::ZERO });
                        return Ended::Stopped(self.give_up());
                    }
                    // Whoever held the other end has gone: nobody could stop us any more.
                    Ok(Control::Stop) | Err(_) => {
                        let within = self.shared.current().settings.run.shutdown_grace + JOIN_SLACK;
                        self.shared.live.show(Sign::Stopping { within });
                        return Ended::Stopped(self.stop(control));
                    }
                },
                recv(watched) -> _ => {
                    let hints = self.desk.take();
                    if hints.pauses {
                        self.shared.look_for_pauses();
                    }
                    if hints.claims {
                        self.shared.board.wake();
                    }
                    self.follow(hints);
                }
                recv(drops) -> _ => self.scan_drops(),
                recv(shared.stirred()) -> _ => showing.begin(),
                recv(show) -> _ => showing.show(&shared),
                recv(pulse) -> _ => self.shared.live.show(Sign::Alive(self.shared.live.readiness())),
                recv(scan) -> _ => {
                    if self.is_replaced() {
                        info!("stops on the spool that was there, and starts on the one that is there now");
                        let settings = Box::new(self.shared.current().settings.clone());
                        return Ended::Replaced(self.stop(control), settings);
                    }
                    self.look_at_the_clock();
                    self.shared.board.forget_held();
                    self.tidy();
                    self.shared.look_for_pauses();
                    for priority in Priority::all() {
                        self.scan(priority);
                    }
                    self.shared.tell(|| Happening::Scanned);
                    // What is due by a clock that was set forward by so little that it is not noticed has waited for this.
                    self.shared.board.wake();
                    next_scan = Instant::now() + self.rescan_interval();
                }
            }
        }
    }

    fn rescan_interval(&self) -> Duration {
        let interval = self.shared.current().settings.run.rescan;
        if self.has_gone { interval.min(GONE_PAUSE) } else { interval }
    }

    /// All waiting is counted by the clock that nobody sets. So this is how long, at most, what is due by one that was set
    /// forward waits, and what was put off by one that was set back.
    fn look_at_the_clock(&mut self) {
        match self.hands.look() {
            None => return,
            Some(Set::Forward(by)) => warn!("the clock was set forward by {by:.0?}: what is due by it is sent"),
            Some(Set::Back(by)) => {
                warn!("the clock was set back by {by:.0?}: what is not due any more waits for its time")
            }
        }
        self.shared.board.clock_was_set();
    }

    /// When the supervisor wants a sign of life.
    fn pulse(&self) -> Receiver<Instant> {
        self.shared.live.heartbeat().map_or_else(never, tick)
    }

    /// Whether another spool is at the path. While none is there at all, says so once and waits for one.
    fn is_replaced(&mut self) -> bool {
        let spool = &self.shared.spool;
        let fate = "nothing new is sent until a spool is there again";
        match spool.place() {
            Ok(Place::Here) if self.has_gone => info!("the spool is back"),
            Ok(Place::Here) => {}
            Ok(Place::Another) => return true,
            Err(_) if self.has_gone => return false,
            Err(error) => {
                error!("the spool has gone: {}", error.fate(fate));
                self.has_gone = true;
                self.shared.has_no_spool.store(true, Ordering::Relaxed);
                return false;
            }
        }
        self.has_gone = false;
        self.shared.has_no_spool.store(false, Ordering::Relaxed);
        false
    }

    fn reload(&mut self, settings: Result<Settings, String>) {
        self.shared.live.show(Sign::Reloading);
        let applied = settings.and_then(|settings| {
            let before = self.shared.current();
            if settings.spool != before.settings.spool {
                return Err("the spool can't be changed while running: restart for that".to_owned());
            }
            if settings.cluster != before.settings.cluster || settings.watch != before.settings.watch {
                return Err("cluster and watch can't be changed while running: restart for that".to_owned());
            }
            Current::new(settings).map_err(|error| error.to_string())
        });
        match applied {
            Ok(current) => {
                // First, so that whoever begins to listen now hears of it.
                self.shared.live.reloaded(&current.settings);
                self.shared.replace(current);
                info!("configuration reloaded: each worker takes it up at its next boundary");
                if let Err(error) = self.hire() {
                    error!("cannot start more workers: {error}; the others go on");
                }
                self.shared.live.show(Sign::Reloaded(Ok(())));
            }
            Err(error) => {
                error!("configuration not reloaded, the old one stays in force: {error}");
                self.shared.live.show(Sign::Reloaded(Err(&error)));
            }
        }
    }

    /// Names that may have come or gone.
    fn follow(&mut self, hints: Hints) {
        let mut adopt = [false; Priority::COUNT];
        // Who has come first: what is urgent waits for nothing, and what has only moved is not forgotten in between.
        let (mut come, mut absent) = (HashMap::new(), Vec::new());
        for (priority, name) in &hints.names {
            if hints.rescan[priority.index()] {
                continue;
            }
            match self.look_at(*priority, name) {
                Ok(Looked::Message(name)) => {
                    let known = self.found(*priority, name.clone());
                    // Of what is held nothing is known here: that it went there was told when it left.
                    let is_told = *priority == Priority::Held && self.shared.board.is_told_held(&name);
                    if known != Found::Known && !is_told {
                        come.insert(name.id.clone(), (*priority, name, known));
                    }
                }
                Ok(Looked::Drop) => adopt[priority.index()] = true,
                Ok(Looked::Nothing(name)) => absent.push((*priority, name)),
                Ok(Looked::Strange) => {}
                Err(error) => error!("{}", error.fate("it is looked at again by the next scan")),
            }
        }
        let missing = |(from, name): (Priority, MessageName)| {
            let missing = from.level().map_or(Missing::Unknown, |level| self.shared.board.missing(&name, level));
            (from, name, missing)
        };
        let mut absent: Vec<(Priority, MessageName, Missing)> = absent.into_iter().map(missing).collect();
        // Of one that moved twice in between it is told from where it was believed to be.
        absent.sort_by_key(|(_, _, missing)| *missing == Missing::Unknown);
        for (from, name, missing) in absent {
            if from == Priority::Held {
                self.shared.board.not_held(&name);
            }
            // The kernel tells of a rename's two sides one after the other, and the second may not have come yet.
            if (missing != Missing::Unknown || from == Priority::Held)
                && !come.contains_key(&name.id)
                && let Some(to) = self.whereabouts(&name)
            {
                let known = self.found(to, name.clone());
                // It is back, or a worker has followed it and told so.
                if known == Found::Known || to == from && known == Found::New {
                    continue;
                }
                come.insert(name.id.clone(), (to, name.clone(), known));
            }
            self.tell_absence(from, name, missing, &mut come);
        }
        for (priority, name, known) in come.into_values() {
            self.tell_presence(priority, name, known);
        }
        for priority in Priority::all() {
            if hints.rescan[priority.index()] {
                self.scan(priority);
            } else if adopt[priority.index()] {
                self.adopt(priority);
            }
        }
    }

    /// One name in a priority's directory.
    fn look_at(&mut self, priority: Priority, name: &OsStr) -> Result<Looked, DiskError> {
        let name = match layout::parse(name) {
            Ok(Entry::Message(name)) => name,
            Ok(Entry::FlatPart(..)) => return Ok(Looked::Strange),
            Err(error) => {
                self.tell_stranger(priority, name, &error.reason);
                return Ok(Looked::Strange);
            }
        };
        Ok(match self.shared.spool.at(priority).look(&name.to_string())? {
            Some(look) if look.kind == Kind::Directory => Looked::Message(name),
            Some(_) => Looked::Drop,
            None => Looked::Nothing(name),
        })
    }

    fn found(&self, priority: Priority, name: MessageName) -> Found {
        // What is held is nobody's work: the board doesn't even hear of it.
        let Priority::At(level) = priority else { return Found::New };
        let id = name.id.clone();
        self.shared.board.not_held(&name);
        let found = self.shared.board.found(name, level, clock::now());
        if found == Found::New {
            info!(message_id = %id, priority = %level, "message has arrived");
        }
        found
    }

    /// At which priority a folder of that name is now.
    fn whereabouts(&self, name: &MessageName) -> Option<Priority> {
        let text = name.to_string();
        let is_there = |look: Option<Look>| look.is_some_and(|look| look.kind == Kind::Directory);
        Priority::all().find(|priority| self.shared.spool.at(*priority).look(&text).is_ok_and(is_there))
    }

    /// Tells that a message is not at `from` any more: where it went, if that was seen in the same look around.
    fn tell_absence(&self, from: Priority, name: MessageName, missing: Missing, come: &mut Come) {
        let message = name.id.clone();
        let there = come.remove(&message);
        let from = match there {
            Some((_, _, Found::From(told))) => told,
            _ => from,
        };
        match there {
            Some((Priority::Held, now, _)) if from != Priority::Held => {
                // A worker that is on it may have seen it at its boundary.
                let is_news = self.shared.board.held(&now);
                if is_news {
                    self.shared.tell_requeued(&now, from, Priority::Held);
                }
            }
            Some((to, now, _)) if to != from => self.shared.tell_requeued(&now, from, to),
            Some((priority, now, _)) => {
                let not_before = now.not_before().map(|at| at.0);
                self.shared.tell(|| Happening::Rescheduled { message, priority, not_before });
            }
            None if missing == Missing::Forgotten || from == Priority::Held => self.shared.tell_gone(&name),
            // A worker is on it, and tells at its boundary.
            None => {}
        }
    }

    fn tell_presence(&self, priority: Priority, name: MessageName, known: Found) {
        let (message, not_before) = (name.id.clone(), name.not_before().map(|at| at.0));
        match known {
            Found::New => self.shared.tell(|| Happening::Arrived { message, priority, not_before }),
            Found::From(from) => {
                self.shared.tell_requeued(&name, from, priority);
            }
            Found::Known => {}
        }
    }

    /// Lists one directory.
    fn scan(&mut self, priority: Priority) {
        let entries = match self.shared.spool.at(priority).list() {
            Ok(entries) => entries,
            Err(error) => {
                error!("{}", error.fate("its messages wait until it can be listed"));
                return;
            }
        };
        self.shared.board.begin_look();
        let mut found = Vec::new();
        let mut drops = false;
        for (name, kind) in entries {
            match layout::parse(&name) {
                Ok(Entry::Message(name)) if kind == Kind::Directory => found.push(name),
                Ok(Entry::Message(_)) => drops = true,
                Ok(Entry::FlatPart(..)) => {}
                Err(error) => self.tell_stranger(priority, &name, &error.reason),
            }
        }
        // A directory lists in no order; messages of one second go by their ids then, the same at every start.
        found.sort_unstable_by(|a, b| (a.id.arrival(), &a.id).cmp(&(b.id.arrival(), &b.id)));
        for name in found {
            let known = self.found(priority, name.clone());
            // Those that are held are not known here; who wants to know them lists them.
            if priority != Priority::Held {
                self.tell_presence(priority, name, known);
            }
        }
        if let Priority::At(level) = priority {
            for name in self.shared.board.end_look(level) {
                self.shared.tell_gone(&name);
            }
        }
        if drops {
            self.adopt(priority);
        }
    }

    fn scan_drops(&mut self) {
        for priority in Priority::all() {
            if std::mem::take(&mut self.scan_again[priority.index()]) {
                self.adopt(priority);
            }
        }
    }

    fn adopt(&mut self, priority: Priority) {
        let Ok(Some(_turn)) = self.shared.claims.try_turn(&claim::Shared::Incoming) else {
            // Another host is at it, or nobody can be asked.
            self.scan_again[priority.index()] = true;
            return;
        };
        match adopt::adopt(&self.shared.spool, priority, clock::epoch()) {
            Ok(None) => self.scan_again[priority.index()] = true,
            Ok(Some(adoptions)) => {
                for adoption in adoptions {
                    self.adopted(priority, adoption);
                }
            }
            Err(error) => error!("{}", error.fate("flat drops wait where they are for the next scan")),
        }
    }

    fn adopted(&mut self, place: Priority, adoption: Adoption) {
        match adoption {
            Adoption::Adopted(priority, name) => {
                info!(message_id = %name.id, %priority, "flat drop is adopted");
                let known = self.found(priority, name.clone());
                self.tell_presence(priority, name, known);
            }
            Adoption::SetAside(id, why) => warn!(message_id = %id, "flat drop is set aside in bad/: {why}"),
            Adoption::NotYet(_) => self.scan_again[place.index()] = true,
        }
    }

    fn tidy(&mut self) {
        // Mostly there is nothing, and nobody need be asked for a turn at it.
        if self.shared.spool.incoming().list().is_ok_and(|left| left.is_empty()) {
            return;
        }
        let Ok(Some(_turn)) = self.shared.claims.try_turn(&claim::Shared::Incoming) else { return };
        match adopt::tidy(&self.shared.spool, clock::epoch(), LEFTOVERS) {
            Ok(adoptions) => {
                for adoption in adoptions {
                    self.adopted(Priority::Held, adoption);
                }
            }
            Err(error) => error!("{}", error.fate("what crashes left under incoming/ stays there until the next scan")),
        }
    }

    /// A name that is none of the grammar's is left alone: it may be a producer's work in progress.
    fn tell_stranger(&mut self, priority: Priority, name: &OsStr, why: &str) {
        // Names that begin with a dot are how producers hide what is not finished.
        if name.as_encoded_bytes().starts_with(b".") || self.told.len() > 1000 {
            return;
        }
        if self.told.insert((priority, name.to_owned())) {
            let name = name.display();
            warn!("distribute/{priority}/{name} is left where it is and not sent: {why}");
        }
    }

    /// No new transaction; what is behind its final dot is waited for.
    fn stop(mut self, control: &Receiver<Control>) -> Summary {
        let grace = self.shared.current().settings.run.shutdown_grace;
        info!(?grace, "stopping: no new transaction; final dots that are out are waited for");
        self.shared.interrupt.raise(grace);
        self.shared.board.stop();
        // The workers hold the other ends: when the last one drops its own, this channel says so.
        self.alive.0 = None;
        let deadline = after(grace + JOIN_SLACK);
        let pulse = self.pulse();
        let mut control = control.clone();
        loop {
            select! {
                recv(self.alive.1) -> _ => break,
                recv(deadline) -> _ => return self.give_up(),
                recv(pulse) -> _ => self.shared.live.show(Sign::Alive(self.shared.live.readiness())),
                recv(control) -> order => match order {
                    Ok(Control::Stop | Control::StopNow) => return self.give_up(),
                    Ok(Control::Reload(_)) => {}
                    Err(_) => control = never(),
                },
            }
        }
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                error!("a worker had panicked; what it was sending may be sent again");
            }
        }
        // What a worker that is cut off holds is not given back: it may be in the middle of a transaction.
        self.shared.claims.leave();
        info!("stopped");
        self.shared.tell(|| Happening::SchedulerStopped { host: running::host(), pid: std::process::id() });
        Summary { uncertain: std::mem::take(&mut self.shared.uncertain.lock()) }
    }

    fn give_up(self) -> Summary {
        self.shared.board.stop();
        let mut uncertain = std::mem::take(&mut *self.shared.uncertain.lock());
        for place in &self.shared.in_flight {
            let in_flight = place.try_lock().and_then(|at| at.as_ref().map(ToString::to_string));
            uncertain.extend(in_flight.filter(|one| !uncertain.contains(one)));
        }
        for transaction in &uncertain {
            warn!(transaction, "ended in the middle of a transaction: its recipients may get the message twice");
        }
        Summary { uncertain }
    }
}

impl std::fmt::Display for super::shared::InFlight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let packet = FileName::Packet(self.packet.clone());
        write!(f, "{} {packet} recipients {}..{}", self.message.folder.id(), self.from + 1, self.to)
    }
}
