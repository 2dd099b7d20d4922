//! The view over HTTP: JSON, events, metrics, the page; and the operators' moves, for who has the token.
//!
//! One thread with one event loop, apart from all workers. It takes from a client as little as it can: so many
//! connections, a time for the head of a request, one request a connection, a time for the answer, a size for the body.
//! Answers come from memory; only the moves touch the spool, as the commands do.
//!
//! It listens on loopback or a Unix socket unless told otherwise. Whoever can connect may look; a move needs the token,
//! and beyond loopback the operator's word that somebody else encrypts (`http.insecure`). The `Host` that a browser names
//! must be one of this host's names, so that no page from elsewhere gets here by a name of its own (DNS rebinding).

mod actions;
mod api;
mod guard;
mod page;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::Request;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use super::view::View;
use crate::daemon::settings::{HttpSettings, Settings};

/// Clients at once; more wait to be accepted.
const CONNECTIONS: usize = 256;
/// Listeners to events at once.
const STREAMS: usize = 128;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For one request and its answer, events excepted.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Octets of a request's head, and of its body.
const HEAD: usize = 16 * 1024;
const BODY: usize = 64 * 1024;

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("http.listen: cannot listen on {place}: {source}")]
    Listen { place: String, source: io::Error },
    #[error("http.token_file {}: {why}", path.display())]
    Token { path: PathBuf, why: String },
}

/// What every answer is made from.
struct Served {
    view: Arc<View>,
    settings: Settings,
    token: Option<guard::Token>,
    /// Actions are for loopback, a Unix socket, or who said that it is insecure.
    allows_actions: bool,
    /// `None` on a Unix socket, where no browser comes.
    hosts: Option<Vec<String>>,
    streams: Semaphore,
}

type App = Arc<Served>;

/// Set by an answer that has no end.
#[derive(Clone, Default)]
struct Endless(Arc<AtomicBool>);

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Serves until the process ends. Says where it listens in the log.
pub fn start(view: Arc<View>, settings: &Settings) -> Result<(), HttpError> {
    let http = settings.http.clone();
    let token = http.token_file.as_deref().map(guard::Token::read).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let failed = |place: &str| {
        let place = place.to_owned();
        move |source| HttpError::Listen { place, source }
    };
    let runtime = runtime.map_err(failed(&http.listen))?;
    let (listener, address) = {
        let _entered = runtime.enter();
        bind(&http.listen).map_err(failed(&http.listen))?
    };
    let is_local = address.is_none_or(|address| address.ip().is_loopback());
    if !is_local && !http.insecure {
        warn!(listen = http.listen, "http: actions are refused beyond loopback without http.insecure = true");
    }
    match address {
        Some(address) => info!(listen = %address, "http"),
        None => info!(listen = http.listen, "http"),
    }
    let served = Served {
        view,
        token,
        allows_actions: is_local || http.insecure,
        hosts: address.map(|address| guard::hosts(address, &http.hosts)),
        streams: Semaphore::new(STREAMS),
        settings: settings.clone(),
    };
    let app = router(Arc::new(served));
    let serve = move || runtime.block_on(accept(listener, app));
    std::thread::Builder::new().name("http".into()).spawn(serve).map_err(failed(&http.listen))?;
    Ok(())
}

fn router(served: App) -> Router {
    api::routes()
        .merge(actions::routes())
        .merge(page::routes())
        .layer(axum::middleware::from_fn_with_state(served.clone(), guard::check))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(served)
}

fn bind(listen: &str) -> io::Result<(Listener, Option<SocketAddr>)> {
    if let Some(path) = listen.strip_prefix("unix:") {
        let path = Path::new(path);
        // What a process that died left; one that lives still answers.
        if std::fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket())
            && std::os::unix::net::UnixStream::connect(path).is_err()
        {
            std::fs::remove_file(path)?;
        }
        return Ok((Listener::Unix(UnixListener::bind(path)?), None));
    }
    let listener = std::net::TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((Listener::Tcp(TcpListener::from_std(listener)?), Some(address)))
}

async fn accept(listener: Listener, app: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = room.clone().acquire_owned().await.expect("it is never closed");
        let accepted = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                let _ = stream.set_nodelay(true);
                spawn(stream, app.clone(), place);
            }),
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| spawn(stream, app.clone(), place)),
        };
        if let Err(error) = accepted {
            // Out of descriptors, mostly; mail needs them more.
            debug!("http: cannot accept a connection: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// One connection, one request.
fn spawn(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    app: Router,
    place: tokio::sync::OwnedSemaphorePermit,
) {
    let endless = Endless::default();
    let marked = endless.clone();
    let app = app.layer(axum::middleware::map_request(move |mut request: Request<Body>| {
        request.extensions_mut().insert(marked.clone());
        async { request }
    }));
    tokio::spawn(async move {
        let _place = place;
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
        tokio::pin!(connection);
        let over = tokio::time::sleep(ANSWER_TIMEOUT);
        tokio::pin!(over);
        tokio::select! {
            _ = &mut connection => return,
            () = &mut over => {}
        }
        if endless.0.load(Ordering::Relaxed) {
            let _ = connection.await;
        }
    });
}

/// Whether anything is to be served at all.
pub fn is_wanted(settings: &HttpSettings) -> bool {
    !settings.listen.is_empty()
}
