//! What is known of every message in the spool, for whoever asks, at once and without a look at the disk.
//!
//! A thread of its own reads each message's folder once, when it hears of it, and follows the scheduler's events from
//! then on. Events are hints: with every scan of the scheduler, after events that were lost, and at the start, the view
//! is compared with a listing of the directories; a message that nobody works on any more is read again. So it may lag
//! by what is under way, and never drifts.

mod known;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};
use tracing::{debug, warn};

use crate::daemon::clock;
use crate::daemon::events::{Event, Happening, Subscription};
use crate::daemon::live::Live;
use crate::daemon::rate::time_left;
use crate::mail::{Epoch, MessageId, Moment, Priority};
use crate::spool::census::{self, Message};
use crate::spool::disk::Disk;
use crate::spool::layout::{FileName, MessageName};
use crate::spool::pause::{self, Paused};
use crate::spool::{Result, Spool};

use super::by_id::ById;
use super::history::{History, Minute};
use super::preemptions::{self, Preemptions};
use super::row::{LevelRow, ListRow, PacketRow, Row};
use known::{Known, Surroundings};

/// See the module.
pub struct View {
    pub live: Arc<Live>,
    spool: PathBuf,
    model: Mutex<Model>,
    /// For those who listen over the network: who is slow loses some, and is told.
    outgoing: broadcast::Sender<Arc<Event>>,
    reloads: watch::Sender<()>,
}

struct Model {
    messages: ById<Known>,
    /// Whether every folder has been read at least once.
    counted: bool,
    pauses: Vec<Paused>,
    history: History,
    preemptions: Preemptions,
    /// How often the directories were looked at.
    look: u32,
}

/// The queue as a whole.
pub struct Summary {
    pub levels: Vec<LevelRow>,
    pub counted: bool,
    pub rate: f64,
    /// Seconds until all is sent that nothing is in the way of, at that rate.
    pub time_left: Option<f64>,
    pub history: Vec<Minute>,
    pub pauses: Vec<Paused>,
}

/// What stands where, and what is paused.
type Listed = (Vec<(Priority, Vec<MessageName>)>, Vec<Paused>);

/// Events that may wait for the view's thread; beyond that it looks at the spool.
const ROOM: usize = 16 * 1024;
/// Events that may wait for a listener.
const OUTGOING: usize = 4096;
const TICK: Duration = Duration::from_secs(1);

impl View {
    /// Listens from now on. The thread ends with the process.
    pub fn start(live: Arc<Live>, spool: &Path) -> std::io::Result<Arc<View>> {
        let subscription = live.events.subscribe(ROOM);
        let (outgoing, _) = broadcast::channel(OUTGOING);
        let model = Mutex::new(Model::begin(clock::now()));
        let view = Arc::new(View { live, spool: spool.to_owned(), model, outgoing, reloads: watch::Sender::default() });
        let follower = view.clone();
        std::thread::Builder::new().name("view".into()).spawn(move || follower.follow(&subscription))?;
        Ok(view)
    }

