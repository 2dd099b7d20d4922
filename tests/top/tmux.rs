//! A terminal: tmux, with a server of its own for each test.

use std::path::PathBuf;
use std::process::{Command, Output};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

use crate::support::program;
use crate::support::spool::wait_until;

/// A server with one window, in which something runs. Dropped, the server is ended.
pub struct Tmux {
    dir: TempDir,
    server: Pid,
}

impl Tmux {
    /// 80×24, with `sympa-dist` run in it with these arguments; `environment`: `NAME=value` each.
    pub fn start(arguments: &[&str], environment: &[&str]) -> Tmux {
        let binary = program::command().get_program().to_str().unwrap().to_owned();
        let line: Vec<&str> =
            ["exec", "env"].into_iter().chain(environment.iter().copied()).chain([&*binary]).collect();
        Tmux::run(&[&line[..], arguments].concat().join(" "))
    }

    /// 80×24, with that command line run in it by a shell.
    pub fn run(line: &str) -> Tmux {
        let dir = tempfile::tempdir().unwrap();
        let configuration = dir.path().join("tmux.conf");
        std::fs::write(&configuration, "set -g default-terminal tmux-256color\nset -g status off\n").unwrap();
        let mut command = Command::new("tmux");
        command.env_remove("TMUX").env_remove("NO_COLOR").env("LC_ALL", "C.UTF-8").env("SHELL", "/bin/sh");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SYMPA_DIST_")) {
            command.env_remove(name);
        }
        command.arg("-S").arg(dir.path().join("socket")).arg("-f").arg(&configuration);
        command.args(["new-session", "-d", "-x", "80", "-y", "24", line]);
        told(command.output().expect("tmux is installed"));
        let server = Tmux::ask_at(&dir, &["display-message", "-p", "#{pid}"]);
        Tmux { server: process(&server), dir }
    }

    fn ask_at(dir: &TempDir, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.env_remove("TMUX").arg("-S").arg(dir.path().join("socket")).args(arguments);
        told(command.output().unwrap())
    }

    /// What tmux says to a command.
    pub fn ask(&self, arguments: &[&str]) -> String {
        Tmux::ask_at(&self.dir, arguments)
    }

    /// A variable of tmux's, as `pane_pid`.
    pub fn variable(&self, name: &str) -> String {
        self.ask(&["display-message", "-p", &format!("#{{{name}}}")]).trim_end().to_owned()
    }

    /// The process that was started in it.
    pub fn process(&self) -> Pid {
        process(&self.variable("pane_pid"))
    }

    /// Presses keys, by tmux's names.
    pub fn press(&self, keys: &[&str]) {
        self.ask(&[&["send-keys"], keys].concat());
    }

    pub fn type_in(&self, text: &str) {
        self.ask(&["send-keys", "-l", text]);
    }

    pub fn resize(&self, width: u16, height: u16) {
        self.ask(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
    }

    /// What is on the screen, a line a row, without blanks at their ends.
    pub fn screen(&self) -> String {
        self.ask(&["capture-pane", "-p"])
    }

    /// The same with colours and attributes.
    pub fn coloured(&self) -> String {
        self.ask(&["capture-pane", "-p", "-e"])
    }

    /// Waits until all of these are on the screen.
    #[track_caller]
    pub fn wait_for(&self, words: &[&str]) -> String {
        self.wait_until(&words.join(", "), |screen| words.iter().all(|word| screen.contains(word)))
    }

    #[track_caller]
    pub fn wait_until(&self, what: &str, is_wanted: impl Fn(&str) -> bool) -> String {
        wait_until(what, || is_wanted(&self.screen()), || format!("on the screen:\n{}", self.screen()));
        self.screen()
    }

    /// A file for what a test's shell writes.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Ends the terminal, under whatever runs in it.
    pub fn end(self) {}
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = kill_process(self.server, Signal::KILL);
    }
}

fn told(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn process(text: &str) -> Pid {
    Pid::from_raw(text.trim().parse().unwrap()).unwrap()
}

/// Whether it has ended; one that nobody has waited for has, too.
pub fn has_ended(process: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    let is_zombie = status.is_ok_and(|status| status.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')));
    is_zombie || test_kill_process(process).is_err()
}

/// Ends a process that outlives its terminal, should the test fail.
pub struct Outlived(pub Pid);

impl Drop for Outlived {
    fn drop(&mut self) {
        if !has_ended(self.0) {
            let _ = kill_process(self.0, Signal::KILL);
        }
    }
}
