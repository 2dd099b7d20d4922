//! What breaks the spool's contract, and what of it can be mended without losing anything.
//!
//! Looks without taking a claim or a lock of a packet. What a worker or a producer does is a state of the contract at every
//! instant, but for moments between two steps: those states are findings only when nothing has changed in their folder
//! for [`SETTLED`] seconds.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::mail::{Epoch, MessageId, Mode, Packet, PacketName, Priority, checkpoint};

use super::adopt;
use super::disk::{Dir, Kind, Result, unless_gone};
use super::folder::{Contents, Folder};
use super::layout::{self, Entry, FileName, Incoming, MessageName, PauseName, SchedulerName};
use super::mark::Mark;
use super::note::Note;
use super::pause;
use super::progress::MAX_PACKET;
use super::reports::Reported;
use super::{Spool, disk::Disk};

/// One thing that is not as it should be.
#[derive(Debug)]
pub struct Finding {
    /// Below the spool's root.
    pub path: PathBuf,
    pub what: String,
    /// What happens to the mail.
    pub fate: &'static str,
    repair: Option<Repair>,
}

impl Finding {
    /// Whether [`repair`] can mend it.
    pub fn is_repairable(&self) -> bool {
        self.repair.is_some()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path.display(), self.what, self.fate)
    }
}

/// What loses nothing.
#[derive(Debug)]
enum Repair {
    CreateDirectories,
    /// A file of a message's folder that says nothing where it is.
    RemoveFile(Priority, MessageName, FileName),
    /// An empty folder.
    RemoveFolder(Priority, MessageName),
    TidyIncoming,
}

/// What only the parts above the spool know about a message.
pub struct Knowledge {
    /// What is wrong with the beginning of a message file.
    pub bad_head: fn(&[u8]) -> Option<String>,
    /// Whether packets of that mode can do without a variant.
    pub is_built_in: fn(&Mode) -> bool,
}

/// Seconds without a change after which what is between two steps is left over.
const SETTLED: u64 = 10;
const DAY: u64 = 24 * 60 * 60;

/// Reads the whole spool at `root`.
pub fn check(root: &Path, knowledge: &Knowledge, now: Epoch) -> Result<Vec<Finding>> {
    let spool = match Spool::open(&Disk::default(), root) {
        Ok(spool) => spool,
        // Another error than a missing directory of an existing spool is not the spool's to be mended.
        Err(error) if error.is_gone() && root.join(layout::DISTRIBUTE).is_dir() => {
            return Ok(vec![Finding {
                path: error.path,
                what: "a directory of the spool is missing".into(),
                fate: "nothing can be sent; the rest was not looked at",
                repair: Some(Repair::CreateDirectories),
            }]);
        }
        Err(error) => return Err(error),
    };
    let owner = spool.distribute.look_self()?.owner;
    let mut check = Check { spool: &spool, knowledge, now, owner, findings: Vec::new(), places: HashMap::new() };
    for priority in Priority::all() {
        check.priority(priority)?;
    }
    check.incoming()?;
    check.bad()?;
    check.paused()?;
    check.mark();
    check.strangers()?;
    Ok(check.findings)
}

/// Reads one message's folder, wherever it is. Paths of findings are below it.
pub fn folder(spool: &Spool, folder: &Folder, knowledge: &Knowledge, now: Epoch) -> Result<Vec<Finding>> {
    let owner = spool.distribute.look_self()?.owner;
    let mut check = Check { spool, knowledge, now, owner, findings: Vec::new(), places: HashMap::new() };
    if let Some(contents) = unless_gone(folder.contents())? {
        check.inside(folder, &contents, Path::new(""))?;
    }
    Ok(check.findings)
}

/// Mends what can be mended; gives what is left.
pub fn repair(root: &Path, findings: Vec<Finding>, now: Epoch) -> Result<(Vec<Finding>, usize)> {
    let mut left = Vec::new();
    let mut mended = 0;
    for finding in findings {
        let done = match &finding.repair {
            None => false,
            Some(Repair::CreateDirectories) => {
                Spool::create(&Disk::default(), root)?;
                true
            }
            Some(other) => mend(&Spool::open(&Disk::default(), root)?, other, now)?,
        };
        if done {
            mended += 1;
        } else {
            left.push(finding);
        }
    }
    Ok((left, mended))
}

