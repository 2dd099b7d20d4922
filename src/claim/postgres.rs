//! Leases in PostgreSQL.
//!
//! Its own schema, `sympa_dist`. A claim is on disk before it is answered; renewals and what is given back needn't be
//! (`synchronous_commit` off for those statements alone): after a crash of the server they are as they were a moment
//! before, which costs others a wait and nobody a message.
//!
//! The blocking client of the same family has no time-out for an answer, and a server that is halted answers nothing for
//! ever; so this is the asynchronous one, each statement run to its end or to its time-out.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Row, Statement, ToStatement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::database::{
    self, Access, BadAccess, Claimed, Database, DatabaseError, Hearing, Holder, LeaseRow, News, PATIENCE, Process,
    ProcessRow, Result, VERSION, Version,
};
use super::lease::Key;

const CLAIM: &str = "\
    INSERT INTO sympa_dist.lease AS l (message, part, process, worker, fence, renewed, lasts, since, expires) \
    VALUES ($1, $2, $3, $4, 1, floor(random() * 1e15)::bigint, $5, now(), now() + $5::bigint::float8 * interval '1 ms') \
    ON CONFLICT (message, part) DO UPDATE SET process = EXCLUDED.process, worker = EXCLUDED.worker, \
    fence = l.fence + 1, renewed = l.renewed + 1 + floor(random() * 1e6)::bigint, lasts = EXCLUDED.lasts, \
    since = EXCLUDED.since, \
    expires = EXCLUDED.expires WHERE l.process IS NULL RETURNING fence, clean";
const HOLDER: &str = "\
    SELECT l.process, l.fence, l.renewed, l.lasts, p.host, p.pid, p.boot, p.started \
    FROM sympa_dist.lease l LEFT JOIN sympa_dist.process p ON p.id = l.process WHERE message = $1 AND part = $2";
const TAKE_OVER: &str = "\
    UPDATE sympa_dist.lease SET process = $5, worker = $6, clean = false, fence = fence + 1, renewed = renewed + 1 + floor(random() * 1e6)::bigint, lasts = $7, \
    since = now(), expires = now() + $7::bigint::float8 * interval '1 ms' \
    WHERE message = $1 AND part = $2 AND fence = $3 AND renewed = $4 RETURNING fence";
const GIVE_BACK: &str = "\
    UPDATE sympa_dist.lease SET process = NULL, clean = clean OR $5, \
    renewed = renewed + 1 + floor(random() * 1e6)::bigint \
    FROM (SELECT set_config('synchronous_commit', 'off', true)) quick \
    WHERE message = $1 AND part = $2 AND process = $3 AND fence = $4";
const FINISH: &str = "\
    DELETE FROM sympa_dist.lease USING (SELECT set_config('synchronous_commit', 'off', true)) quick \
    WHERE message = $1 AND part = $2 AND process = $3 AND fence = $4";
const RENEW: &str = "\
    WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)), \
    me AS (UPDATE sympa_dist.process SET seen = now() FROM quick WHERE id = $1 RETURNING id), \
    renewed AS (UPDATE sympa_dist.lease SET renewed = renewed + 1 + floor(random() * 1e6)::bigint, lasts = $2, \
    expires = now() + $2::bigint::float8 * interval '1 ms' FROM quick WHERE process = $1 RETURNING message, part, fence) \
    SELECT message, part, fence FROM me LEFT JOIN renewed ON true";

const SCHEMA: &str = "\
    CREATE SCHEMA sympa_dist; \
    CREATE TABLE sympa_dist.cluster (version integer NOT NULL, identity text NOT NULL, since timestamptz NOT NULL); \
    CREATE TABLE sympa_dist.process ( \
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, host text NOT NULL, pid bigint NOT NULL, \
        boot text NOT NULL, started bigint NOT NULL, program text NOT NULL, workers integer NOT NULL, \
        since timestamptz NOT NULL, seen timestamptz NOT NULL); \
    CREATE TABLE sympa_dist.lease ( \
        message text NOT NULL, part text NOT NULL, process bigint, worker text NOT NULL, fence bigint NOT NULL, \
        renewed bigint NOT NULL, lasts bigint NOT NULL, since timestamptz NOT NULL, expires timestamptz NOT NULL, \
        clean boolean NOT NULL DEFAULT true, PRIMARY KEY (message, part)) WITH (fillfactor = 50); \
    CREATE INDEX lease_process ON sympa_dist.lease (process) WHERE process IS NOT NULL;";

