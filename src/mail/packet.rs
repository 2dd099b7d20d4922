//! A packet: recipients of one message in one reception mode, one a line, in the order in which they are sent to.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use super::address::{self, BadAddress};
use super::time::Epoch;

/// A reception mode: how a group of members receives the message. Lower-case letters, digits, `-` and `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mode {
    /// In place: every packet that is known has one. Zeros behind it, so that octets compare as the text does.
    octets: [u8; Self::MAX_LENGTH],
    length: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a reception mode: expected 1 to 24 lower-case letters, digits, - and _, a letter first")]
pub struct BadMode(pub String);

impl Mode {
    const MAX_LENGTH: usize = 24;

    /// The message as it is: every list's normal mode.
    pub fn mail() -> Mode {
        Mode::of("mail")
    }

    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.octets[..self.length.into()]).expect("checked when it was made")
    }

    fn of(text: &str) -> Mode {
        let mut octets = [0; Self::MAX_LENGTH];
        octets[..text.len()].copy_from_slice(text.as_bytes());
        Mode { octets, length: text.len() as u8 }
    }
}

impl FromStr for Mode {
    type Err = BadMode;
    fn from_str(text: &str) -> Result<Self, BadMode> {
        let fits = text.len() <= Self::MAX_LENGTH
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if fits { Ok(Mode::of(text)) } else { Err(BadMode(text.to_owned())) }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A packet's number within its message and mode. Prints with the leading zeros it was read with, so that `001` and
/// `0001` stay the two names they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Serial {
    number: u32,
    width: u8,
}

impl Serial {
    const MAX_DIGITS: usize = 9;

    /// The `number`th packet, printed with at least four digits.
    pub fn new(number: u32) -> Serial {
        let digits = number.checked_ilog10().unwrap_or(0) as u8 + 1;
        Serial { number, width: digits.max(4) }
    }
}

impl FromStr for Serial {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        if text.is_empty() || text.len() > Self::MAX_DIGITS || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(());
        }
        Ok(Serial { number: text.parse().map_err(drop)?, width: text.len() as u8 })
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0width$}", self.number, width = usize::from(self.width))
    }
}

/// What makes a packet a retry packet: how often its recipients were deferred, and when they are due.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Retry {
    pub due: Epoch,
    /// 1 for recipients deferred once.
    pub generation: u16,
}

/// Which packet of a message. Its file name's grammar is [`crate::spool::layout`]'s.
///
/// Ordered as packets are sent: fresh ones first, by serial, then retry packets by due time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PacketName {
    pub retry: Option<Retry>,
    pub serial: Serial,
    pub mode: Mode,
}

impl PacketName {
    pub fn fresh(mode: Mode, serial: Serial) -> PacketName {
        PacketName { retry: None, serial, mode }
    }

    /// 0 for a fresh packet, n for recipients that were deferred n times.
    pub fn generation(&self) -> u16 {
        self.retry.map_or(0, |retry| retry.generation)
    }

    /// Where this packet's deferred recipients go.
    pub fn retry_at(&self, due: Epoch) -> PacketName {
        let generation = self.generation().saturating_add(1);
        PacketName { retry: Some(Retry { due, generation }), ..self.clone() }
    }

    /// Whether recipients deferred from `self` may lie in `other`.
    pub fn is_parent_of(&self, other: &PacketName) -> bool {
        let next = self.generation().checked_add(1);
        self.mode == other.mode && self.serial == other.serial && next == Some(other.generation())
    }

    /// When it may be sent; `None`: at once.
    pub fn due(&self) -> Option<Epoch> {
        self.retry.map(|retry| retry.due)
    }
}

/// A packet's recipients, read once and borrowed from then on.
#[derive(Debug)]
pub struct Packet {
    bytes: Vec<u8>,
    /// Start and length of each recipient's address in `bytes`; repeats are left out.
    addresses: Vec<(u32, u16)>,
}

/// Which line of a packet is no recipient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} ({text}): {reason}")]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    /// The line's beginning, escaped.
    pub text: String,
    pub reason: BadAddress,
}

impl BadLine {
    pub fn new(line: usize, content: &[u8], reason: BadAddress) -> BadLine {
        const SHOWN: usize = 60;
        let more = if content.len() > SHOWN { "…" } else { "" };
        let text = format!("{}{more}", content[..content.len().min(SHOWN)].escape_ascii());
        BadLine { line, text, reason }
    }
}

