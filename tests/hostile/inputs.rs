//! Hostile input: random octets, and valid ones with a few mistakes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A mistake. Places are relative to what is there when it is made.
#[derive(Clone, Debug)]
enum Mistake {
    Flip(Index, u8),
    Replace(Index, u8),
    Cut(Index, usize),
    Insert(Index, Vec<u8>),
    Duplicate(Index, usize),
    Truncate(Index),
}

fn mistake(pieces: &'static [&'static str]) -> impl Strategy<Value = Mistake> {
    let place = any::<Index>;
    prop_oneof![
        1 => (place(), 0..8_u32).prop_map(|(at, bit)| Mistake::Flip(at, 1 << bit)),
        1 => (place(), any::<u8>()).prop_map(|(at, octet)| Mistake::Replace(at, octet)),
        1 => (place(), 1..12_usize).prop_map(|(at, length)| Mistake::Cut(at, length)),
        1 => (place(), vec(any::<u8>(), 1..4)).prop_map(|(at, octets)| Mistake::Insert(at, octets)),
        3 => (place(), select(pieces)).prop_map(|(at, piece)| Mistake::Insert(at, piece.as_bytes().to_vec())),
        1 => (place(), 1..60_usize).prop_map(|(at, length)| Mistake::Duplicate(at, length)),
        1 => place().prop_map(Mistake::Truncate),
    ]
}

impl Mistake {
    fn make(self, text: &mut Vec<u8>) {
        let within = |at: Index, text: &[u8]| at.index(text.len() + 1);
        match self {
            Mistake::Flip(at, bits) if !text.is_empty() => {
                let at = at.index(text.len());
                text[at] ^= bits;
            }
            Mistake::Replace(at, octet) if !text.is_empty() => {
                let at = at.index(text.len());
                text[at] = octet;
            }
            Mistake::Flip(..) | Mistake::Replace(..) => {}
            Mistake::Cut(at, length) => {
                let at = within(at, text);
                text.drain(at..(at + length).min(text.len()));
            }
            Mistake::Insert(at, octets) => {
                let at = within(at, text);
                text.splice(at..at, octets);
            }
            Mistake::Duplicate(at, length) => {
                let at = within(at, text);
                let copy = text[at..(at + length).min(text.len())].to_vec();
                text.splice(at..at, copy);
            }
            Mistake::Truncate(at) => text.truncate(at.index(text.len() + 1)),
        }
    }
}

/// `valid` as it is, or with up to five mistakes. `pieces` are what the format is made of: put in a wrong place, they get
/// further than random octets.
pub fn mutated(
    valid: impl Strategy<Value = Vec<u8>>,
    pieces: &'static [&'static str],
) -> impl Strategy<Value = Vec<u8>> {
    (valid, vec(mistake(pieces), 0..=5)).prop_map(|(mut text, mistakes)| {
        mistakes.into_iter().for_each(|mistake| mistake.make(&mut text));
        text
    })
}

/// Mostly [`mutated`]; else pieces in any order, or random octets.
pub fn hostile(
    valid: impl Strategy<Value = Vec<u8>>,
    pieces: &'static [&'static str],
) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => mutated(valid, pieces),
        2 => vec(select(pieces), 0..12).prop_map(|pieces| pieces.concat().into_bytes()),
        1 => vec(any::<u8>(), 0..300),
    ]
}

/// Addresses that may stand in a packet: plain ones, odd ones, non-ASCII ones, and some of the greatest length.
pub fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-c]{1,2}@[xy]\\.(org|ORG|organic)",
        2 => "[a-zA-Z0-9.+_=-]{1,20}@[a-z0-9-]{1,12}\\.[a-z]{2,6}",
        1 => "[!-;=?-~]{1,20}@[!-;=?A-~]{1,20}",
        1 => "[a-zé漢\u{301}]{1,9}@[a-zü]{1,9}\\.example",
        1 => (1..=64_usize, 1..=186_usize).prop_map(|(local, domain)| {
            format!("{}@{}.o", "a".repeat(local), "d".repeat(domain))
        }),
    ]
}
