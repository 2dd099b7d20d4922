//! Depth and age, read from the spool: for people and dashboards.
//!
//! Looks without touching: it takes no claim and no lock (whose packet is being worked on, the kernel's table of locks
//! says), so a scheduler that runs meanwhile is never in its way. What vanishes between listing and reading was
//! distributed in between, which is an ordinary answer.

use std::collections::HashSet;
use std::thread;

use crate::mail::{Epoch, PacketName, Priority, checkpoint};

use super::disk::{DiskError, Identity, Result, unless_gone};
use super::folder::Folder;
use super::layout::{self, FileName, MessageName};
use super::note::Note;
use super::progress::MAX_PACKET;
use super::{Spool, failures};

/// One message, as it stands.
#[derive(Debug)]
pub struct Message {
    pub priority: Priority,
    pub name: MessageName,
    /// Octets of the message file.
    pub size: u64,
    /// The beginning of the message file, where the spool's own lines stand.
    pub top: Vec<u8>,
    pub packets: Vec<Packet>,
    /// Recipients that failed for good.
    pub failed: u64,
    pub held: Option<Note>,
    seen: Seen,
}

/// By what [`again`] knows that a file is as it was.
#[derive(Debug, Default)]
struct Seen {
    message: Option<Identity>,
    /// Octets of `failures`: it only grows.
    failures: u64,
}

/// One packet, as it stands.
#[derive(Debug)]
pub struct Packet {
    pub name: PacketName,
    pub recipients: u64,
    /// Recipients behind the checkpoint; `None` if the checkpoint can't be read.
    pub done: Option<u64>,
    /// Whether a worker has its claim now.
    pub claimed: bool,
    /// The packet file; the address in its checkpoint that `done` was found by.
    identity: Identity,
    size: u64,
    last: Option<Box<str>>,
}

impl Packet {
    pub fn left(&self) -> u64 {
        self.recipients - self.done.unwrap_or(0).min(self.recipients)
    }

    /// Whether a worker is sending it. One that is claimed before it is due takes what is deferred from another.
    pub fn is_active(&self, now: Epoch) -> bool {
        self.claimed && self.name.due().is_none_or(|due| due <= now)
    }
}

/// What can be said of a message in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// A worker is sending it.
    Active,
    Waiting,
    /// Not due yet.
    Scheduled,
    /// Only deferred recipients are left, and none is due.
    Deferred,
    Held,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Waiting => "waiting",
            State::Scheduled => "scheduled",
            State::Deferred => "deferred",
            State::Held => "held",
        }
    }
}

impl Message {
    pub fn state(&self, now: Epoch) -> State {
        let is_early = |due: Option<Epoch>| due.is_some_and(|due| due > now);
        if self.priority == Priority::Held {
            State::Held
        } else if self.workers(now) > 0 {
            State::Active
        } else if is_early(self.name.not_before()) {
            State::Scheduled
        } else if !self.packets.is_empty() && self.packets.iter().all(|packet| is_early(packet.name.due())) {
            State::Deferred
        } else {
            State::Waiting
        }
    }

    /// Recipients that nobody has tried to send to.
    pub fn left(&self) -> u64 {
        self.packets.iter().filter(|packet| packet.name.retry.is_none()).map(Packet::left).sum()
    }

    /// Recipients that wait for another try.
    pub fn deferred(&self) -> u64 {
        self.packets.iter().filter(|packet| packet.name.retry.is_some()).map(Packet::left).sum()
    }

    /// Workers that are sending one of its packets.
    pub fn workers(&self, now: Epoch) -> usize {
        self.packets.iter().filter(|packet| packet.is_active(now)).count()
    }

    /// Since when it waits for its turn, for ageing: its arrival, or when it, or the first of its deferred recipients if no
    /// others are left, became due.
    pub fn waits_since(&self) -> Epoch {
        let due = |packet: &Packet| packet.name.due().unwrap_or_default();
        let packets = self.packets.iter().map(due).min().unwrap_or_default();
        self.name.id.arrival().max(self.name.not_before().unwrap_or_default()).max(packets)
    }

    /// When the first deferred recipients are due.
    pub fn next_try(&self) -> Option<Epoch> {
        self.packets.iter().filter_map(|packet| packet.name.due()).min()
    }
}

/// As much of a message as holds the spool's own lines.
const TOP: u64 = 2048;

