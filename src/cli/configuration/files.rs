//! Whether the files that the configuration names are what `run` needs, and whether this program can do what it says.
//!
//! They are read by the code that `run` reads them by, and by whoever asks: `run`'s user may be allowed less, or more.
//! Nothing is made or written, nobody is connected to.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Access, OFlags, access};

use super::{Loaded, Source};
use crate::deliver::{RelaySettings, RelayUrl};

const NO_START: &str = "run does not start";

impl Loaded {
    /// What is wrong with them, a line each: where the configuration names it, which one it is, what the system said, and
    /// what `run` does.
    pub fn unfit_files(&self) -> Vec<String> {
        let relays = self.settings.relays.iter().zip(&self.relay_sources).filter_map(|(relay, source)| {
            let (why, fate) = unfit_relay(relay)?;
            Some(format!("{source}: relay {}: {why}; {fate}", relay.url))
        });
        let mut wrong: Vec<String> = relays.collect();
        wrong.extend(self.unfit_cluster());
        wrong.extend(self.unfit_http());
        if let Some(path) = &self.settings.events.path
            && let Err(error) = could_append(path)
        {
            let why = format!("events.path {}: {error}", path.display());
            wrong.push(self.unfit("events.path", why, "run keeps no events, and tries again every second"));
        }
        wrong
    }

    fn unfit(&self, key: &str, why: impl Display, fate: &str) -> String {
        format!("{}: {why}; {fate}", self.sources.get(key).unwrap_or(&Source::Default))
    }

    #[cfg(feature = "cluster")]
    fn unfit_cluster(&self) -> Option<String> {
        use crate::claim::database::{self, BadAccess};

        let error = database::Access::from_settings(&self.settings.cluster).err()?;
        let key = match &error {
            BadAccess::Password { .. } => "cluster.password_file",
            BadAccess::Authorities(_) if self.settings.cluster.ca_file.is_some() => "cluster.ca_file",
            BadAccess::Authorities(_) | BadAccess::Url(_) | BadAccess::InTheClear => "cluster.database",
        };
        Some(self.unfit(key, error, NO_START))
    }

    #[cfg(not(feature = "cluster"))]
    fn unfit_cluster(&self) -> Option<String> {
        None
    }

    #[cfg(feature = "http")]
    fn unfit_http(&self) -> Vec<String> {
        use crate::monitor::http::{self, HttpError};

        let told = |error: HttpError| {
            let fate = match &error {
                HttpError::Token { .. } => "run shows all over HTTP, and refuses whatever would change something",
                _ => "run serves nothing over HTTP, and distributes mail all the same",
            };
            self.unfit(error.key(), error, fate)
        };
        http::check(&self.settings.http).into_iter().map(told).collect()
    }

    #[cfg(not(feature = "http"))]
    fn unfit_http(&self) -> Vec<String> {
        Vec::new()
    }

    /// What was set for HTTP, where this program can't serve it.
    pub fn unserved(&self, is_built_in: bool) -> Option<String> {
        if is_built_in || self.settings.http.listen.is_empty() {
            return None;
        }
        let is_for_http = |name: &str| name.starts_with("http.") || name.starts_with("metrics.");
        let set = self.sources.iter().filter(|(name, _)| is_for_http(name));
        let set: Vec<String> = set.map(|(name, source)| format!("{name} ({source})")).collect();
        let why = "this program was built without HTTP (feature http), and serves nothing";
        (!set.is_empty()).then(|| format!("{}: {why}", set.join(", ")))
    }
}

/// What is wrong, and what becomes of it.
fn unfit_relay(relay: &RelaySettings) -> Option<(String, &'static str)> {
    if let Err(error) = relay.build() {
        return Some((error.to_string(), NO_START));
    }
    // Whoever names some believes that they are looked at.
    if let Err(error) = relay.read_authorities() {
        let fate = "run does not read it: it verifies certificates for smtps:// and starttls = \"required\" alone";
        return Some((error.to_string(), fate));
    }
    let RelayUrl::Sendmail { path } = &relay.url else { return None };
    let error = access(path, Access::EXEC_OK).err()?;
    Some((error.to_string(), "run takes the relay for one that is down, and tries again"))
}

/// Whether what happens could be appended to that file, or to one that is made there.
fn could_append(path: &Path) -> io::Result<()> {
    // As the event log opens it, but that none is made: it would be this user's, and not `run`'s.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    match OpenOptions::new().append(true).custom_flags(flags.bits().cast_signed()).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = path.parent().unwrap_or(path);
            access(directory, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
                let error = io::Error::from(error);
                io::Error::new(error.kind(), format!("its directory: {error}"))
            })
        }
        opened => opened.map(drop),
    }
}
