//! `sympa-dist inject`: a message and its recipients go into the spool.
//!
//! All is written under `incoming/`, synced, and shown by one rename. Before that rename nothing is queued, whatever
//! happens; after it the message's id is on standard output. INT, TERM and HUP before it take away what was written.

mod input;
mod report;
pub(super) mod when;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::num::NonZero;
use std::str::FromStr;

use clap::Args;
use indicatif::HumanBytes;

use super::configuration::{self, Overrides};
use super::{CliError, Exit, Global};
use crate::daemon::clock;
use crate::daemon::lists::ListSettings;
use crate::daemon::settings::InjectSettings;
use crate::mail::{Address, Epoch, MessageId, Mode, Priority, ReversePath, message_id};
use crate::render::head::{self, SpoolHead};
use crate::render::mode;
use crate::spool::Spool;
use crate::spool::disk::{Disk, DiskError};
use crate::spool::draft::Draft;
use crate::spool::folder::MAX_MESSAGE;
use crate::spool::layout::FileName;
use crate::spool::note::Note;
use crate::spool::recipients::{Intake, IntakeError, Order, Split, Written};
use input::{Source, Stop};
use report::Report;

/// Queues a message: prints its id on standard output
#[derive(Args, Debug)]
pub struct Inject {
    /// The list's address, as in my-list@my.dom
    #[arg(long, value_name = "LIST")]
    list: String,
    /// The message, with its header; - is standard input
    #[arg(long, value_name = "FILE")]
    message: Source,
    /// Who gets it, and in which reception mode: a file with an address a line, perhaps a TAB and a JSON object of fields
    /// behind it; - is standard input; may be given for several modes, and several times for one
    #[arg(long, value_name = "MODE=FILE", required = true)]
    recipients: Vec<OfMode>,
    /// 0 (first) to 9, or z (held until it is released) [keys: lists.….priority, inject.priority]
    #[arg(long, value_name = "P")]
    priority: Option<String>,
    /// Recipients a packet [keys: lists.….packet_size, inject.packet_size]
    #[arg(long, value_name = "N", conflicts_with = "packets")]
    packet_size: Option<String>,
    /// Splits the recipients of each mode evenly into so many packets
    #[arg(long, value_name = "N")]
    packets: Option<NonZero<u32>>,
    /// The envelope sender; <> for none [key: lists.….sender; default: <list>-owner@<domain>]
    #[arg(long, value_name = "ADDR")]
    sender: Option<String>,
    /// What recipients of that mode get instead of the message; modes other than mail, notice and txt need one
    #[arg(long, value_name = "MODE=FILE")]
    variant: Vec<OfMode>,
    /// Not to be sent before: unix seconds, RFC 3339, or +2h
    #[arg(long, value_name = "WHEN")]
    at: Option<String>,
    /// Too late behind that time: what is left then is held instead of sent [key: lists.….not_after]
    #[arg(long, value_name = "WHEN")]
    not_after: Option<String>,
    /// The message's id, <list>@<domain>.<unix seconds>.<number> [default: the list, now, and a random number]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Leaves lines out that are no recipients, and lists them; otherwise they are an error, and nothing is queued
    #[arg(long)]
    skip_invalid: bool,
    /// Sends to recipients in the order given; otherwise they are sorted by domain, so that one domain's share packets
    #[arg(long)]
    keep_order: bool,
}

/// `MODE=FILE`
#[derive(Clone, Debug)]
struct OfMode {
    mode: Mode,
    source: Source,
}

impl FromStr for OfMode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (mode, source) = text.split_once('=').ok_or("expected MODE=FILE, as in mail=members.txt")?;
        Ok(OfMode { mode: mode.parse().map_err(|error| format!("{error}"))?, source: source.parse()? })
    }
}

/// What was asked for, as meant.
struct Request {
    list: String,
    /// `None`: made up.
    id: Option<MessageId>,
    now: Epoch,
    sender: ReversePath,
    priority: Priority,
    /// Octets.
    min_free_space: u64,
    not_before: Option<Epoch>,
    not_after: Option<Epoch>,
    split: Split,
    order: Order,
    skip_invalid: bool,
    recipients: BTreeMap<Mode, Vec<Source>>,
    /// Without the spool's own header lines.
    message: Vec<u8>,
    variants: BTreeMap<Mode, Vec<u8>>,
}

