//! The SMTP envelope of one transaction.

use std::fmt;

use super::address::Address;

/// The envelope sender (RFC 5321 §4.4.4's reverse path). Null is `<>`: a report that must never be reported on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReversePath {
    Null,
    Address(Address),
}

impl ReversePath {
    /// What stands between `<` and `>`.
    pub fn as_str(&self) -> &str {
        match self {
            ReversePath::Null => "",
            ReversePath::Address(address) => address.as_str(),
        }
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.as_str())
    }
}

/// One transaction's sender and recipients. Borrowed: a packet is read once, its addresses are never copied.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    pub sender: &'a ReversePath,
    /// In the order in which they stand in the packet; each one passed [`super::address::wire_safe`].
    pub recipients: &'a [&'a str],
}
