//! The systemd unit, and what a scheduler that systemd has started tells it: these tests listen in systemd's place.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::PATIENCE;
use crate::support::program::{self, Program};
use crate::support::relay::{Dot, Gate, Policy, Relay};
use crate::support::spool::{TestSpool, members};
use crate::{packaging, printed};

/// The socket that `NOTIFY_SOCKET` names.
struct Manager {
    dir: TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Manager {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        Manager { dir, socket }
    }

    /// `run` on that spool with a watchdog of so many microseconds, into a maildir.
    fn starts(&self, spool: &Path, watchdog: Option<&str>, more: &[&str]) -> Program {
        let relay = format!("maildir:{}", self.dir.path().join("out").display());
        self.starts_with(spool, watchdog, &relay, more)
    }

    fn starts_with(&self, spool: &Path, watchdog: Option<&str>, relay: &str, more: &[&str]) -> Program {
        let mut command = program::command();
        command.env("NOTIFY_SOCKET", self.dir.path().join("notify")).env_remove("WATCHDOG_PID");
        match watchdog {
            Some(within) => command.env("WATCHDOG_USEC", within),
            None => command.env_remove("WATCHDOG_USEC"),
        };
        command.args(["--log-level", "error", "--spool"]).arg(spool).args(["run", "--relay", relay]).args(more);
        Program::start(&mut command)
    }

    /// The next message's assignments; `None`: none came in that time.
    fn hears_within(&self, within: Duration) -> Option<Vec<String>> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut text = [0; 4096];
        let length = self.socket.recv(&mut text).ok()?;
        Some(str::from_utf8(&text[..length]).unwrap().lines().map(str::to_owned).collect())
    }

    #[track_caller]
    fn hears(&self) -> Vec<String> {
        self.hears_within(PATIENCE).expect("a message from the scheduler")
    }

    /// The next message that has this assignment; all before it are watchdog messages.
    #[track_caller]
    fn hears_of(&self, assignment: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.hears();
            if message.iter().any(|line| line == assignment) {
                return message;
            }
            assert!(message[0] == "WATCHDOG=1" && Instant::now() < deadline, "{assignment}: not {message:?}");
        }
    }
}

/// That file of each of its threads in proc(5).
fn threads(program: &Program, file: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", program.id())).unwrap();
    tasks.map(|task| fs::read_to_string(task.unwrap().path().join(file)).unwrap()).collect()
}

/// One thread that does not go on, as if a disk did not answer it; the others do. Dropped, it goes on.
struct StoppedThread(libc::pid_t);

impl StoppedThread {
    /// The scheduler's thread is the process's first one: it has its number.
    fn new(thread: u32) -> StoppedThread {
        let thread = thread.cast_signed();
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: these requests read and write no memory.
        unsafe {
            assert_eq!(libc::ptrace(libc::PTRACE_SEIZE, thread, none, none), 0, "{}", std::io::Error::last_os_error());
            assert_eq!(libc::ptrace(libc::PTRACE_INTERRUPT, thread, none, none), 0);
            assert_eq!(libc::waitpid(thread, std::ptr::null_mut(), libc::__WALL), thread);
        }
        StoppedThread(thread)
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: as above.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, none, none) };
    }
}

fn status(message: &[String]) -> &str {
    message.iter().find_map(|line| line.strip_prefix("STATUS=")).unwrap_or_else(|| panic!("{message:?}"))
}

#[test]
fn readiness_is_told_once_the_spool_was_scanned_and_mail_goes() {
    let (manager, spool) = (Manager::new(), TestSpool::new());
    spool.put_packets("5", "list@unit.example.org.1700000000.1", &[members("m", 20)]);
    let mut program = manager.starts(spool.path(), None, &[]);
    assert_eq!(manager.hears(), ["READY=1", "STATUS=distributing"]);
    // A thread takes its name itself, perhaps later: these are counted.
    assert!(threads(&program, "comm").len() > 8, "the workers run");
    spool.wait_until_empty();
    assert!(program.stop().success());
}

