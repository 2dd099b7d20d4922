//! The spool, seen from outside and kept current: for whoever looks at it again and again, with or without a scheduler.
//!
//! It reads files and talks to nobody. A directory is listed again only once it has changed, a message's folder is read
//! when it is new or was moved, while a scheduler says that it is being sent, once that has ended, and in turn: so that
//! what nobody has told of (another host's work, an editor's) is found as well, and ten thousand messages cost little. It
//! takes no claim and no lock, and changes nothing.

mod flow;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::daemon::lists::Lists;
use crate::daemon::rate::time_left;
use crate::mail::{Epoch, MessageId, Moment, PacketName, Priority};
use crate::render::head::{self, SpoolHead};
use crate::spool::census::{self, Message, State};
use crate::spool::disk::{Disk, Look};
use crate::spool::layout::{self, FileName, MessageName};
use crate::spool::note::Note;
use crate::spool::pause::{self, Paused};
use crate::spool::running::{self, Scheduler, Work};
use crate::spool::{Place, Result, Spool};

use super::paces::Paces;
use super::stuck::{Asked, Circumstances, Reason, Stuck, going, is_stuck};
use flow::Flow;

/// See the module.
pub struct Survey {
    path: PathBuf,
    /// As this host's configuration has them.
    lists: Lists,
    spool: Option<Spool>,
    listed: [Listed; Priority::COUNT],
    messages: HashMap<MessageId, Known>,
    unread: VecDeque<MessageId>,
    /// Those that are still to be read in this round.
    turn: Vec<MessageId>,
    schedulers: Vec<Scheduler>,
    pauses: Vec<Paused>,
    flow: Flow,
    /// When it was looked last.
    last: Option<Moment>,
}

/// How things stand.
pub struct Picture {
    pub at: Moment,
    /// By priority, then arrival.
    pub lines: Vec<Line>,
    /// By [`Priority::index`].
    pub levels: [LevelSum; Priority::COUNT],
    pub schedulers: Vec<Scheduler>,
    pub pauses: Vec<Paused>,
    /// As [`crate::daemon::rate`] has it; so of levels and messages.
    pub rate: f64,
    /// The same over the last few seconds, at each look so far, oldest first.
    pub recent: Vec<f64>,
    /// Messages whose folders have not been read yet.
    pub unread: usize,
    /// Why this is not how things stand, or not all of it.
    pub trouble: Option<String>,
}

/// A message.
#[derive(Clone, Debug)]
pub struct Line {
    pub id: MessageId,
    pub priority: Priority,
    pub state: State,
    pub not_before: Option<Epoch>,
    pub left: u64,
    pub deferred: u64,
    pub done: u64,
    pub workers: usize,
    /// As [`crate::daemon::rate`] has it.
    pub rate: f64,
    /// Why nothing of it is sent now.
    pub stuck: Option<Arc<Stuck>>,
    /// `None`: its folder has not been read yet.
    pub details: Option<Arc<Details>>,
}

/// What a message's folder says.
#[derive(Debug)]
pub struct Details {
    pub size: u64,
    /// Its envelope sender.
    pub sender: String,
    pub recipients: u64,
    pub packets: u64,
    pub packets_left: u64,
    pub failed: u64,
    pub not_after: Option<Epoch>,
    /// When the first deferred recipients are due.
    pub next_try: Option<Epoch>,
    pub held: Option<Note>,
}

/// A level, or `z`, in sums.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub struct LevelSum {
    pub messages: u64,
    pub active: u64,
    pub left: u64,
    pub deferred: u64,
    pub failed: u64,
    pub done: u64,
    pub oldest: Option<Epoch>,
    pub rate: f64,
    /// Of `left`, those that nothing is in the way of.
    going: u64,
}

impl Line {
    pub fn is_stuck(&self) -> bool {
        is_stuck(self.state, self.reason())
    }

