//! Where the time goes while a message drains: instructions by function (callgrind), system calls (strace), and samples of
//! the processor, kernel included (perf, where there is one). The three are kept in the run's folder.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::packages;
use crate::record::{Record, scratch};
use crate::sinks::{Far, Kind};
use crate::subject::{DEFAULT, PROGRAM, fill, run_arguments};

/// Of a profile.
const LINES: usize = 40;

pub fn profile(record: &mut Record, quick: bool) {
    if let Err(reason) = packages::require(&["valgrind", "strace"]) {
        return record.missing(format!("profile: {reason}"));
    }
    let recipients = if quick { 5_000 } else { 20_000 };
    let out = tempfile::tempdir_in(scratch()).expect("a directory for profiles");
    let file = |name: &str| out.path().join(name);
    let instructions = |recipients: u64, name: &str| {
        let option = format!("--callgrind-out-file={}", file(name).display());
        drain_under(&["valgrind", "--tool=callgrind", &option], recipients);
        let told = said("callgrind_annotate", &["--threshold=99", &file(name).display().to_string()]);
        (told.lines().find_map(total).expect("callgrind's total"), told)
    };
    let (once, _) = instructions(recipients, "once");
    let (twice, told) = instructions(2 * recipients, "twice");
    // What the start takes goes out.
    record.add("profile", "instructions", "a recipient", vec![(twice - once) / recipients as f64]);
    let functions = told.lines().filter(|line| line.contains('%')).map(without_places).take(LINES);
    record.attach("instructions.txt", functions.map(|line| line + "\n").collect());

    let calls = file("calls").display().to_string();
    drain_under(&["strace", "-D", "-f", "-c", "-S", "calls", "-o", &calls], recipients);
    // The tracer is the grandchild, and writes when the program has ended.
    let patience = Instant::now() + Duration::from_secs(10);
    let told = loop {
        let told = std::fs::read_to_string(&calls).unwrap_or_default();
        if told.lines().any(|line| line.ends_with("total")) {
            break told;
        }
        assert!(Instant::now() < patience, "strace writes its summary");
        std::thread::sleep(Duration::from_millis(20));
    };
    record.attach("calls.txt", told);

    let samples = file("samples").display().to_string();
    let listed = Command::new("perf").args(["--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !listed.is_ok_and(|status| status.success()) {
        return record.missing("profile: perf is not installed, so nothing is said of the kernel's share");
    }
    drain_under(&["perf", "record", "-q", "-F", "2000", "-e", "cpu-clock", "-o", &samples], 25 * recipients);
    let sorted = ["report", "--stdio", "-q", "-i", &samples, "--percent-limit", "0.5"];
    let functions = said("perf", &[&sorted[..], &["--sort", "dso,symbol"]].concat());
    let parts = said("perf", &[&sorted[..], &["--sort", "dso"]].concat());
    let lines = |text: &str| -> String {
        let lines = text.lines().filter(|line| line.contains('%')).take(LINES);
        // Behind the name stand columns that this machine has nothing for.
        lines.map(|line| format!("{}\n", line.trim_end_matches([' ', '-']))).collect()
    };
    record.attach("samples.txt", format!("{}\n{}", lines(&parts), lines(&functions)));
}

/// Ended with the bench, also when it fails.
struct Traced(Child);

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets the program drain a message under a tool.
fn drain_under(tool: &[&str], recipients: u64) {
    let filled = fill(recipients, 1000);
    let mut sink = Far::start(Kind::Own);
    let log = std::fs::File::create(scratch().join("log")).expect("a log file");
    let mut command = Command::new(tool[0]);
    command.args(&tool[1..]).arg(PROGRAM).arg("--spool").arg(filled.spool());
    command.args(run_arguments(&sink.url(), DEFAULT)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut traced = Traced(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", tool[0])));
    let patience = Instant::now() + Duration::from_secs(300);
    while filled.message.exists() {
        assert!(Instant::now() < patience, "it takes too long under {}", tool[0]);
        assert!(traced.0.try_wait().expect("its end").is_none(), "it has ended under {}", tool[0]);
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(program_of(&traced.0), Signal::TERM).expect("TERM");
    traced.0.wait().expect("its end");
    sink.expect(recipients / 50);
}

/// perf has the program as its child; with the others it is the process itself.
fn program_of(traced: &Child) -> Pid {
    let own = Pid::from_child(traced);
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", traced.id())).unwrap_or_default();
    let child = children.split_whitespace().find_map(|pid| {
        let image = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        (image == Path::new(PROGRAM)).then(|| pid.parse().ok().and_then(Pid::from_raw))?
    });
    child.unwrap_or(own)
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `123,456 (100.0%)  PROGRAM TOTALS`
fn total(line: &str) -> Option<f64> {
    let number = line.trim().strip_suffix("PROGRAM TOTALS")?.split_whitespace().next()?;
    number.replace(',', "").parse().ok()
}

/// `1,234 (5.6%)  /somewhere/file.rs:function [/somewhere/program]`, without where this machine keeps things.
fn without_places(line: &str) -> String {
    let line = line.split(" [").next().unwrap_or(line);
    let Some((share, function)) = line.split_once("%)") else { return line.to_owned() };
    let Some((path, name)) = function.trim().split_once(':') else { return line.to_owned() };
    let file = path.rsplit('/').take(3).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("/");
    format!("{share}%) {file}:{name}")
}