impl Packet {
    /// Reads a packet file's content: a line an address, optionally a TAB and a JSON object of fields behind it.
    pub fn parse(bytes: Vec<u8>) -> Result<Packet, BadLine> {
        assert!(u32::try_from(bytes.len()).is_ok(), "the spool refuses files of 4 GiB");
        let mut addresses = Vec::with_capacity(bytes.len() / 24);
        let mut sorted = true;
        let mut before = ("", "");
        let mut start = 0;
        let mut line = 0;
        while start < bytes.len() {
            line += 1;
            let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |n| start + n);
            let content = &bytes[start..end];
            let address = &content[..memchr::memchr(b'\t', content).unwrap_or(content.len())];
            let text = address::wire_safe(address).map_err(|reason| BadLine::new(line, content, reason))?;
            addresses.push((start as u32, address.len() as u16));
            let key = (address::domain(text), text);
            sorted &= before < key;
            before = key;
            start = end + 1;
        }
        let mut packet = Packet { bytes, addresses };
        // What `inject` writes is sorted by domain, then address: strictly rising lines hold no repeat, and a set of a
        // million addresses need not be built to learn it.
        if !sorted {
            packet.skip_repeats();
        }
        Ok(packet)
    }

    fn skip_repeats(&mut self) {
        let mut seen = HashSet::with_capacity(self.addresses.len());
        let bytes = &self.bytes;
        self.addresses.retain(|&(start, len)| seen.insert(&bytes[start as usize..start as usize + usize::from(len)]));
    }

    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// The `index`th recipient's address.
    pub fn address(&self, index: usize) -> &str {
        let (start, len) = self.addresses[index];
        std::str::from_utf8(&self.bytes[start as usize..start as usize + usize::from(len)]).expect("checked when read")
    }

    /// The `index`th recipient's whole line, with its fields, without the newline.
    pub fn line(&self, index: usize) -> &[u8] {
        let start = self.addresses[index].0 as usize;
        let end = memchr::memchr(b'\n', &self.bytes[start..]).map_or(self.bytes.len(), |n| start + n);
        &self.bytes[start..end]
    }

    /// Where `address` stands.
    pub fn position(&self, address: &str) -> Option<usize> {
        (0..self.len()).find(|&index| self.address(index) == address)
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.address(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_carry_fields_and_the_last_may_lack_its_newline() {
        let packet = Packet::parse(b"a@x.org\t{\"name\":\"A\"}\nb@y.org".to_vec()).unwrap();
        assert_eq!(packet.iter().collect::<Vec<_>>(), ["a@x.org", "b@y.org"]);
        assert_eq!(packet.line(0), b"a@x.org\t{\"name\":\"A\"}");
        assert_eq!(packet.position("b@y.org"), Some(1));
    }

    #[test]
    fn a_repeated_address_is_sent_to_once() {
        let packet = Packet::parse(b"b@x.org\na@x.org\nb@x.org\n".to_vec()).unwrap();
        assert_eq!(packet.iter().collect::<Vec<_>>(), ["b@x.org", "a@x.org"]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = Packet::parse(b"a@x.org\n\nb@x.org\n".to_vec()).unwrap_err();
        assert_eq!((error.line, error.reason), (2, BadAddress::Empty));
        let error = Packet::parse(vec![b'x'; 10_000_000]).unwrap_err();
        assert_eq!((error.line, error.reason), (1, BadAddress::TooLong));
        assert!(error.text.len() < 100);
    }

    #[test]
    fn fresh_packets_go_before_retry_packets() {
        let fresh = PacketName::fresh(Mode::mail(), Serial::new(9));
        let retry = PacketName::fresh(Mode::mail(), Serial::new(1)).retry_at(Epoch(5));
        assert!(fresh < retry && PacketName::fresh(Mode::mail(), Serial::new(1)).is_parent_of(&retry));
    }

    #[test]
    fn a_serial_keeps_its_leading_zeros() {
        for text in ["1", "001", "0001", "000000001", "12345"] {
            assert_eq!(text.parse::<Serial>().unwrap().to_string(), text);
        }
        assert_eq!(Serial::new(7).to_string(), "0007");
        assert_eq!(Serial::new(12345).to_string(), "12345");
    }
}
