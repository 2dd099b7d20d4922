//! A message's file `failures`: JSON Lines, one a recipient that failed for good.
//!
//! Appended to, never rewritten, by all workers of all processes: each append is one write under a lock of the file, and
//! on disk before the checkpoint passes those recipients. A crash between the two leaves lines about recipients whose
//! packet will be sent to them again; the next worker of that packet takes those lines back by appending a retraction.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::mail::{Epoch, PacketName, Reply};

use super::disk::{Dir, Result, unless_gone};
use super::layout::{FAILURES, packet_file};

/// Lines of one transaction are one batch; `start` tells batches of a packet apart.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    pub recipient: String,
    /// File name of the packet it stood in.
    pub packet: String,
    /// Index, in that packet, of the transaction's first recipient.
    pub start: usize,
    pub relay: String,
    /// SMTP reply code.
    pub code: u16,
    /// RFC 3463, as `5.1.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    pub text: String,
    /// Unix seconds.
    pub time: u64,
}

/// Says that an earlier line does not hold: the recipient is sent to again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Retraction {
    retracted: String,
    packet: String,
    time: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Failure(Failure),
    Retraction(Retraction),
}

/// As much as a message of 10,000,000 members could fail.
const MAX_LENGTH: u64 = 4 * 1024 * 1024 * 1024;

impl Failure {
    pub fn new(recipient: &str, packet: &PacketName, start: usize, relay: &str, reply: &Reply, now: Epoch) -> Failure {
        Failure {
            recipient: recipient.to_owned(),
            packet: packet_file(packet),
            start,
            relay: relay.to_owned(),
            code: reply.code,
            status: reply.enhanced.map(|status| status.to_string()),
            text: reply.text.to_string(),
            time: now.0,
        }
    }
}

/// Appends the failures of one transaction and makes them durable.
pub fn append(folder: &Dir, failures: &[Failure]) -> Result<()> {
    append_lines(folder, failures)
}

fn append_lines<T: Serialize>(folder: &Dir, lines: &[T]) -> Result<()> {
    let (file, fresh) = match unless_gone(folder.open(FAILURES))? {
        Some(file) => (file, false),
        None => match folder.create(FAILURES) {
            Err(error) if error.is_exists() => (folder.open(FAILURES)?, false),
            file => (file?, true),
        },
    };
    file.lock_soon()?;
    let end = file.look()?.size;
    let mut text = Vec::new();
    // A crash may have cut the last append short; its piece of a line must not swallow ours.
    if end > 0 && file.read_from(end - 1, 1)? != b"\n" {
        text.push(b'\n');
    }
    for line in lines {
        serde_json::to_writer(&mut text, line).expect("strings and numbers are always JSON");
        text.push(b'\n');
    }
    file.write_at(&text, end)?;
    file.sync_data()?;
    if fresh {
        folder.sync()?;
    }
    Ok(())
}

