//! What is known of every message in the spool, for whoever asks, at once and without a look at the disk.
//!
//! A thread of its own reads each message's folder once, when it hears of it, and follows the scheduler's events from
//! then on. Events are hints: with every scan of the scheduler, after events that were lost, and at the start, the view
//! is compared with a listing of the directories; a message that nobody works on any more is read again. So it may lag
//! by what is under way, and never drifts.

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
use crate::daemon::live::{Live, RelayState, Working};
use crate::daemon::rate::Rate;
use crate::mail::{Epoch, MessageId, Moment, PacketName, Priority};
use crate::render::head;
use crate::spool::census::{self, Message};
use crate::spool::disk::Disk;
use crate::spool::layout::{FileName, MessageName};
use crate::spool::note::Note;
use crate::spool::pause::{self, Paused};
use crate::spool::{Result, Spool};

use super::history::{History, Minute};
use super::row::{LevelRow, ListRow, MessageTally, PacketRow, Row, time_left};

/// See the module.
pub struct View {
    pub live: Arc<Live>,
    spool: PathBuf,
    model: Mutex<Model>,
    /// For those who listen over the network: who is slow loses some, and is told.
    outgoing: broadcast::Sender<Arc<Event>>,
    reloads: watch::Sender<()>,
}

#[derive(Default)]
struct Model {
    messages: HashMap<MessageId, Known>,
    /// Whether every folder has been read at least once.
    counted: bool,
    pauses: Vec<Paused>,
    history: History,
}

struct Known {
    name: MessageName,
    priority: Priority,
    /// `None`: its folder has not been read yet.
    figures: Option<Figures>,
    packets: Vec<PacketFigures>,
    /// What was told of since the folder was read.
    deferred_since: u64,
    failed_since: u64,
    rate: Rate,
}

/// What a message's folder says, but for its packets.
struct Figures {
    size: u64,
    sender: Option<Box<str>>,
    packets: u64,
    recipients: u64,
    failed: u64,
    not_after: Option<u64>,
    held: Option<Box<Note>>,
}

struct PacketFigures {
    name: PacketName,
    recipients: u64,
    done: u64,
}

/// The queue as a whole.
pub struct Summary {
    pub levels: Vec<LevelRow>,
    pub counted: bool,
    pub rate: f64,
    pub history: Vec<Minute>,
    pub pauses: Vec<Paused>,
}

/// What the answers of one look have in common.
struct Surroundings {
    now: Moment,
    working: Vec<Working>,
    relays: Vec<RelayState>,
}

