//! Leases in MariaDB, or MySQL.
//!
//! Tables whose names begin with `sympa_dist_`, in the database that the URL names. As in PostgreSQL, but for what these
//! lack: a statement that inserts or updates does not say what came of it but for the number of rows, and there are no
//! notifications, so that news are rows that every process asks for now and then.
//!
//! In the clear: the client's encryption brings a library that nobody maintains any more.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder, Params, params};

use super::database::{
    self, Access, BadAccess, Claimed, Database, DatabaseError, Hearing, Holder, LeaseRow, News, PATIENCE, Process,
    ProcessRow, Result, VERSION, Version,
};
use super::lease::Key;

/// The last assignment is that of the column which the others look at. 0 rows: somebody has it; 1: inserted; 2: updated.
const CLAIM: &str = "\
    INSERT INTO sympa_dist_lease (message, part, process, worker, fence, renewed, lasts, since, expires) \
    VALUES (:message, :part, :process, :worker, 1, CAST(FLOOR(RAND() * 1e15) AS SIGNED), :lasts, UTC_TIMESTAMP(6), \
    UTC_TIMESTAMP(6) + INTERVAL :lasts * 1000 MICROSECOND) \
    ON DUPLICATE KEY UPDATE fence = IF(process IS NULL, LAST_INSERT_ID(fence + 1), fence), \
    renewed = IF(process IS NULL, renewed + 1 + CAST(FLOOR(RAND() * 1e6) AS SIGNED), renewed), \
    worker = IF(process IS NULL, VALUES(worker), worker), \
    lasts = IF(process IS NULL, VALUES(lasts), lasts), since = IF(process IS NULL, VALUES(since), since), \
    expires = IF(process IS NULL, VALUES(expires), expires), process = IF(process IS NULL, VALUES(process), process)";
const HOLDER: &str = "\
    SELECT l.process, l.fence, l.renewed, l.lasts, COALESCE(p.host, ''), COALESCE(p.pid, 0), COALESCE(p.boot, ''), \
    COALESCE(p.started, 0) FROM sympa_dist_lease l LEFT JOIN sympa_dist_process p ON p.id = l.process \
    WHERE message = :message AND part = :part";
const TAKE_OVER: &str = "\
    UPDATE sympa_dist_lease SET process = :process, worker = :worker, clean = 0, fence = fence + 1, renewed = renewed + 1 + CAST(FLOOR(RAND() * 1e6) AS SIGNED), \
    lasts = :lasts, since = UTC_TIMESTAMP(6), expires = UTC_TIMESTAMP(6) + INTERVAL :lasts * 1000 MICROSECOND \
    WHERE message = :message AND part = :part AND fence = :fence AND renewed = :renewed";

const SCHEMA: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS sympa_dist_cluster (one TINYINT NOT NULL PRIMARY KEY, version INT NOT NULL, \
     identity VARCHAR(64) NOT NULL, since DATETIME(6) NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS sympa_dist_process (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, \
     host VARCHAR(255) NOT NULL, pid BIGINT NOT NULL, boot VARCHAR(128) NOT NULL, started BIGINT NOT NULL, \
     program VARCHAR(64) NOT NULL, workers INT NOT NULL, since DATETIME(6) NOT NULL, seen DATETIME(6) NOT NULL) \
     ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS sympa_dist_lease (message VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, \
     part VARCHAR(160) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, process BIGINT NULL, worker VARCHAR(64) NOT NULL, \
     fence BIGINT NOT NULL, renewed BIGINT NOT NULL, lasts BIGINT NOT NULL, since DATETIME(6) NOT NULL, \
     expires DATETIME(6) NOT NULL, clean BOOLEAN NOT NULL DEFAULT 1, PRIMARY KEY (message, part), KEY process (process)) ENGINE=InnoDB",
    "CREATE TABLE IF NOT EXISTS sympa_dist_news (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, \
     process BIGINT NOT NULL, names TEXT NOT NULL, at DATETIME(6) NOT NULL, KEY at (at)) ENGINE=InnoDB",
];

/// Statements that lost against another one are tried again so often.
const TRIES: u32 = 5;
/// ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK.
const LOST: [u16; 2] = [1205, 1213];
/// ER_NO_SUCH_TABLE.
const NO_TABLE: u16 = 1146;
/// ER_DBACCESS_DENIED_ERROR, ER_ACCESS_DENIED_ERROR, ER_BAD_DB_ERROR, ER_TABLEACCESS_DENIED_ERROR.
const REFUSED: [u16; 4] = [1044, 1045, 1049, 1142];