/// What is known of all messages.
#[derive(Debug)]
pub struct Census {
    /// By priority, then arrival.
    pub messages: Vec<Message>,
    /// Messages of which something can't be read.
    pub damaged: Vec<(Priority, MessageName, DiskError)>,
}

/// Looks at every message.
pub fn take(spool: &Spool) -> Result<Census> {
    let mut names = Vec::new();
    for priority in Priority::all() {
        names.extend(spool.messages(priority)?.into_iter().map(|name| (priority, name)));
    }
    names.sort_by(|a, b| (a.0, a.1.id.arrival(), &a.1).cmp(&(b.0, b.1.id.arrival(), &b.1)));
    let locked = locked_files();
    let threads = thread::available_parallelism().map_or(1, usize::from).min(8);
    let chunk = names.len().div_ceil(threads).max(1);
    let counted: Vec<Vec<Result<Option<Message>>>> = thread::scope(|scope| {
        let counting: Vec<_> = names
            .chunks(chunk)
            .map(|names| {
                let count = |(p, name): &(Priority, MessageName)| one(spool, *p, name, &Ways::from(&locked));
                scope.spawn(move || names.iter().map(count).collect())
            })
            .collect();
        counting.into_iter().map(|thread| thread.join().expect("counting does not panic")).collect()
    });
    let mut census = Census { messages: Vec::with_capacity(names.len()), damaged: Vec::new() };
    for ((priority, name), counted) in names.into_iter().zip(counted.into_iter().flatten()) {
        match counted {
            Ok(message) => census.messages.extend(message),
            Err(error) => census.damaged.push((priority, name, error)),
        }
    }
    Ok(census)
}

/// One message; `None` if it is gone.
pub fn of(spool: &Spool, priority: Priority, name: &MessageName) -> Result<Option<Message>> {
    one(spool, priority, name, &Ways::from(&locked_files()))
}

/// One message's figures, without a look at who works on it.
pub fn figures(spool: &Spool, priority: Priority, name: &MessageName) -> Result<Option<Message>> {
    one(spool, priority, name, &Ways::from(&Locked(HashSet::new())))
}

/// The same once more, reading only what has changed since `before`: a packet is looked into where it is new, or where
/// its checkpoint has moved and `done` doesn't know how far. `top` is empty where the message file is the one of `before`.
pub fn again(
    spool: &Spool,
    priority: Priority,
    name: &MessageName,
    before: &Message,
    done: &dyn Fn(&PacketName) -> Option<u64>,
) -> Result<Option<Message>> {
    one(spool, priority, name, &Ways { locked: &Locked(HashSet::new()), before: Some(before), done })
}

/// By what a message's figures are found, but for its files.
struct Ways<'a> {
    locked: &'a Locked,
    before: Option<&'a Message>,
    /// Recipients of a packet behind the checkpoint.
    done: &'a dyn Fn(&PacketName) -> Option<u64>,
}

impl<'a> From<&'a Locked> for Ways<'a> {
    fn from(locked: &'a Locked) -> Ways<'a> {
        Ways { locked, before: None, done: &|_| None }
    }
}

impl Ways<'_> {
    /// What was known of a packet, if its file is the same.
    fn before(&self, name: &PacketName, identity: Identity, size: u64) -> Option<&Packet> {
        let packets = &self.before?.packets;
        let at = packets.binary_search_by(|packet| packet.name.cmp(name)).ok()?;
        Some(&packets[at]).filter(|packet| (packet.identity, packet.size) == (identity, size))
    }
}

fn one(spool: &Spool, priority: Priority, name: &MessageName, ways: &Ways) -> Result<Option<Message>> {
    let Some(folder) = Folder::open(spool, priority, name)? else { return Ok(None) };
    let Some(contents) = unless_gone(folder.contents())? else { return Ok(None) };
    let mut message = Message {
        priority,
        name: name.clone(),
        size: 0,
        top: Vec::new(),
        packets: Vec::with_capacity(contents.packets.len()),
        failed: 0,
        held: None,
        seen: Seen::default(),
    };
    let before = ways.before;
    if let Some(look) = folder.dir().look(layout::MESSAGE)? {
        (message.size, message.seen.message) = (look.size, Some(look.identity));
        if before.is_none_or(|before| before.seen.message != message.seen.message)
            && let Some(file) = unless_gone(folder.dir().open_read(layout::MESSAGE))?
        {
            message.top = file.read_part(0, TOP)?;
        }
    }
    for name in contents.packets {
        message.packets.extend(count(&folder, name, ways)?);
    }
    if contents.failures {
        message.seen.failures = folder.dir().look(layout::FAILURES)?.map_or(0, |look| look.size);
        message.failed = match before.filter(|before| before.seen.failures == message.seen.failures) {
            Some(before) => before.failed,
            None => failures::read(folder.dir())?.len() as u64,
        };
    }
    if contents.held {
        message.held = Note::read(folder.dir(), layout::HELD);
    }
    Ok(Some(message))
}