fn mend(spool: &Spool, repair: &Repair, now: Epoch) -> Result<bool> {
    match repair {
        Repair::CreateDirectories => {}
        Repair::RemoveFile(priority, name, file) => {
            let Some(folder) = Folder::open(spool, *priority, name)? else { return Ok(true) };
            unless_gone(folder.dir().remove(&file.to_string()))?;
        }
        // Only an empty folder can be removed; one that isn't empty any more says so.
        Repair::RemoveFolder(priority, name) => drop(unless_gone(spool.at(*priority).remove_dir(&name.to_string()))?),
        Repair::TidyIncoming => drop(adopt::tidy(spool, now, DAY)?),
    }
    Ok(true)
}

struct Check<'s> {
    spool: &'s Spool,
    knowledge: &'s Knowledge,
    now: Epoch,
    owner: u32,
    findings: Vec<Finding>,
    /// Where each id was seen.
    places: HashMap<MessageId, PathBuf>,
}

const NEVER_SENT: &str = "it is left where it is and never sent";
const SET_ASIDE: &str = "it is set aside in bad/ when its turn comes, and nobody gets it";
const NO_HARM: &str = "no mail is affected";

impl Check<'_> {
    fn find(&mut self, path: PathBuf, what: impl Into<String>, fate: &'static str, repair: Option<Repair>) {
        self.findings.push(Finding { path, what: what.into(), fate, repair });
    }

    /// A path below the spool's root.
    fn below(&self, dir: &Dir, name: &str) -> PathBuf {
        let dir = dir.path().strip_prefix(self.spool.path()).unwrap_or(dir.path());
        dir.join(name)
    }

    fn age(&self, modified: u64) -> u64 {
        self.now.since(Epoch(modified))
    }

    fn priority(&mut self, priority: Priority) -> Result<()> {
        let place = self.spool.at(priority);
        let mut entries = place.list()?;
        entries.sort();
        let flat: Vec<MessageName> = entries
            .iter()
            .filter(|(_, kind)| *kind == Kind::File)
            .filter_map(|(name, _)| match layout::parse(name) {
                Ok(Entry::Message(name)) => Some(name),
                _ => None,
            })
            .collect();
        for (text, kind) in entries {
            let shown = text.to_string_lossy().into_owned();
            let path = self.below(place, &shown);
            match layout::parse(&text) {
                Ok(Entry::Message(name)) => {
                    if let Some(other) = self.places.insert(name.id.clone(), path.clone()) {
                        let what = format!("its id is in use at {} as well", other.display());
                        self.find(path.clone(), what, "both are sent", None);
                    }
                    match kind {
                        Kind::Directory => {
                            if let Err(error) = self.message(priority, &name, path.clone()) {
                                self.find(path, error.to_string(), "it may never be sent", None);
                            }
                        }
                        Kind::Other => self.find(path, "not a regular file", SET_ASIDE, None),
                        Kind::File => {
                            self.flat(place, &shown, path, "a flat drop that nobody has adopted for a day")?
                        }
                    }
                }
                Ok(Entry::FlatPart(name, _)) => {
                    if kind != Kind::File {
                        self.find(path, "not a regular file", SET_ASIDE, None);
                    } else if !flat.iter().any(|message| message.id == name.id) {
                        self.flat(
                            place,
                            &shown,
                            path,
                            "part of a flat drop whose message file has not come for a day",
                        )?;
                    }
                }
                // How producers hide what is not finished.
                Err(_) if shown.starts_with('.') => {}
                Err(error) => self.find(path, format!("not a name of this spool: {}", error.reason), NEVER_SENT, None),
            }
        }
        Ok(())
    }

    fn flat(&mut self, place: &Dir, name: &str, path: PathBuf, what: &str) -> Result<()> {
        if place.look(name)?.is_some_and(|look| self.age(look.modified) > DAY) {
            self.find(path, what, "it waits; is a scheduler running?", None);
        }
        Ok(())
    }

    fn message(&mut self, priority: Priority, name: &MessageName, path: PathBuf) -> Result<()> {
        let Some(folder) = Folder::open(self.spool, priority, name)? else { return Ok(()) };
        let look = folder.dir().look_self()?;
        let Some(contents) = unless_gone(folder.contents())? else { return Ok(()) };
        let settled = self.age(look.modified) > SETTLED;
        if look.owner != self.owner {
            let what = format!("belongs to user {}, the spool to user {}", look.owner, self.owner);
            self.find(path.clone(), what, "the scheduler may not be able to go on with it", None);
        }
        let is_empty = !contents.message && contents.packets.is_empty() && contents.strange.is_empty();
        if is_empty && contents.statuses.is_empty() && !contents.failures {
            if settled {
                let repair = Some(Repair::RemoveFolder(priority, name.clone()));
                self.find(path, "an empty folder", NO_HARM, repair);
            }
            return Ok(());
        }
        self.leftovers(priority, name, &contents, &path, settled);
        self.inside(&folder, &contents, &path)
    }

    /// The files of a folder by themselves.
    fn inside(&mut self, folder: &Folder, contents: &Contents, path: &Path) -> Result<()> {
        for (file, why) in &contents.strange {
            self.find(path.join(file), why.clone(), "the message is set aside once it is distributed", None);
        }
        if let Err(error) = Reported::read(folder.dir()) {
            self.find(path.join(layout::REPORTED), error.to_string(), "the message is set aside in the end", None);
        }
        if !contents.message {
            self.find(path.join(layout::MESSAGE), "the message file is missing", SET_ASIDE, None);
        } else {
            self.content(folder, path)?;
        }
        for packet in &contents.packets {
            self.packet(folder, packet, path)?;
            let mode = &packet.mode;
            if !(self.knowledge.is_built_in)(mode) && !contents.variants.contains(mode) {
                let file = path.join(layout::packet_file(packet));
                self.find(file, format!("packets of mode {mode} need a file message.{mode}"), SET_ASIDE, None);
            }
        }
        Ok(())
    }

    fn content(&mut self, folder: &Folder, path: &Path) -> Result<()> {
        let Some(message) = unless_gone(folder.read_message())? else { return Ok(()) };
        if message.is_empty() {
            self.find(path.join(layout::MESSAGE), "the message file is empty", SET_ASIDE, None);
        } else if let Some(what) = (self.knowledge.bad_head)(&message) {
            self.find(path.join(layout::MESSAGE), what, SET_ASIDE, None);
        }
        Ok(())
    }

    /// Files that say nothing where they are.
    fn leftovers(&mut self, priority: Priority, name: &MessageName, contents: &Contents, path: &Path, settled: bool) {
        if !settled {
            return;
        }
        let held = (contents.held && priority != Priority::Held)
            .then_some((FileName::Held, "says why a message is held that is not"));
        let reason = contents.reason.then_some((FileName::Reason, "says why a message was set aside that is not"));
        for (file, what) in held.into_iter().chain(reason) {
            let repair = Some(Repair::RemoveFile(priority, name.clone(), file.clone()));
            self.find(path.join(file.to_string()), what, NO_HARM, repair);
        }
    }

    fn packet(&mut self, folder: &Folder, name: &PacketName, path: &Path) -> Result<()> {
        let file = layout::packet_file(name);
        let Some(content) = unless_gone(folder.dir().read(&file, MAX_PACKET))? else { return Ok(()) };
        let lines = content.split(|&b| b == b'\n').filter(|line| !line.is_empty()).count();
        let packet = match Packet::parse(content) {
            Ok(packet) => packet,
            Err(bad) => {
                self.find(path.join(file), bad.to_string(), SET_ASIDE, None);
                return Ok(());
            }
        };
        if packet.len() < lines {
            let what = format!("{} repeated addresses", lines - packet.len());
            self.find(path.join(&file), what, "each is sent to once", None);
        }
        let status = FileName::Status(name.clone()).to_string();
        let Some(content) = unless_gone(folder.dir().read(&status, 64 * 1024))? else { return Ok(()) };
        let what = match checkpoint::decode(&content) {
            Ok(None) => None,
            Ok(Some(last)) => packet.position(last).is_none().then(|| format!("names {last}, which is not in {file}")),
            Err(error) => Some(error.to_string()),
        };
        // The packet may have been finished, and its serial never comes back; then this says nothing.
        if let Some(what) = what
            && folder.dir().look(&file)?.is_some()
        {
            self.find(path.join(status), what, "the packet is set aside in bad/ when its turn comes", None);
        }
        Ok(())
    }

    /// What lies where only this program's directories and files do.
    fn strangers(&mut self) -> Result<()> {
        let running = self.spool.root.open_dir(layout::RUNNING)?;
        let is_priority = |name: &str| name.parse::<Priority>().is_ok();
        let is_scheduler = |name: &str| name.parse::<SchedulerName>().is_ok();
        type Known<'k> = &'k dyn Fn(&str) -> bool;
        let places: [(&Dir, Known<'_>); 3] = [
            (&self.spool.root, &|name| layout::TOP.contains(&name) || name == layout::CLUSTER),
            (&self.spool.distribute, &is_priority),
            (&running, &is_scheduler),
        ];
        let mut strangers = Vec::new();
        for (place, is_known) in places {
            for (name, _) in place.list()? {
                let name = name.to_string_lossy().into_owned();
                if !is_known(&name) && !name.starts_with('.') {
                    strangers.push(self.below(place, &name));
                }
            }
        }
        for path in strangers {
            self.find(path, "nothing of this spool's", "it is left where it is", None);
        }
        Ok(())
    }

    fn mark(&mut self) {
        if let Err(error) = Mark::read(self.spool) {
            self.find(error.path.clone(), error.source.to_string(), "nothing is sent from this spool", None);
        }
    }

    fn paused(&mut self) -> Result<()> {
        let Some(place) = unless_gone(self.spool.root.open_dir(layout::PAUSED))? else { return Ok(()) };
        for (text, kind) in place.list()? {
            let shown = text.to_string_lossy().into_owned();
            let path = self.below(&place, &shown);
            match layout::parse::<PauseName>(&text) {
                Err(_) if shown.starts_with('.') => {}
                Err(error) => self.find(path, error.reason, "it pauses nothing", None),
                Ok(_) if kind != Kind::File => self.find(path, "not a regular file", "it pauses nothing", None),
                Ok(_) => {}
            }
        }
        for paused in pause::list(self.spool, self.now)?.iter().filter(|paused| paused.pause.is_none()) {
            let path = self.below(&place, &paused.name.to_string());
            self.find(path, "a pause that can't be read", "it lasts until it is resumed", None);
        }
        Ok(())
    }

    fn incoming(&mut self) -> Result<()> {
        let place = &self.spool.incoming;
        for (text, kind) in place.list()? {
            let shown = text.to_string_lossy().into_owned();
            let path = self.below(place, &shown);
            let known = layout::parse::<Incoming>(&text);
            let Some(look) = place.look(&shown)? else { continue };
            match known {
                Err(_) if shown.starts_with('.') => {}
                Err(error) => self.find(path, error.reason, NEVER_SENT, None),
                Ok(_) if kind != Kind::Directory => self.find(path, "not a folder", NEVER_SENT, None),
                Ok(_) if self.age(look.modified) > DAY => {
                    let what = "left by a producer that died more than a day ago";
                    self.find(path, what, "it was never queued", Some(Repair::TidyIncoming));
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }

    fn bad(&mut self) -> Result<()> {
        let place = &self.spool.bad;
        for (text, kind) in place.list()? {
            let shown = text.to_string_lossy().into_owned();
            let path = self.below(place, &shown);
            let noted = kind == Kind::Directory
                && unless_gone(place.open_dir(&shown))?.is_none_or(|dir| Note::read(&dir, layout::REASON).is_some());
            if !noted {
                self.find(path, "set aside without a readable reason", "it is kept; nobody is sent to", None);
            }
        }
        Ok(())
    }
}
