//! `SYMPA_DIST_…` in the environment: any name and any value, given to the program itself.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use crate::configuration::VALUES;
use crate::support::program::command;
use crate::target;

const NAMES: &[&str] = &[
    "SPOOL",
    "CONFIG",
    "Config",
    "RELAY",
    "RUN_WORKERS",
    "run_workers",
    "RUN_RESCAN",
    "RUN_ON_UNCERTAIN",
    "RETRY_SCHEDULE",
    "RETRY_EXPIRE",
    "INJECT_PRIORITY",
    "INJECT_PACKET_SIZE",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "GUARD_TRANSACTIONS",
    "RUN",
    "",
    "RUN_WROKERS",
    "RUN_RECIPIENTS_PER_TRANSACTION",
    "BREAKER_FIRST_PAUSE",
];

/// No NUL: the kernel has none in an environment.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => select(VALUES).prop_map(|text| text.as_bytes().to_vec()),
        2 => vec(select(VALUES), 0..4).prop_map(|texts| texts.join(",").into_bytes()),
        1 => vec(1..=255_u8, 0..20),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![12 => select(NAMES).prop_map(str::to_owned), 1 => "[A-Za-zé_. ]{1,12}"]
}

fn config(variables: impl IntoIterator<Item = (String, Vec<u8>)>) -> (Option<i32>, String, String) {
    let mut command = command();
    for (name, value) in variables {
        command.env(format!("SYMPA_DIST_{name}"), OsString::from_vec(value));
    }
    let output = command.args(["config", "show"]).output().unwrap();
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).expect("what the program says is text");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_variable_is_in_force_and_shown_or_it_is_named_as_wrong() {
    target::run("environment", 60, btree_map(name(), value(), 1..4), |variables| {
        let (code, stdout, stderr) = config(variables.clone());
        let full = |name: &String| format!("SYMPA_DIST_{name}");
        match code {
            Some(0) => {
                for (name, value) in variables.clone() {
                    prop_assert!(std::str::from_utf8(&value).is_ok(), "{} is no text", name);
                    let shown = stdout.contains(&full(&name));
                    // Two spellings of one key: the last of them is in force.
                    let other = variables.keys().any(|other| *other != name && other.eq_ignore_ascii_case(&name));
                    prop_assert!(shown || name == "CONFIG" || other, "{}: {}", name, stdout);
                }
            }
            Some(2) => {
                // Of a name with newlines in it, the last line is what stands beside the reason.
                let file = variables.get("CONFIG").map(|file| String::from_utf8_lossy(file).into_owned());
                let names_it = variables.keys().any(|name| stderr.contains(&full(name)))
                    || file.is_some_and(|file| {
                        let last = file.lines().last().unwrap_or_default();
                        stderr.contains(&format!("{last}: cannot read it"))
                    });
                prop_assert!(names_it, "{}", stderr);
                prop_assert!(stdout.is_empty());
            }
            code => prop_assert!(false, "{:?}: {}", code, stderr),
        }
        Ok(())
    });
}

#[test]
fn a_value_that_is_no_text_is_refused_and_not_mended() {
    let (code, _, stderr) = config([("SPOOL".to_owned(), b"/var/spool/\xff".to_vec())]);
    assert!(code == Some(2) && stderr.contains("SYMPA_DIST_SPOOL") && stderr.contains("UTF-8"), "{stderr}");
}

#[test]
fn the_files_variable_has_one_spelling() {
    let (code, _, stderr) = config([("Config".to_owned(), b"/nowhere".to_vec())]);
    assert!(code == Some(2) && stderr.contains("is SYMPA_DIST_CONFIG meant?"), "{stderr}");
}