    /// Seconds until nobody is left; none where nothing moves.
    pub fn time_left(&self) -> Option<f64> {
        time_left(self.going(), self.rate)
    }

    fn ask(&self, circumstances: &Circumstances<'_>) -> Option<Arc<Stuck>> {
        let details = self.details.as_deref();
        circumstances.of(&Asked {
            id: &self.id,
            priority: self.priority,
            state: self.state,
            not_before: self.not_before,
            next_try: details.and_then(|details| details.next_try),
            held: details.and_then(|details| details.held.as_ref()),
        })
    }

    fn reason(&self) -> Option<Reason> {
        self.stuck.as_ref().map(|stuck| stuck.reason())
    }

    fn going(&self) -> u64 {
        going(self.left, self.reason())
    }
}

impl LevelSum {
    /// Seconds until all is sent that nothing is in the way of; none where nothing moves.
    pub fn time_left(&self) -> Option<f64> {
        time_left(self.going, self.rate)
    }
}

/// A priority's directory, as it was listed last.
#[derive(Default)]
struct Listed {
    changed: Option<Changed>,
    /// It has stayed as it is for longer than the file system's clock takes for a tick: a later change shows.
    is_settled: bool,
    names: Vec<MessageName>,
}

type Changed = (u64, u64);

fn changed(look: &Look) -> Changed {
    (look.modified, look.modified_nanos)
}

struct Known {
    name: MessageName,
    priority: Priority,
    /// Without `top`.
    message: Option<Message>,
    details: Option<Arc<Details>>,
    head: SpoolHead,
    left: u64,
    deferred: u64,
    is_worked_on: bool,
    /// What the folder was read at, when that was and how long it took.
    changed: Option<Changed>,
    read: Option<(Instant, Duration)>,
}

/// Folders that are read in turn, a second.
const TURN: f64 = 200.0;
/// How long a look may read what is new; the rest comes with the next one.
const READING: Duration = Duration::from_millis(200);
/// A folder that takes long to read is read so much more rarely.
const PATIENCE: u32 = 20;
/// A file system's clock ticks more often than that.
const TICK: u64 = 2;

impl Survey {
    pub fn new(path: PathBuf, lists: Lists) -> Survey {
        Survey {
            path,
            lists,
            spool: None,
            listed: Default::default(),
            messages: HashMap::new(),
            unread: VecDeque::new(),
            turn: Vec::new(),
            schedulers: Vec::new(),
            pauses: Vec::new(),
            flow: Flow::default(),
            last: None,
        }
    }

    /// Looks, and says how things stand.
    pub fn look(&mut self, now: Moment) -> Picture {
        let trouble = self.look_around(now).err().map(|error| error.to_string());
        self.last = Some(now);
        self.picture(now, trouble)
    }

    fn look_around(&mut self, now: Moment) -> Result<()> {
        let spool = match self.spool.take() {
            Some(spool) if matches!(spool.place(), Ok(Place::Here)) => spool,
            _ => {
                self.listed = Default::default();
                Spool::open(&Disk::default(), &self.path)?
            }
        };
        let result = self.read_around(&spool, now);
        self.spool = Some(spool);
        result
    }

    fn read_around(&mut self, spool: &Spool, now: Moment) -> Result<()> {
        self.schedulers = running::heard(running::list(spool)?, now.epoch());
        self.pauses = pause::list(spool, now.epoch())?;
        self.flow.take_in(&self.schedulers, now);
        self.list(spool, now)?;
        let (first, begun) = (self.see_work(spool)?, Instant::now());
        let mut trouble = Ok(());
        let mut read = |survey: &mut Survey, id: MessageId| {
            // What can't be read hides nothing else.
            if let Err(error) = survey.read(spool, &id) {
                trouble = Err(error);
            }
        };
        for id in first {
            read(self, id);
        }
        while begun.elapsed() < READING
            && let Some(id) = self.unread.pop_front()
        {
            read(self, id);
        }
        if self.unread.is_empty() {
            let since = self.last.map_or(0.0, |last| now.since(last).as_secs_f64());
            for _ in 0..(TURN * since) as usize {
                let Some(id) = self.turn.pop() else { break };
                let is_long = self.messages.get(&id).is_none_or(|known| known.is_worked_on || !known.may_be_read());
                if !is_long {
                    read(self, id);
                }
            }
            if self.turn.is_empty() {
                self.turn = self.messages.keys().cloned().collect();
            }
        }
        trouble
    }

