//! Status files: checkpoints, with and without an intent.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use sympa_dist::mail::{MessageId, Mode, PacketName, Priority, Serial, checkpoint};
use sympa_dist::spool::Spool;
use sympa_dist::spool::disk::Disk;
use sympa_dist::spool::folder::Folder;
use sympa_dist::spool::progress::{Progress, Sync, Unusable};

use crate::inputs::{address, hostile};
use crate::{oracle, target};

const PIECES: &[&str] =
    &["\n", "+", "+5\n", "+0\n", "\n\n", "\0", "\r\n", "a@x.org", "a@x.org\n", "9999999999", " ", "é"];

fn record() -> impl Strategy<Value = Vec<u8>> {
    (prop::option::of(address()), prop::option::of(0..1_000_000_000_usize), any::<bool>()).prop_map(
        |(last, count, padded)| {
            let mut record = match (last, count) {
                (last, Some(count)) => checkpoint::encode_in_flight(last.as_deref(), count).map(Vec::from),
                (Some(last), None) => Some(checkpoint::encode(&last).to_vec()),
                (None, None) => None,
            }
            .unwrap_or_default();
            if !padded {
                record.truncate(record.trim_ascii_end().len() + 1);
            }
            record
        },
    )
}

#[test]
fn a_checkpoint_and_its_intent_read_back_as_they_were_written() {
    target::run("checkpoints, made", 1500, (prop::option::of(address()), 0..1_000_000_000_usize), |(last, count)| {
        let last = last.as_deref();
        if let Some(last) = last {
            let record = checkpoint::encode(last);
            prop_assert_eq!((checkpoint::decode(&record), checkpoint::in_flight(&record)), (Ok(Some(last)), 0));
        }
        match checkpoint::encode_in_flight(last, count) {
            Some(record) => {
                prop_assert_eq!((checkpoint::decode(&record), checkpoint::in_flight(&record)), (Ok(last), count));
                prop_assert_eq!(record.last(), Some(&b'\n'));
            }
            None => prop_assert!(last.map_or(0, str::len) + 2 + count.to_string().len() >= checkpoint::SIZE),
        }
        Ok(())
    });
}

#[test]
fn what_a_status_file_says_is_what_a_naive_reader_reads() {
    target::run("checkpoints, hostile", 4000, hostile(record(), PIECES), |octets| {
        match (checkpoint::decode(&octets), oracle::checkpoint(&octets)) {
            (Ok(address), Ok((expected, in_flight))) => {
                prop_assert_eq!(address, expected.as_deref());
                prop_assert_eq!(checkpoint::in_flight(&octets), in_flight);
                if let Some(address) = address {
                    prop_assert!(octets.starts_with(address.as_bytes()));
                    prop_assert!(matches!(octets.get(address.len()), None | Some(b'\n')));
                }
            }
            (Err(_), Err(())) => {}
            (got, expected) => prop_assert!(false, "{:?} instead of {:?}", got, expected),
        }
        Ok(())
    });
}

/// A spool with one message and one packet in it.
struct Bench {
    spool: Spool,
    name: PacketName,
    id: MessageId,
}

impl Bench {
    fn new(dir: &Path) -> Bench {
        let spool = Spool::create(&Disk::default(), dir).unwrap();
        let id: MessageId = "l@x.org.1.2".parse().unwrap();
        spool.at(Priority::Held).make_dir(id.as_str()).unwrap();
        Bench { spool, name: PacketName::fresh(Mode::mail(), Serial::new(1)), id }
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.spool.at(Priority::Held).path().join(self.id.as_str()).join(file)
    }

    fn folder(&self) -> Folder {
        Folder::open(&self.spool, Priority::Held, &self.id.clone().into()).unwrap().expect("it was made")
    }

    fn put(&self, packet: &[u8], status: Option<&[u8]>) {
        std::fs::write(self.path("recipients.mail.0001"), packet).unwrap();
        let place = self.path("recipients.mail.0001.status");
        let _ = std::fs::remove_file(&place);
        if let Some(status) = status {
            std::fs::write(place, status).unwrap();
        }
    }

