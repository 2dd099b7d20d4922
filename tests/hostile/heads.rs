//! The spool's own header lines in front of a message, and posts that try to bring some along.

use proptest::prelude::*;
use sympa_dist::mail::ReversePath;
use sympa_dist::render::head::{self, SpoolHead};

use crate::inputs::{address, hostile};
use crate::{oracle, target};

const PIECES: &[&str] = &[
    "Return-Path:",
    "return-path : ",
    "Return-Path: <>\n",
    "Return-Path: <a@x.org>\n",
    "X-Sympa-Dist-",
    "Packets: 1\n",
    "X-Sympa-Dist-Recipients: 7\n",
    "x-sympa-dist-packets: +7\r\n",
    "X-Sympa-Dist-Packets: 4294967296\n",
    "From x\n",
    "Subject: x\n",
    " folded\n",
    "\tfolded\n",
    "\n",
    "\r\n",
    "\r",
    "\0",
    "\n\n",
    ":",
    "é",
    "\u{a0}",
    "<",
    ">",
];

fn spool_head() -> impl Strategy<Value = SpoolHead> {
    let sender = prop::option::of(prop_oneof![
        Just(ReversePath::Null),
        address()
            .prop_filter_map("an address as people type it", |text| { text.parse().ok().map(ReversePath::Address) }),
    ]);
    (sender, prop::option::of(0..=head::MOST_RECIPIENTS), any::<Option<u32>>()).prop_map(
        |(sender, recipients_total, packets_total)| SpoolHead {
            sender,
            recipients_total,
            packets_total,
            not_after: None,
        },
    )
}

fn post() -> impl Strategy<Value = Vec<u8>> {
    "(Subject: [a-z ]{0,20}\r?\n( [a-z]{0,9}\n){0,2}|Return-Path: <x@y>\r?\n|To: x\n){0,5}\r?\n[ -~\n]{0,40}"
        .prop_map(String::into_bytes)
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    (spool_head(), post()).prop_map(|(head, post)| [head::print(&head), post].concat())
}

/// Whether a field of the spool's own begins here, by name.
fn is_own(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|&octet| octet == b':') else { return false };
    let name = line[..colon].trim_ascii_end().to_ascii_lowercase();
    name == b"return-path" || name.starts_with(b"x-sympa-dist-") && name.iter().all(u8::is_ascii_graphic)
}

#[test]
fn a_message_is_its_own_lines_and_the_rest_or_names_its_first_bad_line() {
    target::run("heads, hostile", 4000, hostile(message(), PIECES), |octets| {
        let own = oracle::lines(&octets).iter().take_while(|line| is_own(line)).count();
        let (head, rest) = match head::split(&octets) {
            Ok(split) => split,
            Err(error) => {
                prop_assert!(error.line >= 1 && error.line <= own, "{}", error);
                return Ok(());
            }
        };
        let taken = octets.len() - rest.len();
        prop_assert!(octets.ends_with(rest));
        prop_assert!(taken == 0 || octets[taken - 1] == b'\n');
        prop_assert_eq!(octets[..taken].iter().filter(|&&octet| octet == b'\n').count(), own);
        prop_assert!(!matches!(rest.first(), Some(b' ' | b'\t')) || taken == 0);
        // What was understood says the same when it is written again, before the same rest.
        let again = [head::print(&head), rest.to_vec()].concat();
        if !matches!(rest.first(), Some(b' ' | b'\t')) {
            prop_assert_eq!(head::split(&again), Ok((head.clone(), rest)));
        }
        let said = [head.sender.is_some(), head.recipients_total.is_some(), head.packets_total.is_some()];
        prop_assert_eq!(said.iter().filter(|said| **said).count(), own);
        Ok(())
    });
}

#[test]
fn what_is_put_before_a_post_comes_off_and_nothing_else_does() {
    let cases = (spool_head(), hostile(message(), PIECES));
    target::run("heads, put on", 3000, cases, |(head, octets)| {
        let post = head::strip(&octets);
        // As `inject` has it: a post begins with a field.
        prop_assume!(!matches!(post.first(), Some(b' ' | b'\t')));
        let message = [head::print(&head), post.clone()].concat();
        prop_assert_eq!(head::split(&message), Ok((head, &post[..])));
        Ok(())
    });
}

#[test]
fn a_post_loses_its_own_options_with_their_folded_lines_and_keeps_every_other_octet() {
    target::run("heads, stripped", 4000, hostile(message(), PIECES), |octets| {
        let mut expected = Vec::new();
        let (mut in_header, mut dropping) = (true, false);
        for (number, line) in octets.split_inclusive(|&octet| octet == b'\n').enumerate() {
            if number == 0 && line.starts_with(b"From ") {
                continue;
            }
            in_header &= !matches!(line, b"\n" | b"\r\n");
            if in_header && !line.starts_with(b" ") && !line.starts_with(b"\t") {
                dropping = is_own(line);
            }
            if !(in_header && dropping) {
                expected.extend_from_slice(line);
            }
        }
        prop_assert_eq!(head::strip(&octets), expected);
        Ok(())
    });
}
