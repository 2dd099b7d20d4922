//! `sympa-dist cluster`: several hosts on one spool, with a database for their claims.

use std::io::Write;
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use serde::Serialize;

use super::words::{age, printable};
use super::{CliError, Exit, Global, person, say};
use crate::claim::database::{Access, Database, DatabaseError, LeaseRow, ProcessRow};
use crate::claim::settings::ClusterSettings;
use crate::daemon::clock;
use crate::spool::Spool;
use crate::spool::disk::Disk;
use crate::spool::mark::Mark;
use crate::spool::running;

/// Shares the spool among hosts by way of a database; shows who works on what
#[derive(Args, Debug)]
pub struct ClusterCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Makes the tables in cluster.database, and marks the spool as shared through them; safe to run again
    Init {
        /// The tables are this spool's, which has lost its mark
        #[arg(long)]
        join: bool,
    },
    /// Shows hosts, processes, and what each is sending
    Status {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Makes the spool one machine's again; no scheduler may be running
    Leave {
        /// Removes the tables, too
        #[arg(long)]
        drop_tables: bool,
        /// Though nobody knows whether schedulers run: the database is away, or some have died
        #[arg(long)]
        force: bool,
    },
}

/// Others than the database's tables are not asked for longer than this.
pub const LATELY: Duration = Duration::from_secs(120);

impl From<DatabaseError> for CliError {
    fn from(error: DatabaseError) -> CliError {
        CliError::TryAgain(printable(&format!("cluster.database: {error}")))
    }
}

impl ClusterCommand {
    pub fn run(self, global: &Global) -> Result<Exit, CliError> {
        let settings = global.load()?.settings;
        match self.action {
            Action::Init { join } => init(&Spool::create(&Disk::default(), &settings.spool)?, &settings.cluster, join),
            Action::Status { json } => status(&settings.cluster, json),
            Action::Leave { drop_tables, force } => {
                leave(&Spool::open(&Disk::default(), &settings.spool)?, &settings.cluster, drop_tables, force)
            }
        }
    }
}

pub fn connect(settings: &ClusterSettings) -> Result<Box<dyn Database>, CliError> {
    let access = Access::from_settings(settings).map_err(|error| CliError::Usage(error.to_string()))?;
    let access = access.ok_or_else(|| CliError::Usage("cluster.database is not set".to_owned()))?;
    access
        .connect()
        .map_err(|error| CliError::TryAgain(printable(&format!("cluster.database {}: {error}", access.url))))
}

fn init(spool: &Spool, settings: &ClusterSettings, join: bool) -> Result<Exit, CliError> {
    spool.require_owner()?;
    let mut database = connect(settings)?;
    // The mark first: a crash in between leaves a spool from which nobody sends, and this command to be run again.
    let (mark, is_new) = match Mark::read(spool)? {
        Some(mark) => (mark, false),
        None => {
            nobody_runs(spool)?;
            let identity = if join { database.identity()? } else { identity()? };
            let mark = Mark { identity, since: clock::epoch().0, by: person() };
            match mark.write(spool)? {
                true => (mark, true),
                // Another one was faster.
                false => (Mark::read(spool)?.unwrap_or(mark), false),
            }
        }
    };
    if !is_new && !has_tables_soon(&mut *database) {
        // Their holders go by their own clocks.
        let lease = settings.lease;
        say(&format!("its tables have gone: waits {lease:?}, until nobody believes in a lease that was in them"));
        thread::sleep(lease + lease / 50);
    }
    let found = database.init(&mark.identity);
    if is_new && !matches!(&found, Ok(found) if *found == mark.identity) {
        mark.remove(spool)?;
    }
    if found? != mark.identity {
        let what = "cluster.database: the tables that are there belong to another spool";
        return Err(CliError::Usage(match is_new {
            true => format!("{what}; if they are this one's, which has lost its mark: --join; nothing was changed"),
            false => format!("{what}; nothing was changed"),
        }));
    }
    say(match is_new {
        true => "the spool is shared through the database from now on; schedulers need cluster.database",
        false => "the spool is shared through the database already",
    });
    Ok(Exit::Done)
}

/// Whoever has marked the spool just now is about to make them.
fn has_tables_soon(database: &mut dyn Database) -> bool {
    const TRIES: u32 = 20;
    (0..TRIES).any(|tried| {
        if tried > 0 {
            thread::sleep(Duration::from_millis(100));
        }
        !matches!(database.identity(), Err(DatabaseError::NoTables))
    })
}

