//! A packet's checkpoint: the address of its last processed recipient, as it stands in the packet's `.status` file.
//!
//! The file is [`SIZE`] octets: the address, then newlines to the end. It is overwritten in place, so a checkpoint
//! changes neither the file's length nor its allocation: one block to sync, nothing for a journal to record. The whole
//! record lies in one 512-octet sector, which disks write as one.
//!
//! A second line `+<n>` is an intent: the next n recipients are in a transaction whose final dot may be out. It is
//! written only where uncertain transactions are not to be repeated, and the next checkpoint overwrites it.

use super::address::{self, BadAddress};

/// Octets of a status file written by this program: an address of at most 254, a newline, padding.
pub const SIZE: usize = 256;
const _: () = assert!(address::MAX_LENGTH < SIZE);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCheckpoint {
    #[error("its first line is not an address: {0}")]
    NotAnAddress(BadAddress),
    #[error("it has text after its first line")]
    TrailingText,
}

/// What a status file that says "processed up to and including `address`" contains.
pub fn encode(address: &str) -> [u8; SIZE] {
    assert!(
        address.len() <= address::MAX_LENGTH && !address.contains('\n'),
        "a checkpoint names one address of a packet"
    );
    let mut record = [b'\n'; SIZE];
    record[..address.len()].copy_from_slice(address.as_bytes());
    record
}

/// The same, with the next `count` recipients in flight. `None` where an address leaves no room to say so.
pub fn encode_in_flight(last: Option<&str>, count: usize) -> Option<[u8; SIZE]> {
    let mut record = last.map_or([b'\n'; SIZE], encode);
    let intent = format!("+{count}");
    let start = last.map_or(0, str::len) + 1;
    record[..SIZE - 1].get_mut(start..start + intent.len())?.copy_from_slice(intent.as_bytes());
    Some(record)
}

/// How many recipients behind the checkpoint were in flight when it was last written. To be asked of what [`decode`] takes.
pub fn in_flight(content: &[u8]) -> usize {
    let mut lines = content.split(|&b| b == b'\n');
    lines.nth(1).and_then(intent).unwrap_or(0)
}

fn intent(line: &[u8]) -> Option<usize> {
    let digits = line.strip_prefix(b"+")?;
    if digits.is_empty() || digits.len() > 9 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Reads a status file: the first line is the address of the last processed recipient; `None` if nothing was processed.
///
/// An empty file says so, and so does one of NULs alone: after a power loss the length of a fresh file may have come to
/// disk before its first record, and no record is ever overwritten by NULs. Producers may leave the padding away.
pub fn decode(content: &[u8]) -> Result<Option<&str>, BadCheckpoint> {
    if content.iter().all(|&b| b == 0) {
        return Ok(None);
    }
    let end = memchr::memchr(b'\n', content).unwrap_or(content.len());
    let (line, rest) = content.split_at(end);
    let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
    let second = &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())];
    let padding = if intent(second).is_some() { &rest[second.len()..] } else { rest };
    if padding.iter().any(|&b| b != b'\n') {
        return Err(BadCheckpoint::TrailingText);
    }
    if line.is_empty() {
        return Ok(None);
    }
    address::wire_safe(line).map(Some).map_err(BadCheckpoint::NotAnAddress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_checkpoint_reads_back_as_it_was_written(address in "[a-z.+]{1,60}@[a-z]{1,60}\\.[a-z]{2,100}") {
            let record = encode(&address);
            prop_assert_eq!(decode(&record), Ok(Some(address.as_str())));
        }

        #[test]
        fn reading_never_panics(content in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode(&content);
        }
    }

    #[test]
    fn an_intent_stands_behind_the_address_and_says_nothing_about_it() {
        for last in [None, Some("a@b.org")] {
            let record = encode_in_flight(last, 50).unwrap();
            assert_eq!((decode(&record), in_flight(&record)), (Ok(last), 50));
        }
        let longest = format!("{}@b.org", "a".repeat(address::MAX_LENGTH - 6));
        assert_eq!(encode_in_flight(Some(&longest), 50), None);
        assert_eq!(in_flight(&encode("a@b.org")), 0);
        for content in ["a@b.org\n+\n", "a@b.org\n+x\n", "a@b.org\n+1\n+2\n", "a@b.org\n\n+1\n", "a@b.org\n+1x\n"] {
            assert_eq!(decode(content.as_bytes()), Err(BadCheckpoint::TrailingText), "{content:?}");
        }
    }

    #[test]
    fn nothing_processed_has_several_spellings() {
        for content in [&b""[..], b"\n", &[b'\n'; SIZE], &[0; SIZE]] {
            assert_eq!(decode(content), Ok(None));
        }
    }

    #[test]
    fn producers_may_leave_the_padding_away() {
        assert_eq!(decode(b"a@b.org"), Ok(Some("a@b.org")));
        assert_eq!(decode(b"a@b.org\n"), Ok(Some("a@b.org")));
    }

    #[test]
    fn text_after_the_first_line_is_no_checkpoint() {
        assert_eq!(decode(b"a@b.org\nc@d.org\n"), Err(BadCheckpoint::TrailingText));
        assert_eq!(decode(b"a@b.org\r\n"), Err(BadCheckpoint::NotAnAddress(BadAddress::CarriageReturn)));
    }
}
