//! Who is connected: so many at once, and whoever dawdles makes room for whoever comes.
//!
//! A connection gets one request, a time to say it in, and a time to take the answer. When all places are taken, the one
//! that has been silent longest before its request was complete goes; where there is none, the one that has been taking
//! its answer longest. So a thousand clients that say nothing keep nobody out, and cost what the places cost. Answers
//! that wait to be taken have a bound of their own, in octets. Listeners to events don't make room: fewer of them are let
//! in than there are places.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::Response;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::AbortHandle;
use tracing::debug;

use super::tls::Tls;

/// Connections at once. A process has 1,024 descriptors where nobody gave it more, and mail needs most of them.
const PLACES: usize = 256;
/// For the handshake, and then for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// From connection to the end of the answer, events excepted.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Octets of a request's head.
const HEAD: usize = 16 * 1024;
/// Octets of answers that are being taken, all together.
const ANSWERS: usize = 64 * 1024 * 1024;
/// Octets of answers that the kernel keeps, of each connection.
const SEND_BUFFER: usize = 256 * 1024;
/// After a failure to accept: out of descriptors, mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// Marks an answer that has no end.
#[derive(Clone, Copy)]
pub struct Endless;

pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Its request is not complete.
    Asking,
    Answered {
        octets: usize,
    },
    Listening,
}

/// See the module.
#[derive(Default)]
struct Guests(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    /// By number, in the order in which they came.
    guests: BTreeMap<u64, Guest>,
    next: u64,
}

struct Guest {
    stage: Stage,
    task: Option<AbortHandle>,
}

/// Given back when dropped.
struct Place {
    guests: Arc<Guests>,
    number: u64,
}

impl Guests {
    /// Lets somebody in, and another one go where there is no place.
    fn admit(self: &Arc<Self>, start: impl FnOnce(Place) -> AbortHandle) {
        let mut inside = self.0.lock();
        let turned_out = if inside.guests.len() < PLACES { None } else { inside.turn_out(|_| true) };
        let number = inside.next;
        inside.next += 1;
        inside.guests.insert(number, Guest { stage: Stage::Asking, task: None });
        drop(inside);
        // Outside the lock: what is dropped with a task gives its place back.
        turned_out.iter().for_each(AbortHandle::abort);
        let task = start(Place { guests: self.clone(), number });
        if let Some(guest) = self.0.lock().guests.get_mut(&number) {
            guest.task = Some(task);
        }
    }
}

impl Inside {
    /// The one of `which` that has dawdled longest.
    fn turn_out(&mut self, which: impl Fn(u64) -> bool) -> Option<AbortHandle> {
        let oldest = |asking: bool| {
            let is_one = |stage| match stage {
                Stage::Asking => asking,
                Stage::Answered { .. } => !asking,
                Stage::Listening => false,
            };
            let mut guests = self.guests.iter();
            guests.find(|(number, guest)| is_one(guest.stage) && which(**number)).map(|(number, _)| *number)
        };
        let number = oldest(true).or_else(|| oldest(false))?;
        self.guests.remove(&number)?.task
    }

    /// Octets of answers.
    fn octets(&self) -> usize {
        let octets = |guest: &Guest| if let Stage::Answered { octets } = guest.stage { octets } else { 0 };
        self.guests.values().map(octets).sum()
    }
}

impl Place {
    fn set(&self, stage: Stage) {
        let mut inside = self.guests.0.lock();
        if let Some(guest) = inside.guests.get_mut(&self.number) {
            guest.stage = stage;
        }
        let mut turned_out = Vec::new();
        // Whoever asks has no answer yet; this one may be the biggest, and is the newest.
        while matches!(stage, Stage::Answered { octets } if octets > 0) && inside.octets() > ANSWERS {
            let is_answered = |guest: &Guest| matches!(guest.stage, Stage::Answered { octets } if octets > 0);
            let answered = inside.guests.iter().filter(|(number, guest)| **number != self.number && is_answered(guest));
            let Some(number) = answered.map(|(number, _)| *number).next() else { break };
            turned_out.extend(inside.guests.remove(&number).and_then(|guest| guest.task));
        }
        drop(inside);
        turned_out.iter().for_each(AbortHandle::abort);
    }

    fn is_listening(&self) -> bool {
        self.guests.0.lock().guests.get(&self.number).is_some_and(|guest| guest.stage == Stage::Listening)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.guests.0.lock().guests.remove(&self.number);
    }
}

