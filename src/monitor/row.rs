//! What is said of a message, a packet and a level: JSON, and sums for metrics.

use serde::Serialize;

use crate::mail::Priority;
use crate::spool::census::State;
use crate::spool::note::Note;

use super::stuck::{Reason, going, is_stuck};

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
    /// As [`crate::daemon::rate`] has it.
    pub rate: f64,
    /// Seconds; none where nothing moves.
    pub time_left: Option<f64>,
    /// Why nothing of it is sent now.
    pub stuck: Option<String>,
    pub stuck_reason: Option<Reason>,
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
    /// Of those: only another scheduler on this spool sends them.
    #[serde(skip)]
    pub elsewhere: u64,
    pub waiting: u64,
    /// Of those that wait: something else than their turn is in the way.
    pub stuck: u64,
    pub scheduled: u64,
    pub deferred_messages: u64,
    pub recipients_left: u64,
    pub deferred: u64,
    pub failed: u64,
    pub recipients_done: u64,
    pub oldest_arrival_time: Option<u64>,
    /// The same, of those that are sent or wait for their turn: not of what is held, waits for its date, its list's window or
    /// its deferred recipients' next try. For whoever is called at night.
    #[serde(skip)]
    pub oldest_due: Option<u64>,
    pub rate: f64,
    /// Seconds until all is sent that nothing is in the way of, at that rate.
    pub time_left: Option<f64>,
    /// `stuck`, by [`Reason::IN_THE_WAY`].
    #[serde(skip)]
    pub in_the_way: [u64; Reason::IN_THE_WAY.len()],
    /// Of `recipients_left`, those that nothing is in the way of.
    #[serde(skip)]
    pub(super) going: u64,
}

/// A list's messages, in sums; all lists without a row of their own are [`OTHER_LISTS`].
#[derive(Clone, Default, Debug, PartialEq)]
pub struct ListRow {
    pub list: String,
    pub messages: u64,
    pub recipients_left: u64,
    pub deferred: u64,
    pub failed: u64,
}

/// No list's address: it has no `@`.
pub const OTHER_LISTS: &str = "other";

/// A message's recipients, by what became of them.
pub(super) struct MessageTally {
    pub state: State,
    /// It is active, and not by this process.
    pub elsewhere: bool,
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
            elsewhere: 0,
            waiting: 0,
            stuck: 0,
            scheduled: 0,
            deferred_messages: 0,
            recipients_left: 0,
            deferred: 0,
            failed: 0,
            recipients_done: 0,
            oldest_arrival_time: None,
            oldest_due: None,
            rate: 0.0,
            time_left: None,
            in_the_way: [0; _],
            going: 0,
        }
    }

    pub(super) fn add(&mut self, message: &MessageTally, reason: Option<Reason>) {
        self.messages += 1;
        if is_stuck(message.state, reason) {
            self.stuck += 1;
            let at = Reason::IN_THE_WAY.iter().position(|known| Some(*known) == reason);
            at.into_iter().for_each(|at| self.in_the_way[at] += 1);
        }
        self.elsewhere += u64::from(message.elsewhere && message.state == State::Active);
        match message.state {
            State::Active => self.active += 1,
            State::Scheduled => self.scheduled += 1,
            State::Deferred => self.deferred_messages += 1,
            State::Waiting => self.waiting += 1,
            State::Held => {}
        }
        for (sum, figure) in [
            (&mut self.going, going(message.left, reason)),
            (&mut self.recipients_left, message.left),
            (&mut self.deferred, message.deferred),
            (&mut self.failed, message.failed),
            (&mut self.recipients_done, message.done),
        ] {
            *sum = sum.saturating_add(figure);
        }
        let oldest = self.oldest_arrival_time.map_or(message.arrival, |oldest| oldest.min(message.arrival));
        self.oldest_arrival_time = Some(oldest);
        let is_due = matches!(message.state, State::Active | State::Waiting);
        if is_due && reason != Some(Reason::WindowClosed) {
            self.oldest_due = Some(self.oldest_due.map_or(message.arrival, |oldest| oldest.min(message.arrival)));
        }
    }
}

impl ListRow {
    pub(super) fn add(&mut self, message: &MessageTally) {
        self.take_in(&ListRow {
            messages: 1,
            recipients_left: message.left,
            deferred: message.deferred,
            failed: message.failed,
            ..ListRow::default()
        });
    }

    fn take_in(&mut self, other: &ListRow) {
        self.messages += other.messages;
        self.recipients_left = self.recipients_left.saturating_add(other.recipients_left);
        self.deferred = self.deferred.saturating_add(other.deferred);
        self.failed = self.failed.saturating_add(other.failed);
    }

    /// The `most` with the most recipients left by themselves, and what all others have together.
    pub(super) fn leading(mut lists: Vec<ListRow>, most: usize) -> Vec<ListRow> {
        lists.sort_by(|a, b| (b.recipients_left, b.messages, &a.list).cmp(&(a.recipients_left, a.messages, &b.list)));
        let mut others = ListRow { list: OTHER_LISTS.into(), ..ListRow::default() };
        for list in lists.drain(most.min(lists.len())..) {
            others.take_in(&list);
        }
        lists.push(others);
        lists
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_with_most_to_send_are_named_and_nothing_of_the_others_is_lost() {
        let list =
            |n: u64| ListRow { list: format!("l{n}@d"), messages: 1, recipients_left: n, deferred: 2, failed: 3 };
        let rows = ListRow::leading((1..=5).map(list).collect(), 2);
        let names: Vec<&str> = rows.iter().map(|row| row.list.as_str()).collect();
        assert_eq!(names, ["l5@d", "l4@d", OTHER_LISTS]);
        let others = ListRow { list: "other".into(), messages: 3, recipients_left: 6, deferred: 6, failed: 9 };
        assert_eq!(rows[2], others);
        assert_eq!(ListRow::leading(vec![list(1)], 5).len(), 2, "those that are there, and the others, always");
    }

    #[test]
    fn the_oldest_for_whoever_is_called_at_night_is_of_what_is_sent_or_waits_for_its_turn() {
        let oldest = |messages: &[(u64, State, Option<Reason>)]| {
            let mut level = LevelRow::empty("5".parse().unwrap());
            for &(arrival, state, reason) in messages {
                let (left, deferred, failed, done) = (u64::MAX, u64::MAX, u64::MAX, u64::MAX);
                level.add(&MessageTally { state, elsewhere: false, left, deferred, failed, done, arrival }, reason);
            }
            (level.oldest_arrival_time, level.oldest_due)
        };
        let late = [
            (1, State::Deferred, Some(Reason::Deferred)),
            (2, State::Scheduled, Some(Reason::NotBefore)),
            (3, State::Held, Some(Reason::Held)),
            (4, State::Waiting, Some(Reason::WindowClosed)),
        ];
        assert_eq!(oldest(&late), (Some(1), None));
        let due = [(5, State::Waiting, None), (6, State::Active, None), (7, State::Waiting, Some(Reason::NoRelay))];
        assert_eq!(oldest(&[&late[..], &due[..]].concat()), (Some(1), Some(5)));
        assert_eq!(oldest(&due[1..]), (Some(6), Some(6)));
        assert_eq!(oldest(&due[2..]), (Some(7), Some(7)));
    }
}
