//! The command line: one file a command.
//!
//! Arguments as typed are clap's structs in the commands' files; what they mean is worked out there and handed down. No
//! command talks to a running scheduler: they all work on the spool.

#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "the arguments' comments are their help texts"
)]

mod bad;
mod cancel;
mod check;
#[cfg(feature = "cluster")]
mod cluster;
mod completions;
mod config;
pub mod configuration;
mod demo;
mod figures;
mod hold;
mod holders;
mod inject;
mod log;
mod man;
mod moving;
mod pause;
mod queue;
mod release;
mod report;
mod requeue;
mod reschedule;
mod resume;
mod run;
mod selection;
mod show;
mod systemd;
#[cfg(feature = "top")]
mod top;
mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use configuration::{BadConfig, Loaded, Overrides};

use crate::daemon::settings::Settings;
use crate::mail::BadMessageId;
use crate::spool::Spool;
use crate::spool::disk::{Disk, DiskError};

/// Distributes mailing-list messages from an on-disk spool, most urgent first.
#[derive(Parser, Debug)]
#[command(name = "sympa-dist", version, about, max_term_width = 100)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Args, Debug)]
pub struct Global {
    /// Configuration file [default: /etc/sympa-dist.toml, if it is there; environment: SYMPA_DIST_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The spool's directory [key: spool; environment: SYMPA_DIST_SPOOL]
    #[arg(long, global = true, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// error, warn, info, debug, trace, or a filter [key: log.level]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// auto, human, json or journald [key: log.format]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    Run(run::Run),
    Inject(inject::Inject),
    Queue(queue::Queue),
    #[cfg(feature = "top")]
    Top(top::Top),
    Show(show::Show),
    Report(report::Report),
    Check(check::Check),
    Requeue(requeue::Requeue),
    Reschedule(reschedule::Reschedule),
    Hold(hold::Hold),
    Release(release::Release),
    Cancel(cancel::Cancel),
    Pause(pause::PauseCommand),
    Resume(resume::Resume),
    Bad(bad::Bad),
    #[cfg(feature = "cluster")]
    Cluster(cluster::ClusterCommand),
    Demo(demo::Demo),
    Config(config::Config),
    Completions(completions::Completions),
    #[command(hide = true)]
    Man(man::Man),
}

/// How a command ended, for scripts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    Done,
    /// Nothing matched, or something was found that should not be.
    Findings,
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// What was asked makes no sense: to be asked differently.
    #[error("{0}")]
    Usage(String),
    /// It made sense, and did not work: disk full, not allowed, not there. May work later.
    #[error("{0}")]
    TryAgain(String),
    /// The reader of the output has gone (`| head`): it has what it wanted.
    #[error("nobody reads the output")]
    NobodyReads,
}

impl From<BadConfig> for CliError {
    fn from(error: BadConfig) -> CliError {
        CliError::Usage(error.to_string())
    }
}

impl From<BadMessageId> for CliError {
    fn from(error: BadMessageId) -> CliError {
        CliError::Usage(error.to_string())
    }
}

impl From<DiskError> for CliError {
    fn from(error: DiskError) -> CliError {
        CliError::TryAgain(error.to_string())
    }
}

/// Writing to standard output failed.
impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> CliError {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => CliError::NobodyReads,
            _ => CliError::TryAgain(format!("cannot write the output: {error}")),
        }
    }
}

/// From sysexits.h, EX_TEMPFAIL.
const TRY_AGAIN: u8 = 75;

/// Runs a command and says how it went: 0 done, 1 findings or nothing matched, 2 usage, 75 try again later.
pub fn main(arguments: Arguments) -> ExitCode {
    let Arguments { global, command } = arguments;
    let result = match command {
        Command::Run(command) => command.run(&global),
        Command::Inject(command) => command.run(&global),
        Command::Queue(command) => command.run(&global),
        #[cfg(feature = "top")]
        Command::Top(command) => command.run(&global),
        Command::Show(command) => command.run(&global),
        Command::Report(command) => command.run(&global),
        Command::Check(command) => command.run(&global),
        Command::Requeue(command) => command.run(&global),
        Command::Reschedule(command) => command.run(&global),
        Command::Hold(command) => command.run(&global),
        Command::Release(command) => command.run(&global),
        Command::Cancel(command) => command.run(&global),
        Command::Pause(command) => command.run(&global),
        Command::Resume(command) => command.run(&global),
        Command::Bad(command) => command.run(&global),
        #[cfg(feature = "cluster")]
        Command::Cluster(command) => command.run(&global),
        Command::Demo(command) => command.run(&global),
        Command::Config(command) => command.run(&global),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    };
    log::finish();
    match result {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Findings) => ExitCode::from(1),
        Err(CliError::Usage(text)) => complain(&text, 2),
        Err(CliError::NobodyReads) => ExitCode::SUCCESS,
        Err(CliError::TryAgain(text)) => complain(&text, TRY_AGAIN),
    }
}

fn complain(text: &str, code: u8) -> ExitCode {
    say(text);
    ExitCode::from(code)
}

/// On standard error.
fn say(text: &str) {
    use std::io::Write;
    let mut stderr = std::io::stderr().lock();
    for line in text.lines() {
        // Nobody is left to be told that nobody can be told.
        let _ = writeln!(stderr, "sympa-dist: {line}");
    }
}

impl Global {
    /// What the flags say about the configuration.
    fn overrides(&self) -> Overrides {
        let spool = self.spool.as_ref().map(|spool| from_here(spool).display().to_string());
        let flags = [("spool", spool), ("log.level", self.log_level.clone()), ("log.format", self.log_format.clone())];
        Overrides {
            file: self.config.clone(),
            flags: flags.into_iter().filter_map(|(key, text)| Some((key, text?))).collect(),
            relays: Vec::new(),
        }
    }

    fn load(&self) -> Result<Loaded, CliError> {
        Ok(configuration::load(&self.overrides())?)
    }

    /// The spool, which must be there.
    fn open_spool(&self) -> Result<Spool, CliError> {
        Ok(self.open_spool_and_settings()?.0)
    }

    fn open_spool_and_settings(&self) -> Result<(Spool, Settings), CliError> {
        let settings = self.load()?.settings;
        Ok((Spool::open(&Disk::default(), &settings.spool)?, settings))
    }
}

/// A path as typed: from this directory on.
fn from_here(path: &Path) -> PathBuf {
    // Of what is no path, the key itself complains.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A relay as typed: a directory is one from this directory on.
fn relay_from_here(relay: &str) -> String {
    match relay.split_once(':') {
        Some((scheme, path)) if scheme.eq_ignore_ascii_case("maildir") && !path.starts_with('/') => {
            format!("{scheme}:{}", from_here(path.as_ref()).display())
        }
        _ => relay.to_owned(),
    }
}

/// Who is at the keyboard, for notes: the login behind sudo, if there is one.
fn person() -> String {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let login = variable("SUDO_USER").or_else(|| variable("LOGNAME")).or_else(|| variable("USER"));
    let user = rustix::process::getuid().as_raw();
    login.or_else(|| login_of(user)).unwrap_or_else(|| format!("user {user}"))
}

/// From passwd(5); none for users that are known elsewhere.
fn login_of(user: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let of_user = |line: &&str| line.split(':').nth(2).is_some_and(|number| number == user.to_string());
    users.lines().find(of_user)?.split(':').next().map(str::to_owned)
}
