//! A message's figures, as `queue` and `show` give them to people and machines.

use std::fmt;

use serde::Serialize;

use super::CliError;
use super::words::{self, age, local_time, printable};
use crate::daemon::lists::Lists;
use crate::daemon::rate::time_left;
use crate::mail::Epoch;
use crate::monitor::stuck::{Asked, Circumstances, Reason, going, is_stuck};
use crate::render::head;
use crate::schedule::Ageing;
use crate::spool::Spool;
use crate::spool::census::{Message, State};
use crate::spool::deferral::Deferral;
use crate::spool::disk::unless_gone;
use crate::spool::folder::Folder;
use crate::spool::layout::packet_file;
use crate::spool::note::Note;
use crate::spool::pause::{Pause, Paused};
use crate::spool::progress;
use crate::spool::running::Scheduler;

/// One line of `queue --json`. The names that `postqueue -j` has as well mean the same; readers pass over members they
/// don't know.
#[derive(Serialize, Debug)]
pub struct Row {
    /// The priority, `0` to `9` or `z`.
    pub queue_name: String,
    pub queue_id: String,
    /// Unix seconds.
    pub arrival_time: u64,
    /// Octets.
    pub message_size: u64,
    pub forced_expire: bool,
    pub sender: String,
    /// Recipients without a final outcome; only on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients: Option<Vec<Recipient>>,
    pub priority: String,
    /// With ageing: at which level waiting has brought it, for choosing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen_priority: Option<String>,
    pub state: &'static str,
    pub list: String,
    pub packets_total: u64,
    pub packets_done: u64,
    pub recipients_total: u64,
    pub recipients_done: u64,
    pub recipients_left: u64,
    pub deferred: u64,
    pub failed: u64,
    /// Unix seconds; none: at once.
    pub not_before: Option<u64>,
    /// Then it is too late: what is left is held. Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<u64>,
    /// When the first deferred recipients are due, unix seconds.
    pub next_try: Option<u64>,
    pub workers: usize,
    /// Where hosts share the spool: host, process, worker and packet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<String>,
    /// Recipients a second, over the last minute, on all hosts.
    pub rate: f64,
    /// Seconds until all that nobody has tried to send to is sent, at that rate; none where nothing moves, or something is
    /// in the way.
    pub time_left: Option<f64>,
    /// Why nothing of it is sent now.
    pub stuck: Option<String>,
    pub stuck_reason: Option<Reason>,
    #[serde(skip)]
    pub is_stuck: bool,
    /// Of `recipients_left`, those that nothing is in the way of.
    #[serde(skip)]
    pub going: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Note>,
    /// The pause that stops it, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<PauseRow>,
}

/// A pause.
#[derive(Clone, Serialize, Debug)]
pub struct PauseRow {
    /// `everything`, `priority:5`, `list:news@my.dom`, or `relay:` and its URL.
    pub what: String,
    /// `null`: its file can't be read.
    #[serde(flatten)]
    pub pause: Option<Pause>,
    #[serde(skip)]
    told: String,
}

impl PauseRow {
    pub fn of(paused: &Paused) -> PauseRow {
        let (what, told) = (paused.name.plain(), words::paused(&paused.name));
        PauseRow { what, told, pause: paused.pause.clone() }
    }
}

impl fmt::Display for PauseRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = printable(&self.told);
        let Some(Pause { since, by, why, until }) = &self.pause else {
            return write!(f, "{what} is paused; its file can't be read");
        };
        let until = until.map_or("until it is resumed".into(), |until| format!("until {}", local_time(until)));
        let (by, since, why) = (printable(by), local_time(*since), printable(why));
        write!(f, "{what} is paused by {by} since {since}, {until}: {why}")
    }
}

/// As in `postqueue -j`.
#[derive(Serialize, Debug)]
pub struct Recipient {
    pub address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_reason: Option<String>,
}

impl Recipient {
    /// Those of a message that have no final outcome.
    pub fn all(spool: &Spool, message: &Message) -> Result<Vec<Recipient>, CliError> {
        let Some(folder) = Folder::open(spool, message.priority, &message.name)? else { return Ok(Vec::new()) };
        let mut recipients = Vec::new();
        for packet in &message.packets {
            let name = packet_file(&packet.name);
            let Some(content) = unless_gone(folder.dir().read(&name, progress::MAX_PACKET))? else { continue };
            let done = packet.done.unwrap_or(0) as usize;
            for line in String::from_utf8_lossy(&content).lines().skip(done) {
                let address = line.split('\t').next().unwrap_or(line).to_owned();
                let delay_reason = packet.name.due().map(|due| {
                    let due = local_time(due.0);
                    match Deferral::of_line(line.as_bytes()) {
                        Some(Deferral { code, text, relay, .. }) => format!("{code} {text} ({relay}; next try {due})"),
                        None => format!("next try {due}"),
                    }
                });
                recipients.push(Recipient { address, delay_reason });
            }
        }
        Ok(recipients)
    }
}

