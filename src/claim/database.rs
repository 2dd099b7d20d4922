//! What a database has to do for leases: a few statements, each of them atomic by itself.
//!
//! Nothing here decides by the database's clock: whoever wants a lease that somebody has watches for [`Version`] to
//! change, by a clock of its own. The times in the rows are for people.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::lease::Key;
use super::settings::{ClusterSettings, DatabaseUrl, Tls};

/// The layout of the tables that this program knows.
pub const VERSION: i32 = 1;

/// For a connection, and for each answer.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A process, as it registers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    pub host: String,
    pub pid: u32,
    /// Among processes with the same one, a pid and its start say for certain whether a process lives.
    pub boot: String,
    /// When it was started, in the kernel's own unit.
    pub started: i64,
    pub program: String,
    pub workers: i32,
}

/// What changes with each renewal, and with each holder. Nobody has foreseen it: a row that is made anew, or that a crash of
/// the server has set back, comes to what it once was by chance only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    pub fence: i64,
    pub renewed: i64,
}

/// Who has a lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    pub process: i64,
    pub version: Version,
    pub lasts: Duration,
    pub host: String,
    pub pid: u32,
    pub boot: String,
    pub started: i64,
}

pub enum Claimed {
    Won {
        fence: i64,
        /// Nobody else believes in it.
        clean: bool,
    },
    /// It has been given back, or taken, while we looked: to be tried again.
    Moved,
    HeldBy(Holder),
}

/// A process, for people.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ProcessRow {
    #[serde(skip)]
    pub id: i64,
    pub host: String,
    pub pid: u32,
    pub version: String,
    pub workers: i32,
    /// Seconds.
    pub age: f64,
    /// Seconds since it was last heard of.
    pub last_seen: f64,
}

/// A lease that somebody has, for people.
#[derive(Clone, Debug, serde::Serialize)]
pub struct LeaseRow {
    #[serde(skip)]
    pub process: i64,
    pub message: String,
    pub part: String,
    pub worker: String,
    pub fence: i64,
    /// Seconds since it was taken.
    pub age: f64,
    /// Seconds until it ends, if it is not renewed.
    pub left: f64,
}

/// News from another process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// Names that have come to be, as they were announced.
    Names(Vec<String>),
    /// Something may have been missed.
    Everything,
}

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It can't be reached, or it fails: to be tried again on a new connection.
    #[error("{0}")]
    Away(String),
    /// `cluster init` has not been run.
    #[error("it has no tables of sympa-dist's: run `sympa-dist cluster init` first")]
    NoTables,
    /// An operator has to do something first.
    #[error("{0}")]
    Unfit(String),
}

/// From where on new tables number their processes: anywhere, so that nobody is known by the number it had in tables that
/// were there before.
pub fn first_process() -> Result<i64> {
    let mut octets = [0; 8];
    let none = |_| DatabaseError::Unfit("this system gives no random numbers".to_owned());
    aws_lc_rs::rand::fill(&mut octets).map_err(none)?;
    Ok(1 + (i64::from_be_bytes(octets) & 0xff_ffff_ffff))
}

pub fn of_another_version(found: i32) -> DatabaseError {
    let which = if found > VERSION { "a newer" } else { "an older" };
    DatabaseError::Unfit(format!(
        "its tables are {which} sympa-dist's (layout {found}, this program knows {VERSION}); nothing was changed"
    ))
}

pub type Result<T> = std::result::Result<T, DatabaseError>;

/// One connection. After [`DatabaseError::Away`] it is of no use any more.
pub trait Database: Send {
    /// Makes the tables where there are none; the identity that they have. Safe to run twice, and at once on two hosts.
    fn init(&mut self, identity: &str) -> Result<String>;

    /// Removes the tables, with all that is in them.
    fn drop_tables(&mut self) -> Result<()>;

    /// The tables' identity. An error if they are not of this program's version.
    fn identity(&mut self) -> Result<String>;

    fn register(&mut self, process: &Process) -> Result<i64>;

    /// Removes the process, and gives back its leases.
    fn leave(&mut self, process: i64) -> Result<()>;

    /// Takes the lease if nobody has it.
    fn claim(&mut self, key: &Key, process: i64, worker: &str, lasts: Duration) -> Result<Claimed>;

    /// Takes the lease from somebody, if it still is as it was seen; it is not clean from then on. The new fence.
    fn take_over(
        &mut self,
        key: &Key,
        seen: Version,
        process: i64,
        worker: &str,
        lasts: Duration,
    ) -> Result<Option<i64>>;

    /// Gives it back; `clean`: nobody else believes in it.
    fn give_back(&mut self, key: &Key, process: i64, fence: i64, clean: bool) -> Result<()>;

    /// Gives it back for good: nobody will want it again.
    fn finish(&mut self, key: &Key, process: i64, fence: i64) -> Result<()>;

    /// Renews all that the process has, and says what that is. `None`: the process is not known any more.
    fn renew(&mut self, process: i64, lasts: Duration) -> Result<Option<Vec<(Key, i64)>>>;

    /// Removes what nobody will ask for any more.
    fn tidy(&mut self) -> Result<()>;

    fn announce(&mut self, process: i64, names: &[String]) -> Result<()>;

    fn processes(&mut self) -> Result<Vec<ProcessRow>>;

    /// What is held, without what was given back.
    fn leases(&mut self) -> Result<Vec<LeaseRow>>;
}

/// One connection for what other processes announce.
pub trait Hearing: Send {
    /// Waits for news; `None`: nothing came for a while.
    fn next(&mut self) -> Result<Option<News>>;
}

/// Where the database is, with all that it takes to get in.
#[derive(Clone)]
pub struct Access {
    pub settings: ClusterSettings,
    pub url: DatabaseUrl,
    pub password: Option<String>,
}

/// Why no connection can even be tried.
#[derive(Debug, thiserror::Error)]
pub enum BadAccess {
    #[error("cluster.password_file {}: {why}", path.display())]
    Password { path: PathBuf, why: String },
    #[error("cluster.database: {0}")]
    Url(String),
    #[error("cluster.ca_file: {0}")]
    Authorities(String),
    #[error(
        "cluster.tls: MariaDB is only spoken to in the clear; use its socket, this machine, or a private network with \
         cluster.tls = \"never\""
    )]
    InTheClear,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.url)
    }
}

impl Access {
    /// Whether to encrypt, given whether the server is on this machine.
    pub fn wants_tls(&self, is_local: bool) -> bool {
        match self.settings.tls {
            Tls::Auto => !is_local,
            Tls::Always => true,
            Tls::Never => false,
        }
    }
}
