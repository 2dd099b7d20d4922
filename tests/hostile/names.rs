//! File names of the spool, as a directory lists them.

use std::ffi::OsStr;
use std::fmt::{Debug, Display};
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use proptest::prelude::*;
use proptest::sample::select;
use sympa_dist::mail::{Epoch, MessageId, Mode, PacketName, Priority, Retry, Serial};
use sympa_dist::spool::layout::{self, BadName, Entry, FileName, Incoming, MessageName, SchedulerName};

use crate::inputs::hostile;
use crate::target::{self, Verdict};

const PIECES: &[&str] = &[
    "/",
    ".",
    "..",
    "\n",
    "\0",
    ":at",
    ":",
    "@",
    "message",
    ".message.",
    "recipients",
    ".recipients.",
    ".status",
    ".r1:at5",
    ".r0",
    ".r65535",
    "mail",
    "0001",
    "adopt:",
    "z:",
    "l@x.1.2",
    "~2",
    "held",
    "failures",
    " ",
    "é",
    "-",
];

fn list() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(&["l@x", "my-list@my.dom", "l@x.recipients.org", "l@message.recipients.mail"][..])
            .prop_map(str::to_owned),
        1 => "[a-z!#$%&'*+=?^_`{|}~-]{1,9}(\\.[a-z0-9~]{1,5}){0,2}@[a-z0-9]{1,9}(\\.[a-z0-9-]{0,4}[a-z]){0,3}",
    ]
}

fn message_id() -> impl Strategy<Value = MessageId> {
    (list(), "[0-9]{1,15}", "[0-9]{1,15}")
        .prop_map(|(list, seconds, number)| format!("{list}.{seconds}.{number}").parse().expect("made by the grammar"))
}

fn due() -> impl Strategy<Value = Epoch> {
    (0..1_000_000_000_000_000_u64).prop_map(Epoch)
}

fn message_name() -> impl Strategy<Value = MessageName> {
    (message_id(), prop::option::of(due())).prop_map(|(id, due)| MessageName::new(id, due))
}

fn mode() -> impl Strategy<Value = Mode> {
    let text = prop_oneof![
        select(&["mail", "notice", "message", "recipients", "status", "held", "r1", "a"][..]).prop_map(str::to_owned),
        "[a-z][a-z0-9_-]{0,23}",
    ];
    text.prop_map(|text| text.parse().expect("a mode"))
}

fn packet_name() -> impl Strategy<Value = PacketName> {
    let generation = prop_oneof![1..4_u16, 1..=u16::MAX, Just(u16::MAX)];
    let retry = prop::option::of((due(), generation).prop_map(|(due, generation)| Retry { due, generation }));
    let serial = prop_oneof![Just("0001".to_owned()), "[0-9]{1,9}"];
    (mode(), serial, retry).prop_map(|(mode, serial, retry)| {
        let serial: Serial = serial.parse().expect("digits");
        PacketName { retry, serial, mode }
    })
}

fn file_name() -> impl Strategy<Value = FileName> {
    prop_oneof![
        select(vec![FileName::Message, FileName::Failures, FileName::Held, FileName::Reason]),
        mode().prop_map(FileName::Variant),
        packet_name().prop_map(FileName::Packet),
        packet_name().prop_map(FileName::Status),
    ]
}

fn flat_part() -> impl Strategy<Value = Entry> {
    let part = prop_oneof![
        mode().prop_map(FileName::Variant),
        packet_name().prop_map(FileName::Packet),
        packet_name().prop_map(FileName::Status),
    ];
    (message_name(), part).prop_map(|(name, part)| Entry::FlatPart(name, part))
}

fn incoming() -> impl Strategy<Value = Incoming> {
    let priority = select(Priority::all().collect::<Vec<_>>());
    prop_oneof![
        message_id().prop_map(Incoming::Draft),
        (priority, message_name()).prop_map(|(priority, name)| Incoming::Adoption(priority, name)),
    ]
}

