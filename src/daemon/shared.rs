//! What all threads of one scheduler share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Mutex, RwLock};
use tracing::{debug, error, warn};

use crate::claim::Claims;
use crate::deliver::{self, Interrupt, Limits, Relay};
use crate::mail::{Epoch, Level, MessageId, Moment, PacketName};
use crate::spool::Spool;
use crate::spool::disk::DiskError;
use crate::spool::layout::packet_file;
use crate::spool::running::{self, Pace, Running, Scheduler};

use super::board::{Board, ListLimit};
use super::clock;
use super::crew::Crew;
use super::events::Happening;
use super::live::Live;
use super::message::OpenMessage;
use super::pauses::Pauses;
use super::rate::Rates;
use super::relays::Relays;
use super::settings::{MAX_EXPRESS, Settings};
use super::transaction::Suspicion;

/// See the module.
pub struct Shared {
    pub spool: Spool,
    pub board: Board,
    pub claims: Arc<dyn Claims>,
    pub pauses: Pauses,
    pub interrupt: Interrupt,
    /// One a worker, for what a second TERM has to say.
    pub in_flight: Vec<Mutex<Option<InFlight>>>,
    /// Recipients of which nobody knows whether they got the message, since the start.
    pub uncertain_recipients: AtomicU64,
    /// Transactions that a stop left without a known, or without a recorded, end.
    pub uncertain: Mutex<Vec<String>>,
    /// The log has been told that the spool can't be written to.
    pub has_no_room: AtomicBool,
    /// Workers that wait to record what was sent.
    pub unrecorded: AtomicUsize,
    /// Messages that can't be read for now, and what the log was told of them.
    troubled: Mutex<HashMap<MessageId, String>>,
    current: RwLock<Arc<Current>>,
    /// What `queue` shows of this process. `None`: it could not be made yet, which is no matter of the mail's.
    running: Mutex<Option<Running>>,
    since: Epoch,
    /// How fast it went when that was looked at last.
    rates: Mutex<Arc<Rates>>,
    /// The scheduler's thread knows that something is being sent.
    is_stirred: AtomicBool,
    stirred: (Sender<()>, Receiver<()>),
    pub live: Arc<Live>,
    /// New messages are found at once, or soon: the kernel tells of them, or the directories are polled.
    pub is_watching: AtomicBool,
    /// The spool is not at its path any more, or can't be listed.
    pub has_no_spool: AtomicBool,
}

/// The settings in force, and what is made of them. Replaced as a whole by a reload.
pub struct Current {
    pub settings: Settings,
    pub relays: Arc<Relays>,
    /// Messages of which everything was refused lately, for the mistake guard.
    pub suspicions: Mutex<HashMap<MessageId, Suspicion>>,
}

/// The recipients that a worker is sending to.
pub struct InFlight {
    pub message: Arc<OpenMessage>,
    pub packet: PacketName,
    /// Of the packet.
    pub recipients: usize,
    /// Indices in the packet.
    pub from: usize,
    pub to: usize,
    /// Where the message stands.
    pub level: Level,
    /// Since when the worker has the packet.
    pub since: Moment,
}

impl Current {
    pub fn new(settings: Settings) -> Result<Current, deliver::SetupError> {
        let relays: Vec<(Arc<dyn Relay>, Limits)> = settings
            .relays
            .iter()
            .map(|relay| Ok((relay.build()?, relay.limits)))
            .collect::<Result<_, deliver::SetupError>>()?;
        let relays =
            Arc::new(Relays::new(relays, settings.breaker, settings.run.workers.get(), settings.run.express_workers));
        Ok(Current { settings, relays, suspicions: Mutex::default() })
    }
}

impl Current {
    /// Whether a worker could be given a connection; else, when to ask again.
    pub fn may_connect(&self, crew: Crew, now: Instant) -> Result<(), Instant> {
        let by_list = self.settings.lists.0.iter().any(|list| list.relays.is_some());
        self.relays.may_pick(crew, by_list, now)
    }
}

impl Shared {
    pub fn new(
        spool: Spool,
        board: Board,
        claims: Arc<dyn Claims>,
        interrupt: Interrupt,
        current: Current,
        live: Arc<Live>,
    ) -> Shared {
        let in_flight = (0..MAX_WORKERS + MAX_EXPRESS).map(|_| Mutex::new(None)).collect();
        let (uncertain, uncertain_recipients) = (Mutex::default(), AtomicU64::new(0));
        let current = RwLock::new(Arc::new(current));
        let running = begin_running(&spool);
        let running = running.inspect_err(|error| {
            warn!("{error}; until it can be made, `queue` does not show this scheduler; mail is not concerned");
        });
        let running = Mutex::new(running.ok());
        let since = clock::epoch();
        let has_no_room = AtomicBool::new(false);
        Shared {
            has_no_room,
            unrecorded: AtomicUsize::new(0),
            troubled: Mutex::default(),
            spool,
            board,
            claims,
            pauses: Pauses::default(),
            interrupt,
            in_flight,
            uncertain_recipients,
            uncertain,
            current,
            running,
            since,
            rates: Mutex::default(),
            is_stirred: AtomicBool::new(false),
            stirred: bounded(1),
            live,
            is_watching: AtomicBool::new(false),
            has_no_spool: AtomicBool::new(false),
        }
    }