impl Row {
    pub fn of(message: &Message, ageing: Option<Ageing>, now: Epoch) -> Row {
        // What can't be read is the scheduler's to set aside; here it only lacks its totals.
        let head = head::split(&message.top).map(|(head, _)| head).unwrap_or_default();
        let (left, deferred) = (message.left(), message.deferred());
        let here: u64 = message.packets.iter().filter(|packet| packet.name.retry.is_none()).map(|p| p.recipients).sum();
        let recipients_total = head.recipients_total.unwrap_or(here.max(left + deferred + message.failed));
        let fresh_packets = message.packets.iter().filter(|packet| packet.name.retry.is_none()).count() as u64;
        let packets_total = head.packets_total.map_or(fresh_packets, u64::from).max(fresh_packets);
        let id = &message.name.id;
        // What is held, or not due, waits for something else than its turn.
        let waits = matches!(message.state(now), State::Waiting | State::Active);
        let level = message.priority.level().filter(|_| waits);
        let chosen = ageing.zip(level).map(|(ageing, level)| ageing.lifted(level, message.waits_since(), now));
        Row {
            queue_name: message.priority.to_string(),
            queue_id: id.to_string(),
            arrival_time: id.arrival().0,
            message_size: message.size,
            forced_expire: false,
            sender: head.sender.as_ref().map_or_else(|| id.list_owner(), |sender| sender.as_str().to_owned()),
            recipients: None,
            priority: message.priority.to_string(),
            chosen_priority: chosen.map(|level| level.to_string()),
            state: message.state(now).as_str(),
            list: id.list().to_owned(),
            packets_total,
            packets_done: packets_total - fresh_packets,
            recipients_total,
            recipients_done: recipients_total.saturating_sub(left + deferred + message.failed),
            recipients_left: left,
            deferred,
            failed: message.failed,
            not_before: message.name.not_before().map(|at| at.0),
            not_after: head.not_after.map(|at| at.0),
            next_try: message.next_try().map(|at| at.0),
            workers: message.workers(now),
            holders: Vec::new(),
            rate: 0.0,
            time_left: None,
            stuck: None,
            stuck_reason: None,
            is_stuck: false,
            going: 0,
            held: message.held.clone(),
            paused: None,
        }
    }

    /// The same, with how it goes on and what is in its way.
    pub fn in_its_surroundings(self, message: &Message, around: &Surroundings<'_>) -> Row {
        let (level, state) = (message.priority.level(), message.state(around.now));
        let stops = |paused: &&Paused| level.is_some_and(|level| paused.stops(message.name.id.list(), level));
        let rates = around.schedulers.iter().filter_map(|scheduler| scheduler.rates.get(message.name.id.as_str()));
        // What another process has written may be anything.
        // A sum of none would be negative zero.
        let rate = rates.filter(|rate| rate.is_finite() && **rate > 0.0).fold(0.0, |all, rate| all + rate);
        let stuck = around.circumstances.of(&Asked {
            id: &message.name.id,
            priority: message.priority,
            state,
            not_before: message.name.not_before(),
            next_try: message.next_try(),
            held: message.held.as_ref(),
        });
        let reason = stuck.as_ref().map(|stuck| stuck.reason());
        let going = going(self.recipients_left, reason);
        Row {
            paused: around.pauses.iter().find(stops).map(PauseRow::of),
            rate,
            time_left: time_left(going, rate),
            stuck: stuck.map(|stuck| stuck.told(local_time)),
            stuck_reason: reason,
            is_stuck: is_stuck(state, reason),
            going,
            ..self
        }
    }

    /// Why nothing of it is sent now, if that is not said by what is shown of it anyway.
    pub fn stuck_beside(&self) -> Option<String> {
        let is_told = self.held.is_some() || self.paused.is_some() || self.state == State::Scheduled.as_str();
        self.stuck.as_deref().filter(|_| !is_told).map(printable)
    }

    /// How fast it goes, and how long it will take.
    pub fn pace(&self) -> Option<String> {
        let left = self.time_left.map_or(String::new(), |left| format!(", {} left", age(left as u64)));
        (self.rate > 0.0).then(|| format!("{:.1} a second{left}", self.rate))
    }

    /// mailq's mark behind the id.
    pub fn mark(&self) -> &'static str {
        match self.state {
            state if state == State::Active.as_str() => "*",
            state if state == State::Held.as_str() => "!",
            _ => "",
        }
    }
}

/// What is to be known beside a message's own files.
pub struct Surroundings<'s> {
    now: Epoch,
    schedulers: &'s [Scheduler],
    pauses: &'s [Paused],
    circumstances: Circumstances<'s>,
}

impl<'s> Surroundings<'s> {
    pub fn new(
        spool: &Spool,
        now: Epoch,
        schedulers: &'s [Scheduler],
        pauses: &'s [Paused],
        lists: &'s Lists,
    ) -> Surroundings<'s> {
        let circumstances = Circumstances::outside(now, pauses, schedulers, lists).with_room(spool.has_room());
        Surroundings { now, schedulers, pauses, circumstances }
    }
}
