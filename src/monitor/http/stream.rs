//! Events, to all who listen.
//!
//! They are put into words once, not once a listener, and gathered for a moment while many come: a hundred listeners to a
//! busy scheduler are a thousand writes a second, whatever happens. A listener that reads too slowly loses some, is told
//! how many, and is not waited for. While nobody listens, nothing here runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, broadcast};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

use super::App;
use super::guard::problem;
use super::guests::Endless;
use super::workers::workers;
use crate::daemon::clock;
use crate::daemon::events::Event;
use crate::monitor::row::Row;
use crate::monitor::view::View;

/// Listeners at once.
const LISTENERS: usize = 128;
/// How long what happens is gathered behind what was just told.
const GATHER: Duration = Duration::from_millis(100);
/// How often it is told how far messages are, while anybody works.
const PROGRESS: Duration = Duration::from_secs(1);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Octets of a chunk, about.
const CHUNK: usize = 256 * 1024;
/// Chunks that may wait for a listener.
const ROOM: usize = 32;

/// See the module.
pub struct Stream {
    listeners: Arc<Semaphore>,
    /// What somebody tells; `None` while nobody listens.
    told: Mutex<Option<broadcast::Sender<Chunk>>>,
    /// The next event's number.
    next: AtomicU64,
}

/// Events in words.
#[derive(Clone)]
struct Chunk {
    text: Bytes,
    /// Numbers of its first event and of the one behind its last.
    first: u64,
    end: u64,
}

impl Default for Stream {
    fn default() -> Stream {
        Stream { listeners: Arc::new(Semaphore::new(LISTENERS)), told: Mutex::default(), next: AtomicU64::new(1) }
    }
}

/// What happens from now on, and once a second, while anybody works, how far it is.
pub fn listen(served: &App) -> Response {
    let Ok(place) = served.stream.listeners.clone().try_acquire_owned() else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "too many listen already");
    };
    let chunks = subscribe(served);
    // What is being told now has no number yet.
    let mut expected = served.stream.next.load(Ordering::Relaxed);
    let told = BroadcastStream::new(chunks).filter_map(move |chunk| {
        let _place = &place;
        // The next one that comes tells what was missed.
        let chunk = chunk.ok()?;
        let lost = chunk.first - std::mem::replace(&mut expected, chunk.end);
        if lost == 0 {
            return Some(chunk.text);
        }
        let lost = said("lost", None, &json!({"lost": lost}).to_string());
        Some([lost.as_bytes(), &chunk.text].concat().into())
    });
    let hello = said("hello", None, &json!({"time": clock::now().seconds()}).to_string());
    let all = tokio_stream::once(Bytes::from(hello)).chain(told).map(Ok::<_, Infallible>);
    let mut response = ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(all)).into_response();
    response.extensions_mut().insert(Endless);
    response
}

fn subscribe(served: &App) -> broadcast::Receiver<Chunk> {
    let mut told = served.stream.told.lock();
    match &*told {
        Some(chunks) => chunks.subscribe(),
        None => {
            let (chunks, receiver) = broadcast::channel(ROOM);
            *told = Some(chunks.clone());
            // From now on, and not from when the task begins.
            let happening = served.view.listen();
            tokio::spawn(tell(served.clone(), happening, chunks));
            receiver
        }
    }
}

/// An event as it is sent (<https://html.spec.whatwg.org/multipage/server-sent-events.html>). JSON has no line breaks.
fn said(kind: &str, id: Option<u64>, data: &str) -> String {
    let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
    format!("event: {kind}\n{id}data: {data}\n\n")
}

/// The events of a moment.
struct Words<'s> {
    text: String,
    first: u64,
    next: &'s AtomicU64,
}

impl Words<'_> {
    fn begin(stream: &Stream) -> Words<'_> {
        Words { text: String::new(), first: stream.next.load(Ordering::Relaxed), next: &stream.next }
    }

    fn say(&mut self, kind: &str, data: &str) {
        self.text += &said(kind, Some(self.next.fetch_add(1, Ordering::Relaxed)), data);
    }

    fn event(&mut self, event: &Event) {
        let data = serde_json::to_string(event).expect("strings and numbers are always JSON");
        // It is `{"at":…,"event":"…",…`: all that stands before the kind is a number.
        let kind = data.split("\"event\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        self.say(kind, &data);
    }

    fn lost(&mut self, lost: u64) {
        self.say("lost", &json!({"lost": lost}).to_string());
    }

    fn end(self) -> Chunk {
        Chunk { text: self.text.into(), first: self.first, end: self.next.load(Ordering::Relaxed) }
    }
}

async fn tell(served: App, mut happening: broadcast::Receiver<Arc<Event>>, chunks: broadcast::Sender<Chunk>) {
    use broadcast::error::TryRecvError;
    // Somebody may be at work already.
    let mut progress = Some(Instant::now() + PROGRESS);
    loop {
        let mut words = Words::begin(&served.stream);
        tokio::select! {
            event = happening.recv() => {
                match event {
                    Ok(event) => words.event(&event),
                    Err(RecvError::Lagged(lost)) => words.lost(lost),
                    Err(RecvError::Closed) => return,
                }
                while words.text.len() < CHUNK {
                    match happening.try_recv() {
                        Ok(event) => words.event(&event),
                        Err(TryRecvError::Lagged(lost)) => words.lost(lost),
                        Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                    }
                }
                progress = progress.or_else(|| Some(Instant::now() + PROGRESS));
            }
            () = sleep_until(progress.unwrap_or_else(Instant::now)), if progress.is_some() => {
                let rows = served.view.active_rows();
                words.say("progress", &how_far(&served.view, &rows).to_string());
                // The last one says that nothing goes out any more.
                let is_moving = !rows.is_empty() || served.view.rate() > 0.0;
                progress = is_moving.then(|| Instant::now() + PROGRESS);
            }
            () = sleep(KEEP_ALIVE) => words.text += ":\n\n",
        }
        if chunks.send(words.end()).is_err() {
            let mut told = served.stream.told.lock();
            if chunks.receiver_count() == 0 {
                *told = None;
                return;
            }
        }
        sleep(GATHER).await;
    }
}

fn how_far(view: &View, rows: &[Row]) -> Value {
    let messages: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "queue_id": row.queue_id, "recipients_done": row.recipients_done, "recipients_left": row.recipients_left,
                "deferred": row.deferred, "failed": row.failed, "workers": row.workers, "rate": row.rate,
                "time_left": row.time_left,
            })
        })
        .collect();
    json!({"time": clock::now().seconds(), "rate": view.rate(), "messages": messages, "workers": workers(view)})
}
