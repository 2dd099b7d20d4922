//! Whether a line of a recipients file is a recipient, and what key it is sorted by.

use serde::de::IgnoredAny;

use super::lines::{Line, MAX_LINE};
use crate::mail::address::{self, BadAddress};

/// Why a line is no recipient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRecipient {
    #[error(transparent)]
    Address(BadAddress),
    #[error("longer than {MAX_LINE} octets")]
    TooLong,
    #[error("begins with a byte order mark: save the file without it")]
    ByteOrderMark,
    #[error("the fields behind the TAB are not UTF-8")]
    FieldsNotUtf8,
    #[error("the fields behind the TAB are not a JSON object: {0}")]
    Fields(String),
}

/// A line that is a recipient, in the parts it is sorted and written by.
pub struct Recipient<'l> {
    /// With its `@`.
    pub local: &'l [u8],
    /// As it was typed, in any case.
    pub domain: &'l [u8],
    /// The TAB and the fields, or nothing.
    pub rest: &'l [u8],
}

/// Most lines are a plain address and are judged without an allocation.
pub fn judge<'l>(line: &Line<'l>) -> Result<Recipient<'l>, BadRecipient> {
    let content = line.content;
    if line.cut {
        return Err(BadRecipient::TooLong);
    }
    if line.number == 1 && content.starts_with(b"\xef\xbb\xbf") {
        return Err(BadRecipient::ByteOrderMark);
    }
    if content.ends_with(b"\r") {
        return Err(BadRecipient::Address(BadAddress::CarriageReturn));
    }
    let end = memchr::memchr(b'\t', content).unwrap_or(content.len());
    let (address, rest) = content.split_at(end);
    address::valid(address).map_err(BadRecipient::Address)?;
    if let Some(text) = rest.get(1..) {
        fields(text)?;
    }
    let at = memchr::memrchr(b'@', address).ok_or(BadRecipient::Address(BadAddress::NoAt))?;
    Ok(Recipient { local: &address[..=at], domain: &address[at + 1..], rest })
}

fn fields(text: &[u8]) -> Result<(), BadRecipient> {
    let text = std::str::from_utf8(text).map_err(|_| BadRecipient::FieldsNotUtf8)?;
    let not = |why: &dyn std::fmt::Display| BadRecipient::Fields(why.to_string());
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| not(&error))?;
    if text.trim_start().starts_with('{') { Ok(()) } else { Err(not(&"expected {\"name\": value, …}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(content: &[u8]) -> Result<(), String> {
        judge(&Line { number: 1, content, cut: false }).map(drop).map_err(|reason| reason.to_string())
    }

    #[test]
    fn a_line_is_an_address_and_perhaps_fields() {
        for content in [
            &b"a@b.org"[..],
            b"O'Hara@b.org",
            "j\u{fc}rgen@m\u{fc}nchen.example".as_bytes(),
            b"a@b.org\t{}",
            b"a@b.org\t{\"name\": \"A\\tB\",\t\"n\": [1, {}]}",
        ] {
            assert_eq!(judged(content), Ok(()), "{}", content.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_recipient_says_why() {
        for (content, why) in [
            (&b""[..], "empty"),
            (b"a@b.org\r", "ends with CR"),
            (b"\r", "ends with CR"),
            (b"a@b.org\t{}\r", "ends with CR"),
            (b"a@b.org\0", "NUL"),
            (b"\xff@b.org", "not UTF-8"),
            (b"a@b.org ", "a space"),
            (b" a@b.org", "a space"),
            (b"A B <a@b.org>", "a space"),
            (b"a@b.org,c@d.org", "not a valid"),
            (b"nobody", "no @"),
            (b"\xef\xbb\xbfa@b.org", "byte order mark"),
            (b"\ta@b.org", "empty"),
            (b"a@b.org\t", "not a JSON object"),
            (b"a@b.org\t[1]", "not a JSON object"),
            (b"a@b.org\t\"x\"", "not a JSON object"),
            (b"a@b.org\t{\"a\": 1", "not a JSON object"),
            (b"a@b.org\t{} {}", "not a JSON object"),
            (b"a@b.org\t{\"a\": \"\x01\"}", "not a JSON object"),
            (b"a@b.org\t{\"a\": \"\0\"}", "not a JSON object"),
            (b"a@b.org\t{\"a\": \"\xff\"}", "not UTF-8"),
        ] {
            let error = judged(content).expect_err(&content.escape_ascii().to_string());
            assert!(error.contains(why), "{}: {error}", content.escape_ascii());
        }
        let long = judge(&Line { number: 7, content: b"x", cut: true }).err();
        assert_eq!(long, Some(BadRecipient::TooLong));
    }
}
