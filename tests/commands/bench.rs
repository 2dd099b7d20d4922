//! An operator's desk: a spool, command lines, and schedulers whose log is kept.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::program::{self, Program};
use crate::support::relay::{Dot, Gate, Policy, Relay};
use crate::support::spool::{TestSpool, wait_until};

pub const DONE: i32 = 0;
pub const FINDINGS: i32 = 1;
pub const USAGE: i32 = 2;
pub const TRY_AGAIN: i32 = 75;

/// Who the operator is.
pub const OPERATOR: &str = "pat";

pub struct Bench {
    pub spool: TestSpool,
    files: TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        Bench { spool: TestSpool::new(), files: tempfile::tempdir().unwrap() }
    }

    /// A file beside the spool.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.files.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A command line in words, on this spool, in the directory of the files.
    pub fn command(&self, line: &str) -> Command {
        let mut command = self.bare_command(line);
        command.arg("--spool").arg(self.spool.path());
        command
    }

    /// The same without a spool.
    pub fn bare_command(&self, line: &str) -> Command {
        let mut command = program::command();
        command.env_remove("SUDO_USER").env("LOGNAME", OPERATOR).current_dir(self.files.path());
        command.args(line.split_whitespace()).stdin(Stdio::null());
        command
    }

    /// Runs it and looks at its exit code.
    #[track_caller]
    pub fn runs(&self, line: &str, code: i32) -> Told {
        Told::of(&mut self.command(line), code)
    }

    /// Each object that a command with `--json` prints.
    #[track_caller]
    pub fn json(&self, line: &str) -> Vec<Value> {
        let told = self.runs(line, DONE);
        told.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
    }

    /// `run`, with ten recipients a transaction.
    pub fn scheduler(&self, relay: &Relay, workers: usize) -> Scheduler {
        let relay = relay.url();
        self.scheduler_with(&format!("--relay {relay} --workers {workers} --recipients-per-transaction 10"))
    }

    /// `run`, with its arguments, on this spool.
    pub fn scheduler_with(&self, arguments: &str) -> Scheduler {
        self.scheduler_in(&format!("--log-format json --spool {} {arguments}", self.spool.path().display()))
    }

    /// `run`, with its arguments, which name the spool.
    pub fn scheduler_in(&self, arguments: &str) -> Scheduler {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = self.bare_command(&format!("run {arguments}"));
        let program = Program::start(command.stderr(log.reopen().unwrap()));
        Scheduler { program, log }
    }
}

/// What a command said.
#[derive(Debug)]
pub struct Told {
    pub stdout: String,
    pub stderr: String,
}

impl Told {
    #[track_caller]
    pub fn of(command: &mut Command, code: i32) -> Told {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what is said is UTF-8");
        let told = Told { stdout: text(stdout), stderr: text(stderr) };
        assert_eq!(status.code(), Some(code), "{command:?}\n{}--\n{}", told.stdout, told.stderr);
        told
    }

    /// That it complained, and said all of `words`.
    #[track_caller]
    pub fn complains(&self, words: &[&str]) {
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in\n{}", self.stderr);
        }
    }

    #[track_caller]
    pub fn prints(&self, words: &[&str]) {
        for word in words {
            assert!(self.stdout.contains(word), "no {word:?} in\n{}", self.stdout);
        }
    }
}

/// A running `run`. Dropped, it is killed.
pub struct Scheduler {
    program: Program,
    log: tempfile::NamedTempFile,
}

impl Scheduler {
    /// All that it said so far on standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }

    fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let log = self.log();
        log.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned).collect()
    }

    /// Waits for a line with all of `words`, and gives the first.
    #[track_caller]
    pub fn wait_for_line(&self, words: &[&str]) -> String {
        wait_until(&format!("{words:?}"), || !self.lines_with(words).is_empty(), || self.log());
        self.lines_with(words).remove(0)
    }

    /// Waits until it listens to signals and has looked through the spool.
    pub fn wait_until_ready(&self) {
        self.wait_for_line(&["\"distributing\""]);
    }

    pub fn id(&self) -> u32 {
        self.program.id()
    }

    pub fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Waits for its end. That it comes at all is what is tested: a scheduler that doesn't end fails the test.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let log = self.log.path().to_owned();
        wait_until("the scheduler's end", || self.program.has_ended(), || fs::read_to_string(&log).unwrap());
        self.program.wait()
    }

    /// TERM; it must end well.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(DONE), "{}", self.log());
    }
}

/// A relay that holds up the second transaction of each connection at a gate, behind its final dot.
pub fn gated() -> (Relay, Gate) {
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(Policy::new().dot(move |envelope| {
        if envelope.order == 1 {
            theirs.pass();
        }
        Dot::Take
    }));
    (relay, gate)
}

/// That each of `expected` got one copy, and nobody else any.
#[track_caller]
pub fn assert_once_each(relay: &Relay, expected: impl IntoIterator<Item = String>) {
    let record = relay.record();
    let mut got: Vec<&str> = record.recipients().collect();
    let mut expected: Vec<String> = expected.into_iter().collect();
    got.sort_unstable();
    expected.sort_unstable();
    assert_eq!(got, expected);
}

/// Runs a command that writes to `output`, must end with 0, and gives what it complained of.
#[track_caller]
pub fn quiet(mut command: Command, output: impl Into<Stdio>) -> String {
    let Output { status, stderr, .. } = command.stdout(output).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(DONE), "{command:?}\n{stderr}");
    stderr
}
