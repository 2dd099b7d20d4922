//! The grammar of every file name in the spool: the only place that composes or takes apart a name.
//!
//! `spool-layout/README.md` is the contract in prose; this is the same in types. A name that parses prints back byte for
//! byte; a name that does not parse is nobody's to touch.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use crate::mail::{Epoch, Level, MessageId, Mode, PacketName, Priority, Retry, Serial, message_id};

pub const DISTRIBUTE: &str = "distribute";
pub const INCOMING: &str = "incoming";
pub const BAD: &str = "bad";
pub const RUNNING: &str = "running";
pub const PAUSED: &str = "paused";
/// The mark of a spool that several hosts share.
pub const CLUSTER: &str = "cluster";
pub const TOP: [&str; 5] = [DISTRIBUTE, INCOMING, BAD, RUNNING, PAUSED];

pub const MESSAGE: &str = "message";
pub const FAILURES: &str = "failures";
pub const REPORTED: &str = "reported";
pub const HELD: &str = "held";
pub const REASON: &str = "reason";

const RECIPIENTS: &str = "recipients.";
const STATUS: &str = ".status";
const REPORT: &str = "report.";
const AT: &str = ":at";
const ADOPT: &str = "adopt:";

/// A name of a message: its folder's below `distribute/<priority>/`, or a flat message file's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MessageName {
    pub id: MessageId,
    /// Not to be sent before that time. Digits are kept as they were read.
    at: Option<Box<str>>,
}

impl MessageName {
    pub fn new(id: MessageId, not_before: Option<Epoch>) -> MessageName {
        MessageName { id, at: not_before.map(|at| at.to_string().into()) }
    }

    pub fn not_before(&self) -> Option<Epoch> {
        self.at.as_deref().map(|at| Epoch(at.parse().expect("checked when the name was made")))
    }
}

impl From<MessageId> for MessageName {
    fn from(id: MessageId) -> Self {
        MessageName { id, at: None }
    }
}

impl fmt::Display for MessageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        match &self.at {
            Some(at) => write!(f, "{AT}{at}"),
            None => Ok(()),
        }
    }
}

/// A file inside a message's folder, or a report's folder there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FileName {
    /// The message itself.
    Message,
    /// What packets of that mode get instead of the message.
    Variant(Mode),
    Packet(PacketName),
    /// A packet's checkpoint.
    Status(PacketName),
    /// Recipients that failed for good.
    Failures,
    /// How many of them have been reported.
    Reported,
    /// A folder: the message's n-th failure report, not shown yet.
    Report(u32),
    /// In `z/`: since when, by whom and why the message is held.
    Held,
    /// In `bad/`: why it was set aside.
    Reason,
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileName::Message => f.write_str(MESSAGE),
            FileName::Variant(mode) => write!(f, "{MESSAGE}.{mode}"),
            FileName::Packet(packet) => write!(f, "{}", PacketFile(packet)),
            FileName::Status(packet) => write!(f, "{}{STATUS}", PacketFile(packet)),
            FileName::Failures => f.write_str(FAILURES),
            FileName::Reported => f.write_str(REPORTED),
            FileName::Report(number) => write!(f, "{REPORT}{number}"),
            FileName::Held => f.write_str(HELD),
            FileName::Reason => f.write_str(REASON),
        }
    }
}

/// A packet's file's name.
pub fn packet_file(packet: &PacketName) -> String {
    PacketFile(packet).to_string()
}

struct PacketFile<'a>(&'a PacketName);

impl fmt::Display for PacketFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{RECIPIENTS}{}.{}", self.0.mode, self.0.serial)?;
        match self.0.retry {
            Some(Retry { due, generation }) => write!(f, ".r{generation}{AT}{due}"),
            None => Ok(()),
        }
    }
}

/// What lies directly in a priority's directory: a message's folder or flat message file, or a part of a flat drop.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Entry {
    Message(MessageName),
    /// `<message>.recipients.…`, `<message>.message.<mode>`: waits for its message file, which comes last.
    FlatPart(MessageName, FileName),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Message(name) => write!(f, "{name}"),
            Entry::FlatPart(name, file) => write!(f, "{name}.{file}"),
        }
    }
}