    /// Lists the directories that have changed.
    fn list(&mut self, spool: &Spool, now: Moment) -> Result<()> {
        let mut is_news = false;
        for priority in Priority::all() {
            let listed = &mut self.listed[priority.index()];
            let look = spool.at(priority).look_self()?;
            let changed = changed(&look);
            if listed.changed == Some(changed) && listed.is_settled {
                continue;
            }
            listed.is_settled = listed.changed == Some(changed) || look.modified + TICK < now.epoch().0;
            listed.changed = Some(changed);
            listed.names = spool.messages(priority)?;
            is_news = true;
        }
        if !is_news {
            return Ok(());
        }
        let mut present: HashSet<&MessageId> = HashSet::with_capacity(self.messages.len());
        for priority in Priority::all() {
            for name in &self.listed[priority.index()].names {
                present.insert(&name.id);
                match self.messages.get_mut(&name.id) {
                    Some(known) => {
                        // Held or released: there is a note, or there is none any more.
                        if (known.priority == Priority::Held) != (priority == Priority::Held) {
                            self.unread.push_back(name.id.clone());
                        }
                        known.priority = priority;
                        if known.name != *name {
                            known.name = name.clone();
                        }
                    }
                    None => {
                        self.unread.push_back(name.id.clone());
                        self.messages.insert(name.id.clone(), Known::new(name.clone(), priority));
                    }
                }
            }
        }
        self.messages.retain(|id, _| present.contains(id));
        Ok(())
    }

    /// Those that have to be read for what workers have done: their folder has changed, or the work on them has ended.
    fn see_work(&mut self, spool: &Spool) -> Result<Vec<MessageId>> {
        let working: HashSet<&str> = work(&self.schedulers).map(|work| work.message.as_str()).collect();
        let mut first = Vec::new();
        for (id, known) in &mut self.messages {
            let was_worked_on = std::mem::replace(&mut known.is_worked_on, working.contains(id.as_str()));
            if known.is_worked_on && known.may_be_read() {
                let look = spool.at(known.priority).look(&known.name.to_string())?;
                if look.is_some_and(|look| known.changed != Some(changed(&look))) {
                    first.push(id.clone());
                }
            } else if was_worked_on && !known.is_worked_on {
                first.push(id.clone());
            }
        }
        Ok(first)
    }

    /// Reads a message's folder.
    fn read(&mut self, spool: &Spool, id: &MessageId) -> Result<()> {
        let Some(known) = self.messages.get_mut(id) else { return Ok(()) };
        let begun = Instant::now();
        let (priority, name) = (known.priority, known.name.clone());
        // Before it is read: a change meanwhile is one that is seen next time.
        let Some(look) = spool.at(priority).look(&name.to_string())? else { return Ok(()) };
        let message = match &known.message {
            None => census::figures(spool, priority, &name)?,
            Some(before) => {
                let schedulers = &self.schedulers;
                let done = |packet: &PacketName| {
                    let packet = layout::packet_file(packet);
                    let mut work = work(schedulers).filter(|work| work.message == id.as_str());
                    work.find(|work| work.packet == packet).map(|work| work.done)
                };
                census::again(spool, priority, &name, before, &done)?
            }
        };
        if let Some(message) = message {
            known.take_in(message);
            known.changed = Some(changed(&look));
        }
        known.read = Some((Instant::now(), begun.elapsed()));
        Ok(())
    }

