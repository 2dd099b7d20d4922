//! Flat drops: message, recipients and status files that a producer puts side by side into a priority's directory.
//!
//! They are adopted into a folder as soon as the message file itself is there, which comes last, and nobody has it open
//! for writing any more. Steps, under a lock of
//! `incoming/` so that two schedulers don't halve a drop between them:
//!
//! 1. a folder `incoming/adopt:<priority>:<name>`;
//! 2. each part is renamed into it, the message file last;
//! 3. files and folder are synced (a producer may not have done so);
//! 4. the folder is renamed to `distribute/<priority>/<name>`.
//!
//! A crash after 1 or within 2 leaves the message file where it was: the same steps are gone through again. After 2,
//! the folder has its message and is taken from step 3 on. A status file that came along is a checkpoint like any other.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use crate::mail::{Epoch, MessageId, Priority};

use super::disk::{Dir, Kind, Result, unless_gone};
use super::layout::{self, Entry, FileName, Incoming, MessageName};
use super::{Spool, draft, set_aside};

/// How long an empty message file may wait for its content, and how old the last write must be where the file system
/// can't tell whether the file is still being written. Seconds.
const PATIENCE: u64 = 10;

/// What became of a flat drop.
#[derive(Debug, PartialEq, Eq)]
pub enum Adoption {
    /// Its message file is still being written: to be tried again soon.
    NotYet(MessageId),
    /// It is a folder now, at that priority.
    Adopted(Priority, MessageName),
    /// It went to `bad/`.
    SetAside(MessageId, String),
}

/// Adopts every flat drop in `priority`'s directory whose message file is there. `None`: another process is at it.
pub fn adopt(spool: &Spool, priority: Priority, now: Epoch) -> Result<Option<Vec<Adoption>>> {
    let place = spool.at(priority);
    let Some(_lock) = spool.incoming.lock_soon()? else { return Ok(None) };
    // One listing for the message files and a later one for their parts: parts come before their message file, but a
    // listing that runs while files are created may show a later one and miss an earlier one.
    let messages: Vec<MessageName> = place
        .list()?
        .into_iter()
        .filter(|(_, kind)| *kind != Kind::Directory)
        .filter_map(|(name, _)| match layout::parse(&name) {
            Ok(Entry::Message(name)) => Some(name),
            _ => None,
        })
        .collect();
    if messages.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let mut parts: BTreeMap<MessageId, Vec<(OsString, FileName, Kind)>> = BTreeMap::new();
    for (text, kind) in place.list()? {
        if let Ok(Entry::FlatPart(name, file)) = layout::parse(&text) {
            parts.entry(name.id).or_default().push((text, file, kind));
        }
    }
    let adopted: Result<Vec<Adoption>> = messages
        .into_iter()
        .map(|name| {
            let parts = parts.remove(&name.id).unwrap_or_default();
            adopt_one(spool, priority, name, parts, now)
        })
        .collect();
    adopted.map(Some)
}

fn adopt_one(
    spool: &Spool,
    priority: Priority,
    name: MessageName,
    parts: Vec<(OsString, FileName, Kind)>,
    now: Epoch,
) -> Result<Adoption> {
    let place = spool.at(priority);
    let text = name.to_string();
    if is_being_written(place, &text, now)? {
        return Ok(Adoption::NotYet(name.id));
    }
    let folder = Incoming::Adoption(priority, name.clone()).to_string();
    let dir = match spool.incoming.make_dir(&folder) {
        Err(error) if !error.is_exists() => return Err(error),
        _ => spool.incoming.open_dir(&folder)?,
    };
    let came = parts.iter().any(|(_, file, _)| matches!(file, FileName::Packet(_)));
    let complaint = if place.look(&text)?.is_some_and(|look| look.kind != Kind::File) {
        Some(format!("{text} is not a regular file"))
    } else if let Some((part, ..)) = parts.iter().find(|(_, _, kind)| *kind != Kind::File) {
        Some(format!("{} is not a regular file", part.display()))
    } else if place.look(&text)?.is_some_and(|look| look.size == 0) {
        Some(format!("the message file {text} is empty"))
    } else if !came && !has_packet(&dir)? {
        Some(format!("no recipients file {text}.recipients.<mode>.<serial> came before the message file"))
    } else if spool.locate(&name.id)?.is_some() {
        Some("a message of that id is in the spool already".to_owned())
    } else {
        None
    };
    if let Some(why) = complaint {
        let mut things: Vec<&OsStr> = parts.iter().map(|(part, ..)| part.as_os_str()).collect();
        things.push(OsStr::new(&text));
        set_aside::things(spool, place, &text, &things, &set_aside::note(now, &why, priority))?;
        // What an earlier, cut-short try had moved already.
        empty_into_bad(spool, &dir, &folder, &name, priority, now, &why)?;
        return Ok(Adoption::SetAside(name.id, why));
    }
    for (part, file, _) in &parts {
        let Some(part) = part.to_str() else { continue };
        unless_gone(place.rename(part, &dir, &file.to_string()))?;
    }
    unless_gone(place.rename(&text, &dir, layout::MESSAGE))?;
    place.sync()?;
    show(spool, &dir, priority, name, now)
}