impl Inject {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        let loaded = configuration::load(&self.overrides(global))?;
        let stop = Stop::listen()
            .map_err(|error| CliError::TryAgain(format!("cannot listen for signals: {error}; nothing was queued")))?;
        let mut settings = loaded.settings.inject;
        // A list's own values go before the general ones, and flags before both.
        let list = loaded.settings.lists.of(&self.list);
        if let Some(priority) = list.and_then(|list| list.priority).filter(|_| self.priority.is_none()) {
            settings.priority = priority;
        }
        if let Some(packet_size) = list.and_then(|list| list.packet_size).filter(|_| self.packet_size.is_none()) {
            settings.packet_size = packet_size;
        }
        let split = match self.packets {
            Some(packets) => Split::Packets(packets),
            None => Split::Size(settings.packet_size),
        };
        let request = self.request(&settings, list, split, &stop)?;
        let spool = Spool::create(&Disk::default(), &loaded.settings.spool).map_err(nothing_queued)?;
        spool.require_owner()?;
        let id = request.queue(&spool, &stop)?;
        let mut stdout = std::io::stdout().lock();
        if let Err(error) = writeln!(stdout, "{id}").and_then(|()| stdout.flush()) {
            // No failure: whoever is told of one does it again.
            super::say(&format!("the message is queued as {id}, but its id cannot be printed: {error}"));
        }
        Ok(Exit::Done)
    }

    fn overrides(&self, global: &Global) -> Overrides {
        let mut overrides = global.overrides();
        let flags = [("inject.priority", &self.priority), ("inject.packet_size", &self.packet_size)];
        overrides.flags.extend(flags.into_iter().filter_map(|(key, text)| Some((key, text.clone()?))));
        overrides
    }

    /// Checks all that can be checked without the spool, and reads the message.
    fn request(
        self,
        settings: &InjectSettings,
        of_list: Option<&ListSettings>,
        split: Split,
        stop: &Stop,
    ) -> Result<Request, CliError> {
        let now = clock::epoch();
        let refuse = |what: String| CliError::Usage(format!("{what}; nothing was queued"));
        message_id::check_list(&self.list).map_err(|why| refuse(format!("--list {:?}: {why}", self.list)))?;
        let id = match &self.id {
            Some(text) => {
                let id: MessageId = text.parse().map_err(|error| refuse(format!("--id: {error}")))?;
                if id.list() != self.list {
                    return Err(refuse(format!("--id: {id} is no id of a message of {}", self.list)));
                }
                Some(id)
            }
            None => {
                // The longest number there can be: a name that is too long is so before anything is read.
                MessageId::new(&self.list, now, u32::MAX).map_err(|error| refuse(format!("--list: {error}")))?;
                None
            }
        };
        let sender = match (&self.sender, of_list.and_then(|list| list.sender.as_ref())) {
            (Some(text), _) => head::reverse_path(text).map_err(|why| refuse(format!("--sender: {why}")))?,
            (None, Some(sender)) => sender.clone(),
            (None, None) => ReversePath::Address(owner(&self.list).map_err(refuse)?),
        };
        let at = self.at.as_deref().map(|text| when::parse(text, now));
        let at = at.transpose().map_err(|why| refuse(format!("--at: {why}")))?;
        let not_before = match of_list.and_then(|list| list.deliver.as_ref()) {
            // A time that was asked for goes before a point, and not before a window: nothing is sent outside of those.
            Some(windows) if at.is_none() || windows.close() => {
                let begin = at.map_or(now, |at| at.max(now));
                Some(windows.next_opening(begin)).filter(|&opens| opens > now)
            }
            _ => at,
        };
        let begin = not_before.map_or(now, |at| at.max(now));
        let not_after = match &self.not_after {
            Some(text) => {
                let time = when::parse(text, now).map_err(|why| refuse(format!("--not-after: {why}")))?;
                if time <= begin {
                    return Err(refuse("--not-after: it would be too late before it is sent".into()));
                }
                Some(time)
            }
            None => of_list.and_then(|list| list.not_after).map(|time| begin.plus(time.as_secs())),
        };
        self.check_sources().map_err(refuse)?;
        let read = |source: &Source| post(source.read_all(MAX_MESSAGE, stop)?, source);
        let message = read(&self.message)?;
        let variants = self.variant.iter().map(|of| Ok((of.mode.clone(), read(&of.source)?)));
        let variants = variants.collect::<Result<_, CliError>>()?;
        let mut recipients: BTreeMap<Mode, Vec<Source>> = BTreeMap::new();
        for OfMode { mode, source } in self.recipients {
            recipients.entry(mode).or_default().push(source);
        }
        let order = if self.keep_order { Order::AsGiven } else { Order::ByDomain };
        let (list, skip_invalid) = (self.list, self.skip_invalid);
        Ok(Request {
            list,
            id,
            now,
            sender,
            priority: settings.priority,
            min_free_space: settings.min_free_space,
            not_before,
            not_after,
            split,
            order,
            skip_invalid,
            recipients,
            message,
            variants,
        })
    }

    /// Standard input can be read once; modes that need a variant have one, and one alone.
    fn check_sources(&self) -> Result<(), String> {
        let sources = self.recipients.iter().chain(&self.variant).map(|of| &of.source).chain([&self.message]);
        if sources.filter(|source| **source == Source::Stdin).count() > 1 {
            return Err("standard input (-) can be read for one thing only".into());
        }
        for (at, variant) in self.variant.iter().enumerate() {
            let mode = &variant.mode;
            if *mode == Mode::mail() {
                return Err("--variant mail: recipients of mode mail get the message itself".into());
            }
            if self.variant[..at].iter().any(|earlier| earlier.mode == *mode) {
                return Err(format!("--variant {mode} is given twice"));
            }
        }
        let lacks = self
            .recipients
            .iter()
            .map(|of| &of.mode)
            .find(|mode| !mode::is_built_in(mode) && !self.variant.iter().any(|variant| variant.mode == **mode));
        match lacks {
            Some(mode) => Err(format!("{}; give --variant {mode}=FILE", mode::NeedsVariant(mode.clone()))),
            None => Ok(()),
        }
    }
}

