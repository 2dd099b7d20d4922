//! The view over HTTP: JSON, events, metrics, the page; and the operators' moves, for who has the token.
//!
//! One thread with one event loop, apart from all workers, and behind them where the processor is short. It takes from a
//! client as little as it can ([`guests`]): so many connections, one request each, a time and a size for the request, a
//! time for the answer. Answers come from memory; only the moves touch the spool, as the commands do.
//!
//! It listens on loopback or a Unix socket unless told otherwise. Whoever can connect may look; a move needs the token,
//! and beyond loopback TLS ([`tls`]), or the operator's word that somebody else encrypts (`http.insecure`). The `Host`
//! that a browser names must be one of this host's names, so that no page from elsewhere gets here by a name of its own
//! (DNS rebinding).
//!
//! `openapi.json` says all this to programs; tests hold it to what is answered.

mod actions;
mod api;
mod guard;
mod guests;
mod page;
mod routes;
mod socket;
mod stream;
mod tls;
mod workers;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use parking_lot::RwLock;
use tokio::net::TcpListener;
use tracing::{error, info, warn};

use super::view::View;
use crate::daemon::settings::{HttpSettings, Settings};
use guard::Actors;
use guests::Listener;
use routes::Routes;
use socket::Socket;
use tls::Tls;

/// Why nothing is served; with [`HttpError::Token`], why nobody may act.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("http.listen: cannot listen on {place}: {source}")]
    Listen { place: String, source: io::Error },
    #[error("http.token_file {}: {why}", path.display())]
    Token { path: PathBuf, why: String },
    #[error("http.tls_certificate {}: {why}", path.display())]
    Certificate { path: PathBuf, why: String },
    #[error("http.tls_key {}: {why}", path.display())]
    Key { path: PathBuf, why: String },
}

impl HttpError {
    /// Of the configuration.
    pub fn key(&self) -> &'static str {
        match self {
            HttpError::Listen { .. } => "http.listen",
            HttpError::Token { .. } => "http.token_file",
            HttpError::Certificate { .. } => "http.tls_certificate",
            HttpError::Key { .. } => "http.tls_key",
        }
    }
}

/// What every answer is made from.
struct Served {
    view: Arc<View>,
    settings: Settings,
    actors: RwLock<Actors>,
    /// Actions are for loopback, a Unix socket, TLS, or who said that it is insecure.
    allows_actions: bool,
    /// `None` on a Unix socket, where no browser comes.
    hosts: Option<Vec<String>>,
    stream: stream::Stream,
}

type App = Arc<Served>;

impl Served {
    /// Looks at the settings in force; before there is a scheduler, at those of the start.
    fn in_force<T>(&self, look: impl FnOnce(&Settings) -> T) -> T {
        match self.view.live.current() {
            Some(current) => look(&current.settings),
            None => look(&self.settings),
        }
    }
}

/// That it is served. Dropped, what it left in the file system goes; it is served until the process ends all the same.
pub struct Serving {
    _socket: Option<Socket>,
}

/// What becomes of actions for a token that is none.
const NOBODY_ACTS: &str =
    "all is shown, and actions are refused until it is mended and the configuration is read again (HUP)";

/// What is wrong with the files that the settings name. Listens nowhere.
pub fn check(http: &HttpSettings) -> Vec<HttpError> {
    if !is_wanted(http) {
        return Vec::new();
    }
    let in_the_way = http.listen.strip_prefix("unix:").and_then(|path| socket::is_there(path.as_ref()).err());
    let in_the_way = in_the_way.map(|source| HttpError::Listen { place: http.listen.clone(), source });
    let tls = match (&http.tls_certificate, &http.tls_key) {
        (Some(certificate), Some(key)) => tls::check(certificate, key),
        _ => Vec::new(),
    };
    let token = Actors::read(http.token_file.as_deref()).err();
    in_the_way.into_iter().chain(tls).chain(token).collect()
}

