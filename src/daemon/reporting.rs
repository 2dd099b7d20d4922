//! Failure reports: when the sender is told, and what with.

use tracing::{error, info};

use crate::claim;
use crate::mail::{Epoch, Level, MessageId, Priority, ReversePath};
use crate::render;
use crate::render::report::{About, Failed};
use crate::schedule::Key;
use crate::spool::disk::DiskError;
use crate::spool::failures::Failure;
use crate::spool::reports::{self, Made, Reported};
use crate::spool::running;

use super::clock;
use super::message::OpenMessage;
use super::worker::Worker;

impl Worker {
    /// Tells the sender of a message that takes long who has failed so far.
    pub(super) fn report_now_and_then(&self, key: Key, message: &OpenMessage) {
        let every = self.current.settings.report.every;
        if every.is_zero() || message.sender == ReversePath::Null {
            return;
        }
        let now = clock::epoch();
        let mut next = message.next_report.lock();
        let mut report = || -> Result<(), DiskError> {
            if next.is_none() {
                let last = Reported::read(message.folder.dir())?;
                *next = Some(message.arrival.max(Epoch(last.time)).plus(every.as_secs()));
            }
            if next.is_some_and(|next| next <= now) {
                *next = Some(now.plus(every.as_secs()));
                self.report(message, self.shared.board.level(key).unwrap_or(Level::LAST), now)?;
            }
            Ok(())
        };
        match report() {
            Err(error) if !error.is_gone() => {
                error!(message_id = %message.folder.id(), "{}", error.fate("its failures are reported later"));
            }
            _ => {}
        }
    }

    /// Reports all that can be reported.
    pub(super) fn report(&self, message: &OpenMessage, level: Level, now: Epoch) -> Result<Made, DiskError> {
        let id = message.folder.id();
        let Ok(Some(_turn)) = self.shared.claims.try_turn(&claim::Shared::Reports(id)) else {
            return Ok(Made::Elsewhere);
        };
        let host = running::host();
        let sender = message.sender.as_str();
        let render = |report: &MessageId, failures: &[Failure]| {
            let file = message.folder.read_message()?;
            // It was split when it was opened.
            let original = render::head::split(&file).map_or(&file[..], |(_, rest)| rest);
            let about = About { message: id, report, sender, original, host: &host, now };
            let failed: Vec<Failed> = failures.iter().map(as_reported).collect();
            Ok(render::report::render(&about, &failed))
        };
        let made = reports::make(&self.shared.spool, &message.folder, Priority::At(level), sender, now, &render)?;
        if let Made::Reports(1..) = made {
            info!(message_id = %id, to = sender, "those who failed for good are reported");
        }
        Ok(made)
    }
}

fn as_reported(failure: &Failure) -> Failed<'_> {
    let Failure { recipient, relay, code, status, text, time, .. } = failure;
    Failed { recipient, relay, code: *code, status: status.as_deref(), text, time: *time }
}
