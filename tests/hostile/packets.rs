//! Packet files: whatever lies in one.

use proptest::collection::vec;
use proptest::prelude::*;
use sympa_dist::mail::Packet;
use sympa_dist::mail::address::wire_safe;

use crate::inputs::{address, hostile};
use crate::{oracle, target};

pub const PIECES: &[&str] = &[
    "\n",
    "\r\n",
    "\t",
    "\t{}",
    "\t{\"name\":\"A\"}",
    "@",
    "a@x.org",
    "a@x.org\n",
    "b@x.org\n",
    "\n\n",
    "\0",
    " ",
    "<",
    ">",
    "é",
    "\u{feff}",
    "\u{85}",
];

/// Packets as they are written: perhaps sorted by domain, perhaps with fields, the last newline perhaps left away.
pub fn packet() -> impl Strategy<Value = Vec<u8>> {
    let line = (address(), prop::option::weighted(0.2, "[ -~]{0,9}"));
    (vec(line, 0..20), any::<[bool; 2]>()).prop_map(|(mut lines, [sorted, ended])| {
        if sorted {
            let key =
                |address: &str| address.rsplit_once('@').map(|(local, domain)| (domain.to_owned(), local.to_owned()));
            lines.sort_by_key(|(address, _)| key(address));
        }
        let lines: Vec<String> = lines
            .into_iter()
            .map(|(address, fields)| fields.map_or(address.clone(), |fields| format!("{address}\t{fields}")))
            .collect();
        let mut text = lines.join("\n").into_bytes();
        if ended && !text.is_empty() {
            text.push(b'\n');
        }
        text
    })
}

#[test]
fn a_packet_is_its_lines_addresses_each_once_or_names_its_first_bad_line() {
    target::run("packets", 3000, hostile(packet(), PIECES), |octets| {
        let lines = oracle::lines(&octets);
        let bad = lines.iter().position(|line| !oracle::is_wire_safe(oracle::before_tab(line)));
        let packet = match Packet::parse(octets.clone()) {
            Ok(packet) => packet,
            Err(error) => {
                prop_assert_eq!(Some(error.line), bad.map(|index| index + 1));
                prop_assert!(error.to_string().is_ascii() || error.to_string().contains('…'));
                return Ok(());
            }
        };
        prop_assert_eq!(bad, None);
        let mut expected: Vec<(&[u8], &[u8])> = Vec::new();
        for line in &lines {
            let address = oracle::before_tab(line);
            if !expected.iter().any(|(before, _)| *before == address) {
                expected.push((address, line));
            }
        }
        prop_assert_eq!(packet.len(), expected.len());
        prop_assert_eq!(packet.is_empty(), expected.is_empty());
        for (index, (address, line)) in expected.iter().enumerate() {
            prop_assert_eq!(packet.address(index).as_bytes(), *address);
            prop_assert_eq!(packet.line(index), *line);
            prop_assert_eq!(packet.position(packet.address(index)), Some(index));
            prop_assert!(wire_safe(address).is_ok());
        }
        prop_assert_eq!(packet.iter().count(), expected.len());
        prop_assert_eq!(packet.position("nobody@nowhere.example"), None);
        Ok(())
    });
}
