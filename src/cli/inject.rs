//! `sympa-dist inject`: queues one message.
//!
//! All or nothing: the message is written under `incoming/`, synced, and shown by one rename. Whatever goes wrong before
//! that, nothing is queued and nothing is left behind.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::{Timestamp, ZonedDateTime};

use super::{CliError, Exit, Global, configuration};
use crate::daemon::clock;
use crate::mail::packet::BadLine;
use crate::mail::{Epoch, MessageId, Mode, Priority, ReversePath};
use crate::render::head::{self, SpoolHead};
use crate::render::mode;
use crate::spool::Spool;
use crate::spool::disk::Disk;
use crate::spool::draft::Draft;
use crate::spool::folder::MAX_MESSAGE;
use crate::spool::layout::FileName;
use crate::spool::note::Note;
use crate::spool::recipients::{Cut, Intake, IntakeError, Order};

/// Queues one message; prints its id
#[derive(Args, Debug)]
pub struct Inject {
    /// The list's address
    #[arg(long, value_name = "ADDRESS")]
    list: String,
    /// 0 (first) to 9, or z (held) [key: inject.priority]
    #[arg(long, value_name = "P")]
    priority: Option<Priority>,
    /// The message; - is standard input
    #[arg(long, value_name = "FILE")]
    message: PathBuf,
    /// Recipients of a reception mode, one address a line; - is standard input; once a mode
    #[arg(long, value_name = "MODE=FILE", required = true)]
    recipients: Vec<ModeFile>,
    /// What recipients of a mode get instead of the message
    #[arg(long, value_name = "MODE=FILE")]
    variant: Vec<ModeFile>,
    /// Envelope sender; <> is the null sender [default: LIST-owner@DOMAIN]
    #[arg(long, value_name = "ADDRESS")]
    sender: Option<String>,
    /// Recipients a packet [key: inject.packet_size]
    #[arg(long, value_name = "N", conflicts_with = "packets")]
    packet_size: Option<NonZero<usize>>,
    /// Number of packets for each mode
    #[arg(long, value_name = "N")]
    packets: Option<NonZero<usize>>,
    /// Not before: unix seconds, 2026-12-01T18:00:00Z, 2026-12-01T18:00[Europe/Paris], or +2h
    #[arg(long, value_name = "WHEN")]
    at: Option<String>,
    /// The message's id [default: LIST.NOW.NUMBER]
    #[arg(long, value_name = "ID")]
    id: Option<MessageId>,
    /// Leave lines out that are no addresses, and list them
    #[arg(long)]
    skip_invalid: bool,
    /// Send in the order of the files, not by domain
    #[arg(long)]
    keep_order: bool,
}

/// `MODE=FILE`
#[derive(Clone, Debug)]
struct ModeFile {
    mode: Mode,
    file: PathBuf,
}

impl FromStr for ModeFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mode, file) = text.split_once('=').ok_or("expected MODE=FILE, as in mail=members.txt")?;
        let mode = mode.parse().map_err(|error: crate::mail::packet::BadMode| error.to_string())?;
        Ok(ModeFile { mode, file: file.into() })
    }
}

/// How many bad lines are shown one by one.
const SHOWN: usize = 100;
const NOTHING: &str = "nothing was queued";

impl Inject {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        let settings = configuration::load(&global.overrides())?.settings;
        self.check()?;
        let now = clock::epoch();
        let id = self.id(now)?;
        let not_before = self.at.as_deref().map(|at| when(at, now)).transpose()?;
        let sender = match &self.sender {
            Some(sender) => Some(head::reverse_path(sender).map_err(usage)?),
            None => None,
        };
        owner_can_be_sender(&sender, &self.list)?;
        let message = self.message()?;
        let priority = self.priority.unwrap_or(settings.inject.priority);