    fn picture(&self, now: Moment, trouble: Option<String>) -> Picture {
        let paces = Paces::of(&self.schedulers);
        let mut working: HashMap<&str, Vec<&Work>> = HashMap::new();
        for work in work(&self.schedulers) {
            working.entry(&work.message).or_default().push(work);
        }
        let has_room = self.spool.as_ref().is_none_or(Spool::has_room);
        let circumstances =
            Circumstances::outside(now.epoch(), &self.pauses, &self.schedulers, &self.lists).with_room(has_room);
        let mut levels = [LevelSum::default(); Priority::COUNT];
        let mut lines: Vec<Line> = Vec::with_capacity(self.messages.len());
        for (id, known) in &self.messages {
            let at = working.get(id.as_str()).map_or(&[][..], Vec::as_slice);
            let mut line = known.line(at, paces.message(id.as_str()), now.epoch());
            line.stuck = line.ask(&circumstances);
            levels[known.priority.index()].add(&line);
            lines.push(line);
        }
        for (level, rate) in levels.iter_mut().zip(paces.levels) {
            level.rate = rate;
        }
        lines.sort_by(|a, b| (a.priority, a.id.arrival(), &a.id).cmp(&(b.priority, b.id.arrival(), &b.id)));
        Picture {
            at: now,
            lines,
            rate: paces.all,
            levels,
            schedulers: self.schedulers.clone(),
            pauses: self.pauses.clone(),
            recent: self.flow.recent.iter().copied().collect(),
            unread: self.unread.len(),
            trouble,
        }
    }
}

fn work(schedulers: &[Scheduler]) -> impl Iterator<Item = &Work> {
    schedulers.iter().flat_map(|scheduler| &scheduler.work)
}

impl Known {
    fn new(name: MessageName, priority: Priority) -> Known {
        Known {
            name,
            priority,
            message: None,
            details: None,
            head: SpoolHead::default(),
            left: 0,
            deferred: 0,
            is_worked_on: false,
            changed: None,
            read: None,
        }
    }

    fn may_be_read(&self) -> bool {
        self.read.is_none_or(|(at, took)| at.elapsed() >= took * PATIENCE)
    }

    fn take_in(&mut self, mut message: Message) {
        let top = std::mem::take(&mut message.top);
        if !top.is_empty() || message.size == 0 {
            // What can't be read is the scheduler's to set aside; here it only lacks its totals.
            self.head = head::split(&top).map(|(head, _)| head).unwrap_or_default();
        }
        (self.left, self.deferred) = (message.left(), message.deferred());
        let fresh = || message.packets.iter().filter(|packet| packet.name.retry.is_none());
        let here: u64 = fresh().map(|packet| packet.recipients).sum();
        let least = here.max(self.left + self.deferred + message.failed);
        let packets = fresh().count() as u64;
        let sender = self.head.sender.as_ref().map(|sender| sender.as_str().to_owned());
        self.details = Some(Arc::new(Details {
            size: message.size,
            sender: sender.unwrap_or_else(|| self.name.id.list_owner()),
            recipients: self.head.recipients_total.unwrap_or(least),
            packets: self.head.packets_total.map_or(packets, u64::from).max(packets),
            packets_left: packets,
            failed: message.failed,
            not_after: self.head.not_after,
            next_try: message.next_try(),
            held: message.held.take(),
        }));
        self.message = Some(message);
    }