/// What lies in `incoming/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Incoming {
    /// A message being written, by its id.
    Draft(MessageId),
    /// A flat drop on its way into a folder: `adopt:<priority>:<name>`.
    Adoption(Priority, MessageName),
}

impl fmt::Display for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Incoming::Draft(id) => write!(f, "{id}"),
            Incoming::Adoption(priority, name) => write!(f, "{ADOPT}{priority}:{name}"),
        }
    }
}

/// A running scheduler's file in `running/`: `<host>.<process id>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SchedulerName {
    pub host: String,
    pub pid: u32,
}

impl fmt::Display for SchedulerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.host, self.pid)
    }
}

/// A pause's file in `paused/`: what is paused.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PauseName {
    Everything,
    Level(Level),
    /// A list's address.
    List(String),
    /// A relay, as logs name it.
    Relay(String),
}

const EVERYTHING: &str = "everything";
const PAUSED_LEVEL: &str = "priority:";
const PAUSED_LIST: &str = "list:";
const PAUSED_RELAY: &str = "relay:";
/// NAME_MAX of Linux's file systems.
const LONGEST_NAME: usize = 255;

impl fmt::Display for PauseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PauseName::Everything => f.write_str(EVERYTHING),
            PauseName::Level(level) => write!(f, "{PAUSED_LEVEL}{level}"),
            PauseName::List(list) => write!(f, "{PAUSED_LIST}{list}"),
            PauseName::Relay(relay) => {
                f.write_str(PAUSED_RELAY)?;
                relay.bytes().try_for_each(|octet| match octet {
                    b'.' | b':' | b'-' | b'_' | b'[' | b']' => write!(f, "{}", octet as char),
                    octet if octet.is_ascii_alphanumeric() => write!(f, "{}", octet as char),
                    octet => write!(f, "%{octet:02X}"),
                })
            }
        }
    }
}

impl FromStr for PauseName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = || BadName::new(text, "expected everything, priority:<0-9>, list:<address> or relay:<url>");
        let name = if text == EVERYTHING {
            PauseName::Everything
        } else if let Some(level) = text.strip_prefix(PAUSED_LEVEL) {
            PauseName::Level(level.parse().ok().and_then(Priority::level).ok_or_else(bad)?)
        } else if let Some(list) = text.strip_prefix(PAUSED_LIST) {
            message_id::check_list(list).map_err(|why| BadName::new(text, why))?;
            PauseName::List(list.to_owned())
        } else if let Some(relay) = text.strip_prefix(PAUSED_RELAY).filter(|relay| !relay.is_empty()) {
            PauseName::Relay(unescaped(relay).ok_or_else(bad)?)
        } else {
            return Err(bad());
        };
        // One name for each thing.
        if name.to_string() == text { Ok(name) } else { Err(bad()) }
    }
}

impl PauseName {
    /// As people and programs call it, and give it back: a relay's URL is not escaped, as it has to be for a file.
    pub fn plain(&self) -> String {
        match self {
            PauseName::Relay(relay) => format!("{PAUSED_RELAY}{relay}"),
            other => other.to_string(),
        }
    }

    /// Whether a file can have this name.
    pub fn fits(&self) -> bool {
        self.to_string().len() <= LONGEST_NAME
    }
}

/// Without `%` and two hexadecimal digits for an octet.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut octets = parts.next()?.as_bytes().to_vec();
    for part in parts {
        octets.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        octets.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(octets).ok()
}

/// Whether a host's name in the spool may have that character.
pub fn is_of_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// A name that is none of the grammar's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a name of this spool: {reason}")]
pub struct BadName {
    pub text: String,
    pub reason: String,
}

impl BadName {
    fn new(text: &str, reason: impl fmt::Display) -> BadName {
        BadName { text: text.to_owned(), reason: reason.to_string() }
    }
}

