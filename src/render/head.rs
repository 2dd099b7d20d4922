//! The spool's own header lines: `Return-Path:` and `X-Sympa-Dist-…:` at the very start of `message`.
//!
//! Whatever takes a message in takes such fields out of the post first ([`strip`]), so that a post cannot set its own
//! options, and puts its own in front ([`print()`]). Before sending they come off again ([`split`]).

use crate::mail::{Address, Epoch, ReversePath};

/// What the spool's own lines say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SpoolHead {
    /// The envelope sender.
    pub sender: Option<ReversePath>,
    /// How many recipients the message had when it was queued, in all packets.
    pub recipients_total: Option<u64>,
    /// How many packets.
    pub packets_total: Option<u32>,
    /// Then it is too late: whoever has not got the message by then doesn't get it.
    pub not_after: Option<Epoch>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct BadHead {
    /// From 1.
    pub line: usize,
    pub what: String,
}

const RETURN_PATH: &str = "Return-Path";
const OPTION: &str = "X-Sympa-Dist-";
const RECIPIENTS: &str = "X-Sympa-Dist-Recipients";
const PACKETS: &str = "X-Sympa-Dist-Packets";
const NOT_AFTER: &str = "X-Sympa-Dist-Not-After";

/// No file system could hold more recipients than that.
pub const MOST_RECIPIENTS: u64 = 1_000_000_000_000;

/// Longer than any line of ours: an address and the field's name.
const MAX_LINE: usize = 1000;

/// Takes the spool's own lines off. They end where the first other line begins.
pub fn split(message: &[u8]) -> Result<(SpoolHead, &[u8]), BadHead> {
    let mut head = SpoolHead::default();
    let mut rest = message;
    let mut line = 0;
    while is_own(rest) {
        line += 1;
        let bad = |what: String| BadHead { line, what };
        let end =
            memchr::memchr(b'\n', rest).ok_or_else(|| bad("the message ends within the spool's own lines".into()))?;
        if end > MAX_LINE {
            return Err(bad("a spool line of more than 1000 octets".into()));
        }
        let text = std::str::from_utf8(&rest[..end]).map_err(|_| bad("not UTF-8".into()))?;
        rest = &rest[end + 1..];
        if rest.first().is_some_and(|&b| b == b' ' || b == b'\t') {
            return Err(bad("the spool's own lines can't be folded".into()));
        }
        let (name, value) = text.split_once(':').expect("is_own looks for the colon");
        let value = value.trim();
        let once = |first: bool| if first { Ok(()) } else { Err(bad(format!("a second {name}"))) };
        let number = || value.parse().map_err(|_| bad(format!("{name}: {value:?} is not a number")));
        if name.eq_ignore_ascii_case(RETURN_PATH) {
            once(head.sender.is_none())?;
            head.sender = Some(reverse_path(value).map_err(bad)?);
        } else if name.eq_ignore_ascii_case(RECIPIENTS) {
            once(head.recipients_total.is_none())?;
            let recipients = number()?;
            if recipients > MOST_RECIPIENTS {
                return Err(bad(format!("{name}: {value} is more than there can be")));
            }
            head.recipients_total = Some(recipients);
        } else if name.eq_ignore_ascii_case(PACKETS) {
            once(head.packets_total.is_none())?;
            let packets = number()?;
            head.packets_total = Some(packets.try_into().map_err(|_| bad(format!("{name}: {value} is too many")))?);
        } else if name.eq_ignore_ascii_case(NOT_AFTER) {
            once(head.not_after.is_none())?;
            head.not_after = Some(Epoch(number()?));
        } else {
            return Err(bad(format!("{name} is no option; there are {RECIPIENTS}, {PACKETS} and {NOT_AFTER}")));
        }
    }
    Ok((head, rest))
}

/// An envelope sender as people and header lines write it: `<a@b>`, `a@b`, or `<>`.
pub fn reverse_path(text: &str) -> Result<ReversePath, String> {
    let bare = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    if bare.is_empty() && text == "<>" {
        return Ok(ReversePath::Null);
    }
    let address: Result<Address, _> = bare.parse();
    address.map(ReversePath::Address).map_err(|reason| format!("{text:?} is no envelope sender: {reason}"))
}

/// The lines to put in front of a message.
pub fn print(head: &SpoolHead) -> Vec<u8> {
    let sender = head.sender.as_ref().map(|sender| format!("{RETURN_PATH}: {sender}\n"));
    let recipients = head.recipients_total.map(|total| format!("{RECIPIENTS}: {total}\n"));
    let packets = head.packets_total.map(|total| format!("{PACKETS}: {total}\n"));
    let not_after = head.not_after.map(|time| format!("{NOT_AFTER}: {time}\n"));
    [sender, recipients, packets, not_after].into_iter().flatten().collect::<String>().into_bytes()
}

