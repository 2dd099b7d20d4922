//! What a running scheduler shows of itself to the rest of its process: events, numbers, and who works on what.
//!
//! Made before the scheduler and handed to it, so that it outlives a change of spool. Looking costs the looker a copy and
//! the workers nothing that they would notice: every lock here is held for a copy of a few words.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use crate::mail::{Level, MessageId, Moment, PacketName};
use crate::spool::running;

use super::clock;
use super::events::Events;
use super::rate::Rates;
use super::settings::Settings;
pub use super::shared::Current;
use super::shared::{MAX_WORKERS, Shared};
use super::supervisor::{Sign, Supervisor};
use super::tally::Tally;

/// See the module.
#[derive(Default)]
pub struct Live {
    pub events: Events,
    pub tally: Tally,
    supervisor: Option<Box<dyn Supervisor>>,
    reloaded: RwLock<Option<Box<Heed>>>,
    scheduler: RwLock<Weak<Shared>>,
}

/// Whoever in this process has settings of its own.
pub type Heed = dyn Fn(&Live, &Settings) + Send + Sync;

/// A worker that has a packet.
#[derive(Clone, Debug)]
pub struct Working {
    pub worker: usize,
    pub message: MessageId,
    pub level: Level,
    pub packet: PacketName,
    /// Recipients of the packet.
    pub recipients: usize,
    /// Behind the checkpoint.
    pub done: usize,
    /// Since when this worker has the packet.
    pub since: Moment,
}

/// A relay, and how much of it is used.
#[derive(Clone, Debug)]
pub struct RelayState {
    pub relay: running::Relay,
    pub connections: usize,
    /// As many connections as it is given now.
    pub allowed: usize,
}

/// Whether mail could be sent now, and what is in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// The spool is where it was, and could be listed.
    pub spool: bool,
    /// There is room to record what is sent.
    pub room: bool,
    /// The kernel's watch is armed: new messages are found at once.
    pub watch: bool,
    /// Some relay is in use.
    pub relay: bool,
}

impl Readiness {
    pub fn is_ready(&self) -> bool {
        *self == Readiness { spool: true, room: true, watch: true, relay: true }
    }
}

impl Live {
    /// For a scheduler that somebody watches over.
    pub fn supervised(supervisor: Box<dyn Supervisor>) -> Live {
        Live { supervisor: Some(supervisor), ..Live::default() }
    }

    /// For the scheduler's thread: tells the supervisor, if there is one.
    pub(super) fn show(&self, sign: Sign<'_>) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.hear(sign);
        }
    }

    /// Is told, by the scheduler's thread, of settings that a reload has put in force.
    pub fn on_reload(&self, heed: Box<Heed>) {
        *self.reloaded.write() = Some(heed);
    }

    pub(super) fn reloaded(&self, settings: &Settings) {
        if let Some(heed) = &*self.reloaded.read() {
            heed(self, settings);
        }
    }

    pub(super) fn heartbeat(&self) -> Option<Duration> {
        self.supervisor.as_ref()?.heartbeat()
    }

    pub(super) fn attach(&self, scheduler: &Arc<Shared>) {
        *self.scheduler.write() = Arc::downgrade(scheduler);
    }

    fn scheduler(&self) -> Option<Arc<Shared>> {
        self.scheduler.read().upgrade()
    }

    /// The settings in force, and what is made of them.
    pub fn current(&self) -> Option<Arc<Current>> {
        self.scheduler().map(|shared| shared.current())
    }

    /// Who works on what now, by worker.
    pub fn working(&self) -> Vec<Working> {
        let Some(shared) = self.scheduler() else { return Vec::new() };
        let working = |(worker, slot): (usize, &parking_lot::Mutex<Option<super::shared::InFlight>>)| {
            let slot = slot.lock();
            let at = slot.as_ref()?;
            Some(Working {
                worker,
                message: at.message.folder.id().clone(),
                level: at.level,
                packet: at.packet.clone(),
                recipients: at.recipients,
                done: at.from,
                since: at.since,
            })
        };
        shared.in_flight.iter().enumerate().filter_map(working).collect()
    }

    /// How fast it goes, as of a second ago.
    pub fn rates(&self) -> Arc<Rates> {
        self.scheduler().map(|shared| shared.rates()).unwrap_or_default()
    }

    /// The numbers of the threads that could work: those of express workers begin at [`MAX_WORKERS`].
    pub fn workers(&self) -> Vec<usize> {
        let Some(shared) = self.scheduler() else { return Vec::new() };
        let run = shared.current().settings.run.clone();
        (0..run.workers.get()).chain(MAX_WORKERS..MAX_WORKERS + run.express_workers).collect()
    }

    pub fn relays(&self) -> Vec<RelayState> {
        let Some(shared) = self.scheduler() else { return Vec::new() };
        let relays = &shared.current().relays;
        let (report, used) = (relays.report(Instant::now(), clock::epoch()), relays.used());
        let state = |(relay, (connections, allowed))| RelayState { relay, connections, allowed };
        report.into_iter().zip(used).map(state).collect()
    }

    /// Looks whether the spool is where it was; what is known of that may be as old as the last scan. Waits for the disk.
    pub fn looks_at_the_spool(&self) -> bool {
        self.scheduler().is_some_and(|shared| shared.spool.seems_here())
    }

    pub fn readiness(&self) -> Readiness {
        let Some(shared) = self.scheduler() else { return Readiness::default() };
        let (spool, room, watch) = shared.health();
        Readiness { spool, room, watch, relay: self.relays().iter().any(|state| state.relay.state != "open") }
    }
}
