//! PostgreSQL and MariaDB, the real ones, with a directory and a port of their own.
//!
//! A server is a child of the test: it ends with it, also when it fails. Nothing of the machine's own databases is read or
//! touched. Where they are not installed, the tests fail. What makes an empty database is done once a checkout, and kept
//! beside what cargo builds.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::spool::wait_until;

const POSTGRES: &str = "/usr/lib/postgresql/15/bin";
const MARIADBD: &str = "/usr/sbin/mariadbd";
/// Nowhere to be seen but here and in the configuration.
pub const PASSWORD: &str = "s3sam-open";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Postgres,
    MariaDb,
}

pub const BOTH: [Kind; 2] = [Kind::Postgres, Kind::MariaDb];

impl Kind {
    /// The user that it runs as: servers refuse to be root.
    fn user(self) -> &'static str {
        match self {
            Kind::Postgres => "postgres",
            Kind::MariaDb => "mysql",
        }
    }

    fn template(self) -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-template-1", self.user()))
    }
}

/// A server with a database and a user of the name `sympa`. Dropped, it is killed.
pub struct Database {
    pub kind: Kind,
    dir: TempDir,
    address: IpAddr,
    port: u16,
    options: Vec<String>,
    server: Option<Child>,
}

#[track_caller]
fn call(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}: these tests need the packages postgresql, mariadb-server and util-linux")
    });
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}{text}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The command, run by that user; killed when the test's thread is.
fn as_user(user: &str, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        &format!("--reuid={user}"),
        &format!("--regid={user}"),
        "--clear-groups",
        "--pdeathsig=KILL",
        program,
    ]);
    command.current_dir("/");
    command
}

/// An empty server's directory. Whoever comes first makes it.
fn template(kind: Kind) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let template = kind.template();
    if template.exists() {
        return template;
    }
    // Where that user can get at it; the checkout may be anywhere.
    let made = readable();
    let (data, user) = (made.path().join("data"), kind.user());
    let own = fs::create_dir(&data).map(|()| call(Command::new("chown").arg(user).arg(&data)));
    own.unwrap();
    match kind {
        Kind::Postgres => {
            let mut init = as_user(user, &format!("{POSTGRES}/initdb"));
            init.args([
                "--no-sync",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
            ]);
            call(init.arg("-D").arg(&data));
            // Whoever comes to the address that it listens at may come, with the password.
            fs::write(data.join("pg_hba.conf"), "local all all trust\nhost all all 0.0.0.0/0 scram-sha-256\n").unwrap();
        }
        Kind::MariaDb => {
            let mut init = Command::new("mariadb-install-db");
            init.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--user=mysql"]);
            call(
                init.args(["--innodb-log-file-size=8M", "--skip-log-bin"]).arg(format!("--datadir={}", data.display())),
            );
        }
    }
    let draft = template.with_extension(std::process::id().to_string());
    call(Command::new("cp").arg("-a").arg(&data).arg(&draft));
    // Another test program may have been faster.
    if fs::rename(&draft, &template).is_err() {
        fs::remove_dir_all(&draft).unwrap();
    }
    template
}

/// A directory that other users may enter.
fn readable() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

impl Database {
    pub fn start(kind: Kind) -> Database {
        Database::start_at(kind, Ipv4Addr::LOCALHOST.into(), |_| Vec::new())
    }

    /// One that listens at that address, with options for the server; they are given its directory.
    pub fn start_at(kind: Kind, address: IpAddr, options: impl Fn(&Path) -> Vec<String>) -> Database {
        let dir = readable();
        call(Command::new("cp").arg("-a").arg(template(kind)).arg(dir.path().join("data")));
        let port = TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port();
        let options = options(dir.path());
        call(Command::new("chown").arg("-R").arg(kind.user()).arg(dir.path()));
        let mut database = Database { kind, dir, address, port, options, server: None };
        database.come_up();
        match kind {
            Kind::Postgres => {
                database.sql_in("postgres", &format!("CREATE ROLE sympa LOGIN PASSWORD '{PASSWORD}'"));
                database.sql_in("postgres", "CREATE DATABASE sympa OWNER sympa");
            }
            Kind::MariaDb => {
                database.sql_in(
                    "mysql",
                    &format!(
                        "CREATE DATABASE sympa; CREATE USER sympa@'%' IDENTIFIED BY '{PASSWORD}'; \
                         GRANT ALL ON sympa.* TO sympa@'%'"
                    ),
                );
            }
        }
        database
    }

    /// For `cluster.database`, with the password in it.
    pub fn url(&self) -> String {
        self.url_with(&format!(":{PASSWORD}"))
    }

