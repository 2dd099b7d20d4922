//! What a reception mode makes of a message where the producer brought no `message.<mode>`.
//!
//! - `mail`: the message as it is.
//! - `notice`: its header alone, with its Content-Type, and an empty body.
//! - `txt`: its first text/plain part that is no attachment, under the message's header. A message without such a part,
//!   or one that can't be taken apart, stays as it is: its members would rather have too much than nothing.
//!
//! Digests and summaries are made of several messages, and other modes are not known here: they need a variant.

use std::borrow::Cow;

use mailparse::{DispositionType, ParsedMail};

use crate::mail::Mode;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mode {0} needs a variant of its own: it can't be made of the message")]
pub struct NeedsVariant(pub Mode);

/// Whether [`render`] can make what `mode` gets.
pub fn is_built_in(mode: &Mode) -> bool {
    matches!(mode.as_str(), "mail" | "notice" | "txt")
}

/// What packets of `mode` get of a message without spool header lines.
pub fn render<'m>(mode: &Mode, message: &'m [u8]) -> Result<Cow<'m, [u8]>, NeedsVariant> {
    match mode.as_str() {
        "mail" => Ok(message.into()),
        "notice" => Ok(notice(message).into()),
        "txt" => Ok(text(message)),
        _ => Err(NeedsVariant(mode.clone())),
    }
}

fn notice(message: &[u8]) -> Vec<u8> {
    let mut header = message[..header_length(message)].to_vec();
    if !header.is_empty() && !header.ends_with(b"\n") {
        header.push(b'\n');
    }
    header.push(b'\n');
    header
}

fn text(message: &[u8]) -> Cow<'_, [u8]> {
    // mailparse goes 100 levels deep and not further: a message nested deeper is not taken apart.
    let Ok(parsed) = mailparse::parse_mail(message) else { return message.into() };
    if parsed.subparts.is_empty() {
        return message.into();
    }
    let Some(part) = parsed.parts().find(|part| is_readable(part)) else { return message.into() };
    let mut rendered = Vec::with_capacity(part.raw_bytes.len() + 4096);
    for field in fields(&message[..header_length(message)]) {
        if !describes_content(field) {
            rendered.extend_from_slice(field);
        }
    }
    let (header, body) = part.raw_bytes.split_at(header_length(part.raw_bytes));
    for field in fields(header) {
        if describes_content(field) {
            rendered.extend_from_slice(field);
        }
    }
    // The body begins with the empty line that ends the header.
    rendered.extend_from_slice(if body.is_empty() { b"\n" } else { body });
    rendered.into()
}

fn is_readable(part: &ParsedMail<'_>) -> bool {
    part.subparts.is_empty()
        && part.ctype.mimetype == "text/plain"
        && part.get_content_disposition().disposition != DispositionType::Attachment
}

/// MIME fields that say how a body is to be read (RFC 2045 §3), and no others.
fn describes_content(field: &[u8]) -> bool {
    const PREFIX: &[u8] = b"Content-";
    field.len() >= PREFIX.len() && field[..PREFIX.len()].eq_ignore_ascii_case(PREFIX)
}

/// Octets up to the empty line between header and body, or all.
fn header_length(message: &[u8]) -> usize {
    let mut length = 0;
    for line in message.split_inclusive(|&b| b == b'\n') {
        if matches!(line, b"\n" | b"\r\n") {
            break;
        }
        length += line.len();
    }
    length
}

/// The fields of a header, each with its folded lines; the empty line, if it is there, is left out.
fn fields(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = &header[..header_length(header)];
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut length = 0;
        for line in rest.split_inclusive(|&b| b == b'\n') {
            if length > 0 && !matches!(line[0], b' ' | b'\t') {
                break;
            }
            length += line.len();
        }
        let (field, behind) = rest.split_at(length);
        rest = behind;
        Some(field)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rendered(mode: &str, message: &str) -> String {
        String::from_utf8(render(&mode.parse().unwrap(), message.as_bytes()).unwrap().into_owned()).unwrap()
    }

    const ALTERNATIVE: &str = "Subject: x\nContent-Type: multipart/alternative;\n boundary=b\nTo: y\n\n\
        --b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nh=C3=A9\n\
        --b\nContent-Type: text/html\n\n<p>h\n--b--\n";

    #[test]
    fn a_notice_is_the_header_alone() {
        assert_eq!(
            rendered("notice", "Subject: x\nContent-Type: text/html\n\nbody\n"),
            "Subject: x\nContent-Type: text/html\n\n"
        );
        assert_eq!(rendered("notice", "Subject: x"), "Subject: x\n\n");
    }

    #[test]
    fn txt_is_the_plain_alternative_under_the_messages_header() {
        assert_eq!(
            rendered("txt", ALTERNATIVE),
            "Subject: x\nTo: y\nContent-Type: text/plain; charset=utf-8\n\
             Content-Transfer-Encoding: quoted-printable\n\nh=C3=A9",
            "the line end before a boundary is the boundary's (RFC 2046 section 5.1.1)"
        );
    }

    #[test]
    fn txt_of_a_message_without_a_plain_part_is_the_message() {
        for message in
            ["Subject: x\n\nplain\n", "Content-Type: text/html\n\n<p>\n", "", "Content-Type: multipart/mixed\n\nx"]
        {
            assert_eq!(rendered("txt", message), message);
        }
    }

    #[test]
    fn other_modes_need_a_variant() {
        for mode in ["digest", "digestplain", "summary", "urlize"] {
            assert!(render(&mode.parse().unwrap(), b"a: b\n\n").is_err());
        }
    }

    #[test]
    fn a_message_nested_ten_thousand_deep_is_left_as_it_is() {
        let message = "Content-Type: multipart/mixed; boundary=b\n\n--b\n".repeat(10_000);
        assert_eq!(rendered("txt", &message), message);
    }

    #[test]
    fn a_header_of_ten_megabytes_is_read_in_one_go() {
        let message = format!("X: y\n{}\nbody", " folded\n".repeat(1_250_000));
        assert_eq!(rendered("notice", &message).len(), message.len() - "body".len());
    }

    proptest! {
        #[test]
        fn nothing_panics(message in "(?s)(Content-Type: |multipart/mixed|; boundary=b|\n--b|--|text/plain|\n|\r| |[ -~]){0,80}") {
            rendered("txt", &message);
            rendered("notice", &message);
        }
    }
}
