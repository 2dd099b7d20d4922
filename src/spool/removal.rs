//! How a message goes from `distribute/` once nothing of it is left to do.
//!
//! A folder is finished when no packet is left in it; [`Folder::remove`] then takes it away in an order in which a crash
//! after any step leaves a finished or an empty folder, and never a packet without its message. What nobody has been told
//! of is set aside and not removed.

use std::thread;
use std::time::Duration;

use crate::mail::{Epoch, Priority};

use super::disk::{DiskError, Result, unless_gone};
use super::folder::Folder;
use super::layout::{self, FileName};
use super::note::Note;
use super::{Spool, reports, set_aside};

/// See [`Folder::remove_empty`].
const SERVERS_PAUSE: Duration = Duration::from_millis(20);

/// Entries that surely come in one call of a listing.
const ONE_CALL: usize = 5;

/// What became of [`Folder::remove`].
#[derive(Debug, PartialEq, Eq)]
pub enum Removal {
    Removed,
    /// A packet is left: somebody works on it, or it waits.
    NotFinished,
    /// Its sender is to be told of failures first.
    Unreported,
    /// Went to `bad/` for the reason given: something in it has not been reported to anybody.
    SetAside(String),
}

impl Folder {
    /// Takes a finished message away. `priority` is where it was last seen. `may_report`: failures that nobody has been told
    /// of can be reported, and else are set aside with the message.
    ///
    /// Several processes may do this to one message at a time: what has gone already is fine. A power loss brings back a
    /// finished folder at worst.
    pub fn remove(&self, spool: &Spool, priority: Priority, now: Epoch, may_report: bool) -> Result<Removal> {
        let contents = match self.contents() {
            Err(error) if error.is_gone() => return Ok(Removal::Removed),
            contents => contents?,
        };
        if !contents.packets.is_empty() {
            return Ok(Removal::NotFinished);
        }
        // A listing takes more than one call where there is much: a retry packet that another process made before it removed
        // the packet it came from may be in neither part of it.
        if contents.statuses.len() > ONE_CALL && !self.contents()?.packets.is_empty() {
            return Ok(Removal::NotFinished);
        }
        let mut because = Vec::new();
        let unreported = match contents.failures.then(|| reports::unreported(self)).transpose() {
            Err(error) if error.source.kind() == std::io::ErrorKind::InvalidData => {
                because.push(error.to_string());
                0
            }
            failures => failures?.map_or(0, |failures| failures.len()),
        };
        if may_report && because.is_empty() && (unreported > 0 || !contents.reports.is_empty()) {
            return Ok(Removal::Unreported);
        }
        if !contents.reports.is_empty() {
            because.push("a report lies in it that can be sent to nobody".to_owned());
        }
        if unreported > 0 {
            because.push(format!("recipients that failed for good: {unreported}, see the file failures"));
        }
        if let Some((name, why)) = contents.strange.first() {
            because.push(format!("{} is no file of a message: {why}", name.display()));
        }
        if !because.is_empty() {
            let why = format!("all packets were distributed; {}", because.join("; "));
            return match self.set_aside(spool, priority, now, &why)? {
                true => Ok(Removal::SetAside(why)),
                false => Ok(Removal::Removed),
            };
        }
        if !contents.statuses.is_empty() {
            // A packet that a power loss brings back must find its checkpoint.
            self.dir().sync()?;
        }
        let statuses = contents.statuses.into_iter().map(FileName::Status);
        let variants = contents.variants.into_iter().map(FileName::Variant);
        for file in statuses.chain(variants) {
            unless_gone(self.dir().remove(&file.to_string()))?;
        }
        if contents.failures {
            // Without what says that they were reported, they would be reported again.
            unless_gone(self.dir().remove(layout::FAILURES))?;
            self.dir().sync()?;
        }
        // The message last: as long as it is there, the folder is a finished one and not a damaged one.
        for file in [layout::REPORTED, layout::HELD, layout::REASON, layout::MESSAGE] {
            unless_gone(self.dir().remove(file))?;
        }
        self.remove_empty(spool, priority)?;
        Ok(Removal::Removed)
    }

    /// Takes away a folder without a file in it: what a removal that was cut short leaves.
    pub fn remove_empty(&self, spool: &Spool, priority: Priority) -> Result<()> {
        let mut priority = priority;
        // An operator may move the folder while we empty it. Each turn of this loop needs one more requeue, or some time in
        // which a file server is told that nobody has the last file open any more; else, the next scan finds it empty.
        for _ in 0..10 {
            match spool.at(priority).remove_dir(&self.name().to_string()) {
                Err(error)
                    if is_not_empty(&error) && unless_gone(self.dir().list())?.is_none_or(|left| left.is_empty()) =>
                {
                    thread::sleep(SERVERS_PAUSE);
                }
                Err(error) if error.is_gone() => match self.whereabouts(spool)? {
                    Some((elsewhere, _)) => priority = elsewhere,
                    None => return Ok(()),
                },
                result => return result,
            }
        }
        Ok(())
    }

    /// Sets the whole message aside. `false`: it is not below `distribute/` any more.
    pub fn set_aside(&self, spool: &Spool, priority: Priority, now: Epoch, why: &str) -> Result<bool> {
        let mut place = Some((priority, self.name().clone()));
        while let Some((priority, name)) = place {
            let note = Note::new(now, set_aside::PROGRAM, why, priority);
            if set_aside::message(spool, priority, &name, &note)?.is_some() {
                return Ok(true);
            }
            place = self.whereabouts(spool)?;
        }
        Ok(false)
    }
}

fn is_not_empty(error: &DiskError) -> bool {
    error.source.kind() == std::io::ErrorKind::DirectoryNotEmpty
}