fn scheduler_name() -> impl Strategy<Value = SchedulerName> {
    ("[a-z0-9_-][a-z0-9._-]{0,20}", any::<u32>()).prop_map(|(host, pid)| SchedulerName { host, pid })
}

fn text_of_a_name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        file_name().prop_map(|name| name.to_string()),
        flat_part().prop_map(|name| name.to_string()),
        message_name().prop_map(|name| name.to_string()),
        incoming().prop_map(|name| name.to_string()),
        scheduler_name().prop_map(|name| name.to_string()),
    ]
    .prop_map(String::into_bytes)
}

/// Whatever is taken for a name prints back as it was, and can do no harm as one.
fn prints_back<T: FromStr<Err = BadName> + Display>(octets: &[u8]) -> Verdict {
    let Ok(name) = layout::parse::<T>(OsStr::from_bytes(octets)) else { return Ok(()) };
    let printed = name.to_string();
    prop_assert_eq!(printed.as_bytes(), octets);
    prop_assert!(!printed.is_empty() && !printed.starts_with('.'), "{:?}", printed);
    prop_assert!(printed.bytes().all(|b| b.is_ascii_graphic() && b != b'/'), "{:?}", printed);
    Ok(())
}

fn reads_back<T: FromStr<Err = BadName> + Display + PartialEq + Debug>(name: T) -> Verdict {
    let text = name.to_string();
    let again = layout::parse::<T>(OsStr::new(&text));
    prop_assert_eq!(again.as_ref(), Ok(&name), "{}", text);
    Ok(())
}

#[test]
fn whatever_is_taken_for_a_name_prints_back_and_stays_in_its_directory() {
    target::run("names, hostile", 3000, hostile(text_of_a_name(), PIECES), |octets| {
        prints_back::<MessageName>(&octets)?;
        prints_back::<FileName>(&octets)?;
        prints_back::<Entry>(&octets)?;
        prints_back::<Incoming>(&octets)?;
        prints_back::<SchedulerName>(&octets)?;
        if let Ok(name) = layout::parse::<MessageName>(OsStr::from_bytes(&octets)) {
            prop_assert!(name.id.as_str().len() <= 160);
            prop_assert_eq!(name.id.domain(), name.id.list().rsplit('@').next().unwrap_or_default());
        }
        Ok(())
    });
}

#[test]
fn every_name_that_can_be_made_reads_back_as_itself() {
    let names = (message_name(), file_name(), flat_part(), incoming(), scheduler_name());
    target::run("names, made", 1000, names, |(message, file, part, incoming, scheduler)| {
        prop_assert_eq!(Entry::from_str(&message.to_string()), Ok(Entry::Message(message.clone())));
        reads_back(message)?;
        reads_back(file)?;
        reads_back(part)?;
        reads_back(incoming)?;
        reads_back(scheduler)
    });
}

#[test]
fn a_packets_parent_is_one_deferral_younger() {
    let pairs = (packet_name(), packet_name(), any::<bool>()).prop_map(|(one, other, same)| match same {
        true => (PacketName { retry: other.retry, ..one.clone() }, one),
        false => (other, one),
    });
    target::run("names, parents", 1000, pairs, |(one, other)| {
        let generation = |name: &PacketName| name.retry.map_or(0, |retry| u32::from(retry.generation));
        let kin = (&one.mode, one.serial) == (&other.mode, other.serial);
        prop_assert_eq!(one.is_parent_of(&other), kin && generation(&one) + 1 == generation(&other));
        Ok(())
    });
}

#[test]
fn a_packet_deferred_as_often_as_can_be_counted_is_no_parent_of_a_fresh_one() {
    let fresh = PacketName::fresh(Mode::mail(), Serial::new(1));
    let last = PacketName { retry: Some(Retry { due: Epoch(5), generation: u16::MAX }), ..fresh.clone() };
    assert!(!last.is_parent_of(&fresh));
}

#[test]
fn a_mode_may_be_called_recipients() {
    let text = "l@x.1.2.recipients.recipients.001";
    assert!(matches!(text.parse(), Ok(Entry::FlatPart(_, FileName::Packet(_)))));
}