fn lines(content: &[u8]) -> impl Iterator<Item = Line> {
    // A line that is no JSON is the piece of an append that a crash cut short: its checkpoint did not pass.
    content.split(|&b| b == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

/// The failures that hold and whose lines begin at octet `from` or behind it, in order, each with the octet at which its line
/// ends.
pub fn read_behind(folder: &Dir, from: u64) -> Result<Vec<(Failure, u64)>> {
    let Some(file) = unless_gone(folder.open_read(FAILURES))? else { return Ok(Vec::new()) };
    if file.look()?.size <= from {
        return Ok(Vec::new());
    }
    let content = file.read_from(from, MAX_LENGTH)?;
    let mut failures: Vec<Option<(Failure, u64)>> = Vec::new();
    let mut latest: HashMap<(String, String), usize> = HashMap::new();
    let mut end = from;
    for line in content.split_inclusive(|&b| b == b'\n') {
        end += line.len() as u64;
        // A line that is no JSON is the piece of an append that a crash cut short: its checkpoint did not pass.
        let (packet, recipient, failure) = match serde_json::from_slice(line) {
            Ok(Line::Failure(failure)) => (failure.packet.clone(), failure.recipient.clone(), Some(failure)),
            Ok(Line::Retraction(Retraction { retracted, packet, .. })) => (packet, retracted, None),
            Err(_) => continue,
        };
        // Said twice where the disk failed behind the first write, and the whole was written again.
        if let Some(before) = latest.remove(&(packet.clone(), recipient.clone())) {
            failures[before] = None;
        }
        if let Some(failure) = failure {
            latest.insert((packet, recipient), failures.len());
            failures.push(Some((failure, end)));
        }
    }
    Ok(failures.into_iter().flatten().collect())
}

/// The failures that hold, in order.
pub fn read(folder: &Dir) -> Result<Vec<Failure>> {
    Ok(read_behind(folder, 0)?.into_iter().map(|(failure, _)| failure).collect())
}

/// The last batch of failures of each packet: all that a crash can have left ahead of a checkpoint. Read on from where
/// the last reading ended, so that all workers of a message together read its failures once.
#[derive(Default)]
pub struct LatestFailures {
    read_to: u64,
    batches: HashMap<String, (usize, Vec<String>)>,
}

impl LatestFailures {
    /// The recipients of the last failed batch of `packet`, as the file says now.
    pub fn of(&mut self, folder: &Dir, packet: &PacketName) -> Result<&[String]> {
        if let Some(file) = unless_gone(folder.open_read(FAILURES))? {
            let mut content = file.read_from(self.read_to.min(file.look()?.size), MAX_LENGTH)?;
            // Another process may be in the middle of a line. One that lacks its newline alone is a line, as for [`read`].
            let whole = memchr::memrchr(b'\n', &content).map_or(0, |end| end + 1);
            if lines(&content[whole..]).next().is_none() {
                content.truncate(whole);
            }
            for line in lines(&content) {
                match line {
                    Line::Failure(Failure { packet, start, recipient, .. }) => {
                        let batch = self.batches.entry(packet).or_insert((start, Vec::new()));
                        if batch.0 != start {
                            *batch = (start, Vec::new());
                        }
                        batch.1.push(recipient);
                    }
                    Line::Retraction(Retraction { retracted, packet, .. }) => {
                        if let Some(batch) = self.batches.get_mut(&packet) {
                            batch.1.retain(|recipient| *recipient != retracted);
                        }
                    }
                }
            }
            self.read_to += content.len() as u64;
        }
        let name = packet_file(packet);
        Ok(self.batches.get(&name).map_or(&[], |batch| &batch.1))
    }
}

/// Takes back the failures of `recipients`, which their packet is going to be sent to again.
pub fn retract(folder: &Dir, packet: &PacketName, recipients: &[String], now: Epoch) -> Result<()> {
    let packet = packet_file(packet);
    let lines: Vec<_> = recipients
        .iter()
        .map(|recipient| Retraction { retracted: recipient.clone(), packet: packet.clone(), time: now.0 })
        .collect();
    append_lines(folder, &lines)
}

#[cfg(test)]
mod tests {
    use super::super::disk::Disk;
    use super::*;
    use crate::mail::{Mode, Serial};

    fn failure(recipient: &str, start: usize) -> Failure {
        let packet = PacketName::fresh(Mode::mail(), Serial::new(1));
        Failure::new(recipient, &packet, start, "smtp://relay", &Reply::new(550, "5.1.1 unknown"), Epoch(5))
    }

    #[test]
    fn failures_are_kept_in_order_and_a_retraction_takes_one_back() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Disk::default().open_root(dir.path()).unwrap();
        let packet = PacketName::fresh(Mode::mail(), Serial::new(1));
        assert_eq!(read(&folder).unwrap(), []);
        append(&folder, &[failure("a@x.org", 0), failure("b@x.org", 0)]).unwrap();
        append(&folder, &[failure("c@x.org", 50)]).unwrap();
        let mut latest = LatestFailures::default();
        assert_eq!(latest.of(&folder, &packet).unwrap(), ["c@x.org"]);
        retract(&folder, &packet, &["c@x.org".into()], Epoch(6)).unwrap();
        assert!(latest.of(&folder, &packet).unwrap().is_empty());
        assert_eq!(read(&folder).unwrap(), [failure("a@x.org", 0), failure("b@x.org", 0)]);
        append(&folder, &[failure("c@x.org", 50)]).unwrap();
        assert_eq!(read(&folder).unwrap().len(), 3);
    }

    #[test]
    fn a_line_cut_short_by_a_crash_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Disk::default().open_root(dir.path()).unwrap();
        append(&folder, &[failure("a@x.org", 0)]).unwrap();
        let file = folder.open(FAILURES).unwrap();
        file.write_at(b"{\"recipient\":\"b@", file.look().unwrap().size).unwrap();
        append(&folder, &[failure("c@x.org", 1)]).unwrap();
        let kept: Vec<_> = read(&folder).unwrap().into_iter().map(|failure| failure.recipient).collect();
        assert_eq!(kept, ["a@x.org", "c@x.org"]);
    }
}