    fn line(&self, working: &[&Work], rate: f64, now: Epoch) -> Line {
        let (mut left, mut deferred) = (self.left, self.deferred);
        for work in working {
            // As far as the worker is now, where the folder was read before.
            let Ok(FileName::Packet(name)) = layout::parse(work.packet.as_ref()) else { continue };
            let packets = self.message.as_ref().map_or(&[][..], |message| &message.packets);
            let Ok(at) = packets.binary_search_by(|packet| packet.name.cmp(&name)) else { continue };
            let open = if name.retry.is_some() { &mut deferred } else { &mut left };
            let since = work.done.saturating_sub(packets[at].done.unwrap_or(0)).min(packets[at].left());
            *open = open.saturating_sub(since);
        }
        let state = match &self.message {
            _ if self.priority == Priority::Held => State::Held,
            _ if !working.is_empty() => State::Active,
            Some(message) => message.state(now),
            None if self.name.not_before().is_some_and(|at| at > now) => State::Scheduled,
            None => State::Waiting,
        };
        // What was read may have stood elsewhere, under another name.
        let state = match (state, self.name.not_before().is_some_and(|at| at > now)) {
            (State::Held, _) if self.priority != Priority::Held => State::Waiting,
            (State::Scheduled, false) => State::Waiting,
            (State::Waiting | State::Deferred, true) => State::Scheduled,
            (state, _) => state,
        };
        let (total, failed) = self.details.as_ref().map_or((0, 0), |details| (details.recipients, details.failed));
        Line {
            id: self.name.id.clone(),
            priority: self.priority,
            state,
            not_before: self.name.not_before(),
            left,
            deferred,
            done: total.saturating_sub(left + deferred + failed),
            workers: working.len(),
            rate,
            stuck: None,
            details: self.details.clone(),
        }
    }
}

impl LevelSum {
    fn add(&mut self, line: &Line) {
        self.messages += 1;
        self.active += u64::from(line.state == State::Active);
        let failed = line.details.as_ref().map_or(0, |details| details.failed);
        for (sum, figure) in [
            (&mut self.left, line.left),
            (&mut self.going, line.going()),
            (&mut self.deferred, line.deferred),
            (&mut self.failed, failed),
            (&mut self.done, line.done),
        ] {
            *sum = sum.saturating_add(figure);
        }
        let arrival = line.id.arrival();
        self.oldest = Some(self.oldest.map_or(arrival, |oldest| oldest.min(arrival)));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::spool::running::{Pace, Running};

    const ID: &str = "l@x.org.1700000000.1";

    fn put(dir: &std::path::Path, priority: &str, id: &str, packets: &[&str]) {
        let place = dir.join("distribute").join(priority).join(id);
        std::fs::create_dir(&place).unwrap();
        for (n, packet) in packets.iter().enumerate() {
            std::fs::write(place.join(format!("recipients.mail.{:04}", n + 1)), packet).unwrap();
        }
        std::fs::write(place.join("message"), "Subject: a\n\n").unwrap();
    }

    /// Behind the file system's clock has ticked once more.
    fn at(second: u64) -> Moment {
        std::thread::sleep(Duration::from_millis(20));
        Epoch(1_800_000_000 + second).into()
    }

    fn scheduler(work: Vec<Work>, passed: u64) -> Scheduler {
        let of_five = |figure: u64| std::array::from_fn(|level| if level == 5 { figure } else { 0 });
        let rate = 2.0 * work.len() as f64;
        let levels = std::array::from_fn(|level| if level == 5 { rate } else { 0.0 });
        Scheduler {
            host: "h".into(),
            pid: 1,
            since: 0,
            version: "1".into(),
            workers: 2,
            relays: vec![],
            rates: work.iter().map(|work| (work.message.clone(), 2.0)).collect::<BTreeMap<_, _>>(),
            work,
            // None of the others got it.
            sent: of_five(passed / 2),
            pace: Pace { rate, levels, passed: of_five(passed) },
            written: 0,
            silent: None,
        }
    }

    #[test]
    fn what_comes_moves_is_sent_and_goes_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(&Disk::default(), dir.path()).unwrap();
        let mut survey = Survey::new(dir.path().to_owned(), Lists::default());
        assert!(survey.look(at(0)).lines.is_empty());
        put(dir.path(), "5", ID, &["a@x.org\nb@x.org\nc@x.org\n", "d@x.org\n"]);
        let seen = survey.look(at(1));
        let line = &seen.lines[0];
        assert_eq!((line.left, line.done, line.state, seen.unread), (4, 0, State::Waiting, 0));
        assert_eq!(line.details.as_ref().unwrap().sender, "l-owner@x.org");
        assert_eq!((seen.levels[5].messages, seen.levels[5].left, seen.levels[5].rate), (1, 4, 0.0));

        // A scheduler's word is enough, whatever is on disk.
        let running = Running::begin(&spool, "h", 1).unwrap();
        let work = |done: u64| Work {
            worker: 0,
            message: ID.into(),
            packet: "recipients.mail.0001".into(),
            priority: "5".into(),
            recipients: 3,
            done,
            since: 0,
        };
        running.write(&scheduler(vec![work(2)], 2)).unwrap();
        let seen = survey.look(at(2));
        let line = &seen.lines[0];
        assert_eq!((line.left, line.done, line.state, line.workers, line.rate), (2, 2, State::Active, 1, 2.0));
        let (rate, left) = (seen.levels[5].rate, seen.levels[5].time_left());
        assert_eq!((line.time_left(), rate, left, seen.rate), (Some(1.0), 2.0, Some(1.0), 2.0));

        // It has left it, and the checkpoint says how far it was.
        let place = dir.path().join("distribute/5").join(ID);
        std::fs::write(place.join("recipients.mail.0001.status"), "a@x.org\n").unwrap();
        running.write(&scheduler(vec![], 12)).unwrap();
        let line = survey.look(at(3)).lines[0].clone();
        assert_eq!((line.left, line.done, line.state), (3, 1, State::Waiting));
        let seen = survey.look(at(12));
        assert_eq!((seen.levels[5].rate, seen.rate), (0.0, 0.0), "as its scheduler says");
        assert_eq!(seen.recent.last(), Some(&(10.0 / 11.0)), "10 in 11 seconds, by what it has counted");

        let to = dir.path().join("distribute/z").join(ID);
        std::fs::rename(&place, &to).unwrap();
        let seen = survey.look(at(13));
        assert_eq!((seen.lines[0].state, seen.levels[5].messages, seen.levels[10].messages), (State::Held, 0, 1));
        std::fs::remove_dir_all(&to).unwrap();
        assert!(survey.look(at(14)).lines.is_empty());
    }

