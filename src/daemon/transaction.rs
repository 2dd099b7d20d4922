//! One transaction of a worker: deliver, then put on disk what became of each recipient, then the checkpoint.
//!
//! The order is the promise: a checkpoint never passes a recipient whose outcome is not on disk (I3). A crash behind the
//! final dot and before the checkpoint repeats this transaction; one that the relay answered only in part (LMTP) is
//! recorded as far as it was answered.

use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::deliver::Trouble;
use crate::mail::{Body, EnhancedStatus, Envelope, Epoch, Outcome, Reply};
use crate::spool::disk::DiskError;
use crate::spool::failures::Failure;
use crate::spool::layout::FileName;

use super::clock;
use super::message::OpenMessage;
use super::possession::Possession;
use super::worker::{DISK_PAUSE, End, Worker};

/// Recipients' outcomes of one transaction, by what has to be done about them. Indices are into the packet.
#[derive(Default)]
struct Sorted {
    sent: usize,
    deferred: Vec<(usize, Box<Reply>)>,
    failed: Vec<(usize, Box<Reply>)>,
    /// Taken by nobody: for the next transaction.
    again: Vec<usize>,
    /// The relay, of the current ones, that said so. Its connection may be gone by now.
    relay: usize,
}

impl Worker {
    /// Sends the packet's next recipients and records their outcomes.
    ///
    /// Mostly one transaction. If the relay takes only so many (452) and refuses others behind them, the rest is sent to
    /// at once, in further transactions, and the checkpoint comes behind the last: it can only name a prefix.
    pub(super) fn transact(
        &mut self,
        message: &OpenMessage,
        possession: &mut Possession,
        body: &Body,
    ) -> Result<(), End> {
        let from = possession.progress.next();
        let limit = self.current.settings.run.recipients_per_transaction.get();
        let to = (from + limit).min(possession.progress.packet().len());
        if let Some(in_flight) = &mut *self.shared.in_flight[self.index].lock() {
            (in_flight.from, in_flight.to) = (from, to);
        }
        let mut batch: Vec<usize> = (from..to).collect();
        while !batch.is_empty() {
            let (sorted, answered, trouble) = self.deliver(message, possession, body, &batch);
            // All before the first recipient that is to be sent to again, or was not answered for, have an outcome.
            let unanswered = batch.get(answered).copied().unwrap_or(to);
            let first_again = sorted.again.first().copied().unwrap_or(to);
            self.record(message, possession, &sorted, from, unanswered.min(first_again))?;
            if let Some(end) = trouble {
                return Err(end);
            }
            let suffix = sorted.again.first().is_none_or(|&first| sorted.again.len() == to - first);
            if suffix {
                // Nobody behind the checkpoint's place has the message: the next transaction may wait for its turn.
                break;
            }
            batch = sorted.again;
        }
        Ok(())
    }

    /// One transaction on the wire. Gives the outcomes, for how many of `batch` there is one, and what ended it early.
    fn deliver(
        &mut self,
        message: &OpenMessage,
        possession: &Possession,
        body: &Body,
        batch: &[usize],
    ) -> (Sorted, usize, Option<End>) {
        let packet = possession.progress.packet();
        let recipients: Vec<&str> = batch.iter().map(|&index| packet.address(index)).collect();
        let envelope = Envelope { sender: &message.sender, recipients: &recipients };
        let open = self.connection.as_mut().expect("connected before a packet is taken");
        let started = Instant::now();
        self.outcomes.clear();
        let result = open.connection.deliver(&envelope, body, &self.shared.interrupt, &mut self.outcomes);
        let took = started.elapsed();
        let mut sorted = Sorted { relay: open.relay, ..Sorted::default() };
        let answered = self.outcomes.len();
        for (&index, outcome) in batch.iter().zip(self.outcomes.drain(..)) {
            match outcome {
                Outcome::Sent => sorted.sent += 1,
                Outcome::Deferred(reply) => sorted.deferred.push((index, reply)),
                Outcome::Failed(reply) => sorted.failed.push((index, reply)),
                Outcome::TooMany => sorted.again.push(index),
            }
        }
        open.transactions += u64::from(result.is_ok());
        let (first, relay, setup) = (open.transactions == 1, open.relay, open.setup);
        self.expire(message, &mut sorted, possession);
        let trouble = match result {
            Ok(receipt) => {
                if first {
                    self.relay_works(relay);
                }
                let setup = if first { setup } else { Duration::ZERO };
                self.tell(message, possession, &sorted, &receipt.reply, took, setup);
                None
            }
            Err(trouble) => Some(self.trouble(message, possession, trouble, &recipients[answered..])),
        };
        (sorted, answered, trouble)
    }

    /// What a transaction that came to nothing means for this worker.
    fn trouble(
        &mut self,
        message: &OpenMessage,
        possession: &Possession,
        trouble: Trouble,
        unanswered: &[&str],
    ) -> End {
        let open = self.connection.take().expect("a transaction was on it");
        match trouble {
            Trouble::Unavailable { .. } if open.transactions > 0 => {
                // It worked until now: relays end connections for reasons of their own (age, number of transactions).
                // A new one tells whether the relay is in trouble.
                info!(
                    relay = self.current.relays.get(open.relay).name(),
                    "connection lost: {trouble}; a new one is tried"
                );
                End::Relay
            }
            Trouble::Unavailable { .. } => {
                self.relay_fails(open.relay, &trouble);
                End::Relay
            }
            Trouble::Uncertain { .. } => {
                warn!(
                    message_id = %message.folder.id(), packet = %FileName::Packet(possession.progress.name().clone()),
                    recipients = unanswered.join(" "), "uncertain: {trouble}; these recipients are sent to again"
                );
                if self.shared.interrupt.is_raised() {
                    // The grace is over; that is no fault of the relay's.
                    self.shared.leaves_uncertain(self.index);
                    return End::Stopped;
                }
                self.relay_fails(open.relay, &trouble);
                End::Relay
            }
            Trouble::Unfit { .. } => {
                // Nothing is wrong with the connection, but it is in an unknown state.
                End::Unfit(trouble.to_string())
            }
            Trouble::Interrupted { .. } => End::Stopped,
        }
    }