/// Takes fields with the spool's own names, wherever they stand in the header, and an mbox `From ` line in front, out of a
/// post. The body is not touched.
pub fn strip(post: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(post.len());
    let mut rest = post;
    if rest.starts_with(b"From ") {
        rest = &rest[line_length(rest)..];
    }
    let mut dropping = false;
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(line_length(rest));
        if matches!(line, b"\n" | b"\r\n") {
            break;
        }
        // A continuation line goes with its field.
        if !matches!(line[0], b' ' | b'\t') {
            dropping = is_own(line);
        }
        if !dropping {
            kept.extend_from_slice(line);
        }
        rest = behind;
    }
    // Dropped lines may have uncovered nothing that reads as ours: every line was judged by itself.
    kept.extend_from_slice(rest);
    kept
}

fn line_length(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |end| end + 1)
}

/// Whether a field of the spool's own begins here. Blanks before the colon are looked through, as lenient readers do.
fn is_own(text: &[u8]) -> bool {
    let begins = |name: &str| text.len() >= name.len() && text[..name.len()].eq_ignore_ascii_case(name.as_bytes());
    if !begins(RETURN_PATH) && !begins(OPTION) {
        return false;
    }
    let line = &text[..line_length(text)];
    let Some(colon) = memchr::memchr(b':', line) else { return false };
    let name = line[..colon].trim_ascii_end();
    name.eq_ignore_ascii_case(RETURN_PATH.as_bytes()) || (begins(OPTION) && name.iter().all(u8::is_ascii_graphic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_spools_own_lines_are_taken_off() {
        let message = b"Return-Path: <a-owner@x.org>\nx-sympa-dist-recipients: 7\nFrom: b@y.org\n\nReturn-Path: <>\n";
        let (head, rest) = split(message).unwrap();
        let sender = ReversePath::Address("a-owner@x.org".parse().unwrap());
        assert_eq!(head, SpoolHead { sender: Some(sender), recipients_total: Some(7), ..SpoolHead::default() });
        assert_eq!(rest, b"From: b@y.org\n\nReturn-Path: <>\n");
        assert_eq!(split(b"Return-Path:<>\n\n").unwrap().0.sender, Some(ReversePath::Null));
    }

    #[test]
    fn a_bad_line_is_named() {
        for (message, line, what) in [
            ("Return-Path: <a>\n", 1, "is no envelope sender"),
            ("Return-Path: <>\nReturn-Path: <>\n", 2, "a second Return-Path"),
            ("X-Sympa-Dist-Packets: many\n", 1, "is not a number"),
            ("X-Sympa-Dist-Recipients: 18446744073709551615\n", 1, "is more than there can be"),
            ("X-Sympa-Dist-Colour: red\n", 1, "is no option"),
            ("Return-Path: <>\n folded\n", 1, "can't be folded"),
            ("Return-Path: <>", 1, "the message ends"),
        ] {
            let error = split(message.as_bytes()).unwrap_err();
            assert!(error.line == line && error.what.contains(what), "{message:?}: {error}");
        }
    }

    #[test]
    fn a_post_cannot_set_its_own_options() {
        let post = b"From mbox@x\nSubject: x\nRETURN-PATH : <evil@x.org>\n folded\nx-sympa-dist-packets: 9\nTo: y\n\nReturn-Path: <>\n";
        assert_eq!(strip(post), b"Subject: x\nTo: y\n\nReturn-Path: <>\n");
    }

    proptest! {
        #[test]
        fn what_is_put_on_comes_off_again(
            address in prop::option::of("[a-z]{1,9}@[a-z]{1,9}\\.org"),
            recipients_total in prop::option::of(0..=MOST_RECIPIENTS),
            packets_total in any::<Option<u32>>(),
            not_after in any::<Option<u64>>(),
            post in "(?s)(Return-Path:|X-Sympa-Dist-|x-sympa-dist-packets: |From |[ -~]|\n|\r| ){0,60}",
        ) {
            let sender = Some(address.map_or(ReversePath::Null, |a| ReversePath::Address(a.parse().unwrap())));
            let head = SpoolHead { sender, recipients_total, packets_total, not_after: not_after.map(Epoch) };
            let post = strip(post.as_bytes());
            // A post that begins with a folded line would fold the line before it; it has no header to speak of.
            prop_assume!(!matches!(post.first(), Some(b' ' | b'\t')));
            let message = [print(&head), post.clone()].concat();
            prop_assert_eq!(split(&message).unwrap(), (head, &post[..]));
        }

        #[test]
        fn splitting_never_panics(message in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = split(&message);
            let _ = split(&[b"Return-Path: ", &message[..]].concat());
        }
    }
}