    /// Tells whoever listens.
    pub fn tell(&self, what: impl FnOnce() -> Happening) {
        self.live.events.tell(what);
    }

    /// Whether the spool is there, whether it has room, and whether it is watched.
    pub fn health(&self) -> (bool, bool, bool) {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let has_room = !is(&self.has_no_room) && self.unrecorded.load(Ordering::Relaxed) == 0;
        (!is(&self.has_no_spool), has_room, is(&self.is_watching))
    }

    /// Something of a message can't be read for now; it is tried again and again, and told of once.
    pub fn tell_trouble(&self, id: &MessageId, error: DiskError) {
        let error = error.to_string();
        let before = self.troubled.lock().insert(id.clone(), error.clone());
        if before.as_ref() != Some(&error) {
            error!(message_id = %id, "{error}");
        }
    }

    pub fn is_well(&self, id: &MessageId) {
        let mut troubled = self.troubled.lock();
        if !troubled.is_empty() {
            troubled.remove(id);
        }
    }

    /// What this worker has in flight will be sent again after the stop that is under way.
    pub fn leaves_uncertain(&self, worker: usize) {
        if let Some(in_flight) = &*self.in_flight[worker].lock() {
            self.uncertain.lock().push(in_flight.to_string());
        }
    }

    /// A worker has something to send: tells the scheduler's thread, if that believes that all of them wait.
    pub fn stir(&self) {
        if !self.is_stirred.swap(true, Ordering::SeqCst) {
            // Full: it has been told already.
            let _ = self.stirred.0.try_send(());
        }
    }

    /// For the scheduler's thread: when a worker has something to send, and it did not know.
    pub fn stirred(&self) -> &Receiver<()> {
        &self.stirred.1
    }

    /// What the scheduler's thread knows. It says `false` before it looks who works: whoever begins behind that look tells.
    pub fn set_stirred(&self, is_stirred: bool) {
        self.is_stirred.store(is_stirred, Ordering::SeqCst);
    }

    pub fn set_rates(&self, rates: Rates) {
        *self.rates.lock() = Arc::new(rates);
    }

    pub fn rates(&self) -> Arc<Rates> {
        self.rates.lock().clone()
    }

    fn work(&self) -> Vec<running::Work> {
        let work = |(worker, slot): (usize, &Mutex<Option<InFlight>>)| {
            let slot = slot.lock();
            let at = slot.as_ref()?;
            Some(running::Work {
                worker,
                message: at.message.folder.id().to_string(),
                packet: packet_file(&at.packet),
                priority: at.level.to_string(),
                recipients: at.recipients as u64,
                done: at.from as u64,
                since: at.since.epoch().0,
            })
        };
        self.in_flight.iter().enumerate().filter_map(work).collect()
    }

    /// Lets others know how this process and its relays are, and what its workers are on.
    pub fn publish(&self) {
        let mut running = self.running.lock();
        if running.is_none() {
            *running = begin_running(&self.spool).ok();
        }
        let Some(running) = &*running else { return };
        let (current, rates) = (self.current(), self.rates());
        let levels = &self.live.tally.levels;
        let scheduler = Scheduler {
            host: running::host(),
            pid: std::process::id(),
            since: self.since.0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            workers: current.settings.run.workers.get() + current.settings.run.express_workers,
            relays: current.relays.report(Instant::now(), clock::epoch()),
            work: self.work(),
            rates: rates.messages.clone(),
            sent: std::array::from_fn(|level| levels[level].sent.get()),
            pace: Pace {
                rate: rates.all,
                levels: rates.levels,
                passed: std::array::from_fn(|level| levels[level].passed.get()),
            },
            written: clock::epoch().0,
            silent: None,
        };
        if let Err(error) = running.write(&scheduler) {
            debug!("{}", error.fate("`queue` shows what was known of this scheduler before"));
        }
    }

    pub fn current(&self) -> Arc<Current> {
        self.current.read().clone()
    }

    pub fn replace(&self, current: Current) {
        let still = self.pauses.hold_still();
        current.relays.pause(&self.pauses.in_force().relays());
        self.board.set_policy(current.settings.policy(), list_limit(&current.settings));
        *self.current.write() = Arc::new(current);
        // What waits for a window may have another one now.
        self.board.pauses_changed(&self.pauses.in_force());
        drop(still);
        self.publish();
        self.board.wake();
        self.tell(|| Happening::Reloaded);
    }
}

fn begin_running(spool: &Spool) -> Result<Running, DiskError> {
    Running::begin(spool, &running::host(), std::process::id())
}

/// How many workers a list's messages may have together.
pub fn list_limit(settings: &Settings) -> ListLimit {
    let lists = settings.lists.clone();
    // More than 2^32 is any number.
    Box::new(move |list| lists.max_workers(list).and_then(|most| most.try_into().ok()))
}

/// A reload may raise the number of workers up to this. Express workers have the indices from here on.
pub const MAX_WORKERS: usize = 1024;
