//! The scheduler in a process of its own, which tests may kill: the test program itself, started once more.
//!
//! A test program that wants children has a test named [`ENTRY`] that calls [`be_one`]. It does nothing unless the
//! environment holds [`Orders`]. A child takes orders, a line each, on its standard input, and answers each with a line on
//! its standard output; it ends when its standard input does, so none outlives its test.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::bounded;
use serde::{Deserialize, Serialize};
use sympa_dist::daemon::{self, Control};
use sympa_dist::spool::disk::{Disk, Faults, Op};
use sympa_dist::spool::{Spool, moves};

/// The name of the test that becomes a child.
pub const ENTRY: &str = "this_program_is_its_own_child_process";
const ORDERS: &str = "SYMPA_DIST_TEST_ORDERS";
/// How a child that "crashes" ends.
pub const CRASHED: i32 = 86;
/// How a child ends whose scheduler could not start.
pub const NOT_STARTED: i32 = 3;

/// What a child is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    pub spool: PathBuf,
    pub relay: String,
    pub workers: usize,
    pub recipients_per_transaction: usize,
    /// Seconds.
    pub rescan: u64,
    pub fault: Option<Fault>,
}

/// What befalls the disk.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// Before which of the operations, from 1: of those that change something, or of those that don't.
    pub at: u64,
    pub reading: bool,
    pub kind: FaultKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FaultKind {
    /// The process ends there and then.
    Crash,
    /// That many operations, from that one on, fail with this error number.
    Fail { count: u64, errno: i32 },
}

impl Orders {
    pub fn new(spool: &Path, relay: impl ToString, workers: usize) -> Orders {
        let relay = relay.to_string();
        Orders { spool: spool.to_owned(), relay, workers, recipients_per_transaction: 10, rescan: 60, fault: None }
    }
}

/// A running child. Dropped, it is killed.
pub struct Child {
    process: std::process::Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Child {
    pub fn start(orders: &Orders) -> Child {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", ENTRY, "--nocapture", "--test-threads=1"])
            .env(ORDERS, serde_json::to_string(orders).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Child { process, orders, answers }
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Gives an order and waits for the answer; `None`: the child died over it.
    pub fn tell(&mut self, order: &str) -> Option<String> {
        writeln!(self.orders, "{order}").ok()?;
        loop {
            let mut line = String::new();
            if self.answers.read_line(&mut line).ok()? == 0 {
                return None;
            }
            // The test program's own words may stand in front of it.
            if let Some((_, answer)) = line.trim_end().split_once("answer: ") {
                return Some(answer.to_owned());
            }
        }
    }

    pub fn kill(&mut self) -> ExitStatus {
        self.process.kill().expect("SIGKILL");
        self.process.wait().unwrap()
    }

    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().unwrap()
    }

    /// Says stop and waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        let _ = writeln!(self.orders, "stop");
        self.process.wait().unwrap()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The disk of a child that has a fault.
struct Mishap {
    fault: Fault,
    operations: AtomicU64,
}

impl Faults for Mishap {
    fn before(&self, op: Op, _: &Path, _: &OsStr) -> io::Result<()> {
        if op.changes() == self.fault.reading {
            return Ok(());
        }
        let number = self.operations.fetch_add(1, Ordering::SeqCst) + 1;
        match self.fault.kind {
            // As a crash does, it stops all threads and runs nothing more: no destructor, no exit handler.
            FaultKind::Crash if number >= self.fault.at => unsafe { libc::_exit(CRASHED) },
            FaultKind::Fail { count, errno } if (self.fault.at..self.fault.at + count).contains(&number) => {
                Err(io::Error::from_raw_os_error(errno))
            }
            _ => Ok(()),
        }
    }
}

/// Becomes a child, if this process was started as one. Does not return then.
pub fn be_one() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let orders: Orders = serde_json::from_str(&orders).unwrap();
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(tracing::Level::DEBUG).init();
    }
    let fault = orders.fault.unwrap_or(Fault { at: u64::MAX, reading: false, kind: FaultKind::Crash });
    let mishap = Arc::new(Mishap { fault, operations: AtomicU64::new(0) });
    let disk = Disk::with_faults(mishap.clone());
    let mut settings = super::scheduler::settings(&orders.spool, orders.relay.parse().unwrap(), orders.workers);
    settings.run.recipients_per_transaction = NonZero::new(orders.recipients_per_transaction).unwrap();
    settings.run.rescan = std::time::Duration::from_secs(orders.rescan);
    let (control, listening) = bounded(1);
    let (their_disk, spool) = (disk.clone(), orders.spool.clone());
    std::thread::spawn(move || {
        for line in io::stdin().lines() {
            let line = line.unwrap_or_default();
            let words: Vec<&str> = line.split(' ').collect();
            let answer = match words[..] {
                ["stop"] => {
                    let _ = control.send(Control::Stop);
                    continue;
                }
                ["requeue", id, to] => requeue(&their_disk, &spool, id, to),
                ["operations"] => mishap.operations.load(Ordering::SeqCst).to_string(),
                _ => panic!("no such order: {line}"),
            };
            println!("answer: {answer}");
        }
        // The test has ended.
        std::process::exit(99);
    });
    match daemon::run_on(&disk, settings, &listening, &Arc::default()) {
        Ok(_) => std::process::exit(0),
        Err(_) => std::process::exit(NOT_STARTED),
    }
}

fn requeue(disk: &Disk, spool: &Path, id: &str, to: &str) -> String {
    let spool = match Spool::open(disk, spool) {
        Ok(spool) => spool,
        Err(error) => return error.to_string(),
    };
    match moves::requeue(&spool, &super::spool::id(id), to.parse().unwrap()) {
        Ok(moved) => format!("{moved:?}"),
        Err(error) => error.to_string(),
    }
}
