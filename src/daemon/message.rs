//! A message that workers are on: its folder held open, its packets dealt out, its bodies encoded once for all.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::Mutex;

use crate::mail::{Address, Body, Epoch, MessageId, Mode, Moment, PacketName, Priority, ReversePath};
use crate::render;
use crate::render::head::SpoolHead;
use crate::spool::Spool;
use crate::spool::disk::DiskError;
use crate::spool::failures::LatestFailures;
use crate::spool::folder::Folder;
use crate::spool::layout::{self, MessageName};

/// See the module.
pub struct OpenMessage {
    pub folder: Folder,
    pub sender: ReversePath,
    /// When it came: what retries expire by.
    pub arrival: Epoch,
    /// Then it is too late.
    pub not_after: Option<Epoch>,
    /// A worker has held it. Whoever comes to the same end later must not hold it again: it may have been released.
    pub held: AtomicBool,
    /// About how many were to be sent to when it was opened.
    pub recipients: u64,
    /// Of the whole message, by its producer's word.
    pub recipients_total: Option<u64>,
    /// Recipients who were tried for the first time since it was opened.
    pub passed: AtomicU64,
    deck: Mutex<Deck>,
    bodies: Mutex<HashMap<Mode, Arc<Body>>>,
    pub latest_failures: Mutex<LatestFailures>,
    /// When failures are to be reported if it is not finished until then. `None`: not looked up yet.
    pub next_report: Mutex<Option<Epoch>>,
}

struct Deck {
    waiting: VecDeque<PacketName>,
    /// Somebody else's, when we tried.
    taken: HashSet<PacketName>,
    /// Left for a more urgent message, and when.
    preempted: HashMap<PacketName, Moment>,
}

/// Why a message can't be worked on.
#[derive(Debug, thiserror::Error)]
pub enum Unopened {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("it is not there any more")]
    Gone,
    /// It can't be read: to be set aside.
    #[error("{why}")]
    Bad { folder: Box<Folder>, why: String },
    /// There is no file in the folder: what a removal that was cut short leaves.
    #[error("the folder is empty")]
    Empty(Box<Folder>),
}

/// Why a packet's body can't be made.
#[derive(Debug, thiserror::Error)]
pub enum NoBody {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{0}")]
    Bad(String),
}

impl OpenMessage {
    /// Opens the message and lists what of it can be sent at `now`.
    pub fn open(spool: &Spool, priority: Priority, name: &MessageName, now: Epoch) -> Result<OpenMessage, Unopened> {
        let Some(folder) = Folder::open(spool, priority, name)? else { return Err(Unopened::Gone) };
        let contents = folder.contents()?;
        if !contents.message {
            let nothing = contents.packets.is_empty() && contents.strange.is_empty() && !contents.failures;
            let folder = Box::new(folder);
            return Err(match nothing {
                true => Unopened::Empty(folder),
                false => Unopened::Bad { folder, why: "the message file is missing or no regular file".into() },
            });
        }
        let modified = folder.dir().look(layout::MESSAGE)?.map_or(Epoch(0), |look| Epoch(look.modified));
        let message = match folder.read_message() {
            Err(error) if error.is_too_large() => {
                return Err(Unopened::Bad { folder: Box::new(folder), why: error.to_string() });
            }
            message => message?,
        };
        let (head, sender, body) = match read_head(folder.id(), &message) {
            Ok((head, sender, rest)) => (head, sender, render::wire::encode(rest)),
            Err(why) => return Err(Unopened::Bad { folder: Box::new(folder), why }),
        };
        let is_due = |packet: &PacketName| packet.due().is_none_or(|due| due <= now);
        let waiting: VecDeque<PacketName> = contents.packets.into_iter().filter(is_due).collect();
        let recipients = estimate(&head, &folder, &waiting)?;
        Ok(OpenMessage {
            sender,
            // An id's time is its producer's word; the file's is when it was written here. Expiry gives the benefit of
            // the doubt.
            arrival: folder.id().arrival().max(modified),
            folder,
            not_after: head.not_after,
            held: AtomicBool::new(false),
            recipients,
            recipients_total: head.recipients_total,
            passed: AtomicU64::new(0),
            deck: Mutex::new(Deck { waiting, taken: HashSet::new(), preempted: HashMap::new() }),
            bodies: Mutex::new(HashMap::from([(Mode::mail(), Arc::new(body))])),
            latest_failures: Mutex::default(),
            next_report: Mutex::default(),
        })
    }