    #[test]
    fn what_nobody_tells_of_is_seen_in_turn() {
        let dir = tempfile::tempdir().unwrap();
        Spool::create(&Disk::default(), dir.path()).unwrap();
        put(dir.path(), "5", ID, &["a@x.org\nb@x.org\n"]);
        let mut survey = Survey::new(dir.path().to_owned(), Lists::default());
        assert_eq!(survey.look(at(0)).lines[0].left, 2);
        std::fs::write(dir.path().join("distribute/5").join(ID).join("recipients.mail.0001.status"), "a@x.org\n")
            .unwrap();
        let seen = (1..10).map(|second| survey.look(at(second)).lines[0].left);
        assert!(seen.collect::<Vec<_>>().contains(&1));
    }

    #[test]
    fn a_spool_that_goes_is_told_of_and_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (path, away) = (dir.path().join("spool"), dir.path().join("away"));
        Spool::create(&Disk::default(), &path).unwrap();
        put(&path, "5", ID, &["a@x.org\n"]);
        let mut survey = Survey::new(path.clone(), Lists::default());
        assert_eq!((survey.look(at(0)).lines.len(), survey.look(at(1)).trouble), (1, None));
        std::fs::rename(&path, &away).unwrap();
        let seen = survey.look(at(2));
        assert!(seen.trouble.is_some_and(|why| why.contains("spool")));
        Spool::create(&Disk::default(), &path).unwrap();
        assert_eq!((survey.look(at(3)).lines.len(), survey.look(at(4)).trouble), (0, None));
    }
}
