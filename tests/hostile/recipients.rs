//! The recipients files of `inject`: what people and other programs give.

use std::collections::BTreeMap;
use std::io::Read;
use std::num::NonZero;

use proptest::collection::vec;
use proptest::prelude::*;
use sympa_dist::mail::{Address, MessageId, Mode, Packet};
use sympa_dist::spool::Spool;
use sympa_dist::spool::disk::Disk;
use sympa_dist::spool::draft::Draft;
use sympa_dist::spool::recipients::{BadLine, Intake, Observer, Order, Progress, Split};

use crate::inputs::hostile;
use crate::packets::{PIECES, packet};
use crate::{oracle, target};

/// Gives a few octets a read, as pipes do.
struct Dribble<'d>(&'d [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.1.min(self.0.len()).min(buffer.len());
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

#[derive(Default)]
struct Told(Vec<BadLine>);

impl Observer for Told {
    fn bad_line(&mut self, line: BadLine) {
        self.0.push(line);
    }
    fn goes_on(&mut self, _: Progress) -> bool {
        true
    }
}

fn split() -> impl Strategy<Value = Split> {
    prop_oneof![
        (1..6_usize).prop_map(|size| Split::Size(NonZero::new(size).unwrap())),
        (1..6_u32).prop_map(|packets| Split::Packets(NonZero::new(packets).unwrap())),
    ]
}

/// The address of a line that is a recipient, in its one spelling. A JSON object may stand behind a TAB.
fn recipient(number: usize, line: &[u8]) -> Option<Address> {
    let fields = line.get(oracle::before_tab(line).len() + 1..);
    let is_object = |fields: &[u8]| {
        let text = std::str::from_utf8(fields).ok()?;
        serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
        text.trim_ascii_start().starts_with('{').then_some(())
    };
    if number == 0 && line.starts_with("\u{feff}".as_bytes()) || line.ends_with(b"\r") || line.len() > 65_535 {
        return None;
    }
    if let Some(fields) = fields {
        is_object(fields)?;
    }
    Address::parse(oracle::before_tab(line)).ok()
}

/// By domain, then by local part with its `@`.
fn key(address: &Address) -> (String, String) {
    let (local, domain) = address.as_str().rsplit_once('@').expect("an address");
    (domain.to_owned(), format!("{local}@"))
}

#[test]
fn every_recipient_is_in_one_packet_once_and_every_other_line_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::create(&Disk::default(), dir.path()).unwrap();
    let id: MessageId = "l@x.org.1.2".parse().unwrap();
    let mode = Mode::mail();
    let sources = vec((hostile(packet(), PIECES), prop_oneof![1..9_usize, Just(usize::MAX)]), 1..3);
    target::run("recipients", 250, (sources, any::<bool>(), split()), |(sources, as_given, split)| {
        let draft = Draft::begin(&spool, id.clone()).unwrap();
        let order = if as_given { Order::AsGiven } else { Order::ByDomain };
        let mut intake = Intake::new(&draft, &mode, order).unwrap();
        let mut expected: Vec<(Address, Vec<u8>)> = Vec::new();
        for (source, piece) in &sources {
            let (mut told, mut bad) = (Told::default(), Vec::new());
            intake.read(Dribble(source, *piece), &mut told).unwrap();
            for (number, line) in oracle::lines(source).into_iter().enumerate() {
                match recipient(number, line) {
                    None => bad.push(number as u64 + 1),
                    Some(address) if expected.iter().any(|(before, _)| *before == address) => {}
                    Some(address) => {
                        let fields = line[oracle::before_tab(line).len()..].to_vec();
                        expected.push((address, fields));
                    }
                }
            }
            prop_assert_eq!(told.0.iter().map(|line| line.line).collect::<Vec<_>>(), bad);
            prop_assert!(told.0.iter().all(|line| !line.to_string().contains(char::is_control)), "{:?}", told.0);
        }
        if !as_given {
            expected.sort_by_key(|(address, _)| key(address));
        }
        let written = intake.write(split, &mut Told::default()).unwrap();
        prop_assert_eq!(written.recipients, expected.len() as u64);

        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(draft.dir().path()).unwrap() {
            let path = entry.unwrap().path();
            files.insert(path.file_name().unwrap().to_owned(), std::fs::read(path).unwrap());
        }
        prop_assert_eq!(files.len(), written.packets as usize);
        let mut found = Vec::new();
        for content in files.into_values() {
            let packet = Packet::parse(content).map_err(|bad| TestCaseError::fail(bad.to_string()))?;
            match split {
                Split::Size(size) => prop_assert!((1..=size.get()).contains(&packet.len())),
                Split::Packets(packets) => {
                    let even = expected.len() / packets.get() as usize;
                    prop_assert!((even..=even + 1).contains(&packet.len()) && !packet.is_empty());
                }
            }
            found.extend((0..packet.len()).map(|index| packet.line(index).to_vec()));
        }
        let expected: Vec<Vec<u8>> =
            expected.into_iter().map(|(address, fields)| [address.as_str().as_bytes(), &fields].concat()).collect();
        prop_assert_eq!(found, expected);
        Ok(())
    });
}
