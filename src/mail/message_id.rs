//! A message's id: `<list>@<domain>.<unix seconds>.<number>`, as in `my-list@my.dom.1192613090.972`.
//!
//! It names the message's folder, so whatever passes here is safe as a file name. It is parsed from the right: a
//! domain has dots of its own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::time::Epoch;

/// See the module. Compares and prints as the text it was parsed from, byte for byte.
///
/// Clones share the text: whoever remembers or tells of a hundred thousand messages keeps each id once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Arc<str>);

/// A folder's name may grow by `:at<epoch>`, a flat file's by `.recipients.<mode>.<serial>.status`: with ids of at
/// most this many octets all of them stay below the 255 that file systems allow.
pub const MAX_LENGTH: usize = 160;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a message id: {reason}")]
pub struct BadMessageId {
    pub text: String,
    pub reason: &'static str,
}

impl MessageId {
    /// The id of a message of `list` (an address, `my-list@my.dom`) that arrived at `arrival`.
    pub fn new(list: &str, arrival: Epoch, number: u32) -> Result<MessageId, BadMessageId> {
        format!("{list}.{arrival}.{number}").parse()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The list's address: `my-list@my.dom`.
    pub fn list(&self) -> &str {
        self.parts().0
    }

    /// The domain of the list's address.
    pub fn domain(&self) -> &str {
        self.list().rsplit('@').next().expect("an id has an @")
    }

    /// The address of those who run the list, `my-list-owner@my.dom`: the envelope sender of a message that names none.
    pub fn list_owner(&self) -> String {
        let (local, domain) = self.list().rsplit_once('@').expect("an id has an @");
        format!("{local}-owner@{domain}")
    }

    /// When the message arrived, as its producer saw it.
    pub fn arrival(&self) -> Epoch {
        Epoch(self.parts().1.parse().expect("checked when the id was made"))
    }

    /// The id of the message's `number`th failure report: `my-list+report-1@my.dom.1192613090.972`. The list's name is cut
    /// where the id would be too long; `None` where that is not enough.
    pub fn report(&self, number: u32) -> Option<MessageId> {
        let (list, seconds, own) = self.parts();
        let (local, domain) = list.rsplit_once('@').expect("an id has an @");
        let rest = format!("+report-{number}@{domain}.{seconds}.{own}");
        let room = MAX_LENGTH.checked_sub(rest.len())?;
        let local = local[..room.min(local.len())].trim_end_matches('.');
        format!("{local}{rest}").parse().ok()
    }

    fn parts(&self) -> (&str, &str, &str) {
        split(&self.0).expect("checked when the id was made")
    }
}

/// list, seconds, number
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let mut parts = text.rsplitn(3, '.');
    let (number, seconds, list) = (parts.next()?, parts.next()?, parts.next()?);
    Some((list, seconds, number))
}

impl FromStr for MessageId {
    type Err = BadMessageId;

    fn from_str(text: &str) -> Result<Self, BadMessageId> {
        let bad = |reason| BadMessageId { text: text.to_owned(), reason };
        if text.len() > MAX_LENGTH {
            return Err(bad("longer than 160 octets"));
        }
        let (list, seconds, number) = split(text).ok_or(bad("expected <list>@<domain>.<unix seconds>.<number>"))?;
        if !digits(seconds, 15) {
            return Err(bad("the last part but one must be the arrival in unix seconds"));
        }
        if !digits(number, 15) {
            return Err(bad("the last part must be a number"));
        }
        check_list(list).map_err(bad)?;
        Ok(MessageId(text.into()))
    }
}

fn digits(text: &str, at_most: usize) -> bool {
    !text.is_empty() && text.len() <= at_most && text.bytes().all(|b| b.is_ascii_digit())
}

/// Checks a list's address: an RFC 5321 dot-string (§4.1.2) before the `@`, letters, digits, hyphens and dots behind
/// it, and nothing that a file name could not carry.
pub fn check_list(list: &str) -> Result<(), &'static str> {
    let (local, domain) = list.rsplit_once('@').ok_or("the list's address has no @")?;
    let atoms = |part: &str, also: &[u8]| {
        part.split('.')
            .all(|atom| !atom.is_empty() && atom.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b)))
    };
    // RFC 5321's atext, less the slash.
    if !atoms(local, b"!#$%&'*+-=?^_`{|}~") {
        return Err("the list's name must be letters, digits and !#$%&'*+-=?^_`{|}~, with single dots between them");
    }
    if !atoms(domain, b"-") || domain.starts_with('-') || domain.ends_with('-') {
        return Err("the list's domain must be letters, digits and hyphens, with single dots between them");
    }
    Ok(())
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_from_the_right() {
        let id: MessageId = "my-list@my.dom.1192613090.972".parse().unwrap();
        assert_eq!((id.list(), id.domain(), id.arrival()), ("my-list@my.dom", "my.dom", Epoch(1192613090)));
        let digits: MessageId = "l@4.5.6.7.8".parse().unwrap();
        assert_eq!((digits.list(), digits.arrival()), ("l@4.5.6", Epoch(7)));
    }

    #[test]
    fn an_id_prints_back_byte_for_byte() {
        for text in ["a@b.1.2", "a.b+c@x-y.org.0001192613090.00972", "o'neil@x.9.9"] {
            assert_eq!(text.parse::<MessageId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn names_that_could_leave_the_directory_are_refused() {
        for text in [
            "",
            ".",
            "..",
            "a@b",
            "a@b.1",
            "a.1.2",
            "@b.1.2",
            "a@.1.2",
            ".a@b.1.2",
            "a..b@c.1.2",
            "a@b..c.1.2",
            "../a@b.1.2",
            "a/b@c.1.2",
            "a@b/c.1.2",
            "a\n@b.1.2",
            "a@b.1.2\n",
            "a b@c.1.2",
            "a@b.-1.2",
            "a@b.1.+2",
            "a@b.1.2:at3",
            "a@b@c.1.2",
            "a\0@b.1.2",
            "é@b.1.2",
            "a@b.1.9999999999999999",
        ] {
            assert!(text.parse::<MessageId>().is_err(), "{text:?}");
        }
        assert!(format!("{}@b.1.2", "a".repeat(200)).parse::<MessageId>().is_err());
    }
}