impl FromStr for MessageName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let (id, at) = match text.split_once(':') {
            None => (text, None),
            Some((id, suffix)) => {
                let at = suffix.strip_prefix(&AT[1..]).filter(|at| is_number(at));
                (id, Some(at.ok_or_else(|| BadName::new(text, "expected :at and unix seconds behind the id"))?))
            }
        };
        let id = id.parse().map_err(|error: crate::mail::BadMessageId| BadName::new(text, error.reason))?;
        Ok(MessageName { id, at: at.map(Into::into) })
    }
}

/// At most 15 digits, as in a message id: fits 64 bits with room to add to.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 15 && text.bytes().all(|b| b.is_ascii_digit())
}

/// A number without superfluous zeros, so that it prints back as it was read.
fn plain_number(text: &str) -> Option<u64> {
    (is_number(text) && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok())?
}

impl FromStr for FileName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        match text {
            MESSAGE => return Ok(FileName::Message),
            FAILURES => return Ok(FileName::Failures),
            REPORTED => return Ok(FileName::Reported),
            HELD => return Ok(FileName::Held),
            REASON => return Ok(FileName::Reason),
            _ => {}
        }
        if let Some(mode) = text.strip_prefix(MESSAGE).and_then(|rest| rest.strip_prefix('.')) {
            return mode.parse().map(FileName::Variant).map_err(|error| BadName::new(text, error));
        }
        if let Some(number) = text.strip_prefix(REPORT) {
            let number = plain_number(number).and_then(|number| u32::try_from(number).ok()).filter(|&n| n > 0);
            return number.map(FileName::Report).ok_or_else(|| BadName::new(text, "expected report.<number>"));
        }
        let bad =
            || BadName::new(text, "expected message, message.<mode>, recipients.<mode>.<serial>, failures or held");
        let rest = text.strip_prefix(RECIPIENTS).ok_or_else(bad)?;
        match rest.strip_suffix(STATUS) {
            Some(packet) => parse_packet(packet).map(FileName::Status),
            None => parse_packet(rest).map(FileName::Packet),
        }
        .ok_or_else(|| {
            BadName::new(text, "expected recipients.<mode>.<serial>, then .r<n>:at<unix seconds> for a retry packet")
        })
    }
}

/// `<mode>.<serial>` or `<mode>.<serial>.r<n>:at<epoch>`
fn parse_packet(text: &str) -> Option<PacketName> {
    let mut parts = text.split('.');
    let mode: Mode = parts.next()?.parse().ok()?;
    let serial: Serial = parts.next()?.parse().ok()?;
    let retry = match parts.next() {
        None => None,
        Some(retry) => {
            let (generation, due) = retry.strip_prefix('r')?.split_once(AT)?;
            let generation = u16::try_from(plain_number(generation)?).ok().filter(|&n| n > 0)?;
            Some(Retry { generation, due: Epoch(plain_number(due)?) })
        }
    };
    parts.next().is_none().then_some(PacketName { retry, serial, mode })
}

impl FromStr for Entry {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let as_message = text.parse::<MessageName>();
        if let Ok(name) = as_message {
            return Ok(Entry::Message(name));
        }
        // From the right: a list's domain may have a label `recipients` or `message` of its own. At every dot: a mode may
        // be called `recipients`, and then the marker stands there twice, with one dot in common.
        for (dot, _) in text.rmatch_indices('.') {
            let part = &text[dot + 1..];
            if !part.starts_with(RECIPIENTS) && !part.strip_prefix(MESSAGE).is_some_and(|rest| rest.starts_with('.')) {
                continue;
            }
            if let (Ok(name), Ok(file)) = (text[..dot].parse(), part.parse()) {
                return Ok(Entry::FlatPart(name, file));
            }
        }
        as_message.map(Entry::Message)
    }
}

impl FromStr for Incoming {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if let Some((priority, name)) = text.strip_prefix(ADOPT).and_then(|rest| rest.split_once(':'))
            && let (Ok(priority), Ok(name)) = (priority.parse(), name.parse())
        {
            return Ok(Incoming::Adoption(priority, name));
        }
        let id = text.parse().map_err(|error: crate::mail::BadMessageId| BadName::new(text, error.reason))?;
        Ok(Incoming::Draft(id))
    }
}