    fn open(&self, folder: &Folder) -> Result<Progress, Unusable> {
        let file = folder.dir().open("recipients.mail.0001").unwrap();
        Progress::open(folder, &self.name, &file, Sync::None)
    }
}

/// The record of one address of a packet, with mistakes: where the packet's own addresses are near, a wrong guess would
/// show.
fn packet_and_status() -> impl Strategy<Value = (Vec<String>, Vec<u8>)> {
    let near = hostile(vec(address(), 1).prop_map(|of| checkpoint::encode(&of[0]).to_vec()), PIECES);
    (vec(address(), 1..12), any::<Index>(), prop::option::of(0..15_usize), near, any::<bool>()).prop_map(
        |(addresses, at, count, near, own)| {
            let last = at.get(&addresses);
            let record = match count {
                Some(count) => checkpoint::encode_in_flight(Some(last), count).map_or(near.clone(), Vec::from),
                None => checkpoint::encode(last).to_vec(),
            };
            (addresses.clone(), if own { record } else { near })
        },
    )
}

#[test]
fn a_packet_goes_on_behind_the_address_in_its_status_file_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let folder = bench.folder();
    target::run("checkpoints, resumed", 1000, packet_and_status(), |(addresses, status)| {
        bench.put(addresses.join("\n").as_bytes(), Some(&status));
        let mut distinct: Vec<&str> = Vec::new();
        addresses.iter().for_each(|address| {
            if !distinct.contains(&address.as_str()) {
                distinct.push(address);
            }
        });
        let expected = oracle::checkpoint(&status).and_then(|(last, in_flight)| {
            let next = match last {
                None => 0,
                Some(last) => 1 + distinct.iter().position(|address| *address == last).ok_or(())?,
            };
            Ok((next, in_flight.min(distinct.len() - next)))
        });
        match bench.open(&folder) {
            Ok(progress) => prop_assert_eq!(Ok((progress.next(), progress.in_flight())), expected),
            Err(Unusable::Bad(why)) => {
                prop_assert_eq!(expected, Err(()));
                prop_assert!(why.contains("recipients.mail.0001.status"), "{}", why);
            }
            Err(Unusable::Disk(error)) => prop_assert!(false, "{}", error),
        }
        Ok(())
    });
}

/// What a worker does to a packet's status.
#[derive(Clone, Debug)]
enum Step {
    Intend(usize),
    TakeBack,
    Advance(usize),
    Die,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..5_usize).prop_map(Step::Intend),
        Just(Step::TakeBack),
        (0..4_usize).prop_map(Step::Advance),
        Just(Step::Die),
    ]
}

#[test]
fn a_worker_that_dies_anywhere_is_followed_by_one_that_knows_as_much() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let folder = bench.folder();
    target::run("checkpoints, written", 300, (vec(address(), 2..20), vec(step(), 1..20)), |(addresses, steps)| {
        bench.put(addresses.join("\n").as_bytes(), None);
        let mut progress = bench.open(&folder).expect("addresses make a packet");
        for step in steps {
            match step {
                Step::Intend(count) => {
                    let count = count.min(progress.remaining());
                    progress.intend(&folder, count).unwrap();
                }
                Step::TakeBack => progress.take_back_intent().unwrap(),
                // Up to the last recipient, and not past it: then the packet itself goes.
                Step::Advance(by) => {
                    let to = (progress.next() + by).min(progress.packet().len() - 1).max(progress.next());
                    progress.advance(&folder, to).unwrap();
                }
                Step::Die => {
                    let knew = (progress.next(), progress.in_flight());
                    progress = bench.open(&folder).expect("written by a worker");
                    prop_assert_eq!((progress.next(), progress.in_flight()), knew);
                }
            }
        }
        Ok(())
    });
}