/// What stands where, and what is paused.
type Listed = (HashMap<MessageId, (Priority, MessageName)>, Vec<Paused>);

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
        let (model, reloads) = (Mutex::default(), watch::Sender::default());
        let view = Arc::new(View { live, spool: spool.to_owned(), model, outgoing, reloads });
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
                    self.model.lock().apply(&event.what, &mut unread);
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
                known.rate.add(now, done);
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
            let mut present = HashMap::new();
            for priority in Priority::all() {
                present.extend(spool.messages(priority)?.into_iter().map(|name| (name.id.clone(), (priority, name))));
            }
            Ok((present, pause::list(&spool, clock::epoch())?))
        };
        match listed() {
            Ok((present, pauses)) => {
                let mut model = self.model.lock();
                model.pauses = pauses;
                model.messages.retain(|id, _| present.contains_key(id));
                for (id, (priority, name)) in present {
                    model.place(id, priority, Some(name), unread);
                }
            }
            Err(error) => warn!("{}", error.fate("what is shown over HTTP may be old; mail is not concerned")),
        }
    }

    /// Reads a message's folder.
    fn read(&self, id: &MessageId) {
        // What is being sent tells of itself; it is read again once nobody works on it.
        let is_read = |known: &Known| known.figures.is_some();
        match self.model.lock().messages.get(id).map(is_read) {
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
            Ok(None) => drop(self.model.lock().messages.remove(id)),
            // The scheduler says it where people look.
            Err(error) => debug!("{}", error.fate("its figures are not shown")),
        }
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings { now: clock::now(), working: self.live.working(), relays: self.live.relays() }
    }

    pub fn summary(&self) -> Summary {
        let around = self.surroundings();
        let mut model = self.model.lock();
        let queued = model.queued();
        model.history.sample(around.now, &self.live.tally, queued);
        let mut levels: Vec<LevelRow> = Priority::all().map(LevelRow::empty).collect();
        for known in model.messages.values() {
            levels[known.priority.index()].add(&known.tally(&around));
        }
        for (row, rate) in levels.iter_mut().zip(&model.history.levels) {
            row.rate = rate.at(around.now);
            row.time_left = time_left(row.recipients_left, row.rate);
        }
        Summary {
            levels,
            counted: model.counted,
            rate: model.history.all.at(around.now),
            history: model.history.minutes(),
            pauses: model.pauses.clone(),
        }
    }

    /// The `most` lists with the most to send, and all others as one.
    pub fn lists(&self, most: usize) -> Vec<ListRow> {
        let around = self.surroundings();
        let model = self.model.lock();
        let mut lists: HashMap<&str, ListRow> = HashMap::new();
        for known in model.messages.values() {
            lists.entry(known.name.id.list()).or_default().add(&known.tally(&around));
        }
        let named = |(list, row): (&str, ListRow)| ListRow { list: list.to_owned(), ..row };
        ListRow::leading(lists.into_iter().map(named).collect(), most)
    }

    /// The messages that `is_wanted`, in no order.
    pub fn rows(&self, is_wanted: impl Fn(&Row) -> bool) -> Vec<Row> {
        let around = self.surroundings();
        let model = self.model.lock();
        let rows = model.messages.values().map(|known| known.row(&around, &model.pauses));
        rows.filter(|row| is_wanted(row)).collect()
    }

    /// Those of them that are there.
    pub fn rows_of(&self, ids: &HashSet<MessageId>) -> Vec<Row> {
        let around = self.surroundings();
        let model = self.model.lock();
        ids.iter().filter_map(|id| Some(model.messages.get(id)?.row(&around, &model.pauses))).collect()
    }

    /// Those that somebody works on now.
    pub fn active_rows(&self) -> Vec<Row> {
        let around = self.surroundings();
        let model = self.model.lock();
        let active: HashSet<&MessageId> = around.working.iter().map(|working| &working.message).collect();
        active.into_iter().filter_map(|id| Some(model.messages.get(id)?.row(&around, &model.pauses))).collect()
    }

    pub fn row(&self, id: &MessageId) -> Option<(Row, Vec<PacketRow>)> {
        let around = self.surroundings();
        let model = self.model.lock();
        let known = model.messages.get(id)?;
        let packet = |packet: &PacketFigures| PacketRow {
            packet: FileName::Packet(packet.name.clone()).to_string(),
            recipients: packet.recipients,
            done: known.packet_done(packet, &around.working),
            worker: around.working.iter().find(|at| at.message == *id && at.packet == packet.name).map(|at| at.worker),
        };
        Some((known.row(&around, &model.pauses), known.packets.iter().map(packet).collect()))
    }
}

impl Model {
    fn queued(&self) -> [u32; Priority::COUNT] {
        let mut queued = [0; Priority::COUNT];
        self.messages.values().for_each(|known| queued[known.priority.index()] += 1);
        queued
    }

    /// The message stands there; one that is new, or was held or released, is read.
    fn place(
        &mut self,
        id: MessageId,
        priority: Priority,
        name: Option<MessageName>,
        unread: &mut VecDeque<MessageId>,
    ) {
        let held = |priority: Priority| priority == Priority::Held;
        match self.messages.get_mut(&id) {
            Some(known) => {
                let again = held(known.priority) != held(priority);
                known.priority = priority;
                known.name = name.unwrap_or_else(|| known.name.clone());
                if again {
                    unread.push_back(id);
                }
            }
            None => {
                let name = name.unwrap_or_else(|| MessageName::new(id.clone(), None));
                self.messages.insert(id.clone(), Known::new(name, priority));
                self.counted = false;
                unread.push_back(id);
            }
        }
    }