/// See the module.
pub struct MariaDb(Conn);

fn options(access: &Access) -> std::result::Result<Opts, BadAccess> {
    let bad = |why: String| BadAccess::Url(format!("{}: {why}", access.url));
    let url = access.url.secret().replacen("mariadb://", "mysql://", 1);
    let given = Opts::from_url(&url).map_err(|error| bad(error.to_string()))?;
    if given.get_db_name().is_none_or(str::is_empty) {
        return Err(bad("no database is named".to_owned()));
    }
    let name = given.get_ip_or_hostname();
    let is_loopback = name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if access.wants_tls(given.get_socket().is_some() || is_loopback) {
        return Err(BadAccess::InTheClear);
    }
    let mut options = OptsBuilder::from_opts(given)
        .prefer_socket(false)
        .tcp_connect_timeout(Some(PATIENCE))
        .read_timeout(Some(PATIENCE))
        .write_timeout(Some(PATIENCE))
        .init(vec![
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            // Text that is longer than its column is an error, and not cut.
            "SET SESSION innodb_lock_wait_timeout = 2, sql_mode = 'STRICT_ALL_TABLES'",
        ]);
    if let Some(password) = &access.password {
        options = options.pass(Some(password));
    }
    Ok(options.into())
}

/// Whether all that is needed to connect is there.
pub fn check(access: &Access) -> std::result::Result<(), BadAccess> {
    options(access).map(drop)
}

