//! What is in packaging/: checked with the tools that will read it, and at work.

#[path = "../support/mod.rs"]
mod support;

mod deb;
mod generated;
mod machine;
mod monitoring;
mod unit;

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file below packaging/.
fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

/// Runs it, fails if it fails, and returns what it printed.
#[track_caller]
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs it"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

#[test]
fn the_image_is_built_with_the_rust_that_the_crate_asks_for_and_runs_as_nobody_special() {
    let dockerfile = std::fs::read_to_string(packaging("Dockerfile")).unwrap();
    let rust = format!("FROM rust:{}-bookworm AS build", env!("CARGO_PKG_RUST_VERSION"));
    assert!(dockerfile.lines().any(|line| line == rust), "expected {rust}");
    let last = |word: &str| dockerfile.lines().rev().find_map(|line| line.strip_prefix(word)).unwrap().to_owned();
    assert_eq!(last("USER "), "sympa-dist");
    assert_eq!(last("ENTRYPOINT "), r#"["/usr/bin/sympa-dist"]"#);
    assert_eq!(last("VOLUME "), "/var/spool/sympa-dist");
}
