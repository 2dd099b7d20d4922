//! How the hosts of a cluster agree.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterSettings {
    /// `None`: one machine.
    pub database: Option<DatabaseUrl>,
    /// Its first line is the password, if the URL has none.
    pub password_file: Option<PathBuf>,
    pub tls: Tls,
    /// Believed instead of the system's certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// How long a lease holds from its last renewal.
    pub lease: Duration,
    /// How often a database without notifications is asked for news.
    pub poll: Duration,
}

/// The longest lease that can be asked for.
pub const LONGEST: Duration = Duration::from_secs(60 * 60);

/// When to encrypt what goes to the database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tls {
    /// Beyond this machine, and then the certificate has to be right.
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Postgres,
    MariaDb,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Postgres => "PostgreSQL",
            Kind::MariaDb => "MariaDB",
        }
    }
}

/// Where the database is. It may have a password in it, and is shown without.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    kind: Kind,
    url: Box<str>,
}

impl DatabaseUrl {
    pub const EXPECTED: &str = "postgres://user@host/database, mysql://user@host/database, or \"\" for one machine";

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// With the password: not for anybody's eyes.
    pub fn secret(&self) -> &str {
        &self.url
    }

    /// Whether the password is in it.
    pub fn has_password(&self) -> bool {
        self.password().is_some()
    }

    fn password(&self) -> Option<std::ops::Range<usize>> {
        let start = self.url.find("://")? + 3;
        let authority = self.url[start..].find(['/', '?']).map_or(self.url.len(), |end| start + end);
        let at = start + self.url[start..authority].rfind('@')?;
        let colon = start + self.url[start..at].find(':')?;
        Some(colon + 1..at)
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<DatabaseUrl, String> {
        let kind = match url.split_once("://") {
            Some(("postgres" | "postgresql", rest)) if !rest.is_empty() => Kind::Postgres,
            Some(("mysql" | "mariadb", rest)) if !rest.is_empty() => Kind::MariaDb,
            _ => return Err(format!("expected {}", DatabaseUrl::EXPECTED)),
        };
        // Elsewhere it would be shown.
        if url.contains("password=") {
            return Err("the password belongs behind the user's name, or into cluster.password_file".to_owned());
        }
        let url = DatabaseUrl { kind, url: url.into() };
        // It would not be taken for a password, and be shown.
        let rest = url.url.split_once("://").map_or("", |(_, rest)| rest);
        let user = rest.split('@').next().filter(|user| user.len() < rest.len()).unwrap_or_default();
        let has_password = user.find(':').is_some_and(|colon| user.find(['/', '?']).is_none_or(|end| colon < end));
        if url.password().is_none() && has_password {
            let what = "a password with / ? or # in it has to be percent-encoded, or in cluster.password_file";
            return Err(what.to_owned());
        }
        Ok(url)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.password() {
            None => f.write_str(&self.url),
            Some(password) => write!(f, "{}***{}", &self.url[..password.start], &self.url[password.end..]),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Default for ClusterSettings {
    fn default() -> ClusterSettings {
        ClusterSettings {
            database: None,
            password_file: None,
            tls: Tls::Auto,
            ca_file: None,
            lease: Duration::from_secs(60),
            poll: Duration::from_millis(200),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("postgres://u:s3:c@ret@db/x", "postgres://u:***@db/x"),
            ("mysql://u:secret@db:3306/x?socket=/run/a:b@c", "mysql://u:***@db:3306/x?socket=/run/a:b@c"),
            ("postgres://u@db/x", "postgres://u@db/x"),
            ("postgres://db/x?host=/run", "postgres://db/x?host=/run"),
        ] {
            let url: DatabaseUrl = url.parse().unwrap();
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), shown.to_owned()));
        }
        assert!("postgres://u@db/x?password=secret".parse::<DatabaseUrl>().is_err());
        for open in ["postgres://u:s/cret@h/d", "postgres://u:s?cret@h/d", "mysql://u:s/cret@h/d", "mysql://u:s#@h/d"] {
            let refused = open.parse::<DatabaseUrl>().map(|url| url.to_string());
            assert!(
                refused.as_ref().map_or_else(|why| !why.contains("cret"), |url| !url.contains("s#")),
                "{refused:?}"
            );
        }
        assert!("sqlite://x".parse::<DatabaseUrl>().is_err());
    }
}