    /// Deals from there on, and those before it last: who shares the message with others begins elsewhere than they.
    pub fn begin_at(&self, first: usize) {
        let waiting = &mut self.deck.lock().waiting;
        let first = first % waiting.len().max(1);
        waiting.rotate_left(first);
    }

    /// How many packets wait to be dealt.
    pub fn waiting(&self) -> usize {
        self.deck.lock().waiting.len()
    }

    /// Deals the next packet.
    pub fn deal(&self) -> Option<PacketName> {
        self.deck.lock().waiting.pop_front()
    }

    /// A packet comes back unfinished: it is the next to be dealt.
    pub fn put_back(&self, packet: PacketName) {
        self.deck.lock().waiting.push_front(packet);
    }

    /// A worker leaves this packet for a more urgent message.
    pub fn is_preempted(&self, packet: &PacketName, now: Moment) {
        self.deck.lock().preempted.insert(packet.clone(), now);
    }

    /// This packet is sent on. `Some`: since when it was left.
    pub fn resumes(&self, packet: &PacketName) -> Option<Moment> {
        self.deck.lock().preempted.remove(packet)
    }

    /// Somebody else works on this packet.
    pub fn is_elsewhere(&self, packet: PacketName) {
        self.deck.lock().taken.insert(packet);
    }

    /// Whether somebody else worked on this packet when we tried.
    pub fn was_elsewhere(&self, packet: &PacketName) -> bool {
        self.deck.lock().taken.contains(packet)
    }

    /// What packets of `mode` get, encoded for the wire. Made once a message; the lock is this message's alone.
    pub fn body(&self, mode: &Mode) -> Result<Arc<Body>, NoBody> {
        let mut bodies = self.bodies.lock();
        if let Some(body) = bodies.get(mode) {
            return Ok(body.clone());
        }
        let variant = match self.folder.read_variant(mode) {
            Err(error) if error.is_too_large() => return Err(NoBody::Bad(error.to_string())),
            variant => variant?,
        };
        let body = match variant {
            Some(variant) => match render::head::split(&variant) {
                Ok((_, rest)) => render::wire::encode(rest),
                Err(error) => return Err(NoBody::Bad(format!("message.{mode}: {error}"))),
            },
            None => {
                let message = self.folder.read_message()?;
                let (_, rest) = render::head::split(&message).map_err(|error| NoBody::Bad(error.to_string()))?;
                let rendered = render::mode::render(mode, rest)
                    .map_err(|_| NoBody::Bad(format!("packets of mode {mode} need a file message.{mode}")))?;
                render::wire::encode(&rendered)
            }
        };
        let body = Arc::new(body);
        bodies.insert(mode.clone(), body.clone());
        Ok(body)
    }
}

/// About how many recipients the packets have, without reading them: by what the producer said, or the first one's size.
fn estimate(head: &SpoolHead, folder: &Folder, packets: &VecDeque<PacketName>) -> Result<u64, DiskError> {
    /// Octets of an address and its newline.
    const LINE: u64 = 25;
    let fresh = packets.iter().filter(|packet| packet.retry.is_none()).count() as u64;
    if let (Some(recipients), Some(packets)) = (head.recipients_total, head.packets_total.filter(|&n| n > 0)) {
        return Ok(recipients.div_ceil(packets.into()).saturating_mul(fresh));
    }
    let Some(first) = packets.iter().find(|packet| packet.retry.is_none()) else { return Ok(0) };
    let look = folder.dir().look(&layout::packet_file(first))?;
    Ok(look.map_or(0, |look| look.size.div_ceil(LINE)).saturating_mul(fresh))
}

/// The spool's own lines, the envelope sender, and the message without those lines.
fn read_head<'m>(id: &MessageId, message: &'m [u8]) -> Result<(SpoolHead, ReversePath, &'m [u8]), String> {
    if message.is_empty() {
        return Err("the message file is empty".into());
    }
    let (head, rest) = render::head::split(message).map_err(|error| format!("the message file: {error}"))?;
    let sender = match head.sender.clone() {
        Some(sender) => sender,
        None => {
            let owner = id.list_owner();
            let address = owner.parse::<Address>().map_err(|error| format!("{owner} is no sender: {error}"));
            ReversePath::Address(address?)
        }
    };
    Ok((head, sender, rest))
}
