//! Foreign, full and read-only spools, signals, a million recipients. Some of it takes root: file systems are mounted, and
//! a directory is given away.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::PATIENCE;
use crate::support::mount::Mount;
use crate::{Bench, DONE, L, POST, TRY_AGAIN, Told};

#[test]
fn a_spool_that_is_somebody_elses_is_left_alone() {
    let bench = Bench::new();
    std::os::unix::fs::chown(bench.spool.path().join("distribute"), Some(65534), None)
        .expect("only root can give a directory away, and test this");
    let told = bench.run(L);
    assert_eq!(told.code, Some(TRY_AGAIN), "{}", told.stderr);
    assert!(told.stderr.contains("belongs to user 65534") && told.stdout.is_empty(), "{}", told.stderr);
    bench.assert_nothing_is_queued();
}

/// Names of all files and directories below.
fn tree(path: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names.extend(tree(&path));
        }
        names.push(path);
    }
    names.sort();
    names
}

#[test]
fn a_full_disk_leaves_no_trace() {
    let bench = Bench::new();
    let mount = Mount::new("size=2m");
    let spool = mount.path().join("spool");
    let small = bench.command_into(&spool, &format!("{L} --id l@x.org.1.1")).output().unwrap();
    Told::of("", small).expect(DONE, "");
    let before = tree(&spool);
    let mut members = String::new();
    for n in 0..150_000 {
        writeln!(members, "member{n}@x{}.org", n % 100).unwrap();
    }
    bench.file("many", &members);
    // The packets, the order in which they were given, then the message: each may be what fills the disk.
    bench.file("large", format!("{POST}{}", "x\n".repeat(2_000_000)));
    for more in [
        "--list l@x.org --message post --recipients mail=many",
        "--list l@x.org --message post --recipients mail=many --keep-order",
        "--list l@x.org --message post --recipients mail=many --packets 1000",
        "--list l@x.org --message large --recipients mail=members",
        "--list l@x.org --message post --recipients txt=members --variant txt=large",
    ] {
        let output = bench.command_into(&spool, more).output().unwrap();
        Told::of(more, output).expect(TRY_AGAIN, "No space left on device");
        assert_eq!(tree(&spool), before, "{more}");
    }
}

#[test]
fn some_space_is_left_alone_before_anything_is_written_and_after_all_is() {
    let bench = Bench::new();
    let mount = Mount::new("size=2m");
    let spool = mount.path().join("spool");
    let inject = |more: &str, least: &str| {
        let mut command = bench.command_into(&spool, &format!("{L} {more}"));
        Told::of(more, command.env("SYMPA_DIST_INJECT_MIN_FREE_SPACE", least).output().unwrap())
    };
    inject("--id l@x.org.1.1", "1MiB").expect(DONE, "");
    let before = tree(&spool);
    let told = inject("--id l@x.org.1.2", "3MiB");
    told.expect(TRY_AGAIN, "inject.min_free_space leaves 3.00 MiB alone; nothing was queued");
    bench.file("post", format!("{POST}{}", "x\n".repeat(600_000)));
    let told = inject("--id l@x.org.1.3", "1MiB");
    told.expect(TRY_AGAIN, "inject.min_free_space leaves 1.00 MiB alone; nothing was queued");
    assert_eq!(tree(&spool), before);
    inject("--id l@x.org.1.4", "0").expect(DONE, "");
}

#[test]
fn a_read_only_spool_says_so() {
    let bench = Bench::new();
    let mount = Mount::new("size=2m");
    let spool = mount.path().join("spool");
    let output = bench.command_into(&spool, &format!("{L} --id l@x.org.1.1")).output().unwrap();
    Told::of("", output).expect(DONE, "");
    mount.remount("ro");
    for spool in [spool, mount.path().join("new")] {
        let output = bench.command_into(&spool, L).output().unwrap();
        Told::of("", output).expect(TRY_AGAIN, "Read-only file system");
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Killed when dropped.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_signal_takes_away_what_was_written_also_while_input_is_waited_for() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let bench = Bench::new();
        let mut command = bench.command("--list l@x.org --message post --recipients mail=-");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Running(command.spawn().unwrap());
        let mut stdin = running.0.stdin.take().unwrap();
        stdin.write_all(b"a@x.org\n").unwrap();
        wait_until("the draft appears", || !bench.spool.incoming().is_empty());
        // SAFETY: a process that this test started, and that is not yet waited for.
        unsafe { libc::kill(running.0.id() as i32, signal) };
        let mut said = String::new();
        running.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(running.0.wait().unwrap().code(), Some(TRY_AGAIN), "{said}");
        assert!(said.contains("stopped by a signal; nothing was queued"), "{said}");
        bench.assert_nothing_is_queued();
        drop(stdin);
    }
}

#[test]
fn what_a_killed_injection_leaves_is_not_visible() {
    let bench = Bench::new();
    let mut command = bench.command("--list l@x.org --message post --recipients mail=-");
    let mut running = Running(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
    running.0.stdin.as_mut().unwrap().write_all(b"a@x.org\n").unwrap();
    wait_until("the draft appears", || !bench.spool.incoming().is_empty());
    drop(running);
    assert_eq!(bench.spool.waiting(), [""; 0]);
    let left = &bench.spool.incoming()[0];
    assert_eq!(fs::read_dir(bench.spool.path().join("incoming").join(left)).unwrap().count(), 0);
}

#[test]
fn a_message_that_is_queued_is_a_success_even_if_its_id_cannot_be_printed() {
    let bench = Bench::new();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = bench.command(L).stdout(full).output().unwrap();
    Told::of(L, output).expect(DONE, "the message is queued as l@x.org.");
    assert_eq!(bench.spool.waiting().len(), 1);
}

/// The most memory that the process had, in KiB.
#[expect(clippy::zombie_processes, reason = "wait4 waits for it, and tells more than wait")]
fn peak_memory(mut command: Command) -> i64 {
    let child = command.stdout(Stdio::null()).spawn().unwrap();
    let mut status = 0;
    // SAFETY: all zeros is a valid rusage, and wait4 gets pointers to two live variables.
    let (pid, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(child.id() as i32, &mut status, 0, &mut usage), usage)
    };
    assert_eq!((pid, status), (child.id() as i32, 0));
    usage.ru_maxrss
}

#[test]
fn a_million_recipients_go_in_with_bounded_memory() {
    let bench = Bench::new();
    let mut members = BufWriter::new(File::create(bench.files.path().join("million")).unwrap());
    // In no order; the last tenth repeats the first.
    for n in (0..1_000_000_u64).chain(0..100_000) {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        writeln!(members, "member.{n}.{mixed}@department{}.example.org", mixed % 5000).unwrap();
    }
    members.flush().unwrap();
    let command = "--list l@x.org --message post --recipients mail=million";
    for how in ["", " --keep-order", " --packets 2"] {
        let peak = peak_memory(bench.command(&format!("{command}{how}")));
        println!("{peak} KiB {how}");
        assert!(peak < 64 * 1024, "{how}: {peak} KiB");
    }
    for name in bench.spool.waiting() {
        let (priority, id) = name.split_once('/').unwrap();
        let files = bench.queued(priority, id);
        assert!(files["message"].contains("\nX-Sympa-Dist-Recipients: 1000000\n"), "{}", files["message"]);
        let recipients: usize = files
            .iter()
            .filter(|(name, _)| name.starts_with("recipients."))
            .map(|(_, text)| text.lines().count())
            .sum();
        assert_eq!(recipients, 1_000_000);
    }
}
