//! What can be looked at.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::guard::problem;
use super::{App, Endless};
use crate::daemon::clock;
use crate::mail::{MessageId, Moment};
use crate::monitor::metrics;
use crate::monitor::row::Row;
use crate::monitor::view::View;
use crate::spool::layout::FileName;
use crate::spool::running;

const OPENAPI: &str = include_str!("openapi.json");
/// Messages in one answer.
const MOST: usize = 10_000;
const USUAL: usize = 1000;
const PROGRESS: Duration = Duration::from_secs(1);
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub fn routes() -> Router<App> {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .route("/api/v1/queue", get(queue))
        .route("/api/v1/messages", get(messages))
        .route("/api/v1/messages/{id}", get(message))
        .route("/api/v1/events", get(events))
        .route("/api/v1/openapi.json", get(|| async { ([(header::CONTENT_TYPE, "application/json")], OPENAPI) }))
}

async fn ready(State(served): State<App>) -> Response {
    let ready = served.view.live.readiness();
    let status = if ready.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "ready": ready.is_ready(), "spool": ready.spool, "room": ready.room, "watch": ready.watch, "relay": ready.relay,
    });
    (status, Json(body)).into_response()
}

async fn scrape(State(served): State<App>, headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (kind, text) = match accepts.contains("application/openmetrics-text") {
        true => (metrics::CONTENT_TYPE, metrics::text(&served.view)),
        false => (metrics::PLAIN_CONTENT_TYPE, metrics::plain_text(&served.view)),
    };
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn seconds(at: Moment) -> f64 {
    at.0 as f64 / 1e6
}

fn workers(view: &View) -> Vec<Value> {
    let working = view.live.working();
    let idle = |worker| json!({"worker": worker, "message": null, "packet": null, "priority": null, "recipients": 0, "done": 0, "since": null});
    let most = view.live.workers().max(working.iter().map(|at| at.worker + 1).max().unwrap_or(0));
    let row = |worker| match working.iter().find(|at| at.worker == worker) {
        None => idle(worker),
        Some(at) => json!({
            "worker": worker, "message": at.message.to_string(),
            "packet": FileName::Packet(at.packet.clone()).to_string(), "priority": at.level.to_string(),
            "recipients": at.recipients, "done": at.done, "since": seconds(at.since),
        }),
    };
    (0..most).map(row).collect()
}

async fn queue(State(served): State<App>) -> Json<Value> {
    let view = &served.view;
    let summary = view.summary();
    let relays: Vec<Value> = view
        .live
        .relays()
        .into_iter()
        .map(|state| {
            let relay = state.relay;
            json!({
                "relay": relay.relay, "state": relay.state, "since": relay.since, "next_try": relay.next_try,
                "why": relay.why, "connections": state.connections, "allowed": state.allowed,
            })
        })
        .collect();
    let pauses: Vec<Value> = summary
        .pauses
        .iter()
        .map(|paused| {
            let pause = paused.pause.as_ref();
            json!({
                "what": paused.name.to_string(), "since": pause.map(|pause| pause.since), "by": pause.map(|pause| &pause.by),
                "why": pause.map(|pause| &pause.why), "until": pause.and_then(|pause| pause.until),
            })
        })
        .collect();
    Json(json!({
        "time": seconds(clock::now()), "host": running::host(), "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"), "ready": view.live.readiness().is_ready(), "counted": summary.counted,
        "levels": summary.levels, "workers": workers(view), "relays": relays, "pauses": pauses, "rate": summary.rate,
        "history": summary.history,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    priority: Option<String>,
    list: Option<String>,
    state: Option<String>,
    /// Among these only: message ids, with commas in between. One that is not there is no error.
    ids: Option<String>,
    /// A part of the id or the sender.
    q: Option<String>,
    #[serde(default)]
    sort: Sort,
    limit: Option<usize>,
    #[serde(default)]
    offset: usize,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Sort {
    /// Most urgent first, then oldest.
    #[default]
    Priority,
    ArrivalTime,
    /// Most first.
    RecipientsLeft,
    /// Oldest first.
    Age,
}

async fn messages(
    State(served): State<App>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let wanted = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(error) => return problem(StatusCode::BAD_REQUEST, error.body_text()),
    };
    let limit = wanted.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return problem(StatusCode::BAD_REQUEST, format!("limit: expected a number from 1 to {MOST}"));
    }
    let q = wanted.q.as_deref().map(str::to_lowercase);
    let is_wanted = |row: &Row| {
        wanted.priority.as_ref().is_none_or(|priority| *priority == row.priority)
            && wanted.list.as_ref().is_none_or(|list| *list == row.list)
            && wanted.state.as_deref().is_none_or(|state| state == row.state)
            && q.as_ref()
                .is_none_or(|q| row.queue_id.to_lowercase().contains(q) || row.sender.to_lowercase().contains(q))
    };
    let mut rows = match &wanted.ids {
        None => served.view.rows(is_wanted),
        Some(ids) => {
            let ids: HashSet<MessageId> = ids.split(',').filter_map(|id| id.parse().ok()).collect();
            let mut rows = served.view.rows_of(&ids);
            rows.retain(is_wanted);
            rows
        }
    };
    rows.sort_by(|a, b| a.queue_id.cmp(&b.queue_id));
    match wanted.sort {
        Sort::Priority => rows.sort_by(|a, b| (&a.priority, a.arrival_time).cmp(&(&b.priority, b.arrival_time))),
        Sort::ArrivalTime => rows.sort_by_key(|row| Reverse(row.arrival_time)),
        Sort::Age => rows.sort_by_key(|row| row.arrival_time),
        Sort::RecipientsLeft => rows.sort_by_key(|row| Reverse(row.recipients_left)),
    }
    let total = rows.len();
    let rows: Vec<Row> = rows.into_iter().skip(wanted.offset).take(limit).collect();
    Json(json!({"total": total, "messages": rows})).into_response()
}

async fn message(State(served): State<App>, Path(id): Path<String>) -> Response {
    let found = id.parse::<MessageId>().ok().and_then(|id| served.view.row(&id));
    let Some((row, packets)) = found else {
        return problem(StatusCode::NOT_FOUND, "no such message is waiting: distributed, cancelled, or never there");
    };
    let mut body = serde_json::to_value(row).expect("strings and numbers are always JSON");
    body["packets"] = json!(packets);
    Json(body).into_response()
}

/// What happens, and once a second, while anybody works, how far it is.
async fn events(State(served): State<App>, Extension(endless): Extension<Endless>) -> Response {
    if served.streams.available_permits() == 0 {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "too many listen already");
    }
    endless.0.store(true, Ordering::Relaxed);
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<sse::Event, Infallible>>(16);
    tokio::spawn(async move {
        let Ok(_place) = served.streams.try_acquire() else { return };
        let mut happening = served.view.listen();
        let mut id = 0u64;
        let hello = sse::Event::default().event("hello").data(json!({"time": seconds(clock::now())}).to_string());
        if sender.send(Ok(hello)).await.is_err() {
            return;
        }
        let mut progress = false;
        loop {
            let event = tokio::select! {
                event = happening.recv() => match event {
                    Ok(event) => {
                        progress = true;
                        let value = serde_json::to_value(&*event).expect("strings and numbers are always JSON");
                        let kind = value["event"].as_str().unwrap_or_default().to_owned();
                        sse::Event::default().event(kind).data(value.to_string())
                    }
                    Err(RecvError::Lagged(lost)) => sse::Event::default().event("lost").data(json!({"lost": lost}).to_string()),
                    Err(RecvError::Closed) => return,
                },
                () = tokio::time::sleep(PROGRESS), if progress => {
                    let rows = served.view.active_rows();
                    progress = !rows.is_empty();
                    sse::Event::default().event("progress").data(told(&served.view, &rows).to_string())
                }
                () = sender.closed() => return,
            };
            id += 1;
            if sender.send(Ok(event.id(id.to_string()))).await.is_err() {
                return;
            }
        }
    });
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn told(view: &View, rows: &[Row]) -> Value {
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
    let rate = rows.iter().map(|row| row.rate).sum::<f64>();
    json!({"time": seconds(clock::now()), "rate": rate, "messages": messages, "workers": workers(view)})
}