#[test]
fn a_scheduler_that_cannot_start_is_never_ready() {
    let (manager, spool) = (Manager::new(), TestSpool::new());
    fs::remove_dir_all(spool.path().join("distribute")).unwrap();
    fs::write(spool.path().join("distribute"), "").unwrap();
    let mut program = manager.starts(spool.path(), None, &[]);
    assert!(!program.wait().success());
    assert_eq!(manager.hears_within(Duration::from_millis(1)), None);
}

#[test]
fn without_a_watchdog_an_idle_scheduler_says_nothing_more() {
    let (manager, spool) = (Manager::new(), TestSpool::new());
    for watchdog in [None, Some("0"), Some("soon")] {
        let mut program = manager.starts(spool.path(), watchdog, &[]);
        manager.hears_of("READY=1");
        assert_eq!(manager.hears_within(Duration::from_secs(1)), None, "{watchdog:?}");
        assert!(program.stop().success());
        manager.hears_of("STOPPING=1");
    }
}

#[test]
fn the_watchdog_is_fed_for_as_long_as_the_scheduler_lives() {
    let (manager, spool) = (Manager::new(), TestSpool::new());
    let mut program = manager.starts(spool.path(), Some("200000"), &[]);
    manager.hears_of("READY=1");
    for _ in 0..5 {
        assert_eq!(manager.hears(), ["WATCHDOG=1", "STATUS=distributing"]);
    }
    // A process that hangs feeds nobody, and goes on when it can.
    program.signal(Signal::STOP);
    while manager.hears_within(Duration::from_secs(1)).is_some() {}
    program.signal(Signal::CONT);
    manager.hears_of("WATCHDOG=1");
    assert!(program.stop().success());
}

#[test]
fn a_scheduler_thread_that_hangs_is_noticed_though_the_rest_of_the_process_lives() {
    let (manager, spool) = (Manager::new(), TestSpool::new());
    let program = manager.starts(spool.path(), Some("200000"), &[]);
    manager.hears_of("READY=1");
    let stopped = StoppedThread::new(program.id());
    while manager.hears_within(Duration::from_secs(1)).is_some() {}
    let states = threads(&program, "status").into_iter().filter(|status| status.contains("State:\tt"));
    assert_eq!(states.count(), 1, "all others run");
    drop(stopped);
    manager.hears_of("WATCHDOG=1");
}

#[test]
fn the_watchdog_of_another_process_is_not_fed() {
    let (manager, spool) = (Manager::new(), TestSpool::new());
    let mut command = program::command();
    command.env("NOTIFY_SOCKET", manager.dir.path().join("notify")).env("WATCHDOG_PID", "1");
    command.env("WATCHDOG_USEC", "100000").args(["--log-level", "error", "--spool"]).arg(spool.path()).arg("run");
    let mut program = Program::start(&mut command);
    manager.hears_of("READY=1");
    assert_eq!(manager.hears_within(Duration::from_secs(1)), None);
    assert!(program.stop().success());
}

