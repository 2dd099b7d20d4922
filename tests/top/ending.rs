//! How it ends: by a key, by a signal, with its terminal; and what it leaves behind.

use std::os::fd::AsRawFd;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::program;
use crate::support::spool::{TestSpool, wait_until};
use crate::tmux::{Outlived, Tmux, has_ended};

#[track_caller]
fn wait_for_end(process: Pid) {
    wait_until("the end of the process", || has_ended(process), String::new);
}

#[test]
fn it_ends_when_its_terminal_goes() {
    let spool = TestSpool::new();
    let tmux = Tmux::start(&["--spool", spool.path().to_str().unwrap(), "top"], &[]);
    let process = Outlived(tmux.process());
    tmux.wait_for(&["?:help"]);
    assert!(!has_ended(process.0));
    tmux.end();
    wait_for_end(process.0);
}

/// In a session of its own nothing but the terminal itself says that it has gone: no signal comes.
#[test]
fn it_ends_when_its_terminal_goes_without_a_signal() {
    let spool = TestSpool::new();
    let binary = program::command().get_program().to_str().unwrap().to_owned();
    let path = spool.path().to_str().unwrap().to_owned();
    let id = spool.path().join("incoming/.process");
    // Nor does it draw, which would fail.
    let inner = format!("echo $$ > {}; exec {binary} --spool {path} top --interval 1h", id.display());
    let tmux = Tmux::run(&format!("setsid -w sh -c 'trap \"\" HUP; {inner}'; sleep 1000"));
    tmux.wait_for(&["no message is waiting", "?:help"]);
    let text = std::fs::read_to_string(&id).unwrap();
    let process = Outlived(Pid::from_raw(text.trim().parse().unwrap()).unwrap());
    assert!(!has_ended(process.0));
    tmux.end();
    wait_for_end(process.0);
}

#[test]
fn it_ends_also_while_nobody_reads_what_it_draws() {
    let spool = TestSpool::new();
    let tmux = Tmux::start(&["--spool", spool.path().to_str().unwrap(), "top", "--interval", "100ms"], &[]);
    let process = Outlived(tmux.process());
    tmux.wait_for(&["?:help"]);
    // The terminal's output is stopped, as by Ctrl-S.
    let terminal = std::fs::OpenOptions::new().read(true).write(true).open(tmux.variable("pane_tty")).unwrap();
    assert_eq!(unsafe { libc::tcflow(terminal.as_raw_fd(), libc::TCOOFF) }, 0);
    kill_process(process.0, Signal::TERM).unwrap();
    wait_for_end(process.0);
}

#[test]
fn whatever_ends_it_the_terminal_is_given_back() {
    let spool = TestSpool::new();
    let tmux = Tmux::run("sh");
    let binary = program::command().get_program().to_str().unwrap().to_owned();
    let pid = tmux.file("pid");
    let ends: [(&str, &dyn Fn(Pid)); 4] = [
        ("q", &|_| tmux.press(&["q"])),
        ("Ctrl-C", &|_| tmux.press(&["C-c"])),
        ("TERM", &|process| kill_process(process, Signal::TERM).unwrap()),
        ("INT", &|process| kill_process(process, Signal::INT).unwrap()),
    ];
    for (what, end) in ends {
        let inner = format!("echo $$ > {}; exec {binary} --spool {} top", pid.display(), spool.path().display());
        tmux.type_in(&format!("clear; sh -c '{inner}'; echo ended: $?; stty -a"));
        tmux.press(&["Enter"]);
        tmux.wait_for(&["no message is waiting", "q:quit"]);
        let process = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        end(Pid::from_raw(process).unwrap());
        let screen = tmux.wait_for(&["ended: 0", "icanon", "echo"]);
        assert!(!screen.contains("-icanon") && !screen.contains("-echo "), "{what}: {screen}");
        assert!(!screen.contains("q:quit"), "{what}: {screen}");
        assert_eq!((tmux.variable("alternate_on"), tmux.variable("cursor_flag")), ("0".into(), "1".into()), "{what}");
    }
}

#[test]
fn it_goes_to_the_shell_and_comes_back() {
    let spool = TestSpool::new();
    let tmux = Tmux::run("sh -m");
    let binary = program::command().get_program().to_str().unwrap().to_owned();
    tmux.type_in(&format!("{binary} --spool {} top", spool.path().display()));
    tmux.press(&["Enter"]);
    tmux.wait_for(&["no message is waiting", "q:quit"]);
    tmux.press(&["C-z"]);
    tmux.wait_until("the shell", |screen| !screen.contains("q:quit"));
    tmux.type_in("echo in the shell");
    tmux.press(&["Enter"]);
    tmux.wait_until("its answer", |screen| screen.lines().any(|row| row == "in the shell"));
    tmux.press(&["fg", "Enter"]);
    tmux.wait_for(&["no message is waiting", "q:quit"]);
    tmux.press(&["?"]);
    tmux.wait_for(&["quit", "choose a message"]);
}

#[test]
fn without_a_terminal_it_says_so() {
    let spool = TestSpool::new();
    let output = program::command().arg("--spool").arg(spool.path()).arg("top").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("draws on a terminal") && output.stdout.is_empty(), "{told}");
}