fn count(folder: &Folder, name: PacketName, ways: &Ways) -> Result<Option<Packet>> {
    let file_name = layout::packet_file(&name);
    let Some(look) = folder.dir().look(&file_name)? else { return Ok(None) };
    let (identity, size) = (look.identity, look.size);
    let before = ways.before(&name, identity, size);
    let status = unless_gone(folder.dir().read(&FileName::Status(name.clone()).to_string(), 64 * 1024))?;
    let last = match status.as_deref().map(checkpoint::decode) {
        None | Some(Ok(None)) => Some(None),
        Some(Ok(Some(last))) => Some(Some(last)),
        Some(Err(_)) => None,
    };
    let mut packet = Packet {
        recipients: before.map_or(0, |before| before.recipients),
        done: None,
        claimed: ways.locked.0.contains(&identity),
        identity,
        size,
        last: None,
        name,
    };
    // Without an address in it, a checkpoint says where it is by itself.
    let is_as_before = |last: &str| before.filter(|before| before.last.as_deref() == Some(last));
    packet.done = match last {
        None => None,
        Some(None) => Some(0),
        Some(Some(last)) => match is_as_before(last) {
            Some(before) => {
                packet.last = Some(last.into());
                before.done
            }
            None => (ways.done)(&packet.name).filter(|_| before.is_some()),
        },
    };
    let is_known = before.is_some() && (packet.done.is_some() || !matches!(last, Some(Some(_))));
    if !is_known {
        let Some(file) = unless_gone(folder.dir().open_read(&file_name))? else { return Ok(None) };
        let content = file.read_all(MAX_PACKET)?;
        packet.recipients = lines(&content);
        if let Some(Some(last)) = last {
            packet.last = Some(last.into());
            packet.done = behind(&content, last.as_bytes());
        }
    }
    Ok(Some(packet))
}

/// Lines, the last of which may lack its newline.
fn lines(content: &[u8]) -> u64 {
    let newlines = memchr::memchr_iter(b'\n', content).count() as u64;
    newlines + u64::from(content.last().is_some_and(|&b| b != b'\n'))
}

/// How many lines there are up to and including that of `address`.
fn behind(content: &[u8], address: &[u8]) -> Option<u64> {
    memchr::memmem::find_iter(content, address)
        .find(|&at| {
            let end = content.get(at + address.len());
            (at == 0 || content[at - 1] == b'\n') && matches!(end, None | Some(b'\n' | b'\t'))
        })
        .map(|at| lines(&content[..at]) + 1)
}

/// Files that somebody on this machine holds a lock of.
struct Locked(HashSet<Identity>);

/// From the kernel's table; empty where there is none to be read.
fn locked_files() -> Locked {
    const MOST_LOOKS: usize = 8;
    let mut locked = HashSet::new();
    // The kernel gives the table page by page, and where an entry goes in between, it passes over another one: looked
    // through again until nothing more turns up.
    for _ in 0..MOST_LOOKS {
        let known = locked.len();
        let table = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        locked.extend(table.lines().filter(|line| line.contains("FLOCK")).filter_map(locked_file));
        if locked.len() == known {
            break;
        }
    }
    Locked(locked)
}