#[test]
fn hup_is_told_as_reloading_with_its_time_and_then_as_ready() {
    let (manager, spool) = (Manager::new(), TestSpool::new());
    let program = manager.starts(spool.path(), None, &[]);
    manager.hears_of("READY=1");
    program.signal(Signal::HUP);
    let message = manager.hears_of("RELOADING=1");
    // CLOCK_MONOTONIC, as systemd 253 and newer require.
    let at: u64 = message[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    assert!(at > 0 && at <= now.tv_sec.cast_unsigned() * 1_000_000 + now.tv_nsec.cast_unsigned() / 1000);
    assert_eq!(manager.hears(), ["READY=1", "STATUS=distributing"]);
}

#[test]
fn a_configuration_that_was_not_taken_up_stays_in_the_status_line_until_one_is() {
    let (manager, spool) = (Manager::new(), TestSpool::new());
    let config = manager.dir.path().join("c.toml");
    fs::write(&config, "[run]\nworkers = 2\n").unwrap();
    let flag = format!("--config={}", config.display());
    let mut program = manager.starts(spool.path(), Some("200000"), &[&flag]);
    manager.hears_of("READY=1");
    fs::write(&config, "[run]\nworkers = 0\nrescan = \"soon\"\n").unwrap();
    program.signal(Signal::HUP);
    manager.hears_of("RELOADING=1");
    for assignment in ["READY=1", "WATCHDOG=1", "WATCHDOG=1"] {
        let message = manager.hears_of(assignment);
        let status = status(&message);
        assert!(
            status.starts_with("distributing; configuration not reloaded, the old one stays in force: "),
            "{status}"
        );
        assert!(status.contains("c.toml:2:1: ") && status.contains("c.toml:3:1: "), "{status}");
    }
    fs::write(&config, "[run]\nworkers = 3\n").unwrap();
    program.signal(Signal::HUP);
    manager.hears_of("RELOADING=1");
    assert_eq!(manager.hears_of("READY=1"), ["READY=1", "STATUS=distributing"]);
    assert_eq!(manager.hears_of("WATCHDOG=1"), ["WATCHDOG=1", "STATUS=distributing"]);
    assert!(program.stop().success());
}

#[test]
fn term_is_told_as_stopping_with_the_time_that_the_grace_needs() {
    let (manager, spool) = (Manager::new(), TestSpool::new());
    let mut program = manager.starts(spool.path(), None, &["--shutdown-grace", "2h"]);
    manager.hears_of("READY=1");
    assert!(program.stop().success());
    let message = manager.hears_of("STOPPING=1");
    assert_eq!(message[1], "EXTEND_TIMEOUT_USEC=7200500000", "two hours, and what the workers need to end");
}

#[test]
fn while_it_stops_the_watchdog_is_fed_and_the_status_line_stays() {
    let (manager, spool) = (Manager::new(), TestSpool::new());
    let gate = Gate::new();
    let theirs = gate.clone();
    let relay = Relay::start(Policy::new().dot(move |_| {
        theirs.pass();
        Dot::Take
    }));
    spool.put_packets("5", "list@unit.example.org.1700000000.1", &[members("m", 20)]);
    let mut program = manager.starts_with(spool.path(), Some("200000"), &relay.url().to_string(), &[]);
    gate.wait_for(1);
    program.signal(Signal::TERM);
    manager.hears_of("READY=1");
    let message = manager.hears_of("STOPPING=1");
    assert_eq!(status(&message), "stopping: final dots that are out are waited for");
    for _ in 0..3 {
        assert_eq!(manager.hears(), ["WATCHDOG=1"]);
    }
    gate.open();
    assert!(program.wait().success());
}

#[test]
fn a_spool_that_is_replaced_is_ready_again_and_nothing_is_told_as_stopping() {
    let (manager, place) = (Manager::new(), tempfile::tempdir().unwrap());
    let (here, gone) = (place.path().join("spool"), place.path().join("gone"));
    let config = manager.dir.path().join("c.toml");
    fs::write(&config, "[run]\nrescan = \"100ms\"\n").unwrap();
    let flag = format!("--config={}", config.display());
    let mut program = manager.starts(&here, None, &[&flag]);
    manager.hears_of("READY=1");
    fs::rename(&here, &gone).unwrap();
    let other = TestSpool::inside(place.path());
    fs::rename(other.path(), &here).unwrap();
    assert_eq!(manager.hears(), ["READY=1", "STATUS=distributing"]);
    assert!(program.stop().success());
    manager.hears_of("STOPPING=1");
}

#[test]
fn a_notify_socket_that_nobody_listens_at_stops_no_mail() {
    let (manager, spool) = (Manager::new(), TestSpool::new());
    fs::remove_file(manager.dir.path().join("notify")).unwrap();
    spool.put_packets("5", "list@unit.example.org.1700000000.1", &[members("m", 20)]);
    let mut program = manager.starts(spool.path(), Some("200000"), &[]);
    spool.wait_until_empty();
    assert!(program.stop().success());
}

#[test]
fn systemd_finds_the_unit_as_hardened_as_the_readme_says() {
    let unit = packaging("sympa-dist.service");
    let told = printed(Command::new("systemd-analyze").args(["security", "--offline=true", "--no-pager"]).arg(unit));
    let score = told.lines().rev().find_map(|line| line.split("sympa-dist.service: ").nth(1)).unwrap();
    let score = score.split(' ').next().unwrap();
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    assert!(readme.contains(&format!("exposure {score} ")), "the README has another score than {score}");
}
