//! Who may import whom, as `src/lib.rs` says it.

use std::fs;
use std::path::{Path, PathBuf};

/// Each part of the crate, and the parts that it may name.
const MAY_NAME: [(&str, &[&str]); 9] = [
    ("mail", &[]),
    ("schedule", &["mail"]),
    ("render", &["mail"]),
    ("deliver", &["mail"]),
    ("spool", &["mail"]),
    ("claim", &["mail", "spool"]),
    ("daemon", &["mail", "schedule", "render", "deliver", "spool", "claim"]),
    ("monitor", &["mail", "schedule", "render", "deliver", "spool", "claim", "daemon"]),
    ("cli", &["mail", "schedule", "render", "deliver", "spool", "claim", "daemon", "monitor"]),
];

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file: no comment lines, no `#[cfg(test)]` module at its end.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn files_of(part: &str) -> Vec<PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    if src.join(part).is_dir() {
        rust_files(&src.join(part), &mut files);
    }
    files
}

#[test]
fn imports_run_downwards_only() {
    let mut wrong = Vec::new();
    for (part, allowed) in MAY_NAME {
        for path in files_of(part) {
            let code = code(&path);
            for (other, _) in MAY_NAME {
                let names_it =
                    code.contains(&format!("crate::{other}::")) || code.contains(&format!("crate::{other};"));
                if other != part && names_it && !allowed.contains(&other) {
                    wrong.push(format!("{} names {other}", path.display()));
                }
            }
            // `use crate::{a, b}` would slip through the search above.
            if code.contains("crate::{") {
                wrong.push(format!("{} imports from the root in a group", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_pure_parts_know_no_clock_file_thread_or_log() {
    let impure = [
        "std::fs",
        "std::thread",
        "std::net",
        "SystemTime",
        "Instant::now",
        "tracing::",
        "rustix::",
        "println!",
        "TimeZone::system",
        "TimeZone::get",
    ];
    for part in ["mail", "schedule", "render"] {
        for path in files_of(part) {
            let code = code(&path);
            for word in impure {
                assert!(!code.contains(word), "{} has {word}", path.display());
            }
        }
    }
}

#[test]
fn only_the_daemon_and_the_command_line_ask_what_time_it_is() {
    for part in ["spool", "claim"] {
        for path in files_of(part) {
            let code = code(&path);
            assert!(!code.contains("SystemTime::now") && !code.contains("thread::spawn"), "{}", path.display());
        }
    }
}

#[test]
fn every_part_is_there() {
    for (part, _) in MAY_NAME {
        if part != "monitor" && part != "cli" {
            assert!(!files_of(part).is_empty(), "src/{part} has no files: is the rule checked against the right tree?");
        }
    }
}