    /// Deferred recipients whose next try would come after the message's expiry have failed (RFC 3463, X.4.7).
    fn expire(&self, message: &OpenMessage, sorted: &mut Sorted, possession: &Possession) {
        if sorted.deferred.is_empty() {
            return;
        }
        let retry = &self.current.settings.retry;
        let due = self.due(possession);
        if due.since(message.arrival) <= retry.expire.as_secs() {
            return;
        }
        for (index, reply) in sorted.deferred.drain(..) {
            let text = format!("4.4.7 not delivered in time; last reply: {reply}");
            let reply = Reply { enhanced: Some(EnhancedStatus::new(4, 4, 7)), ..Reply::new(reply.code, &text) };
            sorted.failed.push((index, Box::new(reply)));
        }
        sorted.failed.sort_by_key(|(index, _)| *index);
    }

    /// When recipients that are deferred now are to be tried again.
    fn due(&self, possession: &Possession) -> Epoch {
        let schedule = &self.current.settings.retry.schedule;
        let generation = usize::from(possession.progress.name().generation());
        let delay = schedule.get(generation).or(schedule.last()).copied().unwrap_or(Duration::from_secs(300));
        clock::epoch().plus(delay.as_secs().max(1))
    }

    /// Deferred and failed recipients first, then the checkpoint to index `to`. The failures of all transactions that begin
    /// with the one at index `from` are one batch, since a crash may undo them together.
    fn record(
        &mut self,
        message: &OpenMessage,
        possession: &mut Possession,
        sorted: &Sorted,
        from: usize,
        to: usize,
    ) -> Result<(), End> {
        if !sorted.deferred.is_empty() {
            let due = self.due(possession);
            let indices: Vec<usize> = sorted.deferred.iter().map(|(index, _)| *index).collect();
            self.until_recorded(message, || possession.defer(&*self.shared.claims, message, &indices, due))?;
        }
        if !sorted.failed.is_empty() {
            let relay = self.current.relays.get(sorted.relay).name();
            let progress = &possession.progress;
            let now = clock::epoch();
            let failed: Vec<Failure> = sorted
                .failed
                .iter()
                .map(|(index, reply)| {
                    Failure::new(progress.packet().address(*index), progress.name(), from, relay, reply, now)
                })
                .collect();
            self.until_recorded(message, || possession.fail(message, &failed))?;
        }
        self.until_recorded(message, || possession.progress.advance(&message.folder, to))
    }

    /// Does what puts on disk what the relay has answered, until it works. Nothing is sent meanwhile, and the claim stays:
    /// what was sent and could not be recorded must not be sent again.
    pub(super) fn until_recorded(
        &self,
        message: &OpenMessage,
        mut write: impl FnMut() -> Result<(), DiskError>,
    ) -> Result<(), End> {
        let mut told = false;
        loop {
            let error = match write() {
                Ok(()) => {
                    if told {
                        info!(message_id = %message.folder.id(), "the disk takes writes again: goes on");
                    }
                    return Ok(());
                }
                // An operator purged the message: there is nothing left to be recorded in.
                Err(error) if error.is_gone() => return Err(End::Gone),
                Err(error) => error,
            };
            if !told {
                let fate = "its last transaction was sent and is not recorded: the packet stays claimed and nothing \
                            more of it is sent until this works; if this process dies before, those recipients get \
                            the message twice";
                error!(message_id = %message.folder.id(), "{}", error.fate(fate));
                told = true;
            }
            if self.shared.board.pause(Instant::now() + DISK_PAUSE) {
                self.shared.leaves_uncertain(self.index);
                return Err(End::Stopped);
            }
        }
    }

    /// The line a transaction.
    fn tell(
        &self,
        message: &OpenMessage,
        possession: &Possession,
        sorted: &Sorted,
        reply: &Reply,
        took: Duration,
        setup: Duration,
    ) {
        let open = self.connection.as_ref().expect("it has just been used");
        // As Postfix's delays=a/b/c/d: in the queue before, (no separate queue manager), connection set-up, transmission.
        let queued = clock::epoch().since(message.arrival);
        info!(
            message_id = %message.folder.id(),
            packet = %FileName::Packet(possession.progress.name().clone()),
            relay = self.current.relays.get(open.relay).name(),
            conn_use = open.transactions,
            taken = sorted.sent,
            deferred = sorted.deferred.len(),
            failed = sorted.failed.len(),
            delays = %format_args!("{queued}/0/{:.3}/{:.3}", setup.as_secs_f64(), took.as_secs_f64()),
            reply = %reply,
            "transaction"
        );
        for (index, reply) in &sorted.deferred {
            info!(message_id = %message.folder.id(), to = possession.progress.packet().address(*index), status = "deferred", reply = %reply, "recipient");
        }
        for (index, reply) in &sorted.failed {
            info!(message_id = %message.folder.id(), to = possession.progress.packet().address(*index), status = "failed", reply = %reply, "recipient");
        }
    }
}