/// What all connections inherit from the one that listens.
pub fn prepare(listener: &std::net::TcpListener) -> io::Result<()> {
    rustix::net::sockopt::set_tcp_nodelay(listener, true)?;
    rustix::net::sockopt::set_socket_send_buffer_size(listener, SEND_BUFFER)?;
    // A listener that reads nothing, or has gone without a word.
    rustix::net::sockopt::set_tcp_user_timeout(listener, ANSWER_TIMEOUT.as_millis() as u32)?;
    Ok(())
}

/// Serves whoever comes, for ever.
pub async fn receive(listener: Listener, tls: Option<Arc<Tls>>, app: Router) {
    let guests = Arc::new(Guests::default());
    let app = TowerToHyperService::new(app);
    loop {
        let accepted = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| admit(&guests, stream, &tls, &app)),
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| admit(&guests, stream, &tls, &app)),
        };
        if let Err(error) = accepted {
            debug!("http: cannot accept a connection: {error}");
            tokio::time::sleep(PAUSE).await;
        }
        // Whoever has been let in is heard before the next one is, and can't be turned out with the request unread.
        tokio::task::yield_now().await;
    }
}

fn admit(
    guests: &Arc<Guests>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    tls: &Option<Arc<Tls>>,
    app: &TowerToHyperService<Router>,
) {
    let (tls, app) = (tls.clone(), app.clone());
    guests.admit(|place| {
        let serve = async move {
            let over = tokio::time::sleep(ANSWER_TIMEOUT);
            match tls {
                None => converse(stream, place, app, over).await,
                Some(tls) => match tokio::time::timeout(HEAD_TIMEOUT, tls.acceptor().accept(stream)).await {
                    Ok(Ok(stream)) => converse(stream, place, app, over).await,
                    Ok(Err(error)) => debug!("http: TLS: {error}"),
                    Err(_) => {}
                },
            }
        };
        tokio::spawn(serve).abort_handle()
    });
}

/// One connection, one request.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    place: Place,
    app: TowerToHyperService<Router>,
    over: tokio::time::Sleep,
) {
    let place = Arc::new(place);
    let answering = place.clone();
    let service = service_fn(move |request| {
        answering.set(Stage::Answered { octets: 0 });
        let (answer, place) = (app.call(request), answering.clone());
        async move {
            let answer = answer.await;
            if let Ok(answer) = &answer {
                place.set(stage_of(answer));
            }
            answer
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection, over);
    tokio::select! {
        _ = &mut connection => return,
        () = &mut over => {}
    }
    if place.is_listening() {
        let _ = connection.await;
    }
}

fn stage_of(answer: &Response<Body>) -> Stage {
    match answer.extensions().get::<Endless>() {
        Some(Endless) => Stage::Listening,
        None => Stage::Answered { octets: answer.body().size_hint().upper().unwrap_or(0) as usize },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(guests: &Arc<Guests>) -> Place {
        let mut got = None;
        guests.admit(|place| {
            got = Some(place);
            tokio::spawn(std::future::pending::<()>()).abort_handle()
        });
        got.expect("whoever comes is let in")
    }

    fn inside(guests: &Guests) -> Vec<u64> {
        guests.0.lock().guests.keys().copied().collect()
    }

    #[tokio::test]
    async fn whoever_says_nothing_makes_room_first_then_whoever_takes_nothing_and_listeners_never() {
        let guests = Arc::new(Guests::default());
        let places: Vec<Place> = (0..PLACES).map(|_| enter(&guests)).collect();
        places[0].set(Stage::Listening);
        places[1].set(Stage::Answered { octets: 1 });
        let mut later: Vec<Place> = (0..PLACES - 2).map(|_| enter(&guests)).collect();
        assert_eq!(inside(&guests)[..3], [0, 1, PLACES as u64], "those that asked were there last");
        later.iter().for_each(|place| place.set(Stage::Answered { octets: 0 }));
        later.push(enter(&guests));
        later.pop().expect("the last one").set(Stage::Listening);
        assert_eq!(inside(&guests)[..2], [0, PLACES as u64], "the oldest answer");
        drop(places);
        assert_eq!(inside(&guests).len(), later.len());
    }

    #[tokio::test]
    async fn answers_that_nobody_takes_have_a_bound() {
        let guests = Arc::new(Guests::default());
        let places: Vec<Place> = (0..4).map(|_| enter(&guests)).collect();
        for place in &places {
            place.set(Stage::Answered { octets: ANSWERS / 3 });
        }
        assert_eq!(inside(&guests), [1, 2, 3]);
        places[3].set(Stage::Answered { octets: ANSWERS + 1 });
        assert_eq!(inside(&guests), [3], "one alone is taken whatever its size");
    }
}
