//! A message as it goes over the wire: encoded once, shared by all workers.

/// The octets behind DATA's 354, final dot included. Made by [`crate::render::wire::encode`].
#[derive(Debug, PartialEq, Eq)]
pub struct Body {
    /// Lines end with CR LF, a leading dot is doubled (RFC 5321 §4.5.2), no bare CR or LF is left, and the end is
    /// `CR LF . CR LF`: body and final dot go out in one write.
    pub wire: Vec<u8>,
    /// Some octet is above 127: needs 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// Some octet of the header is above 127: wants SMTPUTF8 (RFC 6531).
    pub utf8_header: bool,
    /// The first line that is longer than 998 octets without its CR LF (RFC 5321 §4.5.3.1.6), from 1, and its length.
    /// Such a line is sent as it is: breaking it would break a signature.
    pub long_line: Option<(usize, usize)>,
}

impl Body {
    /// What RFC 1870 counts: octets with CR LF, without dot-stuffing and without the final dot. An upper bound here,
    /// since stuffed dots are counted.
    pub fn size(&self) -> usize {
        self.wire.len() - b".\r\n".len()
    }
}