/// Whom a list's messages come from, unless told.
fn owner(list: &str) -> Result<Address, String> {
    let (local, domain) = list.rsplit_once('@').expect("a list that was checked has an @");
    let owner = format!("{local}-owner@{domain}");
    owner.parse().map_err(|why| format!("the list's own sender {owner} is no address: {why}; give --sender"))
}

/// A message as it was given, without the spool's own header lines.
fn post(content: Vec<u8>, source: &Source) -> Result<Vec<u8>, CliError> {
    let refuse = |why: &str| Err(CliError::Usage(format!("the message ({source}) {why}; nothing was queued")));
    if content.is_empty() {
        return refuse("is empty");
    }
    let post = head::strip(&content);
    let line = &post[..memchr::memchr(b'\n', &post).unwrap_or(post.len())];
    let field = memchr::memchr(b':', line).map(|colon| line[..colon].trim_ascii_end());
    if !field.is_some_and(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic)) {
        return refuse("has no header: its first line is no field such as From: or Subject:");
    }
    Ok(post)
}

fn nothing_queued(error: DiskError) -> CliError {
    error.fate("nothing was queued").into()
}

impl Request {
    /// Writes the message and shows it.
    fn queue(&self, spool: &Spool, stop: &Stop) -> Result<MessageId, CliError> {
        self.require_room(spool)?;
        let draft = self.begin(spool)?;
        let written = self.write_packets(&draft, stop)?;
        for (mode, variant) in &self.variants {
            write_file(&draft, &FileName::Variant(mode.clone()), &[variant])?;
        }
        if self.priority == Priority::Held {
            let note = Note::new(self.now, &super::person(), "injected as held", self.priority);
            draft.note_held(&note).map_err(nothing_queued)?;
        }
        let head = SpoolHead {
            sender: Some(self.sender.clone()),
            recipients_total: Some(written.recipients),
            packets_total: Some(written.packets),
            not_after: self.not_after,
        };
        write_file(&draft, &FileName::Message, &[&head::print(&head), &self.message])?;
        if stop.is_set() {
            return Err(stop.or(CliError::TryAgain("stopped".into())));
        }
        self.require_room(spool)?;
        let id = draft.id().clone();
        draft.show(self.priority, self.not_before)?;
        Ok(id)
    }