/// On which names are announced.
const CHANNEL: &str = "sympa_dist";
/// A notification has at most 8,000 octets.
const MOST_OCTETS: usize = 7_000;

/// See the module.
pub struct Postgres {
    runtime: Runtime,
    client: Client,
    /// Made when they are needed first: before `init` there is nothing to prepare them for.
    statements: Option<Statements>,
}

/// Cheap to copy.
#[derive(Clone)]
struct Statements {
    claim: Statement,
    holder: Statement,
    take_over: Statement,
    give_back: Statement,
    finish: Statement,
    renew: Statement,
}

/// The URL, and what has to be set beside it.
fn config(access: &Access) -> std::result::Result<Config, BadAccess> {
    let bad = |why: String| BadAccess::Url(format!("{}: {why}", access.url));
    let mut config: Config = access.url.secret().parse().map_err(|error| bad(told(&error)))?;
    if config.get_user().is_none() {
        return Err(bad("no user is named".to_owned()));
    }
    if let Some(password) = &access.password {
        config.password(password);
    }
    let tls = if access.wants_tls(is_local(&config)) { SslMode::Require } else { SslMode::Disable };
    config.ssl_mode(tls).connect_timeout(PATIENCE).tcp_user_timeout(PATIENCE).application_name("sympa-dist");
    Ok(config)
}

fn is_local(config: &Config) -> bool {
    config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    })
}

/// Whether all that is needed to connect is there.
pub fn check(access: &Access) -> std::result::Result<(), BadAccess> {
    let config = config(access)?;
    if config.get_ssl_mode() == SslMode::Require {
        encryption(access.settings.ca_file.as_deref())?;
    }
    Ok(())
}