impl FromStr for SchedulerName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = || BadName::new(text, "expected <host>.<process id>");
        let (host, pid) = text.rsplit_once('.').ok_or_else(bad)?;
        let pid = plain_number(pid).and_then(|pid| u32::try_from(pid).ok()).ok_or_else(bad)?;
        if host.is_empty() || host.starts_with('.') || !host.chars().all(is_of_host) {
            return Err(bad());
        }
        Ok(SchedulerName { host: host.to_owned(), pid })
    }
}

/// Reads a name as the file system gives it.
pub fn parse<T: FromStr<Err = BadName>>(name: &OsStr) -> Result<T, BadName> {
    std::str::from_utf8(name.as_bytes())
        .map_err(|_| BadName { text: name.as_bytes().escape_ascii().to_string(), reason: "not UTF-8".into() })?
        .parse()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reads_back<T: FromStr<Err = BadName> + fmt::Display>(text: &str) {
        assert_eq!(text.parse::<T>().unwrap_or_else(|e| panic!("{e}")).to_string(), text);
    }

    #[test]
    fn names_print_back_byte_for_byte() {
        for text in [
            "message",
            "message.notice",
            "recipients.mail.0001",
            "recipients.mail.001.status",
            "failures",
            "reported",
            "report.1",
            "held",
            "recipients.mail.0001.r1:at1192613690",
            "recipients.mail.0001.r12:at1192613690.status",
            "reason",
        ] {
            reads_back::<FileName>(text);
        }
        for text in [
            "my-list@my.dom.1192613090.972",
            "my-list@my.dom.1192613090.972:at1192680000",
            "my-list@my.dom.1192613090.972.recipients.mail.001",
            "my-list@my.dom.1192613090.972.recipients.mail.001.status",
            "my-list@my.dom.1192613090.972:at1192680000.recipients.mail.001",
            "l@x.recipients.org.1.2.recipients.mail.001",
            "l@x.1.2.message.notice",
        ] {
            reads_back::<Entry>(text);
        }
        for text in ["everything", "priority:0", "list:news@my.dom", "relay:smtp:%2F%2F[::1]:25", "relay:x%C3%BC"] {
            reads_back::<PauseName>(text);
        }
    }

    #[test]
    fn other_names_are_nobodys() {
        for text in [
            "",
            "Message",
            "message.",
            "message.Notice",
            "message.a.b",
            "recipients",
            "recipients.mail",
            "recipients.mail.",
            "recipients.mail.x",
            "recipients..0001",
            "recipients.mail.0001.r0:at5",
            "recipients.mail.0001.r1:at",
            "recipients.mail.0001.r1:at05",
            "recipients.mail.0001.r01:at5",
            "recipients.mail.0001.r1:at5.x",
            "recipients.mail.0001.status.status",
            ".message",
            "status",
            "failures.1",
            "report.0",
            "report.01",
            "report.x",
        ] {
            assert!(text.parse::<FileName>().is_err(), "{text:?}");
        }
        for text in [
            "..",
            ".l@x.1.2",
            "l@x.1.2:at",
            "l@x.1.2:at-1",
            "l@x.1.2:bt5",
            "l@x.1.2:at5:at6",
            "l@x.1.2.recipients.mail",
        ] {
            assert!(text.parse::<Entry>().is_err(), "{text:?}");
        }
        let relays = ["relay:", "relay:a/b", "relay:%2f", "relay:%41", "relay:%", "relay:%2", "relay:%FF", "relay:%é"];
        for text in ["", "all", "priority:z", "priority:05", "list:", "list:x", "list:a b@c"].into_iter().chain(relays)
        {
            assert!(text.parse::<PauseName>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_parses_prints_back(text in "[a-z0-9@.:r/-]{0,60}") {
            if let Ok(name) = text.parse::<Entry>() { prop_assert_eq!(name.to_string(), text.clone()); }
            if let Ok(name) = text.parse::<FileName>() { prop_assert_eq!(name.to_string(), text); }
        }

        #[test]
        fn whatever_relay_is_paused_is_read_back(relay in "[ -~é/]{1,60}") {
            let name = PauseName::Relay(relay);
            prop_assert_eq!(name.to_string().parse::<PauseName>(), Ok(name));
        }
    }
}
