//! The configuration file: any text.

use std::fmt::Write;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sympa_dist::cli::configuration::{BadConfig, Loaded, Overrides, load};

use crate::inputs::hostile;
use crate::target;

pub const VALUES: &[&str] = &[
    "1",
    "0",
    "-1",
    "8",
    "1024",
    "1025",
    "18446744073709551616",
    "0x10",
    "1e3",
    "1e300",
    "inf",
    "nan",
    "0.5",
    "1e-300",
    "true",
    "30s",
    "5m",
    "1h30m",
    "5d",
    "1.5s",
    "1500us",
    "1ns",
    "1s 1ns",
    "-5s",
    "7304484d",
    "175307616h",
    "1mo",
    "data",
    "none",
    "skip",
    "resend",
    "z",
    "auto",
    "json",
    "debug",
    "a=b=c,[",
    "warn,x[{y}]=trace",
    "",
    " ",
    "never",
    "required",
    "smtp://relay.example.org",
    "smtp://[::1]:2525",
    "lmtp:///run/l",
    "maildir:/a\\\"b",
    "maildir:/é",
    "ftp://x",
    "soon",
    "sendmail:/usr/sbin/sendmail -t",
    "maildir:/a\nb",
];

const KEYS: &[(&str, &[&str])] = &[
    ("", &["spool", "spol"]),
    ("run", &["workers", "recipients_per_transaction", "checkpoint_sync", "shutdown_grace", "rescan", "on_uncertain"]),
    ("breaker", &["first_pause", "longest_pause"]),
    ("guard", &["transactions"]),
    ("retry", &["schedule", "expire"]),
    ("inject", &["packet_size", "priority"]),
    ("log", &["format", "level"]),
    ("é", &["\"é\\n\"", "\"\\u0007\""]),
];

const RELAY_KEYS: &[&str] = &[
    "starttls",
    "ca_file",
    "helo",
    "connect_timeout",
    "command_timeout",
    "dot_timeout",
    "max_connections",
    "weight",
    "max_transaction_rate",
    "max_recipient_rate",
    "transactions_per_connection",
    "username",
    "colour",
];

const PIECES: &[&str] = &[
    "\n",
    "[",
    "]",
    "[[relay]]\n",
    "[relay]\n",
    "relay = []\n",
    "[run]\n",
    " = ",
    "=",
    "\"",
    "'",
    "\"\"\"",
    "#",
    ",",
    ".",
    "{",
    "}",
    "\\u0000",
    "\\",
    "é",
    "\u{feff}",
    "\0",
    "\r",
    "url = \"smtp://x\"\n",
    "workers = 3\n",
    "spool.x = 1\n",
];

/// A value for the key: mostly one that fits, else any.
fn value(key: &str) -> BoxedStrategy<String> {
    let durations = &["30s", "5m", "1h30m", "5d", "1.5s", "1500us", "1ns", "1s 1ns", "7304484d", "175307616h"][..];
    let fitting: &[&str] = match key {
        "workers" | "recipients_per_transaction" | "transactions" | "packet_size" => &["1", "8", "50"],
        "max_connections" | "transactions_per_connection" | "weight" => &["1", "18446744073", "50"],
        "max_transaction_rate" | "max_recipient_rate" => &["0.5", "20", "1e300", "1e-6", "0.1"],
        "checkpoint_sync" => &["data", "none"],
        "on_uncertain" => &["skip", "resend"],
        "priority" => &["0", "9", "z"],
        "format" => &["auto", "human", "json", "journald"],
        "level" => &["info", "debug,x=trace", "warn,x[{y}]=trace"],
        "starttls" => &["never", "opportunistic", "required"],
        "spool" | "ca_file" => &["/var/spool", "/a\"b", "/é", "/a\nb", "/\u{7f}"],
        "helo" => &["a\"b", "relay.example.org", "é", "a\nb", "\u{7f}"],
        _ => durations,
    };
    let one = prop_oneof![4 => select(fitting), 1 => select(VALUES)];
    let quoted = one.clone().prop_map(|text| toml::Value::from(text).to_string());
    let list = vec(quoted.clone(), 0..4).prop_map(|list| format!("[{}]", list.join(", ")));
    let schedule = key == "schedule";
    prop_oneof![6 => quoted, 1 => one.prop_map(str::to_owned), (if schedule { 6 } else { 1 }) => list].boxed()
}

fn assignment(key: &'static str) -> impl Strategy<Value = String> {
    value(key).prop_map(move |value| format!("{key} = {value}\n"))
}

fn section() -> impl Strategy<Value = String> {
    select(KEYS).prop_flat_map(|(section, keys)| {
        let lines = prop::sample::subsequence(keys, 0..=keys.len());
        let lines = lines.prop_flat_map(|keys| keys.into_iter().map(|key| assignment(key).boxed()).collect::<Vec<_>>());
        lines.prop_map(move |lines| match section {
            "" => lines.concat(),
            section => format!("[{}]\n{}", if section == "é" { "\"é\"" } else { section }, lines.concat()),
        })
    })
}