    /// The disk must not get so full that the schedulers can't record what they send.
    fn require_room(&self, spool: &Spool) -> Result<(), CliError> {
        let (free, _) = spool.incoming().free_space().map_err(nothing_queued)?;
        if free >= self.min_free_space {
            return Ok(());
        }
        Err(CliError::TryAgain(format!(
            "{}: {} are free, and inject.min_free_space leaves {} alone; nothing was queued",
            spool.path().display(),
            HumanBytes(free),
            HumanBytes(self.min_free_space)
        )))
    }

    fn begin<'s>(&self, spool: &'s Spool) -> Result<Draft<'s>, CliError> {
        if let Some(id) = &self.id {
            return Draft::begin(spool, id.clone()).map_err(|error| match error.is_exists() {
                true => CliError::Usage(error.to_string()),
                false => error.into(),
            });
        }
        loop {
            let number = RandomState::new().hash_one(self.now) as u32;
            match Draft::begin(spool, MessageId::new(&self.list, self.now, number)?) {
                Err(error) if error.is_exists() => continue,
                result => return Ok(result?),
            }
        }
    }

    /// Takes all recipients in. All bad lines of all files are told before it gives up.
    fn write_packets(&self, draft: &Draft<'_>, stop: &Stop) -> Result<Written, CliError> {
        let mut total = Written::default();
        let mut report = Report::new(stop, self.skip_invalid);
        for (mode, sources) in &self.recipients {
            let mut intake = Intake::new(draft, mode, self.order).map_err(|error| intake_error(error, stop, None))?;
            for source in sources {
                let (input, length) = source.open(stop)?;
                report.source(source.to_string(), length);
                intake.read(input, &mut report).map_err(|error| intake_error(error, stop, Some(source)))?;
            }
            if report.bad_lines() == 0 || self.skip_invalid {
                report.writing(intake.taken());
                let written = intake.write(self.split, &mut report).map_err(|error| intake_error(error, stop, None))?;
                total.recipients += written.recipients;
                total.packets += written.packets;
            }
        }
        report.finish();
        match (report.bad_lines(), report.unshown()) {
            (bad, unshown) if bad > 0 && !self.skip_invalid => {
                let more = if unshown > 0 { format!(" ({unshown} more than are shown)") } else { String::new() };
                let lines =
                    if bad == 1 { "1 line is no recipient".into() } else { format!("{bad} lines are no recipients") };
                Err(CliError::Usage(format!(
                    "{lines}{more}; nothing was queued (--skip-invalid leaves such lines out)"
                )))
            }
            _ if total.recipients == 0 => Err(CliError::Usage("there is no recipient; nothing was queued".into())),
            _ => Ok(total),
        }
    }
}

fn write_file(draft: &Draft<'_>, name: &FileName, parts: &[&[u8]]) -> Result<(), CliError> {
    let write = || {
        let file = draft.create(name)?;
        let mut offset = 0;
        for part in parts {
            file.write_at(part, offset)?;
            offset += part.len() as u64;
        }
        file.sync_data()
    };
    write().map_err(nothing_queued)
}

fn intake_error(error: IntakeError, stop: &Stop, source: Option<&Source>) -> CliError {
    let text = match (&error, source) {
        (IntakeError::Source(why), Some(source)) => format!("cannot read {source}: {why}; nothing was queued"),
        _ => error.to_string(),
    };
    stop.or(match error {
        IntakeError::TooManyPackets { .. } | IntakeError::PacketTooLarge { .. } => CliError::Usage(text),
        IntakeError::Disk(_) | IntakeError::Source(_) | IntakeError::Stopped => CliError::TryAgain(text),
    })
}
