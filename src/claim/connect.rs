//! Which database it is, by the URL's scheme, and the way in.

use super::database::{Access, BadAccess, Database, DatabaseError, Hearing};
use super::settings::{ClusterSettings, Kind};
use super::{mariadb, postgres};

impl Access {
    /// `None`: there is no cluster.
    pub fn from_settings(settings: &ClusterSettings) -> Result<Option<Access>, BadAccess> {
        let Some(url) = settings.database.clone() else { return Ok(None) };
        let password = match &settings.password_file {
            None => None,
            Some(path) => {
                let bad = |why: String| BadAccess::Password { path: path.clone(), why };
                let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
                match text.lines().next().map(str::trim).filter(|line| !line.is_empty()) {
                    Some(line) => Some(line.to_owned()),
                    None => return Err(bad("its first line is empty".to_owned())),
                }
            }
        };
        let access = Access { settings: settings.clone(), url, password };
        match access.url.kind() {
            Kind::Postgres => postgres::check(&access)?,
            Kind::MariaDb => mariadb::check(&access)?,
        }
        Ok(Some(access))
    }

    pub fn connect(&self) -> Result<Box<dyn Database>, DatabaseError> {
        Ok(match self.url.kind() {
            Kind::Postgres => Box::new(postgres::Postgres::connect(self)?),
            Kind::MariaDb => Box::new(mariadb::MariaDb::connect(self)?),
        })
    }

    /// News for `process` of what others announce from now on.
    pub fn listen(&self, process: i64) -> Result<Box<dyn Hearing>, DatabaseError> {
        Ok(match self.url.kind() {
            Kind::Postgres => Box::new(postgres::Listener::connect(self, process)?),
            Kind::MariaDb => Box::new(mariadb::Poller::connect(self, process)?),
        })
    }
}