fn relay() -> impl Strategy<Value = String> {
    let url = select(&["smtp://relay.example.org", "smtps://x:1", "lmtp:///run/l", "maildir:/a b"][..]);
    let keys = prop::sample::subsequence(RELAY_KEYS, 0..4);
    let lines = keys.prop_flat_map(|keys| keys.into_iter().map(|key| assignment(key).boxed()).collect::<Vec<_>>());
    (url, lines).prop_map(|(url, lines)| format!("[[relay]]\nurl = \"{url}\"\n{}", lines.concat()))
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    (prop::option::of(assignment("spool")), vec(section(), 0..4), vec(relay(), 0..3)).prop_map(
        |(spool, sections, relays)| {
            [spool.unwrap_or_default(), sections.concat(), relays.concat()].concat().into_bytes()
        },
    )
}

fn load_octets(path: &Path, octets: &[u8]) -> Result<Loaded, BadConfig> {
    std::fs::write(path, octets).unwrap();
    load(&Overrides { file: Some(path.to_owned()), ..Overrides::default() })
}

/// `<path>:<line>:<column>: <what>`, all in one line, with a line that is there.
fn is_placed(complaint: &str, path: &Path, octets: &[u8]) -> bool {
    let lines = 1 + octets.iter().filter(|&&octet| octet == b'\n').count();
    let Some(place) = complaint.strip_prefix(&format!("{}:", path.display())) else { return false };
    let mut parts = place.splitn(3, ':');
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<usize>().ok());
    let (line, column) = (number(parts.next()), number(parts.next()));
    line.is_some_and(|line| (1..=lines).contains(&line))
        && column.is_some_and(|column| column >= 1)
        && parts.next().is_some_and(|what| what.trim().len() > 5 && !what.contains(char::is_control))
}

#[test]
fn a_configuration_loads_and_is_shown_as_itself_or_each_mistake_is_placed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, shown_path) = (dir.path().join("c.toml"), dir.path().join("shown.toml"));
    target::run("configuration", 1500, hostile(text(), PIECES), |octets| {
        match load_octets(&path, &octets) {
            Ok(loaded) => {
                prop_assert!(!loaded.settings.relays.is_empty(), "no relay");
                let shown = loaded.show();
                let again = load_octets(&shown_path, shown.as_bytes());
                let again = again.map_err(|error| TestCaseError::fail(format!("{error}\n{shown}")))?;
                prop_assert_eq!(format!("{:?}", again.settings), format!("{:?}", loaded.settings));
            }
            Err(BadConfig(complaints)) => {
                prop_assert!(!complaints.is_empty());
                for complaint in complaints {
                    let unread = std::str::from_utf8(&octets).is_err() && complaint.contains("UTF-8");
                    prop_assert!(unread || is_placed(&complaint, &path, &octets), "{:?}", complaint);
                }
            }
        }
        Ok(())
    });
}

#[test]
fn a_file_as_deep_as_it_is_long_is_an_error_and_no_end_of_the_stack() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        let mut text = String::from("spool = ");
        write!(text, "{}1{}", open.repeat(100_000), close.repeat(100_000)).unwrap();
        assert!(load_octets(&path, text.as_bytes()).is_err());
        assert!(load_octets(&path, format!("{}x", open.repeat(100_000)).as_bytes()).is_err());
    }
}

fn complaints(text: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    load_octets(&dir.path().join("c.toml"), text.as_bytes())
        .err()
        .map_or(Vec::new(), |BadConfig(complaints)| complaints)
}

#[test]
fn a_configuration_without_any_relay_is_refused() {
    let complaints = complaints("relay = []\n");
    assert!(matches!(&complaints[..], [one] if one.contains("at least one relay")), "{complaints:?}");
}

#[test]
fn a_key_with_a_newline_in_it_is_complained_of_in_one_line() {
    let complaints = complaints("\"wor\\nkers\" = 1\n");
    assert!(matches!(&complaints[..], [one] if one.contains("wor\\nkers is not known")), "{complaints:?}");
}

#[test]
fn a_duration_is_shown_to_its_last_nanosecond_and_none_is_longer_than_a_century() {
    let dir = tempfile::tempdir().unwrap();
    for (written, shown) in [("1500us", "1500000ns"), ("1ns", "1ns"), ("1500ms", "1500ms"), ("36525d", "36525d")] {
        let text = format!("[run]\nrescan = \"{written}\"\n");
        let loaded = load_octets(&dir.path().join("c.toml"), text.as_bytes()).unwrap();
        assert!(loaded.show().contains(&format!("rescan = \"{shown}\"")), "{}", loaded.show());
    }
    assert_eq!(complaints("[run]\nrescan = \"7304484d 175307616h\"\n").len(), 1);
}