    /// What happens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<Event>> {
        self.outgoing.subscribe()
    }

    /// Changes with each configuration that came into force from now on.
    pub fn reloads(&self) -> watch::Receiver<()> {
        self.reloads.subscribe()
    }

    pub fn spool(&self) -> &Path {
        &self.spool
    }

    fn follow(&self, subscription: &Subscription) {
        // Mail comes first.
        let _ = rustix::process::setpriority_process(None, 10);
        let mut unread: VecDeque<MessageId> = VecDeque::new();
        // What is sent is more than nothing.
        let mut is_busy = self.tick();
        loop {
            // Events first; folders are read while there are none; with neither, it sleeps.
            let event = match (unread.is_empty(), is_busy) {
                (false, _) => subscription.events.recv_timeout(Duration::ZERO),
                (true, true) => subscription.events.recv_timeout(TICK),
                (true, false) => subscription.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match event {
                Ok(event) => {
                    use Happening as H;
                    let compare =
                        matches!(event.what, H::SchedulerStarted { .. } | H::Scanned | H::PausesChanged { .. });
                    if event.what == H::Reloaded {
                        self.reloads.send_replace(());
                    }
                    self.model.lock().apply(&event, &mut unread);
                    // Nobody may be listening.
                    let _ = self.outgoing.send(event);
                    if compare || subscription.take_lost() > 0 {
                        self.compare(&mut unread);
                    }
                    is_busy = true;
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => match unread.pop_front() {
                    Some(id) => self.read(&id),
                    None => {
                        is_busy = self.tick();
                    }
                },
            }
            if unread.is_empty() {
                self.model.lock().counted = true;
                // Many at the start, and never again.
                unread.shrink_to(64);
            }
        }
    }

    /// A sample of how things are. Whether anything goes on.
    fn tick(&self) -> bool {
        let working = self.live.working();
        let mut model = self.model.lock();
        let now = clock::now();
        let queued = model.queued();
        model.history.sample(now, &self.live.tally, queued);
        for id in working.iter().map(|working| &working.message).collect::<HashSet<_>>() {
            if let Some(known) = model.messages.get_mut(id) {
                let done = known.done(&working);
                known.sample(now, done);
            }
        }
        !working.is_empty()
    }

    fn open(&self) -> Result<Spool> {
        Spool::open(&Disk::default(), &self.spool)
    }

    /// Compares with the directories' names.
    fn compare(&self, unread: &mut VecDeque<MessageId>) {
        let listed = || -> Result<Listed> {
            let spool = self.open()?;
            let names = |priority| Ok((priority, spool.messages(priority)?));
            Ok((Priority::all().map(names).collect::<Result<_>>()?, pause::list(&spool, clock::epoch())?))
        };
        match listed() {
            Ok((present, pauses)) => {
                let mut model = self.model.lock();
                model.pauses = pauses;
                model.look = model.look.wrapping_add(1);
                for (priority, names) in present {
                    for name in names {
                        model.place(&name.id.clone(), priority, Some(name), unread);
                    }
                }
                let look = model.look;
                model.messages.retain(|known| known.look == look);
                let Model { messages, preemptions, .. } = &mut *model;
                preemptions.end_of_those_gone(clock::now(), |id| messages.get(id).is_some());
            }
            Err(error) => warn!("{}", error.fate("what is shown over HTTP may be old; mail is not concerned")),
        }
    }

    /// Reads a message's folder.
    fn read(&self, id: &MessageId) {
        // What is being sent tells of itself; it is read again once nobody works on it.
        match self.model.lock().messages.get(id).map(Known::is_read) {
            None => return,
            Some(true) if self.live.working().iter().any(|at| at.message == *id) => return,
            Some(_) => {}
        }
        let message = || -> Result<Option<Message>> {
            let spool = self.open()?;
            let Some((priority, name)) = spool.locate(id)? else { return Ok(None) };
            census::figures(&spool, priority, &name)
        };
        match message() {
            Ok(Some(message)) => {
                let mut model = self.model.lock();
                if let Some(known) = model.messages.get_mut(id) {
                    known.take_in(message);
                }
            }
            Ok(None) => self.model.lock().messages.remove(id),
            // The scheduler says it where people look.
            Err(error) => debug!("{}", error.fate("its figures are not shown")),
        }
    }

    fn surroundings(&self) -> Surroundings {
        let (working, relays, current) = (self.live.working(), self.live.relays(), self.live.current());
        let has_room = self.live.readiness().room;
        Surroundings { now: clock::now(), working, relays, current, has_room }
    }

    pub fn summary(&self) -> Summary {
        let around = self.surroundings();
        let mut model = self.model.lock();
        let queued = model.queued();
        model.history.sample(around.now, &self.live.tally, queued);
        let mut levels: Vec<LevelRow> = Priority::all().map(LevelRow::empty).collect();
        let circumstances = around.circumstances(&model.pauses);
        for known in model.messages.values() {
            let tally = known.tally(&around);
            let stuck = known.stuck(tally.state, &circumstances);
            levels[known.priority.index()].add(&tally, stuck.map(|stuck| stuck.reason()));
        }
        for (row, rate) in levels.iter_mut().zip(&model.history.levels) {
            row.rate = rate.at(around.now);
            row.time_left = time_left(row.going, row.rate);
        }
        let rate = model.history.all.at(around.now);
        Summary {
            time_left: time_left(levels.iter().map(|level| level.going).sum(), rate),
            levels,
            counted: model.counted,
            rate,
            history: model.history.minutes(),
            pauses: model.pauses.clone(),
        }
    }

    /// Recipients a second.
    pub fn rate(&self) -> f64 {
        let now = clock::now();
        let mut model = self.model.lock();
        let queued = model.queued();
        model.history.sample(now, &self.live.tally, queued);
        model.history.all.at(now)
    }

    pub fn preemptions(&self) -> preemptions::Told {
        self.model.lock().preemptions.told()
    }

    /// The `most` lists with the most to send, and all others as one.
    pub fn lists(&self, most: usize) -> Vec<ListRow> {
        let around = self.surroundings();
        let model = self.model.lock();
        let mut lists: HashMap<&str, ListRow> = HashMap::new();
        for known in model.messages.values() {
            lists.entry(known.id.list()).or_default().add(&known.tally(&around));
        }
        let named = |(list, row): (&str, ListRow)| ListRow { list: list.to_owned(), ..row };
        ListRow::leading(lists.into_iter().map(named).collect(), most)
    }

    /// The messages that `is_wanted`, in no order.
    pub fn rows(&self, is_wanted: impl Fn(&Row) -> bool) -> Vec<Row> {
        let around = self.surroundings();
        let model = self.model.lock();
        let circumstances = around.circumstances(&model.pauses);
        let rows = model.messages.values().map(|known| known.row(&around, &circumstances));
        rows.filter(|row| is_wanted(row)).collect()
    }

    /// Those of them that are there.
    pub fn rows_of(&self, ids: &HashSet<MessageId>) -> Vec<Row> {
        let around = self.surroundings();
        let model = self.model.lock();
        let circumstances = around.circumstances(&model.pauses);
        ids.iter().filter_map(|id| Some(model.messages.get(id)?.row(&around, &circumstances))).collect()
    }

    /// Those that somebody works on now.
    pub fn active_rows(&self) -> Vec<Row> {
        let around = self.surroundings();
        let model = self.model.lock();
        let active: HashSet<&MessageId> = around.working.iter().map(|working| &working.message).collect();
        let circumstances = around.circumstances(&model.pauses);
        active.into_iter().filter_map(|id| Some(model.messages.get(id)?.row(&around, &circumstances))).collect()
    }

    pub fn row(&self, id: &MessageId) -> Option<(Row, Vec<PacketRow>)> {
        let around = self.surroundings();
        let model = self.model.lock();
        let known = model.messages.get(id)?;
        let circumstances = around.circumstances(&model.pauses);
        Some((known.row(&around, &circumstances), known.packet_rows(&around.working)))
    }
}

impl Model {
    fn begin(now: Moment) -> Model {
        Model {
            messages: ById::default(),
            counted: false,
            pauses: Vec::new(),
            history: History::default(),
            preemptions: Preemptions::begin(now),
            look: 0,
        }
    }

    fn queued(&self) -> [u32; Priority::COUNT] {
        let mut queued = [0; Priority::COUNT];
        self.messages.values().for_each(|known| queued[known.priority.index()] += 1);
        queued
    }

    /// The message stands there; one that is new, or was held or released, is read.
    fn place(
        &mut self,
        id: &MessageId,
        priority: Priority,
        name: Option<MessageName>,
        unread: &mut VecDeque<MessageId>,
    ) {
        let held = |priority: Priority| priority == Priority::Held;
        match self.messages.get_mut(id) {
            Some(known) => {
                let again = held(known.priority) != held(priority);
                known.priority = priority;
                known.look = self.look;
                if let Some(name) = name {
                    known.set_not_before(name.not_before());
                }
                if again {
                    unread.push_back(id.clone());
                }
            }
            None => {
                let name = name.unwrap_or_else(|| MessageName::new(id.clone(), None));
                self.messages.insert(Known::new(name, priority, self.look));
                self.counted = false;
                unread.push_back(id.clone());
            }
        }
    }

    fn apply(&mut self, event: &Event, unread: &mut VecDeque<MessageId>) {
        use Happening as H;
        self.preemptions.hear(event);
        let name = |id: &MessageId, at: &Option<u64>| Some(MessageName::new(id.clone(), at.map(Epoch)));
        match &event.what {
            H::Arrived { message, priority, not_before } | H::Rescheduled { message, priority, not_before } => {
                self.place(message, *priority, name(message, not_before), unread);
            }
            H::Requeued { message, to, .. } => self.place(message, *to, None, unread),
            H::Held { message, .. } => self.place(message, Priority::Held, None, unread),
            H::Started { message, priority, .. } => self.place(message, *priority, None, unread),
            H::PacketTaken { message, packet, recipients, done, .. } => {
                self.packet(message, packet, *recipients, *done);
            }
            H::PacketLeft { message, packet, recipients, done, .. } => {
                self.packet(message, packet, *recipients, *done);
                unread.push_back(message.clone());
            }
            H::Deferred { message, recipients, .. } => {
                if let Some(known) = self.messages.get_mut(message) {
                    known.add_deferred(*recipients as u64);
                }
            }
            H::Failed { message, recipients, .. } => {
                if let Some(known) = self.messages.get_mut(message) {
                    known.add_failed(*recipients as u64);
                }
            }
            // It may have been seen to go, and not where.
            H::Gone { message, .. } | H::SetAside { message, .. } => unread.push_back(message.clone()),
            H::Done { message, .. } => self.messages.remove(message),
            _ => {}
        }
    }

    fn packet(&mut self, id: &MessageId, packet: &str, recipients: usize, done: usize) {
        let Some(known) = self.messages.get_mut(id) else { return };
        let Ok(FileName::Packet(name)) = crate::spool::layout::parse(packet.as_ref()) else { return };
        known.packet_at(name, recipients, done);
    }
}
