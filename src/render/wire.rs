//! Encoding for the wire (RFC 5321 §4.5.2, §2.3.8): CR LF line ends, dots stuffed, the final dot behind it.
//!
//! A bare LF is a line end as Unix writes it and becomes CR LF. A bare CR becomes a blank: it must never leave, since a
//! relay that takes it for a line end would see another message than we do (smuggling), and making it a line end here
//! would do that relay's work for it: `Subject: x<CR>Bcc: y` would become two header fields.

use crate::mail::Body;

/// RFC 5321 §4.5.3.1.6, without CR LF.
const MAX_LINE: usize = 998;

/// Encodes a message without spool header lines.
pub fn encode(message: &[u8]) -> Body {
    // A CR and perhaps a dot a line; at 30 octets a line that is enough, and else it grows once.
    let mut wire = Vec::with_capacity(message.len() + message.len() / 30 + 8);
    let mut long_line = None;
    let mut header_end = None;
    let mut number = 0;
    let mut rest = message;
    while !rest.is_empty() {
        number += 1;
        let end = memchr::memchr(b'\n', rest);
        let mut line = &rest[..end.unwrap_or(rest.len())];
        line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.first() == Some(&b'.') {
            wire.push(b'.');
        }
        let start = wire.len();
        wire.extend_from_slice(line);
        if memchr::memchr(b'\r', line).is_some() {
            for octet in &mut wire[start..] {
                if *octet == b'\r' {
                    *octet = b' ';
                }
            }
        }
        wire.extend_from_slice(b"\r\n");
        if line.is_empty() && header_end.is_none() {
            header_end = Some(wire.len());
        }
        if line.len() > MAX_LINE && long_line.is_none() {
            long_line = Some((number, line.len()));
        }
        rest = end.map_or(&[], |end| &rest[end + 1..]);
    }
    let header = &wire[..header_end.unwrap_or(wire.len())];
    let utf8_header = !header.is_ascii();
    let eight_bit = utf8_header || !wire.is_ascii();
    wire.extend_from_slice(b".\r\n");
    Body { wire, eight_bit, utf8_header, long_line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wire(message: &str) -> String {
        String::from_utf8(encode(message.as_bytes()).wire).unwrap()
    }

    #[test]
    fn line_ends_become_cr_lf_and_dots_are_stuffed() {
        assert_eq!(wire("a: b\n\nc\r\n.\n..d\ne"), "a: b\r\n\r\nc\r\n..\r\n...d\r\ne\r\n.\r\n");
        assert_eq!(wire(""), ".\r\n");
        assert_eq!(wire("\n"), "\r\n.\r\n");
    }

    #[test]
    fn a_bare_cr_becomes_a_blank() {
        assert_eq!(wire("a\r.\r\n\rb\r"), "a .\r\n b\r\n.\r\n");
    }

    #[test]
    fn what_a_relay_must_offer_is_known() {
        let body = encode("a: b\n\né\n".as_bytes());
        assert!(body.eight_bit && !body.utf8_header);
        let body = encode("a: é\n\nb\n".as_bytes());
        assert!(body.eight_bit && body.utf8_header);
        let body = encode(format!("a: b\n\n{}\n", "x".repeat(999)).as_bytes());
        assert_eq!(body.long_line, Some((3, 999)));
        assert_eq!(encode(format!("{}\r\n", "x".repeat(998)).as_bytes()).long_line, None);
    }

    proptest! {
        #[test]
        fn no_bare_cr_or_lf_leaves_and_the_dot_comes_last_and_alone(
            message in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..300)
        ) {
            let wire = encode(&message).wire;
            for (i, &octet) in wire.iter().enumerate() {
                prop_assert!(octet != b'\n' || i > 0 && wire[i - 1] == b'\r');
                prop_assert!(octet != b'\r' || wire.get(i + 1) == Some(&b'\n'));
            }
            let framed = [b"\r\n".as_slice(), &wire].concat();
            prop_assert_eq!(memchr::memmem::find(&framed, b"\r\n.\r\n"), Some(framed.len() - 5));
        }
    }
}