    fn apply(&mut self, what: &Happening, unread: &mut VecDeque<MessageId>) {
        use Happening as H;
        let name = |id: &MessageId, at: &Option<u64>| Some(MessageName::new(id.clone(), at.map(Epoch)));
        match what {
            H::Arrived { message, priority, not_before } | H::Rescheduled { message, priority, not_before } => {
                self.place(message.clone(), *priority, name(message, not_before), unread);
            }
            H::Requeued { message, to, .. } => self.place(message.clone(), *to, None, unread),
            H::Held { message, .. } => self.place(message.clone(), Priority::Held, None, unread),
            H::Started { message, priority, .. } => self.place(message.clone(), *priority, None, unread),
            H::PacketTaken { message, packet, recipients, done, .. } => {
                self.packet(message, packet, *recipients, *done);
            }
            H::PacketLeft { message, packet, recipients, done, .. } => {
                self.packet(message, packet, *recipients, *done);
                unread.push_back(message.clone());
            }
            H::Deferred { message, recipients, .. } => {
                if let Some(known) = self.messages.get_mut(message) {
                    known.deferred_since += *recipients as u64;
                }
            }
            H::Failed { message, recipients, .. } => {
                if let Some(known) = self.messages.get_mut(message) {
                    known.failed_since += *recipients as u64;
                }
            }
            // It may have been seen to go, and not where.
            H::Gone { message } | H::SetAside { message, .. } => unread.push_back(message.clone()),
            H::Done { message, .. } => drop(self.messages.remove(message)),
            _ => {}
        }
    }

    fn packet(&mut self, id: &MessageId, packet: &str, recipients: usize, done: usize) {
        let Some(known) = self.messages.get_mut(id) else { return };
        let Ok(FileName::Packet(name)) = crate::spool::layout::parse(packet.as_ref()) else { return };
        let (recipients, done) = (recipients as u64, done as u64);
        match known.packets.iter_mut().find(|packet| packet.name == name) {
            // Positions are absolute and only grow: whichever was told first.
            Some(packet) => packet.done = packet.done.max(done),
            None => known.packets.push(PacketFigures { name, recipients, done }),
        }
    }
}

impl Known {
    fn new(name: MessageName, priority: Priority) -> Known {
        Known {
            name,
            priority,
            figures: None,
            packets: Vec::new(),
            deferred_since: 0,
            failed_since: 0,
            rate: Rate::default(),
        }
    }

    fn take_in(&mut self, message: Message) {
        let head = head::split(&message.top).map(|(head, _)| head).unwrap_or_default();
        let fresh = || message.packets.iter().filter(|packet| packet.name.retry.is_none());
        let here: u64 = fresh().map(|packet| packet.recipients).sum();
        self.priority = message.priority;
        self.name = message.name.clone();
        self.figures = Some(Figures {
            size: message.size,
            sender: head.sender.as_ref().map(|sender| sender.as_str().into()),
            packets: head.packets_total.map_or(0, u64::from).max(fresh().count() as u64),
            recipients: head.recipients_total.unwrap_or(here.max(message.left() + message.deferred() + message.failed)),
            failed: message.failed,
            not_after: head.not_after.map(|at| at.0),
            held: message.held.map(Box::new),
        });
        (self.deferred_since, self.failed_since) = (0, 0);
        let figures = |packet: census::Packet| PacketFigures {
            recipients: packet.recipients,
            done: packet.done.unwrap_or(0).min(packet.recipients),
            name: packet.name,
        };
        self.packets = message.packets.into_iter().map(figures).collect();
    }

    fn packet_done(&self, packet: &PacketFigures, working: &[Working]) -> u64 {
        let at = working.iter().find(|at| at.message == self.name.id && at.packet == packet.name);
        at.map_or(packet.done, |at| packet.done.max(at.done as u64)).min(packet.recipients)
    }

    fn left(&self, working: &[Working], retry: bool) -> u64 {
        let packets = self.packets.iter().filter(|packet| packet.name.retry.is_some() == retry);
        packets.map(|packet| packet.recipients - self.packet_done(packet, working)).sum()
    }

    /// Recipients that were sent to, or can't be.
    fn done(&self, working: &[Working]) -> u64 {
        let total = self.figures.as_ref().map_or(0, |figures| figures.recipients);
        total.saturating_sub(self.left(working, false) + self.left(working, true) + self.deferred_since)
    }

    fn next_try(&self) -> Option<Epoch> {
        self.packets.iter().filter_map(|packet| packet.name.due()).min()
    }

