//! What is said of a message, a packet and a level: JSON, and sums for metrics.

use serde::Serialize;

use crate::mail::Priority;
use crate::spool::census::State;
use crate::spool::note::Note;

/// One message, as the interface gives it; the names are those of `queue --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub queue_name: String,
    pub queue_id: String,
    pub arrival_time: u64,
    pub message_size: u64,
    pub sender: String,
    pub priority: String,
    pub state: &'static str,
    pub list: String,
    pub packets_total: u64,
    pub packets_done: u64,
    pub recipients_total: u64,
    pub recipients_done: u64,
    pub recipients_left: u64,
    pub deferred: u64,
    pub failed: u64,
    pub not_before: Option<u64>,
    pub not_after: Option<u64>,
    pub next_try: Option<u64>,
    pub workers: usize,
    pub held: Option<Note>,
    /// Recipients a second, over the last minute.
    pub rate: f64,
    /// Seconds; none where nothing moves.
    pub time_left: Option<f64>,
    /// Why nothing of it is sent now.
    pub stuck: Option<String>,
}

/// A packet of it.
#[derive(Clone, Debug, Serialize)]
pub struct PacketRow {
    pub packet: String,
    pub recipients: u64,
    pub done: u64,
    pub worker: Option<usize>,
}

/// A level, or `z`, in sums.
#[derive(Clone, Debug, Serialize)]
pub struct LevelRow {
    pub priority: String,
    pub messages: u64,
    pub active: u64,
    pub waiting: u64,
    pub scheduled: u64,
    pub deferred_messages: u64,
    pub recipients_left: u64,
    pub deferred: u64,
    pub failed: u64,
    pub recipients_done: u64,
    pub oldest_arrival_time: Option<u64>,
    pub rate: f64,
    pub time_left: Option<f64>,
}

/// A message's recipients, by what became of them.
pub(super) struct MessageTally {
    pub state: State,
    pub left: u64,
    pub deferred: u64,
    pub failed: u64,
    pub done: u64,
    pub arrival: u64,
}

impl LevelRow {
    pub(super) fn empty(priority: Priority) -> LevelRow {
        LevelRow {
            priority: priority.to_string(),
            messages: 0,
            active: 0,
            waiting: 0,
            scheduled: 0,
            deferred_messages: 0,
            recipients_left: 0,
            deferred: 0,
            failed: 0,
            recipients_done: 0,
            oldest_arrival_time: None,
            rate: 0.0,
            time_left: None,
        }
    }

    pub(super) fn add(&mut self, message: &MessageTally) {
        self.messages += 1;
        match message.state {
            State::Active => self.active += 1,
            State::Scheduled => self.scheduled += 1,
            State::Deferred => self.deferred_messages += 1,
            State::Waiting => self.waiting += 1,
            State::Held => {}
        }
        self.recipients_left += message.left;
        self.deferred += message.deferred;
        self.failed += message.failed;
        self.recipients_done += message.done;
        let oldest = self.oldest_arrival_time.map_or(message.arrival, |oldest| oldest.min(message.arrival));
        self.oldest_arrival_time = Some(oldest);
    }
}