/// Serves until the process ends. Says where it listens in the log.
pub fn start(view: Arc<View>, settings: &Settings) -> Result<Serving, HttpError> {
    let http = settings.http.clone();
    let tls = match (&http.tls_certificate, &http.tls_key) {
        (Some(certificate), Some(key)) => Some(Arc::new(Tls::read(certificate, key)?)),
        _ => None,
    };
    let actors = Actors::read(http.token_file.as_deref()).unwrap_or_else(|error| {
        error!("{error}; {NOBODY_ACTS}");
        Actors::Unknown
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build();
    let failed = |place: &str| {
        let place = place.to_owned();
        move |source| HttpError::Listen { place, source }
    };
    let runtime = runtime.map_err(failed(&http.listen))?;
    let (listener, address, socket) = {
        let _entered = runtime.enter();
        bind(&http.listen).map_err(failed(&http.listen))?
    };
    let allows_actions =
        address.is_none_or(|address| address.ip().to_canonical().is_loopback()) || http.insecure || tls.is_some();
    if !matches!(actors, Actors::Nobody) && !allows_actions {
        warn!(
            listen = http.listen,
            "http: actions are refused beyond loopback without http.tls_certificate or http.insecure = true"
        );
    }
    match address {
        Some(address) => info!(listen = %address, tls = tls.is_some(), "http"),
        None => info!(listen = http.listen, tls = tls.is_some(), "http"),
    }
    let served = Arc::new(Served {
        view,
        actors: RwLock::new(actors),
        allows_actions,
        hosts: address.map(|address| guard::hosts(address, &http.hosts)),
        stream: stream::Stream::default(),
        settings: settings.clone(),
    });
    let serve = move || {
        // Mail comes first.
        let _ = rustix::process::setpriority_process(None, NICE);
        runtime.spawn(read_secrets_again(served.clone(), tls.clone()));
        runtime.block_on(guests::receive(listener, tls, router(served)));
    };
    std::thread::Builder::new().name("http".into()).spawn(serve).map_err(failed(&http.listen))?;
    Ok(Serving { _socket: socket })
}

/// Of this thread, beside workers that have 0.
const NICE: i32 = 10;

fn routes(served: App) -> Routes {
    page::add_to(actions::add_to(api::add_to(Routes::new(served))))
}

fn router(served: App) -> Router {
    routes(served).finish()
}

/// With each reload of the configuration.
async fn read_secrets_again(served: App, tls: Option<Arc<Tls>>) {
    let mut reloads = served.view.reloads();
    while reloads.changed().await.is_ok() {
        read_token_again(&served);
        if let Err(error) = tls.as_deref().map_or(Ok(()), Tls::read_again) {
            warn!("{error}; {STAYS}");
        }
    }
}

const STAYS: &str = "the one that was read before stays in force";

/// A token whose file has gone, or can't be used any more, is withdrawn: the one that was read before may be the reason.
fn read_token_again(served: &Served) {
    let read = Actors::read(served.settings.http.token_file.as_deref());
    let mut actors = served.actors.write();
    let was_unknown = matches!(*actors, Actors::Unknown);
    *actors = read.unwrap_or_else(|error| {
        error!("{error}; {NOBODY_ACTS}");
        Actors::Unknown
    });
    if was_unknown && matches!(*actors, Actors::Token(_)) {
        info!("http.token_file: it was read, and who has the token may act");
    }
}

fn bind(listen: &str) -> io::Result<(Listener, Option<SocketAddr>, Option<Socket>)> {
    if let Some(path) = listen.strip_prefix("unix:") {
        let (listener, socket) = Socket::bind(Path::new(path))?;
        return Ok((Listener::Unix(listener), None, Some(socket)));
    }
    let listener = std::net::TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    guests::prepare(&listener)?;
    let address = listener.local_addr()?;
    Ok((Listener::Tcp(TcpListener::from_std(listener)?), Some(address), None))
}

/// Whether anything is to be served at all.
pub fn is_wanted(settings: &HttpSettings) -> bool {
    !settings.listen.is_empty()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::daemon::live::Live;

    fn served() -> App {
        let spool = tempfile::tempdir().unwrap();
        Arc::new(Served {
            view: View::start(Arc::new(Live::default()), spool.path()).unwrap(),
            settings: Settings::default(),
            actors: RwLock::new(Actors::Nobody),
            allows_actions: false,
            hosts: None,
            stream: stream::Stream::default(),
        })
    }

    #[test]
    fn every_route_is_in_the_document_and_no_other() {
        let document: Value = serde_json::from_str(api::OPENAPI).unwrap();
        let mut documented = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            let methods = operations.as_object().unwrap().keys().filter(|name| *name != "parameters");
            documented.extend(methods.map(|method| (method.clone(), path.clone())));
        }
        let served: BTreeSet<(String, String)> =
            routes(served()).known.iter().map(|(method, path)| ((*method).into(), (*path).into())).collect();
        assert_eq!(served, documented);
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}