/// Who runs has another idea of who may send what.
fn nobody_runs(spool: &Spool) -> Result<(), CliError> {
    match running::list(spool)?.first() {
        None => Ok(()),
        Some(one) => Err(CliError::TryAgain(format!(
            "a scheduler runs on this spool ({} {}): stop it first; nothing was changed",
            one.host, one.pid
        ))),
    }
}

fn identity() -> Result<String, CliError> {
    let mut octets = [0; 16];
    let none = |_| CliError::TryAgain("this system gives no random numbers".to_owned());
    aws_lc_rs::rand::fill(&mut octets).map_err(none)?;
    Ok(octets.iter().map(|octet| format!("{octet:02x}")).collect())
}

fn leave(spool: &Spool, settings: &ClusterSettings, drop_tables: bool, force: bool) -> Result<Exit, CliError> {
    spool.require_owner()?;
    let Some(mark) = Mark::read(spool)? else {
        say("the spool is one machine's");
        return Ok(Exit::Findings);
    };
    if !force {
        nobody_runs(spool)?;
    }
    let unsure =
        |error: CliError| CliError::TryAgain(format!("{error}; nothing was changed (--force leaves all the same)"));
    let mut database = match connect(settings) {
        Ok(database) => Some(database),
        Err(error) if !force => return Err(unsure(error)),
        Err(_) => None,
    };
    if let Some(database) = &mut database {
        // Others' tables are not asked, and not dropped.
        let is_ours = matches!(database.identity(), Ok(identity) if identity == mark.identity);
        if is_ours && !force {
            let lately = LATELY.max(settings.lease).as_secs_f64();
            let alive = database.processes()?.into_iter().find(|process| process.last_seen < lately);
            if let Some(process) = alive {
                return Err(CliError::TryAgain(format!(
                    "{} {} works on this spool: stop it first; nothing was changed",
                    process.host, process.pid
                )));
            }
        }
        if is_ours && drop_tables {
            database.drop_tables()?;
        }
    }
    mark.remove(spool)?;
    say("the spool is one machine's again");
    Ok(Exit::Done)
}

/// A process, and what it is sending.
#[derive(Serialize)]
pub struct Member {
    #[serde(flatten)]
    pub process: ProcessRow,
    pub leases: Vec<LeaseRow>,
}

pub fn members(database: &mut dyn Database) -> Result<Vec<Member>, DatabaseError> {
    let mut leases = database.leases()?;
    let of = |process: ProcessRow| {
        let (own, rest) = std::mem::take(&mut leases).into_iter().partition(|lease| lease.process == process.id);
        leases = rest;
        Member { process, leases: own }
    };
    Ok(database.processes()?.into_iter().map(of).collect())
}

fn status(settings: &ClusterSettings, json: bool) -> Result<Exit, CliError> {
    let mut database = connect(settings)?;
    let identity = database.identity()?;
    let members = members(&mut *database)?;
    let mut stdout = std::io::stdout().lock();
    if json {
        let url = settings.database.as_ref().expect("it was connected to").to_string();
        let status = serde_json::json!({ "database": url, "identity": identity, "processes": members });
        writeln!(stdout, "{status}")?;
        return Ok(Exit::Done);
    }
    if members.is_empty() {
        writeln!(stdout, "no scheduler has joined")?;
        return Ok(Exit::Findings);
    }
    for Member { process, leases } in &members {
        let ProcessRow { host, pid, version, workers, .. } = process;
        let (since, seen) = (age(process.age as u64), age(process.last_seen as u64));
        let (host, version) = (printable(host), printable(version));
        writeln!(stdout, "{host} {pid}: sympa-dist {version}, {workers} workers, for {since}, last seen {seen} ago")?;
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        for lease in leases {
            let left = if lease.left < 0.0 { "over".to_owned() } else { format!("{:.0} s left", lease.left) };
            let held = format!("for {}", age(lease.age as u64));
            let (worker, message, part) = (&lease.worker, &lease.message, &lease.part);
            table.add_row(["  ", &printable(worker), &printable(message), &printable(part), &held, &left]);
        }
        if !leases.is_empty() {
            writeln!(stdout, "{table}")?;
        }
    }
    Ok(Exit::Done)
}