    fn state(&self, around: &Surroundings) -> &'static str {
        let now = around.now.epoch();
        let is_open = |packet: &&PacketFigures| packet.done < packet.recipients;
        if self.priority == Priority::Held {
            "held"
        } else if around.working.iter().any(|at| at.message == self.name.id) {
            "active"
        } else if self.name.not_before().is_some_and(|at| at > now) {
            "scheduled"
        } else if self.packets.iter().any(|packet| packet.name.retry.is_some())
            && self.packets.iter().filter(is_open).all(|packet| packet.name.due().is_some_and(|due| due > now))
        {
            "deferred"
        } else {
            "waiting"
        }
    }

    fn tally(&self, around: &Surroundings) -> MessageTally {
        let (left, deferred) = (self.left(&around.working, false), self.left(&around.working, true));
        let failed = self.figures.as_ref().map_or(0, |figures| figures.failed) + self.failed_since;
        let deferred = deferred + self.deferred_since;
        let total = self.figures.as_ref().map_or(0, |figures| figures.recipients);
        let done = total.saturating_sub(left + deferred + failed);
        MessageTally { state: self.state(around), left, deferred, failed, done, arrival: self.name.id.arrival().0 }
    }

    fn row(&self, around: &Surroundings, pauses: &[Paused]) -> Row {
        let MessageTally { state, left, deferred, failed, done, arrival } = self.tally(around);
        let id = &self.name.id;
        let figures = self.figures.as_ref();
        let open = self.packets.iter().filter(|packet| packet.name.retry.is_none() && packet.done < packet.recipients);
        let packets_total = figures.map_or(0, |figures| figures.packets);
        let rate = self.rate.at(around.now);
        let owner = || {
            let (local, domain) = id.list().rsplit_once('@').unwrap_or((id.list(), ""));
            format!("{local}-owner@{domain}")
        };
        Row {
            queue_name: self.priority.to_string(),
            queue_id: id.to_string(),
            arrival_time: arrival,
            message_size: figures.map_or(0, |figures| figures.size),
            sender: figures.and_then(|figures| figures.sender.as_deref()).map_or_else(owner, str::to_owned),
            priority: self.priority.to_string(),
            state,
            list: id.list().to_owned(),
            packets_total,
            packets_done: packets_total.saturating_sub(open.count() as u64),
            recipients_total: figures.map_or(0, |figures| figures.recipients),
            recipients_done: done,
            recipients_left: left,
            deferred,
            failed,
            not_before: self.name.not_before().map(|at| at.0),
            not_after: figures.and_then(|figures| figures.not_after),
            next_try: self.next_try().map(|at| at.0),
            workers: around.working.iter().filter(|at| at.message == *id).count(),
            held: figures.and_then(|figures| figures.held.as_deref().cloned()),
            rate,
            time_left: time_left(left, rate),
            stuck: self.stuck(state, around, pauses),
        }
    }

    /// What is in the way of a message that is not being sent; an urgent one that just waits its turn is not stuck.
    fn stuck(&self, state: &str, around: &Surroundings, pauses: &[Paused]) -> Option<String> {
        let utc = |at: u64| match jiff::Timestamp::from_second(at as i64) {
            Ok(at) => at.to_string(),
            Err(_) => at.to_string(),
        };
        let level = self.priority.level();
        let paused = level.and_then(|level| pauses.iter().find(|paused| paused.stops(self.name.id.list(), level)));
        if let Some(paused) = paused {
            let why = paused.pause.as_ref().map_or(String::new(), |pause| format!(" by {}: {}", pause.by, pause.why));
            return Some(format!("paused{why}"));
        }
        match state {
            "held" => {
                let note = self.figures.as_ref()?.held.as_deref()?;
                Some(format!("held by {}: {}", note.by, note.why))
            }
            "scheduled" => Some(format!("not before {}", utc(self.name.not_before()?.0))),
            "deferred" => Some(format!("all that is left is deferred until {}", utc(self.next_try()?.0))),
            "waiting" => {
                let all_down = around.relays.iter().all(|relay| relay.relay.state == "open");
                let relay = around.relays.first().filter(|_| all_down)?;
                let why = relay.relay.why.as_deref().unwrap_or("out of use");
                let next = relay.relay.next_try.map_or(String::new(), |at| format!("; next try {}", utc(at)));
                Some(format!("no relay: {why}{next}"))
            }
            _ => None,
        }
    }
}
