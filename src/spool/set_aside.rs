//! What could not be read goes to `bad/`, whole, with a file `reason`. Nothing is ever deleted unread.
//!
//! The reason is written first and then all is moved by one rename, so that a crash leaves either a message in its place
//! (with a `reason` that says nothing yet) or one that is set aside and explained. Where the reason can't be written
//! (disk full), the message is moved all the same: a message that can't be sent must not be tried again and again.

use std::ffi::OsStr;

use crate::mail::{Epoch, PacketName, Priority};

use super::Spool;
use super::disk::{Dir, Result, unless_gone};
use super::folder::Folder;
use super::layout::{self, FileName, MessageName};
use super::note::Note;

/// Who sets things aside and holds messages, when it is not a person.
pub const PROGRAM: &str = "sympa-dist";

/// The `n`th name under which something may lie in `bad/`: the first one is its own.
fn nth_name(name: &str, n: u32) -> String {
    if n == 1 { name.to_owned() } else { format!("{name}~{n}") }
}

/// Tries names until `attempt` finds one that is free. Gives the name.
fn under_a_free_name(name: &str, mut attempt: impl FnMut(&str) -> Result<()>) -> Result<String> {
    let mut n = 1;
    loop {
        let candidate = nth_name(name, n);
        match attempt(&candidate) {
            Err(error) if error.is_exists() => n += 1,
            Err(error) => return Err(error),
            Ok(()) => return Ok(candidate),
        }
    }
}

/// Sets a message's folder aside. Gives its name in `bad/`; `None` if it was not there (any more).
pub fn message(spool: &Spool, priority: Priority, name: &MessageName, note: &Note) -> Result<Option<String>> {
    let name = name.to_string();
    let place = spool.at(priority);
    let Some(folder) = unless_gone(place.open_dir(&name))? else { return Ok(None) };
    let noted = note.write(&folder, layout::REASON);
    let moved = unless_gone(under_a_free_name(&name, |free| place.rename(&name, &spool.bad, free)))?;
    if moved.is_some() {
        noted?;
        spool.bad.sync()?;
    }
    Ok(moved)
}

/// Sets aside a thing in `from` that is no message's folder: a flat drop's files, a symbolic link, a FIFO. Each of
/// `things` comes under its own name into one folder. Gives that folder's name.
pub fn things(spool: &Spool, from: &Dir, name: &str, things: &[&OsStr], note: &Note) -> Result<String> {
    let folder = under_a_free_name(name, |free| spool.bad.make_dir(free))?;
    let dir = spool.bad.open_dir(&folder)?;
    note.write(&dir, layout::REASON)?;
    for thing in things.iter().filter_map(|thing| thing.to_str()) {
        unless_gone(from.rename(thing, &dir, thing))?;
    }
    dir.sync()?;
    spool.bad.sync()?;
    Ok(folder)
}

/// Sets one packet aside with its checkpoint, beside a second name of the message and its variants, so that what lies in
/// `bad/` is a message that can be mended and put back. The caller has the claim of that packet.
pub fn packet(spool: &Spool, folder: &Folder, packet: &PacketName, note: &Note) -> Result<String> {
    let name = under_a_free_name(&folder.name().to_string(), |free| spool.bad.make_dir(free))?;
    let dir = spool.bad.open_dir(&name)?;
    let contents = folder.contents()?;
    let variants = contents.variants.into_iter().map(FileName::Variant);
    for shared in variants.chain(contents.message.then_some(FileName::Message)) {
        let shared = shared.to_string();
        unless_gone(folder.dir().link(&shared, &dir, &shared))?;
    }
    note.write(&dir, layout::REASON)?;
    // The checkpoint first: a packet that came without it would be sent from its beginning once it is put back.
    for file in [FileName::Status(packet.clone()), FileName::Packet(packet.clone())] {
        let file = file.to_string();
        unless_gone(folder.dir().rename(&file, &dir, &file))?;
    }
    dir.sync()?;
    folder.dir().sync()?;
    spool.bad.sync()?;
    Ok(name)
}

/// A note by the program itself.
pub fn note(now: Epoch, why: impl Into<String>, from: Priority) -> Note {
    Note::new(now, PROGRAM, why, from)
}
