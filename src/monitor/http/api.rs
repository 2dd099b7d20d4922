//! What can be looked at.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::guard::{Named, Problem, problem};
use super::routes::Routes;
use super::workers::workers;
use super::{App, stream};
use crate::daemon::clock;
use crate::mail::{MessageId, Priority};
use crate::monitor::metrics;
use crate::monitor::row::Row;
use crate::spool::census::State::Waiting;
use crate::spool::running;

pub(super) const OPENAPI: &str = include_str!("openapi.json");
/// One look at the spool at a time: of a disk that hangs, nobody asks anything more.
static LOOK: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// For the spool's disk.
const PATIENCE: Duration = Duration::from_secs(2);
/// Messages in one answer.
const MOST: usize = 10_000;
const USUAL: usize = 1000;
const STATES: [&str; 6] = ["active", "waiting", "scheduled", "deferred", "held", STUCK];
/// Of those that wait, what something else than its turn is in the way of.
const STUCK: &str = "stuck";

pub fn add_to(routes: Routes) -> Routes {
    routes
        .get("/healthz", || async { "ok\n" })
        .get("/readyz", ready)
        .get("/metrics", scrape)
        .get("/api/v1/queue", queue)
        .get("/api/v1/messages", messages)
        .get("/api/v1/messages/{id}", message)
        .get("/api/v1/preemptions", preemptions)
        .get("/api/v1/events", events)
        .get("/api/v1/openapi.json", || async { ([(header::CONTENT_TYPE, "application/json")], OPENAPI) })
}

async fn ready(State(served): State<App>) -> Response {
    let mut ready = served.view.live.readiness();
    let live = served.view.live.clone();
    let look = async {
        let turn = LOOK.lock().await;
        let look = move || {
            let _turn = turn;
            live.looks_at_the_spool()
        };
        tokio::task::spawn_blocking(look).await.unwrap_or(false)
    };
    // A file server that hangs is none that mail could be sent from.
    ready.spool &= tokio::time::timeout(PATIENCE, look).await.unwrap_or(false);
    let status = if ready.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "ready": ready.is_ready(), "spool": ready.spool, "room": ready.room, "watch": ready.watch, "relay": ready.relay,
    });
    (status, Json(body)).into_response()
}

async fn scrape(State(served): State<App>, headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (kind, text) = match accepts.contains("application/openmetrics-text") {
        true => (metrics::CONTENT_TYPE, metrics::text(&served.view, served.settings.metrics.lists)),
        false => (metrics::PLAIN_CONTENT_TYPE, metrics::plain_text(&served.view, served.settings.metrics.lists)),
    };
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
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
                "what": paused.name.plain(), "since": pause.map(|pause| pause.since), "by": pause.map(|pause| &pause.by),
                "why": pause.map(|pause| &pause.why), "until": pause.and_then(|pause| pause.until),
            })
        })
        .collect();
    Json(json!({
        "time": clock::now().seconds(), "host": running::host(), "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"), "ready": view.live.readiness().is_ready(), "counted": summary.counted,
        "levels": summary.levels, "workers": workers(view), "relays": relays, "pauses": pauses, "rate": summary.rate,
        "time_left": summary.time_left, "history": summary.history,
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
    offset: u32,
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

impl Wanted {
    /// How many, if all of it makes sense.
    fn limit(&self) -> Result<usize, Problem> {
        let bad = |why: String| Err(Problem::new(StatusCode::BAD_REQUEST, why));
        if let Some(Err(error)) = self.priority.as_deref().map(str::parse::<Priority>) {
            return bad(format!("priority: {error}"));
        }
        if self.state.as_deref().is_some_and(|state| !STATES.contains(&state)) {
            return bad(format!("state: expected one of {}", STATES.join(", ")));
        }
        match self.limit.unwrap_or(USUAL) {
            limit @ 1..=MOST => Ok(limit),
            _ => bad(format!("limit: expected a number from 1 to {MOST}")),
        }
    }
}

#[derive(Serialize)]
struct Found {
    total: usize,
    messages: Vec<Row>,
}

async fn messages(
    State(served): State<App>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Found>, Problem> {
    let Query(wanted) = wanted.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let limit = wanted.limit()?;
    let q = wanted.q.as_deref().map(str::to_lowercase);
    let is_wanted = |row: &Row| {
        wanted.priority.as_ref().is_none_or(|priority| *priority == row.priority)
            && wanted.list.as_ref().is_none_or(|list| *list == row.list)
            && wanted.state.as_deref().is_none_or(|state| state == row.state || state == STUCK && is_stuck(row))
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
    let messages = rows.into_iter().skip(wanted.offset as usize).take(limit).collect();
    Ok(Json(Found { total, messages }))
}

/// As levels count it.
fn is_stuck(row: &Row) -> bool {
    row.state == Waiting.as_str() && row.stuck_reason.is_some()
}

async fn message(State(served): State<App>, Named(id): Named<MessageId>) -> Result<Json<Value>, Problem> {
    let (row, packets) = served.view.row(&id).ok_or_else(Problem::no_such_message)?;
    let mut body = serde_json::to_value(row).expect("strings and numbers are always JSON");
    body["packets"] = json!(packets);
    Ok(Json(body))
}

async fn preemptions(State(served): State<App>) -> Json<Value> {
    let told = served.view.preemptions();
    Json(json!({"time": clock::now().seconds(), "since": told.since, "preemptions": told.preemptions}))
}

async fn events(State(served): State<App>) -> Response {
    stream::listen(&served)
}
