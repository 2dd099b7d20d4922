//! One mail address, checked to two standards.
//!
//! What people type (`inject`, configuration) must be an address by syntax: lettre decides, and the lengths of RFC
//! 5321 §4.5.3.1 hold. What already lies in a packet must be safe to put between `<` and `>` on the wire; whether the
//! mailbox exists, and whether its unusual local part is fine, is the relay's to say.

use std::fmt;
use std::str::FromStr;

/// A syntactically valid address. The domain's ASCII letters are lower case, so that one domain has one spelling;
/// the local part is as it was written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Box<str>);

/// RFC 5321 §4.5.3.1.3: a path of 256 octets, less `<` and `>`.
pub const MAX_LENGTH: usize = 254;
/// RFC 5321 §4.5.3.1.1.
const MAX_LOCAL: usize = 64;

/// Why a piece of text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    #[error("empty")]
    Empty,
    #[error("longer than 254 octets (RFC 5321, section 4.5.3.1.3)")]
    TooLong,
    #[error("local part longer than 64 octets (RFC 5321, section 4.5.3.1.1)")]
    LocalTooLong,
    #[error("not UTF-8")]
    NotUtf8,
    #[error("ends with CR: lines end with LF alone")]
    CarriageReturn,
    #[error("contains a NUL octet")]
    Nul,
    #[error("contains a control character")]
    Control,
    #[error("contains a space or an angle bracket")]
    SpaceOrBracket,
    #[error("has no @ between two parts")]
    NoAt,
    #[error("not a valid local part")]
    Local,
    #[error("not a valid domain")]
    Domain,
}

impl Address {
    pub fn parse(text: &[u8]) -> Result<Address, BadAddress> {
        let mut text = valid(text)?.to_owned();
        let at = text.rfind('@').expect("valid addresses have one");
        text[at..].make_ascii_lowercase();
        Ok(Address(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn domain(&self) -> &str {
        domain(&self.0)
    }
}

/// What follows the last `@`; the whole where there is none.
pub fn domain(address: &str) -> &str {
    address.rsplit('@').next().unwrap_or(address)
}

/// Checks that `text` is an address by syntax.
pub fn valid(text: &[u8]) -> Result<&str, BadAddress> {
    if is_plain(text) {
        return std::str::from_utf8(text).map_err(|_| BadAddress::NotUtf8);
    }
    let text = wire_safe(text)?;
    let at = text.rfind('@').ok_or(BadAddress::NoAt)?;
    if at > MAX_LOCAL {
        return Err(BadAddress::LocalTooLong);
    }
    text.parse::<lettre::Address>().map_err(|error| match error {
        lettre::address::AddressError::InvalidUser => BadAddress::Local,
        lettre::address::AddressError::MissingParts => BadAddress::NoAt,
        _ => BadAddress::Domain,
    })?;
    Ok(text)
}

/// Whether `text` is an address of the kind that nearly all are. lettre takes ten times as long to say so, which counts
/// with a million lines; what is not plain is left to it.
fn is_plain(text: &[u8]) -> bool {
    let Some(at) = memchr::memchr(b'@', text) else { return false };
    let (local, domain) = (&text[..at], &text[at + 1..]);
    let atoms = |part: &[u8], also: &[u8]| {
        part.split(|&b| b == b'.').all(|atom| {
            (1..=63).contains(&atom.len())
                && atom.iter().all(|b| b.is_ascii_alphanumeric() || also.contains(b))
                && atom[0] != b'-'
                && atom[atom.len() - 1] != b'-'
        })
    };
    local.len() <= MAX_LOCAL && text.len() <= MAX_LENGTH && atoms(local, b"-_+=") && atoms(domain, b"-")
}

/// Octets that must not stand between `<` and `>`.
const UNSAFE: [bool; 256] = {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = octet <= 0x20 || octet == 0x7f || octet == b'<' as usize || octet == b'>' as usize;
        octet += 1;
    }
    table
};

/// What is wrong with the first of them in `text`.
fn unsafe_because(text: &[u8]) -> BadAddress {
    let at = text.iter().position(|&octet| UNSAFE[usize::from(octet)]).expect("one was seen");
    match text[at] {
        b'\r' if at + 1 == text.len() => BadAddress::CarriageReturn,
        0 => BadAddress::Nul,
        b' ' | b'<' | b'>' => BadAddress::SpaceOrBracket,
        _ => BadAddress::Control,
    }
}

/// Checks that `text` can stand between `<` and `>` in MAIL and RCPT without being mistaken for anything else.
/// Allocates nothing: this runs once for every recipient of every packet.
pub fn wire_safe(text: &[u8]) -> Result<&str, BadAddress> {
    if text.is_empty() {
        return Err(BadAddress::Empty);
    }
    if text.len() > MAX_LENGTH {
        return Err(BadAddress::TooLong);
    }
    // A look at a table and no branch an octet: nearly every address passes.
    if text.iter().fold(false, |unsafe_octet, &octet| unsafe_octet | UNSAFE[usize::from(octet)]) {
        return Err(unsafe_because(text));
    }
    match memchr::memrchr(b'@', text) {
        Some(at) if at > 0 && at + 1 < text.len() => {}
        _ => return Err(BadAddress::NoAt),
    }
    std::str::from_utf8(text).map_err(|_| BadAddress::NotUtf8)
}

impl FromStr for Address {
    type Err = BadAddress;
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        Address::parse(text.as_bytes())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_has_one_spelling_and_the_local_part_keeps_its_own() {
        assert_eq!("Bob.Smith@EXAMPLE.Org".parse::<Address>().unwrap().as_str(), "Bob.Smith@example.org");
    }

    proptest::proptest! {
        #[test]
        fn what_is_plain_is_an_address_to_lettre_as_well(text in "[a-zA-Z0-9._+=-]{0,70}@([a-z0-9-]{0,65}\\.){0,3}[a-z0-9-]{0,65}") {
            if is_plain(text.as_bytes()) {
                proptest::prop_assert!(text.parse::<lettre::Address>().is_ok(), "{text}");
                proptest::prop_assert!(wire_safe(text.as_bytes()).is_ok());
            }
        }
    }

    #[test]
    fn bad_addresses_say_what_is_wrong() {
        let long = format!("{}@{}.org", "a".repeat(60), "b".repeat(240));
        let local = format!("{}@example.org", "a".repeat(65));
        for (text, reason) in [
            (&b""[..], BadAddress::Empty),
            (long.as_bytes(), BadAddress::TooLong),
            (local.as_bytes(), BadAddress::LocalTooLong),
            (b"a@b.org\r", BadAddress::CarriageReturn),
            (b"a\0@b.org", BadAddress::Nul),
            (b"a\r@b.org", BadAddress::Control),
            (b"a b@c.org", BadAddress::SpaceOrBracket),
            (b"a@b.org>", BadAddress::SpaceOrBracket),
            (b"nobody", BadAddress::NoAt),
            (b"@b.org", BadAddress::NoAt),
            (b"a@", BadAddress::NoAt),
            (b"\xff@b.org", BadAddress::NotUtf8),
            (b"a..b@c.org", BadAddress::Local),
            (b"a@b..org", BadAddress::Domain),
        ] {
            assert_eq!(Address::parse(text), Err(reason), "{}", text.escape_ascii());
        }
    }
}
