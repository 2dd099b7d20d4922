//! The built binary, `sympa-dist run`, as an operator starts it.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// The binary, without what the environment of whoever runs the tests says about its configuration.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sympa-dist"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SYMPA_DIST_")) {
        command.env_remove(name);
    }
    // Whoever wants to be served says so.
    command.env("SYMPA_DIST_HTTP_LISTEN", "");
    command
}

/// A running scheduler. Dropped, it is killed.
pub struct Program(Child);

impl Program {
    /// Starts it on `spool`, with further arguments of `run`. It logs errors only, or what `TEST_LOG` says.
    pub fn run(spool: &Path, arguments: &[&str]) -> Program {
        Program::run_with(spool, arguments, &[])
    }

    /// The same, with variables of the environment.
    pub fn run_with(spool: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Program {
        let level = std::env::var("TEST_LOG").unwrap_or_else(|_| "error".into());
        let program = command()
            .envs(environment.iter().copied())
            .args(["--log-level", &level, "--spool"])
            .arg(spool)
            .arg("run")
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Program(program)
    }

    /// Starts what `command` says.
    pub fn start(command: &mut Command) -> Program {
        Program(command.stdin(Stdio::null()).spawn().unwrap())
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// One that was started elsewhere.
    pub fn of(child: Child) -> Program {
        Program(child)
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.id().cast_signed()).expect("a process has an id");
        kill_process(pid, signal).expect("it has not been waited for");
    }

    /// kill -9.
    pub fn kill(&mut self) -> ExitStatus {
        self.0.kill().expect("SIGKILL");
        self.0.wait().unwrap()
    }

    /// TERM, and waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.0.wait().unwrap()
    }

    /// Waits for the end, which something else brings about.
    pub fn wait(&mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }

    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