    /// With that behind the user's name.
    pub fn url_with(&self, password: &str) -> String {
        let scheme = match self.kind {
            Kind::Postgres => "postgres",
            Kind::MariaDb => "mysql",
        };
        format!("{scheme}://sympa{password}@{}:{}/sympa", self.address, self.port)
    }

    /// Starts it, on the port that it had.
    pub fn come_up(&mut self) {
        let (data, socket) = (self.dir.path().join("data"), self.dir.path());
        let log = fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let (port, address) = (self.port.to_string(), self.address.to_string());
        let mut server = match self.kind {
            Kind::Postgres => {
                let mut server = as_user("postgres", &format!("{POSTGRES}/postgres"));
                server.arg("-D").arg(data).args(["-h", &address, "-p", &port, "-k"]).arg(socket);
                // A server that is killed loses nothing by that: the kernel lives.
                server.args(["-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "logging_collector=off"]);
                server
            }
            Kind::MariaDb => {
                let mut server = as_user("mysql", MARIADBD);
                server.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
                server.arg(format!("--socket={}", self.socket().display()));
                server.args([&format!("--port={port}"), &format!("--bind-address={address}")]);
                server.args(["--innodb-flush-method=nosync", "--innodb-buffer-pool-size=16M", "--skip-name-resolve"]);
                server.args(["--innodb-log-file-size=8M", "--skip-log-bin", "--performance-schema=off"]);
                server
            }
        };
        server.args(&self.options).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.server = Some(server.spawn().expect("setpriv runs"));
        let log = self.log();
        wait_until("the database answers", || self.answers(), || fs::read_to_string(&log).unwrap());
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    fn answers(&mut self) -> bool {
        let ended = self.server.as_mut().is_some_and(|server| server.try_wait().unwrap().is_some());
        assert!(!ended, "the database has ended: {}", fs::read_to_string(self.log()).unwrap());
        let database = if self.kind == Kind::Postgres { "postgres" } else { "mysql" };
        self.client(database, "SELECT 1").output().is_ok_and(|output| output.status.success())
    }

    fn client(&self, database: &str, statements: &str) -> Command {
        let mut client;
        match self.kind {
            Kind::Postgres => {
                client = Command::new(format!("{POSTGRES}/psql"));
                client.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database]);
                client.args(["-p", &self.port.to_string(), "-h"]).arg(self.dir.path()).args(["-c", statements]);
            }
            Kind::MariaDb => {
                client = Command::new("mariadb");
                client.args(["--no-defaults", "-N", "-B", "-u", "root", "--connect-timeout=5"]);
                client.arg(format!("--socket={}", self.socket().display())).args(["-e", statements, database]);
            }
        }
        client.stdin(Stdio::null());
        client
    }

    #[track_caller]
    fn sql_in(&self, database: &str, statements: &str) -> String {
        call(&mut self.client(database, statements))
    }

    /// What its administrator gets for an answer.
    #[track_caller]
    pub fn sql(&self, statements: &str) -> String {
        self.sql_in("sympa", statements)
    }

    /// One of the program's tables.
    pub fn table(&self, name: &str) -> String {
        match self.kind {
            Kind::Postgres => format!("sympa_dist.{name}"),
            Kind::MariaDb => format!("sympa_dist_{name}"),
        }
    }

    pub fn drop_tables(&self) {
        match self.kind {
            Kind::Postgres => self.sql("DROP SCHEMA sympa_dist CASCADE"),
            Kind::MariaDb => {
                self.sql("DROP TABLE sympa_dist_news, sympa_dist_lease, sympa_dist_process, sympa_dist_cluster")
            }
        };
    }

    fn signal(&self, signal: Signal) {
        let Some(server) = &self.server else { return };
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.id())).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
        for pid in [Pid::from_child(server)].into_iter().chain(children) {
            // One of the children may have ended by itself.
            let _ = kill_process(pid, signal);
        }
    }

    /// It is there, and answers nothing.
    pub fn halt(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Shut down in order.
    pub fn go_down(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        // PostgreSQL waits for nobody's connection on INT.
        let signal = if self.kind == Kind::Postgres { Signal::INT } else { Signal::TERM };
        kill_process(Pid::from_child(&server), signal).unwrap();
        server.wait().unwrap();
    }

    /// Everything of it dies at once.
    pub fn crash(&mut self) {
        self.signal(Signal::KILL);
        if let Some(mut server) = self.server.take() {
            server.wait().unwrap();
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.crash();
    }
}
