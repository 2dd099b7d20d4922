//! What lies in `bad/`: looked at, and put back once it is mended.
//!
//! Putting back is one rename, after checks: what would only be set aside again stays where it is.

use std::str::FromStr;

use crate::mail::{Epoch, MessageId, Priority};

use super::Spool;
use super::check::{self, Knowledge};
use super::disk::{DiskError, Kind, Result, unless_gone};
use super::folder::Folder;
use super::layout::{self, MessageName};
use super::note::Note;

/// One entry of `bad/`.
#[derive(Debug)]
pub struct Entry {
    pub name: String,
    /// Who set it aside, when and why; `None` if that can't be read.
    pub note: Option<Note>,
}

/// What lies in `bad/`, by name.
pub fn list(spool: &Spool) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (name, kind) in spool.bad.list()? {
        let name = name.to_string_lossy().into_owned();
        let note = match kind {
            Kind::Directory => spool.bad.open_dir(&name).ok().and_then(|dir| Note::read(&dir, layout::REASON)),
            _ => None,
        };
        entries.push(Entry { name, note });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The name of an entry that is a message, or a part of one: `~2` and so on tell entries of one message apart.
#[derive(Clone, Debug)]
pub struct EntryName {
    text: String,
    message: MessageName,
}

impl EntryName {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn id(&self) -> &MessageId {
        &self.message.id
    }
}

impl FromStr for EntryName {
    type Err = layout::BadName;

    fn from_str(text: &str) -> std::result::Result<EntryName, layout::BadName> {
        let message = match text.rsplit_once('~') {
            Some((name, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => text,
        };
        Ok(EntryName { text: text.to_owned(), message: message.parse()? })
    }
}

/// The folder of that entry; `None` if there is none.
pub fn open(spool: &Spool, entry: &EntryName) -> Result<Option<Folder>> {
    match unless_gone(spool.bad.open_dir(&entry.text)) {
        Err(error) if error.is_wrong_kind() => Ok(None),
        dir => dir?.map(|dir| Folder::of(dir, &entry.message)).transpose(),
    }
}

/// What keeps it from being put back.
pub fn obstacles(spool: &Spool, folder: &Folder, knowledge: &Knowledge, now: Epoch) -> Result<Vec<String>> {
    let mut obstacles: Vec<String> = check::folder(spool, folder, knowledge, now)?
        .into_iter()
        .filter(|finding| !finding.is_repairable())
        .map(|finding| format!("{}: {}", finding.path.display(), finding.what))
        .collect();
    if let Some((priority, _)) = spool.locate(folder.id())? {
        obstacles.push(format!("its id is in use at {priority}: wait until that message is distributed"));
    }
    if folder.contents()?.packets.is_empty() {
        obstacles.push("there is no packet in it: nobody is left to be sent to".into());
    }
    Ok(obstacles)
}

/// Puts an entry back to `to`. `false`: it is not there any more.
pub fn put_back(spool: &Spool, entry: &EntryName, folder: &Folder, to: Priority) -> Result<bool> {
    const FATE: &str = "it stays in bad/";
    let place = spool.at(to);
    let moved = spool.bad.rename(&entry.text, place, &folder.name().to_string()).map_err(|error| error.fate(FATE));
    if unless_gone(moved)?.is_none() {
        return Ok(false);
    }
    let unsure = |error: DiskError| error.fate("the message has been put back, but a power loss now may undo that");
    place.sync().map_err(unsure)?;
    // Outside bad/ it says nothing.
    unless_gone(folder.dir().remove(layout::REASON))?;
    // It may have been held when it was cancelled.
    if to != Priority::Held {
        unless_gone(folder.dir().remove(layout::HELD))?;
    }
    Ok(true)
}
