//! The scheduler thread: starts everything, has messages looked for when there is a reason to, and obeys, until it is told to
//! stop.
//!
//! The watch is armed before the first scan, and every directory is listed now and then whatever the watch says: the scan
//! is the truth, the watch is a hint ([`super::finding`]). A crash in here loses nothing: the next start scans.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, at, bounded, never, select, tick};
use tracing::{error, info, warn};

use crate::deliver::{self, Interrupt};
use crate::mail::Priority;
use crate::spool::disk::{Disk, DiskError};
use crate::spool::layout::FileName;
use crate::spool::progress::Sync;
use crate::spool::running;
use crate::spool::{Place, Spool};

use super::board::Board;
use super::clock::{self, Set};
use super::events::Happening;
use super::hints::Desk;
use super::live::Live;
use super::poll::Poll;
use super::settings::{MAX_EXPRESS, Settings, WatchMode, WatchSettings};
use super::shared::{self, Current, MAX_WORKERS, Shared};
use super::sharing;
use super::showing::Showing;
use super::supervisor::Sign;
use super::watch::Watch;
use super::way::Missed;
use super::worker::Worker;

/// What a signal handler, or a program that embeds the scheduler, may ask for.
pub enum Control {
    /// Stop: nothing new starts, what is not behind its final dot is dropped, the rest is waited for during the grace.
    Stop,
    /// End at once; say what may be repeated.
    StopNow,
    /// New settings, of which some wait for the next start ([`Settings::taken_up`]), or what was wrong with them.
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
        has_looked: false,
        missed: Missed::default(),
        has_gone: false,
        hands: clock::Hands::watch(),
    };
    scheduler.start()?;
    Ok(scheduler.obey(control, &watched))
}

/// Has no value.
pub(super) enum Never {}

pub(super) struct Scheduler {
    pub(super) shared: Arc<Shared>,
    pub(super) desk: Arc<Desk>,
    pub(super) watch: Option<Watch>,
    pub(super) poll: Option<Poll>,
    pub(super) workers: Vec<thread::JoinHandle<()>>,
    /// Each worker has a clone of the sender, and nothing is ever sent.
    pub(super) alive: (Option<Sender<Never>>, Receiver<Never>),
    /// Strange names that the log has named already.
    pub(super) told: HashSet<(Priority, std::ffi::OsString)>,
    /// Directories in which a flat drop is still being written.
    pub(super) scan_again: [bool; Priority::COUNT],
    /// Its directories were listed once.
    pub(super) has_looked: bool,
    pub(super) missed: Missed,
    /// The spool is not at its path any more.
    pub(super) has_gone: bool,
    pub(super) hands: clock::Hands,
}

impl Scheduler {
    fn start(&mut self) -> Result<(), RunError> {
        let settings = self.shared.current();
        let started = Instant::now();
        self.tidy();
        self.shared.look_for_pauses();
        self.scan();
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
            let missed = self.missed.next_due().map_or_else(never, at);
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
                recv(missed) -> _ => self.give_up_missed(),
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
                    self.tidy();
                    self.shared.look_for_pauses();
                    self.scan();
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
            // What is in force has what the start brought.
            let settings = settings.taken_up(&self.shared.current().settings);
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
        self.missed.drain().for_each(|last| self.shared.tell_gone(&last.name));
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