fn encryption(ca_file: Option<&Path>) -> std::result::Result<ClientConfig, BadAccess> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let bad = |error: &dyn std::fmt::Display| BadAccess::Authorities(format!("{}: {error}", path.display()));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(&error))? {
                roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
            }
            if roots.is_empty() {
                return Err(bad(&"it holds no certificate"));
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        let none = "no certificate authority is known: name a file with some";
        return Err(BadAccess::Authorities(none.to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| BadAccess::Authorities(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The error with its causes, and never the password, which is in none of them.
fn told(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{}: {}", error.severity(), error.message());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn failed(error: &tokio_postgres::Error) -> DatabaseError {
    match error.code() {
        Some(state) if *state == SqlState::UNDEFINED_TABLE || *state == SqlState::INVALID_SCHEMA_NAME => {
            DatabaseError::NoTables
        }
        Some(state)
            if [
                SqlState::INVALID_PASSWORD,
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                SqlState::INVALID_CATALOG_NAME,
                SqlState::INSUFFICIENT_PRIVILEGE,
            ]
            .contains(state) =>
        {
            DatabaseError::Unfit(told(error))
        }
        _ => DatabaseError::Away(told(error)),
    }
}

fn refused(error: &BadAccess) -> DatabaseError {
    DatabaseError::Unfit(error.to_string())
}

fn no_answer() -> DatabaseError {
    DatabaseError::Away(format!("no answer within {PATIENCE:?}"))
}

/// A runtime, and both halves of a connection on it.
fn open<T>(access: &Access, drive: impl FnOnce(Connecting) -> T) -> Result<(Runtime, Client, T)> {
    let config = config(access).map_err(|error| refused(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| DatabaseError::Away(error.to_string()))?;
    let connecting = async {
        if config.get_ssl_mode() == SslMode::Require {
            let tls = encryption(access.settings.ca_file.as_deref()).map_err(|error| refused(&error))?;
            let (client, connection) =
                config.connect(MakeRustlsConnect::new(tls)).await.map_err(|error| failed(&error))?;
            Ok::<_, DatabaseError>((client, Connecting::Tls(Box::new(connection))))
        } else {
            let (client, connection) = config.connect(NoTls).await.map_err(|error| failed(&error))?;
            Ok((client, Connecting::Clear(Box::new(connection))))
        }
    };
    let connected = runtime.block_on(async { timeout(PATIENCE, connecting).await });
    let (client, connection) = connected.unwrap_or_else(|_| Err(no_answer()))?;
    let driven = {
        let _entered = runtime.enter();
        drive(connection)
    };
    Ok((runtime, client, driven))
}

type Clear = tokio_postgres::Connection<tokio_postgres::Socket, tokio_postgres::tls::NoTlsStream>;
type Encrypted = tokio_postgres::Connection<
    tokio_postgres::Socket,
    <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<tokio_postgres::Socket>>::Stream,
>;

/// The half of a connection that moves octets.
enum Connecting {
    Clear(Box<Clear>),
    Tls(Box<Encrypted>),
}

impl Connecting {
    async fn next(&mut self) -> Option<std::result::Result<AsyncMessage, tokio_postgres::Error>> {
        match self {
            Connecting::Clear(connection) => poll_fn(|context| connection.poll_message(context)).await,
            Connecting::Tls(connection) => poll_fn(|context| connection.poll_message(context)).await,
        }
    }
}

impl Postgres {
    pub fn connect(access: &Access) -> Result<Postgres> {
        let drive = |mut connection: Connecting| {
            tokio::spawn(async move { while let Some(Ok(_)) = connection.next().await {} });
        };
        let (runtime, client, ()) = open(access, drive)?;
        Ok(Postgres { runtime, client, statements: None })
    }

    fn run<T>(
        runtime: &Runtime,
        statement: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        match runtime.block_on(async { timeout(PATIENCE, statement).await }) {
            Ok(result) => result.map_err(|error| failed(&error)),
            Err(_) => Err(no_answer()),
        }
    }

    fn prepared(&mut self) -> Result<Statements> {
        if self.statements.is_none() {
            let client = &self.client;
            let statements = async {
                Ok(Statements {
                    claim: client.prepare(CLAIM).await?,
                    holder: client.prepare(HOLDER).await?,
                    take_over: client.prepare(TAKE_OVER).await?,
                    give_back: client.prepare(GIVE_BACK).await?,
                    finish: client.prepare(FINISH).await?,
                    renew: client.prepare(RENEW).await?,
                })
            };
            self.statements = Some(Postgres::run(&self.runtime, statements)?);
        }
        Ok(self.statements.clone().expect("just prepared"))
    }

    fn script(&mut self, script: &str) -> Result<()> {
        Postgres::run(&self.runtime, self.client.batch_execute(script))
    }

    fn query(&self, statement: &(impl ToStatement + ?Sized), parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        Postgres::run(&self.runtime, self.client.query(statement, parameters))
    }

    fn execute(&self, statement: &(impl ToStatement + ?Sized), parameters: &[&(dyn ToSql + Sync)]) -> Result<()> {
        Postgres::run(&self.runtime, self.client.execute(statement, parameters)).map(drop)
    }

    fn found_version(&mut self) -> Result<Option<(i32, String)>> {
        if self.query("SELECT 1 FROM pg_namespace WHERE nspname = 'sympa_dist'", &[])?.is_empty() {
            return Ok(None);
        }
        let rows = self.query("SELECT version, identity FROM sympa_dist.cluster", &[])?;
        Ok(rows.first().map(|row| (row.get(0), row.get(1))))
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn key(row: &Row) -> Option<(Key, i64)> {
    let (message, part, fence) = (row.get::<_, Option<String>>(0)?, row.get::<_, String>(1), row.get(2));
    Some((Key { message: message.into(), part: part.into() }, fence))
}

impl Database for Postgres {
    fn init(&mut self, identity: &str) -> Result<String> {
        // One after the other; it ends with the transaction.
        self.script("BEGIN; SELECT pg_advisory_xact_lock(hashtext('sympa_dist'))")?;
        let found = match self.found_version()? {
            Some((VERSION, identity)) => identity,
            Some((other, _)) => return Err(database::of_another_version(other)),
            None => {
                self.script(SCHEMA)?;
                let first = database::first_process()?;
                self.script(&format!("ALTER TABLE sympa_dist.process ALTER COLUMN id RESTART WITH {first}"))?;
                let insert = "INSERT INTO sympa_dist.cluster (version, identity, since) VALUES ($1, $2, now())";
                self.execute(insert, &[&VERSION, &identity])?;
                identity.to_owned()
            }
        };
        self.script("COMMIT")?;
        Ok(found)
    }

    fn drop_tables(&mut self) -> Result<()> {
        self.script("DROP SCHEMA IF EXISTS sympa_dist CASCADE")
    }

    fn identity(&mut self) -> Result<String> {
        match self.found_version()? {
            Some((VERSION, identity)) => Ok(identity),
            Some((other, _)) => Err(database::of_another_version(other)),
            None => Err(DatabaseError::NoTables),
        }
    }

    fn register(&mut self, process: &Process) -> Result<i64> {
        let Process { host, pid, boot, started, program, workers } = process;
        let insert = "INSERT INTO sympa_dist.process (host, pid, boot, started, program, workers, since, seen) \
                      VALUES ($1, $2, $3, $4, $5, $6, now(), now()) RETURNING id";
        let rows = self.query(insert, &[host, &i64::from(*pid), boot, started, program, workers])?;
        Ok(rows[0].get(0))
    }

    fn leave(&mut self, process: i64) -> Result<()> {
        let back = "UPDATE sympa_dist.lease SET process = NULL, renewed = renewed + 1 + floor(random() * 1e6)::bigint WHERE process = $1";
        self.execute(back, &[&process])?;
        self.execute("DELETE FROM sympa_dist.process WHERE id = $1", &[&process])
    }

    fn claim(&mut self, key: &Key, process: i64, worker: &str, lasts: Duration) -> Result<Claimed> {
        let Statements { claim, holder, .. } = self.prepared()?;
        let (message, part, lasts) = (&*key.message, &*key.part, millis(lasts));
        if let Some(row) = self.query(&claim, &[&message, &part, &process, &worker, &lasts])?.first() {
            return Ok(Claimed::Won { fence: row.get(0), clean: row.get(1) });
        }
        let rows = self.query(&holder, &[&message, &part])?;
        let Some(row) = rows.first() else { return Ok(Claimed::Moved) };
        let Some(process) = row.get::<_, Option<i64>>(0) else { return Ok(Claimed::Moved) };
        Ok(Claimed::HeldBy(Holder {
            process,
            version: Version { fence: row.get(1), renewed: row.get(2) },
            lasts: Duration::from_millis(row.get::<_, i64>(3).unsigned_abs()),
            host: row.get::<_, Option<String>>(4).unwrap_or_default(),
            pid: row.get::<_, Option<i64>>(5).unwrap_or_default() as u32,
            boot: row.get::<_, Option<String>>(6).unwrap_or_default(),
            started: row.get::<_, Option<i64>>(7).unwrap_or_default(),
        }))
    }

    fn take_over(
        &mut self,
        key: &Key,
        seen: Version,
        process: i64,
        worker: &str,
        lasts: Duration,
    ) -> Result<Option<i64>> {
        let take_over = self.prepared()?.take_over;
        let (message, part, lasts) = (&*key.message, &*key.part, millis(lasts));
        let Version { fence, renewed } = seen;
        let rows = self.query(&take_over, &[&message, &part, &fence, &renewed, &process, &worker, &lasts])?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    fn give_back(&mut self, key: &Key, process: i64, fence: i64, clean: bool) -> Result<()> {
        let statement = self.prepared()?.give_back;
        self.execute(&statement, &[&&*key.message, &&*key.part, &process, &fence, &clean])
    }

    fn finish(&mut self, key: &Key, process: i64, fence: i64) -> Result<()> {
        let statement = self.prepared()?.finish;
        self.execute(&statement, &[&&*key.message, &&*key.part, &process, &fence])
    }

    fn renew(&mut self, process: i64, lasts: Duration) -> Result<Option<Vec<(Key, i64)>>> {
        let renew = self.prepared()?.renew;
        let rows = self.query(&renew, &[&process, &millis(lasts)])?;
        if rows.is_empty() {
            return Ok(None);
        }
        Ok(Some(rows.iter().filter_map(key).collect()))
    }

    fn tidy(&mut self) -> Result<()> {
        self.script(
            "DELETE FROM sympa_dist.lease WHERE process IS NULL AND expires < now() - interval '1 day'; \
             DELETE FROM sympa_dist.process p WHERE seen < now() - interval '1 day' \
             AND NOT EXISTS (SELECT 1 FROM sympa_dist.lease l WHERE l.process = p.id)",
        )
    }

    fn announce(&mut self, process: i64, names: &[String]) -> Result<()> {
        let mut text = process.to_string();
        let notify = |text: &str| self.execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &text]);
        for name in names {
            if text.len() + 1 + name.len() > MOST_OCTETS {
                notify(&text)?;
                text = process.to_string();
            }
            text.push('\n');
            text.push_str(name);
        }
        notify(&text)
    }

    fn processes(&mut self) -> Result<Vec<ProcessRow>> {
        let rows = self.query(
            "SELECT id, host, pid, program, workers, extract(epoch FROM now() - since)::float8, \
             extract(epoch FROM now() - seen)::float8 FROM sympa_dist.process ORDER BY host, pid, id",
            &[],
        )?;
        let row = |row: &Row| ProcessRow {
            id: row.get(0),
            host: row.get(1),
            pid: row.get::<_, i64>(2) as u32,
            version: row.get(3),
            workers: row.get(4),
            age: row.get(5),
            last_seen: row.get(6),
        };
        Ok(rows.iter().map(row).collect())
    }

    fn leases(&mut self) -> Result<Vec<LeaseRow>> {
        let rows = self.query(
            "SELECT process, message, part, worker, fence, extract(epoch FROM now() - since)::float8, \
             extract(epoch FROM expires - now())::float8 FROM sympa_dist.lease WHERE process IS NOT NULL \
             ORDER BY message, part",
            &[],
        )?;
        let row = |row: &Row| LeaseRow {
            process: row.get(0),
            message: row.get(1),
            part: row.get(2),
            worker: row.get(3),
            fence: row.get(4),
            age: row.get(5),
            left: row.get(6),
        };
        Ok(rows.iter().map(row).collect())
    }
}

/// Hears notifications.
pub struct Listener {
    runtime: Runtime,
    connection: Connecting,
    /// As long as it is there, the connection is.
    _client: Client,
    process: i64,
}

/// How long without a word until the connection is tried: one that was cut somewhere says nothing by itself.
const SILENCE: Duration = Duration::from_secs(20);

impl Listener {
    pub fn connect(access: &Access, process: i64) -> Result<Listener> {
        let (runtime, client, mut connection) = open(access, |connection| connection)?;
        let listen = async {
            let listen = client.batch_execute("LISTEN sympa_dist");
            tokio::pin!(listen);
            loop {
                tokio::select! {
                    done = &mut listen => return done.map_err(|error| failed(&error)),
                    message = connection.next() => match message {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Err(failed(&error)),
                        None => return Err(DatabaseError::Away("connection closed".to_owned())),
                    }
                }
            }
        };
        runtime.block_on(async { timeout(PATIENCE, listen).await }).unwrap_or_else(|_| Err(no_answer()))?;
        Ok(Listener { runtime, connection, _client: client, process })
    }
}

impl Hearing for Listener {
    fn next(&mut self) -> Result<Option<News>> {
        let Listener { runtime, connection, _client: client, process } = self;
        let next = async {
            let ping = async {
                tokio::time::sleep(SILENCE).await;
                timeout(PATIENCE, client.batch_execute("")).await
            };
            tokio::pin!(ping);
            loop {
                let message = tokio::select! {
                    message = connection.next() => message,
                    answer = &mut ping => return match answer {
                        Ok(Ok(())) => Ok(None),
                        Ok(Err(error)) => Err(failed(&error)),
                        Err(_) => Err(no_answer()),
                    },
                };
                match message {
                    Some(Ok(AsyncMessage::Notification(news))) if news.channel() == CHANNEL => {
                        let mut lines = news.payload().lines();
                        if lines.next() != Some(&*process.to_string()) {
                            return Ok(Some(News::Names(lines.map(str::to_owned).collect())));
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(failed(&error)),
                    None => return Err(DatabaseError::Away("connection closed".to_owned())),
                }
            }
        };
        runtime.block_on(next)
    }
}