/// A producer that doesn't rename its message file into place writes it where we look. Nobody may get half of it.
fn is_being_written(place: &Dir, text: &str, now: Epoch) -> Result<bool> {
    let Some(look) = place.look(text)? else { return Ok(false) };
    if look.kind != Kind::File {
        return Ok(false);
    }
    let recent = now.since(Epoch(look.modified)) < PATIENCE;
    if look.size == 0 {
        return Ok(recent);
    }
    let Some(file) = unless_gone(place.open_read(text))? else { return Ok(false) };
    Ok(file.has_writer()?.unwrap_or(recent))
}

fn has_packet(dir: &Dir) -> Result<bool> {
    Ok(dir.list()?.iter().any(|(name, _)| matches!(layout::parse(name), Ok(FileName::Packet(_)))))
}

/// Steps 3 and 4.
fn show(spool: &Spool, dir: &Dir, priority: Priority, name: MessageName, now: Epoch) -> Result<Adoption> {
    for (file, _) in dir.list()? {
        if let Some(file) = file.to_str() {
            dir.open_read(file)?.sync_data()?;
        }
    }
    dir.sync()?;
    let folder = Incoming::Adoption(priority, name.clone()).to_string();
    match spool.incoming.rename(&folder, spool.at(priority), &name.to_string()) {
        Err(error) if error.is_exists() => {
            let why = "a message of that id is in the spool already".to_owned();
            empty_into_bad(spool, dir, &folder, &name, priority, now, &why)?;
            Ok(Adoption::SetAside(name.id, why))
        }
        result => {
            result?;
            spool.at(priority).sync()?;
            Ok(Adoption::Adopted(priority, name))
        }
    }
}

/// Moves what lies in an adoption's folder to `bad/` and removes the folder.
fn empty_into_bad(
    spool: &Spool,
    dir: &Dir,
    folder: &str,
    name: &MessageName,
    priority: Priority,
    now: Epoch,
    why: &str,
) -> Result<()> {
    let files = dir.list()?;
    if !files.is_empty() {
        let things: Vec<&OsStr> = files.iter().map(|(file, _)| file.as_os_str()).collect();
        set_aside::things(spool, dir, &name.to_string(), &things, &set_aside::note(now, why, priority))?;
    }
    unless_gone(spool.incoming.remove_dir(folder)).map(drop)
}

/// Brings `incoming/` in order after crashes: adoptions that have their message are gone on with, and what dead producers
/// left more than `after` seconds ago is cleared: recipients of an adoption whose message file never came go to `bad/`,
/// drafts that nobody holds are removed. Nothing is done while another process is at it.
pub fn tidy(spool: &Spool, now: Epoch, after: u64) -> Result<Vec<Adoption>> {
    let Some(_lock) = spool.incoming.lock_soon()? else { return Ok(Vec::new()) };
    let mut adoptions = Vec::new();
    for (text, kind) in spool.incoming.list()? {
        if kind != Kind::Directory {
            continue;
        }
        let Ok(incoming) = layout::parse::<Incoming>(&text) else { continue };
        let text = incoming.to_string();
        let Some(dir) = unless_gone(spool.incoming.open_dir(&text))? else { continue };
        let age = now.since(Epoch(dir.look_self()?.modified));
        match incoming {
            Incoming::Adoption(priority, name) if dir.look(layout::MESSAGE)?.is_some() => {
                adoptions.push(show(spool, &dir, priority, name, now)?);
            }
            Incoming::Adoption(priority, name) if age > after => {
                let why = "the recipients came, but their message file did not within a day";
                empty_into_bad(spool, &dir, &text, &name, priority, now, why)?;
                adoptions.push(Adoption::SetAside(name.id, why.to_owned()));
            }
            Incoming::Draft(_) if age > after && dir.try_lock()? => draft::discard(&spool.incoming, &text)?,
            _ => {}
        }
    }
    Ok(adoptions)
}
