//! The way to the database, where it leaves this machine.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::site::{DONE, Site, TRY_AGAIN, USAGE};
use crate::support::database::{Database, Kind};
use crate::support::host::Wires;
use crate::support::spool::wait_until;

/// An authority's certificate in a file, and with it a server's for that address.
struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let (dir, key) = (tempfile::tempdir().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { dir, issuer: Issuer::new(params, key) }
    }

    /// For `[cluster]`.
    fn setting(&self) -> String {
        format!("ca_file = '{}'", self.dir.path().join("ca.pem").display())
    }

    fn issue(&self, address: IpAddr, into: &Path) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![address.to_string()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(into.join("server.pem"), certificate.pem()).unwrap();
        fs::write(into.join("server.key"), key.serialize_pem()).unwrap();
        fs::set_permissions(into.join("server.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
}

/// A PostgreSQL that speaks TLS to whoever comes over the network, and nothing else.
fn encrypting(authority: &Authority, address: IpAddr) -> Database {
    Database::start_at(Kind::Postgres, address, |dir| {
        authority.issue(address, dir);
        let allowed = "local all all trust\nhostssl all all 0.0.0.0/0 scram-sha-256\n";
        fs::write(dir.join("data/pg_hba.conf"), allowed).unwrap();
        let set = |name: &str, value: String| ["-c".to_owned(), format!("{name}={value}")];
        let file = |name: &str| dir.join(name).display().to_string();
        let settings = [
            set("ssl", "on".into()),
            set("ssl_cert_file", file("server.pem")),
            set("ssl_key_file", file("server.key")),
        ];
        settings.concat()
    })
}

fn with(database: &Database, cluster: &[&str]) -> Site {
    let mut site = Site::new(&database.url());
    site.knobs.cluster = cluster.join("\n");
    site
}

#[test]
fn postgresqls_certificate_has_to_be_an_authoritys_that_is_believed() {
    let (authority, another) = (Authority::new(), Authority::new());
    let database = encrypting(&authority, Ipv4Addr::LOCALHOST.into());
    // This machine is spoken to in the clear, which this server does not take.
    with(&database, &[]).runs("cluster init", TRY_AGAIN).says(&["pg_hba.conf"]);
    with(&database, &["tls = 'always'", &another.setting()]).runs("cluster init", TRY_AGAIN).says(&["certificate"]);
    with(&database, &["tls = 'always'"]).runs("cluster init", TRY_AGAIN).says(&["certificate"]);
    let nothing = "ca_file = '/nowhere/ca.pem'";
    with(&database, &["tls = 'always'", nothing]).runs("cluster init", USAGE).says(&["/nowhere/ca.pem"]);
    let site = with(&database, &["tls = 'always'", &authority.setting()]);
    site.runs("cluster init", DONE);
    let mut node = site.node("one");
    let everybody = site.put("5", "l@example.org.1700000000.1", "p", 1, 30);
    site.sink.wait_for_recipients(everybody.len());
    let encrypted =
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND usename = 'sympa'";
    let both = || database.sql(encrypted) == "2";
    wait_until("the keeper's connection, and the listener's", both, || node.log());
    node.stop();
}

#[test]
fn beyond_this_machine_postgresql_is_spoken_to_encrypted_without_being_told_to() {
    let wires = Wires::new();
    let (authority, another) = (Authority::new(), Authority::new());
    let database = encrypting(&authority, wires.database());
    with(&database, &[&another.setting()]).runs("cluster init", TRY_AGAIN).says(&["certificate"]);
    with(&database, &["tls = 'never'"]).runs("cluster init", TRY_AGAIN).says(&["pg_hba.conf"]);
    with(&database, &[&authority.setting()]).runs("cluster init", DONE);
}

#[test]
fn beyond_this_machine_mariadb_is_only_spoken_to_by_whoever_says_that_this_may_be_in_the_clear() {
    let wires = Wires::new();
    let database = Database::start_at(Kind::MariaDb, wires.database(), |_| Vec::new());
    for tls in ["auto", "always"] {
        let site = with(&database, &[&format!("tls = '{tls}'")]);
        site.runs("cluster init", USAGE).says(&["cluster.tls", "in the clear"]);
        site.runs("run", TRY_AGAIN).says(&["not marked"]);
    }
    with(&database, &["tls = 'never'"]).runs("cluster init", DONE);
}
