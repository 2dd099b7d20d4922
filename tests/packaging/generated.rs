//! Manual pages and completions are what the program's own definitions say.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::program;
use crate::{packaging, printed};

const REMEDY: &str = "run packaging/regenerate, and commit what it writes";

fn files(dir: &Path) -> BTreeMap<String, String> {
    let file =
        |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap());
    fs::read_dir(dir).unwrap().map(|entry| file(entry.unwrap())).collect()
}

#[test]
fn the_manual_pages_are_current() {
    let dir = tempfile::tempdir().unwrap();
    printed(program::command().arg("man").arg(dir.path()));
    let (expected, committed) = (files(dir.path()), files(&packaging("man")));
    let names = |pages: &BTreeMap<String, String>| pages.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&committed), names(&expected), "{REMEDY}");
    for (name, text) in expected {
        assert!(committed[&name] == text, "packaging/man/{name} is not current: {REMEDY}");
    }
}

#[test]
fn the_manual_pages_are_well_formed() {
    for name in files(&packaging("man")).into_keys() {
        // Errors of form; that they bear no date is no error.
        printed(Command::new("mandoc").args(["-T", "lint", "-W", "error"]).arg(packaging("man").join(name)));
    }
    let page = printed(Command::new("mandoc").args(["-T", "utf8"]).arg(packaging("man/sympa-dist.1")));
    for heading in ["SYNOPSIS", "SUBCOMMANDS", "EXIT STATUS", "SIGNALS", "ENVIRONMENT", "FILES"] {
        // On a terminal, bold is a letter struck over itself.
        let struck: String =
            heading.chars().map(|c| if c == ' ' { " ".into() } else { format!("{c}\u{8}{c}") }).collect();
        assert!(page.contains(heading) || page.contains(&struck), "{heading} is missing:\n{page}");
    }
}

#[test]
fn every_command_that_help_names_has_a_manual_page() {
    let help = printed(program::command().arg("--help"));
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names: Vec<_> = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    assert!(names.contains(&"run") && names.contains(&"completions"), "{names:?}");
    for name in names.into_iter().filter(|name| !matches!(*name, "" | "help")) {
        assert!(packaging(&format!("man/sympa-dist-{name}.1")).exists(), "{name}: {REMEDY}");
    }
}

#[test]
fn the_completions_are_current() {
    for (shell, name) in [("bash", "sympa-dist.bash"), ("zsh", "_sympa-dist"), ("fish", "sympa-dist.fish")] {
        let expected = printed(program::command().args(["completions", shell]));
        let committed = fs::read_to_string(packaging("completions").join(name)).unwrap();
        assert!(committed == expected, "packaging/completions/{name} is not current: {REMEDY}");
    }
}

#[test]
fn bash_completes_commands_and_flags_and_offers_no_hidden_command() {
    // As bash calls it: the command, the word to complete, and the one before it.
    let complete = |before: &str, word: &str| {
        let script = format!(
            "set -e; source {}; COMP_WORDS=({before} {word}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _sympa__dist sympa-dist '{word}' \"${{COMP_WORDS[COMP_CWORD - 1]}}\" || true; echo \"${{COMPREPLY[*]}}\"",
            packaging("completions/sympa-dist.bash").display()
        );
        printed(Command::new("bash").args(["--norc", "-c", &script])).trim().to_owned()
    };
    assert_eq!(complete("sympa-dist", "req"), "requeue");
    assert_eq!(complete("sympa-dist hold", "--rea"), "--reason");
    assert_eq!(complete("sympa-dist", "man"), "");
}

#[test]
fn completions_for_nobody_end_quietly() {
    let script = format!("'{}' completions bash | head -n 1", env!("CARGO_BIN_EXE_sympa-dist"));
    printed(Command::new("bash").args(["-o", "pipefail", "-c", &script]));
}
