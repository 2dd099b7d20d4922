//! What is known of every message in the spool, for whoever asks, at once and without a look at the disk.
//!
//! A thread of its own ([`follower`]) reads each message's folder once, when it hears of it, and follows the scheduler's
//! events from then on. What other schedulers on the same spool do, it knows from what they say of themselves ([`others`]).

mod follower;
mod known;
mod others;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{broadcast, watch};

use crate::daemon::clock;
use crate::daemon::events::{Event, Happening};
use crate::daemon::live::Live;
use crate::daemon::rate::time_left;
use crate::mail::{Epoch, MessageId, Moment, Priority};
use crate::spool::layout::{FileName, MessageName};
use crate::spool::pause::Paused;

use super::by_id::ById;
use super::history::{History, Minute};
use super::preemptions::{self, Preemptions};
use super::row::{LevelRow, ListRow, PacketRow, Row};
use follower::Follower;
use known::{Known, Surroundings};
use others::Others;

/// See the module.
pub struct View {
    pub live: Arc<Live>,
    spool: PathBuf,
    model: Mutex<Model>,
    /// For those who listen over the network: who is slow loses some, and is told.
    outgoing: broadcast::Sender<Arc<Event>>,
    reloads: watch::Sender<()>,
    /// Somebody looks.
    looked: (Sender<()>, Receiver<()>),
}

struct Model {
    messages: ById<Known>,
    /// Whether every folder has been read at least once.
    counted: bool,
    pauses: Vec<Paused>,
    history: History,
    preemptions: Preemptions,
    others: Others,
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

/// Events that may wait for the view's thread; beyond that it looks at the spool.
const ROOM: usize = 16 * 1024;
/// Events that may wait for a listener.
const OUTGOING: usize = 4096;

impl View {
    /// Listens from now on. The thread ends with the process.
    pub fn start(live: Arc<Live>, spool: &Path) -> std::io::Result<Arc<View>> {
        let subscription = live.events.subscribe(ROOM);
        let (outgoing, _) = broadcast::channel(OUTGOING);
        let model = Mutex::new(Model::begin(clock::now()));
        let (spool, reloads, looked) = (spool.to_owned(), watch::Sender::default(), bounded(1));
        let view = Arc::new(View { live, spool, model, outgoing, reloads, looked });
        let follower = Follower::new(view.clone(), subscription);
        std::thread::Builder::new().name("view".into()).spawn(move || follower.follow())?;
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

    /// Somebody wants to know: what others do is looked at again, if that was not done just now.
    fn is_looked_at(&self) {
        // Full: it has been told already.
        let _ = self.looked.0.try_send(());
    }

    /// What surrounds all messages, and the messages.
    fn look(&self) -> (Surroundings, MutexGuard<'_, Model>) {
        self.is_looked_at();
        let (mut working, relays, current) = (self.live.working(), self.live.relays(), self.live.current());
        let (own, rates) = (working.len(), self.live.rates());
        let model = self.model.lock();
        working.extend(model.others.working.iter().cloned());
        let paces = model.others.paces.clone().and(&rates);
        let has_room = self.live.readiness().room;
        (Surroundings { now: clock::now(), working, own, paces, relays, current, has_room }, model)
    }

    pub fn summary(&self) -> Summary {
        let (around, mut model) = self.look();
        let queued = model.queued();
        model.history.sample(around.now, &self.live.tally, queued);
        let mut levels: Vec<LevelRow> = Priority::all().map(LevelRow::empty).collect();
        let circumstances = around.circumstances(&model.pauses);
        for known in model.messages.values() {
            let tally = known.tally(&around);
            let stuck = known.stuck(tally.state, &circumstances);
            levels[known.priority.index()].add(&tally, stuck.map(|stuck| stuck.reason()));
        }
        for (row, rate) in levels.iter_mut().zip(around.paces.levels) {
            row.rate = rate;
            row.time_left = time_left(row.going, row.rate);
        }
        let rate = around.paces.all;
        let going = levels.iter().fold(0, |all: u64, level| all.saturating_add(level.going));
        Summary {
            time_left: time_left(going, rate),
            levels,
            counted: model.counted,
            rate,
            history: model.history.minutes(),
            pauses: model.pauses.clone(),
        }
    }

    /// Of all, as [`crate::daemon::rate`] has it.
    pub fn rate(&self) -> f64 {
        let model = self.model.lock();
        model.others.paces.clone().and(&self.live.rates()).all
    }

    pub fn preemptions(&self) -> preemptions::Told {
        self.model.lock().preemptions.told()
    }

    /// The `most` lists with the most to send, and all others as one.
    pub fn lists(&self, most: usize) -> Vec<ListRow> {
        let (around, model) = self.look();
        let mut lists: HashMap<&str, ListRow> = HashMap::new();
        for known in model.messages.values() {
            lists.entry(known.id.list()).or_default().add(&known.tally(&around));
        }
        let named = |(list, row): (&str, ListRow)| ListRow { list: list.to_owned(), ..row };
        ListRow::leading(lists.into_iter().map(named).collect(), most)
    }

    /// The messages that `is_wanted`, in no order.
    pub fn rows(&self, is_wanted: impl Fn(&Row) -> bool) -> Vec<Row> {
        let (around, model) = self.look();
        let circumstances = around.circumstances(&model.pauses);
        let rows = model.messages.values().map(|known| known.row(&around, &circumstances));
        rows.filter(|row| is_wanted(row)).collect()
    }

    /// Those of them that are there.
    pub fn rows_of(&self, ids: &HashSet<MessageId>) -> Vec<Row> {
        let (around, model) = self.look();
        let circumstances = around.circumstances(&model.pauses);
        ids.iter().filter_map(|id| Some(model.messages.get(id)?.row(&around, &circumstances))).collect()
    }

    /// Those that somebody works on now.
    pub fn active_rows(&self) -> Vec<Row> {
        let (around, model) = self.look();
        let active: HashSet<&MessageId> = around.working.iter().map(|working| &working.message).collect();
        let circumstances = around.circumstances(&model.pauses);
        active.into_iter().filter_map(|id| Some(model.messages.get(id)?.row(&around, &circumstances))).collect()
    }

    pub fn row(&self, id: &MessageId) -> Option<(Row, Vec<PacketRow>)> {
        let (around, model) = self.look();
        let known = model.messages.get(id)?;
        let circumstances = around.circumstances(&model.pauses);
        Some((known.row(&around, &circumstances), known.packet_rows(&around)))
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
            others: Others::default(),
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
            H::SetAside { message, .. } => unread.push_back(message.clone()),
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