/// A line of `/proc/locks` (proc(5)): `1: FLOCK  ADVISORY  WRITE 4711 fe:01:8912 0 EOF`; device numbers are hexadecimal.
fn locked_file(line: &str) -> Option<Identity> {
    let mut parts = line.split_ascii_whitespace().find(|word| word.matches(':').count() == 2)?.split(':');
    let number = |text: &str| u32::from_str_radix(text, 16).ok();
    let (major, minor) = (number(parts.next()?)?, number(parts.next()?)?);
    Some(Identity::new(rustix::fs::makedev(major, minor), parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::disk::Disk;
    use super::*;

    #[test]
    fn a_checkpoint_is_found_at_whole_lines_only() {
        let content = b"xa@b.org\na@b.organic\na@b.org\t{}\nc@b.org";
        assert_eq!(behind(content, b"a@b.org"), Some(3));
        assert_eq!(behind(content, b"c@b.org"), Some(4));
        assert_eq!(behind(content, b"d@b.org"), None);
        assert_eq!(lines(content), 4);
    }

    #[test]
    fn a_second_look_finds_what_a_first_one_would() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(&Disk::default(), dir.path()).unwrap();
        let (at, name): (Priority, MessageName) = ("4".parse().unwrap(), "l@x.org.1.2".parse().unwrap());
        let place = dir.path().join("distribute/4/l@x.org.1.2");
        std::fs::create_dir(&place).unwrap();
        let put = |name: &str, text: &str| std::fs::write(place.join(name), text).unwrap();
        put("message", "Return-Path: <a@x.org>\n\n");
        put("recipients.mail.0001", "a@x.org\nb@x.org\nc@x.org\n");
        put("recipients.mail.0002", "d@x.org\ne@x.org\n");
        let figures = |message: &Message| -> Vec<(u64, Option<u64>)> {
            message.packets.iter().map(|packet| (packet.recipients, packet.done)).collect()
        };
        let mut known = super::figures(&spool, at, &name).unwrap().unwrap();
        assert!(!known.top.is_empty());
        // A checkpoint that moves; one that can't be found; a retry packet that grows; a packet that goes.
        let steps: [&dyn Fn(); 6] = [
            &|| put("recipients.mail.0001.status", "b@x.org\n\n"),
            &|| put("recipients.mail.0001.status", "nobody@x.org\n"),
            &|| put("recipients.mail.0001.status", "c@x.org\n"),
            &|| put("recipients.mail.0001.r1:at9999999999", "a@x.org\n"),
            &|| put("recipients.mail.0001.r1:at9999999999", "a@x.org\nb@x.org\n"),
            &|| std::fs::remove_file(place.join("recipients.mail.0001")).unwrap(),
        ];
        for step in steps {
            step();
            known = again(&spool, at, &name, &known, &|_| None).unwrap().unwrap();
            assert_eq!(figures(&known), figures(&super::figures(&spool, at, &name).unwrap().unwrap()));
            assert!(known.top.is_empty());
        }
        put("recipients.mail.0002.status", "d@x.org\n");
        let told = again(&spool, at, &name, &known, &|packet| (packet.serial.to_string() == "0002").then_some(2));
        assert_eq!(figures(&told.unwrap().unwrap()), [(2, Some(2)), (2, Some(0))], "who sends it knows better");
    }

    #[test]
    fn a_packet_that_somebody_has_is_active() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::create(&Disk::default(), dir.path()).unwrap();
        let id = "l@x.org.1.2";
        let place = dir.path().join("distribute/4").join(id);
        std::fs::create_dir(&place).unwrap();
        std::fs::write(place.join("message"), "a: b\n\n").unwrap();
        std::fs::write(place.join("recipients.mail.0001"), "a@x.org\nb@x.org\nc@x.org\n").unwrap();
        std::fs::write(place.join("recipients.mail.0001.status"), "b@x.org\n").unwrap();
        std::fs::write(place.join("recipients.mail.0001.r1:at9999999999"), "z@x.org\n").unwrap();
        let look = || take(&spool).unwrap().messages.pop().unwrap();
        assert_eq!((look().left(), look().deferred(), look().state(Epoch(5))), (1, 1, State::Waiting));
        let folder = spool.at("4".parse().unwrap()).open_dir(id).unwrap();
        let packet = folder.open("recipients.mail.0001").unwrap();
        assert!(packet.try_lock().unwrap());
        assert_eq!((look().workers(Epoch(5)), look().state(Epoch(5))), (1, State::Active));
        // What is deferred meanwhile goes to a packet that is claimed, too, and that nobody sends.
        let deferred = folder.open("recipients.mail.0001.r1:at9999999999").unwrap();
        assert!(deferred.try_lock().unwrap());
        assert_eq!(look().workers(Epoch(5)), 1);
        assert_eq!(look().workers(Epoch(9_999_999_999)), 2);
    }
}