fn failed(error: mysql::Error) -> DatabaseError {
    match error {
        mysql::Error::MySqlError(error) if error.code == NO_TABLE => DatabaseError::NoTables,
        mysql::Error::MySqlError(error) if REFUSED.contains(&error.code) => DatabaseError::Unfit(error.message),
        mysql::Error::MySqlError(error) => DatabaseError::Away(error.message),
        error => DatabaseError::Away(error.to_string()),
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl MariaDb {
    pub fn connect(access: &Access) -> Result<MariaDb> {
        let options = options(access).map_err(|error| DatabaseError::Unfit(error.to_string()))?;
        Ok(MariaDb(Conn::new(options).map_err(failed)?))
    }

    fn run(&mut self, statement: &str, parameters: Params) -> Result<()> {
        for _ in 1..TRIES {
            match self.0.exec_drop(statement, parameters.clone()) {
                Err(mysql::Error::MySqlError(error)) if LOST.contains(&error.code) => {}
                result => return result.map_err(failed),
            }
        }
        self.0.exec_drop(statement, parameters).map_err(failed)
    }
}

impl Database for MariaDb {
    fn init(&mut self, identity: &str) -> Result<String> {
        // One after the other; it ends with the connection.
        self.0.query_drop("SELECT GET_LOCK('sympa_dist', 5)").map_err(failed)?;
        match self.identity() {
            Err(DatabaseError::NoTables) => {}
            found => return found,
        }
        for table in SCHEMA {
            self.0.query_drop(table).map_err(failed)?;
        }
        let first = database::first_process()?;
        self.0.query_drop(format!("ALTER TABLE sympa_dist_process AUTO_INCREMENT = {first}")).map_err(failed)?;
        // The first one's stays.
        let insert = "INSERT INTO sympa_dist_cluster (one, version, identity, since) VALUES (1, :version, :identity, \
                      UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE one = one";
        self.run(insert, params! { "version" => VERSION, "identity" => identity })?;
        self.identity()
    }

    fn drop_tables(&mut self) -> Result<()> {
        let tables = "DROP TABLE IF EXISTS sympa_dist_news, sympa_dist_lease, sympa_dist_process, sympa_dist_cluster";
        self.0.query_drop(tables).map_err(failed)
    }

    fn identity(&mut self) -> Result<String> {
        let row: Option<(i32, String)> =
            self.0.query_first("SELECT version, identity FROM sympa_dist_cluster").map_err(failed)?;
        match row {
            Some((VERSION, identity)) => Ok(identity),
            Some((other, _)) => Err(database::of_another_version(other)),
            None => Err(DatabaseError::NoTables),
        }
    }

    fn register(&mut self, process: &Process) -> Result<i64> {
        let Process { host, pid, boot, started, program, workers } = process;
        let insert = "INSERT INTO sympa_dist_process (host, pid, boot, started, program, workers, since, seen) \
                      VALUES (:host, :pid, :boot, :started, :program, :workers, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))";
        self.run(
            insert,
            params! { "host" => host, "pid" => pid, "boot" => boot, "started" => started, "program" => program,
            "workers" => workers },
        )?;
        Ok(self.0.last_insert_id() as i64)
    }

    fn leave(&mut self, process: i64) -> Result<()> {
        let back = "UPDATE sympa_dist_lease SET process = NULL, renewed = renewed + 1 + CAST(FLOOR(RAND() * 1e6) AS SIGNED) WHERE process = :process";
        self.run(back, params! { process })?;
        self.run("DELETE FROM sympa_dist_process WHERE id = :process", params! { process })
    }

    fn claim(&mut self, key: &Key, process: i64, worker: &str, lasts: Duration) -> Result<Claimed> {
        let (message, part) = (&*key.message, &*key.part);
        self.run(CLAIM, params! { message, part, process, worker, "lasts" => millis(lasts) })?;
        match self.0.affected_rows() {
            0 => {}
            1 => return Ok(Claimed::Won { fence: 1, clean: true }),
            _ => {
                let fence = self.0.last_insert_id() as i64;
                let clean = "SELECT clean FROM sympa_dist_lease WHERE message = :message AND part = :part";
                let clean: Option<bool> = self.0.exec_first(clean, params! { message, part }).map_err(failed)?;
                return Ok(Claimed::Won { fence, clean: clean.unwrap_or_default() });
            }
        }
        type Found = (Option<i64>, i64, i64, i64, String, u32, String, i64);
        let found: Option<Found> = self.0.exec_first(HOLDER, params! { message, part }).map_err(failed)?;
        let Some((Some(process), fence, renewed, lasts, host, pid, boot, started)) = found else {
            return Ok(Claimed::Moved);
        };
        let (version, lasts) = (Version { fence, renewed }, Duration::from_millis(lasts.unsigned_abs()));
        Ok(Claimed::HeldBy(Holder { process, version, lasts, host, pid, boot, started }))
    }

    fn take_over(
        &mut self,
        key: &Key,
        seen: Version,
        process: i64,
        worker: &str,
        lasts: Duration,
    ) -> Result<Option<i64>> {
        let (message, part, Version { fence, renewed }) = (&*key.message, &*key.part, seen);
        let lasts = millis(lasts);
        self.run(TAKE_OVER, params! { message, part, fence, renewed, process, worker, lasts })?;
        Ok((self.0.affected_rows() > 0).then_some(fence + 1))
    }

    fn give_back(&mut self, key: &Key, process: i64, fence: i64, clean: bool) -> Result<()> {
        let statement = "UPDATE sympa_dist_lease SET process = NULL, clean = clean OR :clean, \
                         renewed = renewed + 1 + CAST(FLOOR(RAND() * 1e6) AS SIGNED) \
                         WHERE message = :message AND part = :part AND process = :process AND fence = :fence";
        let (message, part) = (&*key.message, &*key.part);
        self.run(statement, params! { message, part, process, fence, clean })
    }

    fn finish(&mut self, key: &Key, process: i64, fence: i64) -> Result<()> {
        let statement = "DELETE FROM sympa_dist_lease \
                         WHERE message = :message AND part = :part AND process = :process AND fence = :fence";
        let (message, part) = (&*key.message, &*key.part);
        self.run(statement, params! { message, part, process, fence })
    }

    fn renew(&mut self, process: i64, lasts: Duration) -> Result<Option<Vec<(Key, i64)>>> {
        let seen = "UPDATE sympa_dist_process SET seen = UTC_TIMESTAMP(6) WHERE id = :process";
        self.run(seen, params! { process })?;
        if self.0.affected_rows() == 0 {
            return Ok(None);
        }
        let renew = "UPDATE sympa_dist_lease SET renewed = renewed + 1 + CAST(FLOOR(RAND() * 1e6) AS SIGNED), lasts = :lasts, \
                     expires = UTC_TIMESTAMP(6) + INTERVAL :lasts * 1000 MICROSECOND WHERE process = :process";
        self.run(renew, params! { process, "lasts" => millis(lasts) })?;
        let held = "SELECT message, part, fence FROM sympa_dist_lease WHERE process = :process";
        let rows: Vec<(String, String, i64)> = self.0.exec(held, params! { process }).map_err(failed)?;
        let key =
            |(message, part, fence): (String, String, i64)| (Key { message: message.into(), part: part.into() }, fence);
        Ok(Some(rows.into_iter().map(key).collect()))
    }

    fn tidy(&mut self) -> Result<()> {
        for old in [
            "DELETE FROM sympa_dist_news WHERE at < UTC_TIMESTAMP(6) - INTERVAL 1 MINUTE",
            "DELETE FROM sympa_dist_lease WHERE process IS NULL AND expires < UTC_TIMESTAMP(6) - INTERVAL 1 DAY",
            "DELETE FROM sympa_dist_process WHERE seen < UTC_TIMESTAMP(6) - INTERVAL 1 DAY \
             AND id NOT IN (SELECT process FROM sympa_dist_lease WHERE process IS NOT NULL)",
        ] {
            self.run(old, Params::Empty)?;
        }
        Ok(())
    }

    fn announce(&mut self, process: i64, names: &[String]) -> Result<()> {
        let insert = "INSERT INTO sympa_dist_news (process, names, at) VALUES (:process, :names, UTC_TIMESTAMP(6))";
        // A TEXT has room for 65,535 octets, a name needs 200.
        for names in names.chunks(200) {
            self.run(insert, params! { process, "names" => names.join("\n") })?;
        }
        Ok(())
    }

    fn processes(&mut self) -> Result<Vec<ProcessRow>> {
        let rows: Vec<(i64, String, u32, String, i32, i64, i64)> = self
            .0
            .query(
                "SELECT id, host, pid, program, workers, TIMESTAMPDIFF(MICROSECOND, since, UTC_TIMESTAMP(6)), \
                 TIMESTAMPDIFF(MICROSECOND, seen, UTC_TIMESTAMP(6)) FROM sympa_dist_process ORDER BY host, pid, id",
            )
            .map_err(failed)?;
        let row = |(id, host, pid, version, workers, age, last_seen)| ProcessRow {
            id,
            host,
            pid,
            version,
            workers,
            age: seconds(age),
            last_seen: seconds(last_seen),
        };
        Ok(rows.into_iter().map(row).collect())
    }

    fn leases(&mut self) -> Result<Vec<LeaseRow>> {
        let rows: Vec<(i64, String, String, String, i64, i64, i64)> = self
            .0
            .query(
                "SELECT process, message, part, worker, fence, \
                 TIMESTAMPDIFF(MICROSECOND, since, UTC_TIMESTAMP(6)), \
                 TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), expires) \
                 FROM sympa_dist_lease WHERE process IS NOT NULL ORDER BY message, part",
            )
            .map_err(failed)?;
        let row = |(process, message, part, worker, fence, age, left)| LeaseRow {
            process,
            message,
            part,
            worker,
            fence,
            age: seconds(age),
            left: seconds(left),
        };
        Ok(rows.into_iter().map(row).collect())
    }
}

fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// Asks for news.
pub struct Poller {
    database: MariaDb,
    process: i64,
    every: Duration,
    /// The newest seen, and those shortly before it that were seen: they need not come to be in order.
    newest: i64,
    seen: BTreeSet<i64>,
}

/// So far behind the newest one, an older one may still come to be.
const OVERLAP: i64 = 100;

impl Poller {
    pub fn connect(access: &Access, process: i64) -> Result<Poller> {
        let mut database = MariaDb::connect(access)?;
        let newest: Option<i64> =
            database.0.query_first("SELECT COALESCE(MAX(id), 0) FROM sympa_dist_news").map_err(failed)?;
        let (newest, every) = (newest.unwrap_or_default(), access.settings.poll);
        let mut poller = Poller { database, process, every, newest, seen: BTreeSet::new() };
        poller.unseen()?;
        Ok(poller)
    }

    fn unseen(&mut self) -> Result<Vec<String>> {
        let rows: Vec<(i64, i64, String)> = self
            .database
            .0
            .exec(
                "SELECT id, process, names FROM sympa_dist_news WHERE id > :from ORDER BY id LIMIT 1000",
                params! { "from" => self.newest - OVERLAP },
            )
            .map_err(failed)?;
        let mut names = Vec::new();
        for (id, process, text) in rows {
            if self.seen.insert(id) && process != self.process {
                names.extend(text.lines().map(str::to_owned));
            }
            self.newest = self.newest.max(id);
        }
        self.seen = self.seen.split_off(&(self.newest - OVERLAP));
        Ok(names)
    }
}

impl Hearing for Poller {
    fn next(&mut self) -> Result<Option<News>> {
        thread::sleep(self.every);
        let names = self.unseen()?;
        Ok((!names.is_empty()).then_some(News::Names(names)))
    }
}