        let stop = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
            signal_hook::flag::register(signal, stop.clone())
                .map_err(|error| CliError::TryAgain(format!("cannot listen for signals: {error}; {NOTHING}")))?;
        }
        let spool = Spool::create(&Disk::default(), &settings.spool).map_err(|error| error.fate(NOTHING))?;
        spool.require_owner()?;
        let draft = Draft::begin(&spool, id)?;
        let fate = |error: crate::spool::disk::DiskError| CliError::from(error.fate(NOTHING));

        let packet_size = self.packet_size.unwrap_or(settings.inject.packet_size).get();
        let cut = self.packets.map_or(Cut::Size(packet_size), |number| Cut::Number(number.get()));
        let (mut recipients_total, mut packets_total) = (0, 0);
        for recipients in &self.recipients {
            let intake = self.take_in(&draft, recipients, &stop)?;
            let (written, packets) = intake.cut(&recipients.mode, cut).map_err(fate)?;
            recipients_total += written;
            packets_total += packets;
        }
        if recipients_total == 0 {
            return Err(CliError::Usage(format!("no recipient in {}; {NOTHING}", self.files())));
        }
        for variant in &self.variant {
            let bytes = read_limited(&variant.file)?;
            write(&draft, &FileName::Variant(variant.mode.clone()), &head::strip(&bytes)).map_err(fate)?;
        }
        if priority == Priority::Held {
            let note = Note::new(now, &super::person(), "injected as held", priority);
            draft.note_held(&note).map_err(fate)?;
        }
        // Last, since its first lines tell the totals.
        let own = SpoolHead { sender, recipients_total: Some(recipients_total), packets_total: Some(packets_total) };
        write(&draft, &FileName::Message, &[head::print(&own), message].concat()).map_err(fate)?;
        if stop.load(Ordering::Relaxed) {
            return Err(interrupted());
        }
        let id = draft.id().clone();
        draft.show(priority, not_before)?;
        writeln!(std::io::stdout(), "{id}")?;
        Ok(Exit::Done)
    }

    /// What can be said against the arguments before anything is read.
    fn check(&self) -> Result<(), CliError> {
        let stdin = |file: &PathBuf| file.as_os_str() == "-";
        let inputs = self.recipients.iter().chain(&self.variant).map(|input| &input.file).chain([&self.message]);
        if inputs.filter(|file| stdin(file)).count() > 1 {
            return Err(CliError::Usage(format!("only one input can be standard input; {NOTHING}")));
        }
        for (n, recipients) in self.recipients.iter().enumerate() {
            let mode = &recipients.mode;
            if self.recipients[..n].iter().any(|earlier| earlier.mode == *mode) {
                return Err(CliError::Usage(format!("--recipients {mode}=… stands twice; {NOTHING}")));
            }
            let has_variant = self.variant.iter().any(|variant| variant.mode == *mode);
            if !mode::is_built_in(mode) && !has_variant {
                return Err(CliError::Usage(format!(
                    "mode {mode} can't be made of the message: give what its recipients get with --variant {mode}=FILE; {NOTHING}"
                )));
            }
        }
        for variant in &self.variant {
            if variant.mode == Mode::mail() {
                return Err(CliError::Usage(format!(
                    "mode mail gets the message itself: it has no variant; {NOTHING}"
                )));
            }
        }
        Ok(())
    }

    fn id(&self, now: Epoch) -> Result<MessageId, CliError> {
        use std::hash::{BuildHasher, RandomState};
        // Random, since two injections may share a second.
        let number = RandomState::new().hash_one(std::process::id()) as u32;
        let own = MessageId::new(&self.list, now, number)
            .map_err(|error| CliError::Usage(format!("--list {}: {}; {NOTHING}", self.list, error.reason)))?;
        match &self.id {
            None => Ok(own),
            Some(id) if id.list() == own.list() => Ok(id.clone()),
            Some(id) => Err(CliError::Usage(format!("--id {id} is not an id of list {}; {NOTHING}", self.list))),
        }
    }

    fn message(&self) -> Result<Vec<u8>, CliError> {
        let file = self.message.display();
        let message = head::strip(&read_limited(&self.message)?);
        if message.is_empty() {
            return Err(CliError::Usage(format!("{file}: the message is empty; {NOTHING}")));
        }
        if !begins_with_a_header(&message) {
            let what = "the message does not begin with a header field (RFC 5322 section 2.2)";
            return Err(CliError::Usage(format!("{file}: {what}; {NOTHING}")));
        }
        Ok(message)
    }

    fn files(&self) -> String {
        self.recipients.iter().map(|input| input.file.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    /// Reads one mode's recipients.
    fn take_in<'d>(
        &self,
        draft: &'d Draft<'d>,
        recipients: &ModeFile,
        stop: &AtomicBool,
    ) -> Result<Intake<'d>, CliError> {
        let file = recipients.file.display();
        let (input, size) = open(&recipients.file)?;
        let progress = Progress::new(size);
        let order = if self.keep_order { Order::AsGiven } else { Order::ByDomain };
        let mut intake = Intake::new(draft, order);
        let mut bad: Vec<BadLine> = Vec::new();
        let mut more = 0;
        let read = intake.read(
            input,
            |line| match bad.len() {
                0..SHOWN => bad.push(line),
                _ => more += 1,
            },
            |octets| {
                progress.at(octets);
                !stop.load(Ordering::Relaxed)
            },
        );
        match read {
            Ok(()) => {}
            Err(IntakeError::Interrupted) => return Err(interrupted()),
            Err(IntakeError::Read(error)) => {
                return Err(CliError::TryAgain(format!("cannot read {file}: {error}; {NOTHING}")));
            }
            Err(IntakeError::Disk(error)) => return Err(error.fate(NOTHING).into()),
        }
        if bad.is_empty() {
            return Ok(intake);
        }
        let mut text: String = bad.iter().map(|line| format!("{file}: {line}\n")).collect();
        if more > 0 {
            text += &format!("{file}: and {more} more\n");
        }
        let count = bad.len() + more;
        if self.skip_invalid {
            eprint!("{text}");
            eprintln!("sympa-dist: {count} lines skipped");
            return Ok(intake);
        }
        Err(CliError::Usage(format!(
            "{text}{count} lines are no recipients; {NOTHING}; --skip-invalid leaves them out"
        )))
    }
}

fn usage(error: String) -> CliError {
    CliError::Usage(format!("{error}; {NOTHING}"))
}

fn interrupted() -> CliError {
    CliError::TryAgain(format!("interrupted; {NOTHING}"))
}

/// Without `--sender` the list's owner is the sender, who must be an address.
fn owner_can_be_sender(sender: &Option<ReversePath>, list: &str) -> Result<(), CliError> {
    if sender.is_some() {
        return Ok(());
    }
    let (local, domain) = list.rsplit_once('@').unwrap_or((list, ""));
    match format!("{local}-owner@{domain}").parse::<crate::mail::Address>() {
        Ok(_) => Ok(()),
        Err(reason) => Err(usage(format!("{local}-owner@{domain} can't be the sender: {reason}; use --sender"))),
    }
}

fn open(file: &PathBuf) -> Result<(Box<dyn Read>, Option<u64>), CliError> {
    if file.as_os_str() == "-" {
        return Ok((Box::new(std::io::stdin().lock()), None));
    }
    let opened = File::open(file).and_then(|open| open.metadata().map(|metadata| (open, metadata)));
    match opened {
        Ok((_, metadata)) if metadata.is_dir() => {
            Err(CliError::Usage(format!("{} is a directory; {NOTHING}", file.display())))
        }
        Ok((open, metadata)) => Ok((Box::new(open), metadata.is_file().then_some(metadata.len()))),
        Err(error) => Err(CliError::Usage(format!("cannot read {}: {error}; {NOTHING}", file.display()))),
    }
}

fn read_limited(file: &PathBuf) -> Result<Vec<u8>, CliError> {
    let (input, _) = open(file)?;
    let mut content = Vec::new();
    input
        .take(MAX_MESSAGE + 1)
        .read_to_end(&mut content)
        .map_err(|error| CliError::Usage(format!("cannot read {}: {error}; {NOTHING}", file.display())))?;
    if content.len() as u64 > MAX_MESSAGE {
        let limit = MAX_MESSAGE >> 20;
        return Err(CliError::Usage(format!("{}: more than {limit} MiB; {NOTHING}", file.display())));
    }
    Ok(content)
}

fn write(draft: &Draft<'_>, name: &FileName, content: &[u8]) -> crate::spool::Result<()> {
    let file = draft.create(name)?;
    file.write_at(content, 0)?;
    file.sync_data()
}

/// A field name of printable octets (RFC 5322 §3.6.8) and a colon.
fn begins_with_a_header(message: &[u8]) -> bool {
    let line = &message[..memchr::memchr(b'\n', message).unwrap_or(message.len())];
    let name = memchr::memchr(b':', line).map(|colon| line[..colon].trim_ascii_end());
    name.is_some_and(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic))
}

/// A point in time as people and programs write it.
fn when(text: &str, now: Epoch) -> Result<Epoch, CliError> {
    let bad = |why: &str| {
        let forms = "unix seconds, 2026-12-01T18:00:00Z, 2026-12-01T18:00[Europe/Paris], or +2h";
        CliError::Usage(format!("--at {text}: {why}; expected {forms}; {NOTHING}"))
    };
    if let Some(later) = text.strip_prefix('+') {
        let duration = configuration::duration(later).map_err(|error| bad(&error))?;
        return Ok(now.plus(duration.as_secs()));
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map(Epoch).ok().filter(|at| at.0 < 1 << 40).ok_or_else(|| bad("too far ahead"));
    }
    let timestamp = match text.parse::<ZonedDateTime>() {
        Ok(zoned) => zoned.timestamp(),
        Err(_) => text.parse::<Timestamp>().map_err(|error| bad(&error.to_string()))?,
    };
    u64::try_from(timestamp.as_second()).map(Epoch).map_err(|_| bad("before 1970"))
}

/// On a terminal alone.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn new(size: Option<u64>) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(size.unwrap_or(0));
            let style = "{bar:40} {bytes} of {total_bytes} of recipients, {bytes_per_sec}";
            bar.set_style(ProgressStyle::with_template(style).expect("a template of known names"));
            bar
        });
        Progress(bar)
    }

    fn at(&self, octets: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(octets);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_all_its_forms() {
        let now = Epoch(1_000_000);
        for (text, expected) in [
            ("1192680000", 1_192_680_000),
            ("+2h", 1_007_200),
            ("+90s", 1_000_090),
            ("2026-12-01T18:00:00Z", 1_796_148_000),
            ("2026-12-01T18:00:00+01:00", 1_796_144_400),
            ("2026-12-01T18:00[Europe/Paris]", 1_796_144_400),
        ] {
            assert_eq!(when(text, now).unwrap(), Epoch(expected), "{text}");
        }
        for text in ["", "+", "+-1h", "tomorrow", "2026-12-01T18:00", "99999999999999999999", "1960-01-01T00:00:00Z"] {
            assert!(when(text, now).is_err(), "{text}");
        }
    }
}
