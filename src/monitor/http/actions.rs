//! What operators do: the same moves in the spool as the commands make, for who has the token.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::App;
use super::guard::Problem;
use crate::daemon::{clock, late};
use crate::deliver::{RelaySettings, RelayUrl};
use crate::mail::message_id::check_list;
use crate::mail::{Level, MessageId, Priority};
use crate::spool::Spool;
use crate::spool::disk::{Disk, DiskError};
use crate::spool::layout::PauseName;
use crate::spool::moves::{self, Moved, Rest};
use crate::spool::pause::{self, Pause};

/// In notes, where a command leaves a person's login.
const BY: &str = "http";

pub fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/messages/{id}/requeue", post(requeue))
        .route("/api/v1/messages/{id}/hold", post(hold))
        .route("/api/v1/messages/{id}/release", post(release))
        .route("/api/v1/messages/{id}/cancel", post(cancel))
        .route("/api/v1/pause", post(pause))
        .route("/api/v1/resume", post(resume))
}

type Answer = Result<Response, Problem>;

fn bad(why: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, why)
}

/// A body is a JSON object, or nothing where nothing is needed.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| bad(format!("the body: {error}")))
}

fn message_id(text: &str) -> Result<MessageId, Problem> {
    text.parse().map_err(|_| not_found())
}

fn priority(text: &str) -> Result<Priority, Problem> {
    text.parse().map_err(|error: crate::mail::priority::BadPriority| bad(error.to_string()))
}

fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no such message is waiting: distributed, cancelled, or never there")
}

/// Does it on a thread that may wait for the disk.
async fn on_spool<T: Send + 'static>(
    served: App,
    act: impl FnOnce(&Spool, &App) -> Result<T, DiskError> + Send + 'static,
) -> Result<T, Problem> {
    let act = move || {
        let spool = Spool::open(&Disk::default(), served.view.spool())?;
        act(&spool, &served)
    };
    match tokio::task::spawn_blocking(act).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        Err(error) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

fn moved(moved: Moved) -> Answer {
    match moved {
        Moved::Moved { from, to } => {
            Ok(Json(json!({"result": "moved", "from": from.to_string(), "to": to.to_string()})).into_response())
        }
        Moved::AlreadyThere(at) => Ok(Json(json!({"result": "already-there", "at": at.to_string()})).into_response()),
        Moved::NotFound => Err(not_found()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct To {
    priority: String,
}

async fn requeue(State(served): State<App>, Path(id): Path<String>, body: axum::body::Bytes) -> Answer {
    let (id, To { priority: to }) = (message_id(&id)?, read(&body)?);
    let to = priority(&to)?;
    moved(on_spool(served, move |spool, _| moves::requeue(spool, &id, to)).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    reason: String,
}

async fn hold(State(served): State<App>, Path(id): Path<String>, body: axum::body::Bytes) -> Answer {
    let (id, Reason { reason }) = (message_id(&id)?, read(&body)?);
    moved(on_spool(served, move |spool, _| moves::hold(spool, &id, clock::epoch(), BY, &reason)).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Back {
    priority: Option<String>,
}

async fn release(State(served): State<App>, Path(id): Path<String>, body: axum::body::Bytes) -> Answer {
    let (id, Back { priority: to }) = (message_id(&id)?, read(&body)?);
    let to = to.as_deref().map(priority).transpose()?;
    if to == Some(Priority::Held) {
        return Err(bad("priority: z would hold, not release"));
    }
    let act = move |spool: &Spool, served: &App| {
        late::release(spool, &id, to, served.settings.inject.priority, clock::epoch())
    };
    moved(on_spool(served, act).await?)
}

async fn cancel(State(served): State<App>, Path(id): Path<String>, body: axum::body::Bytes) -> Answer {
    let (id, Reason { reason }) = (message_id(&id)?, read(&body)?);
    let act = move |spool: &Spool, _: &App| moves::cancel(spool, &id, clock::epoch(), BY, &reason, Rest::Keep);
    match on_spool(served, act).await? {
        Some(from) => {
            Ok(Json(json!({"result": "cancelled", "from": from.to_string(), "rest": "bad/"})).into_response())
        }
        None => Err(not_found()),
    }
}

/// What to pause or resume: one of them, or everything.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Which {
    relay: Option<String>,
    list: Option<String>,
    priority: Option<String>,
    /// Seconds.
    r#for: Option<u64>,
    reason: Option<String>,
}

impl Which {
    fn name(&self, relays: &[RelaySettings]) -> Result<PauseName, Problem> {
        let Which { relay, list, priority: level, .. } = self;
        let name = match (relay, list, level) {
            (None, None, None) => Ok(PauseName::Everything),
            (Some(relay), None, None) => {
                let known = relays.iter().find(|known| known.is_called(relay)).map(|known| known.url.clone());
                let url = known.map_or_else(|| relay.parse(), Ok);
                url.map(|url: RelayUrl| PauseName::Relay(url.to_string())).map_err(|error| bad(error.to_string()))
            }
            (None, Some(list), None) => match check_list(list) {
                Ok(()) => Ok(PauseName::List(list.clone())),
                Err(why) => Err(bad(format!("list: {why}"))),
            },
            (None, None, Some(level)) => {
                let level: Option<Level> = priority(level)?.level();
                level.map(PauseName::Level).ok_or_else(|| bad("priority: nothing is ever sent from z"))
            }
            _ => Err(bad("expected one of relay, list and priority, or none for everything")),
        }?;
        if name.fits() { Ok(name) } else { Err(bad("its name is too long for a file's")) }
    }
}

async fn pause(State(served): State<App>, body: axum::body::Bytes) -> Answer {
    let which: Which = read(&body)?;
    let name = which.name(&served.settings.relays)?;
    let Some(why) = which.reason.filter(|reason| !reason.trim().is_empty()) else {
        return Err(bad("reason: expected"));
    };
    if which.r#for == Some(0) {
        return Err(bad("for: expected at least a second"));
    }
    let now = clock::now();
    let until = which.r#for.map(|time| now.plus(Duration::from_secs(time)).epoch().0);
    let told = name.to_string();
    let act = move |spool: &Spool, _: &App| {
        pause::pause(spool, &name, &Pause { since: now.epoch().0, by: BY.into(), why, until })
    };
    on_spool(served, act).await?;
    Ok(Json(json!({"result": "paused", "what": told, "until": until})).into_response())
}

async fn resume(State(served): State<App>, body: axum::body::Bytes) -> Answer {
    let which: Which = read(&body)?;
    let name = which.name(&served.settings.relays)?;
    let told = name.to_string();
    match on_spool(served, move |spool, _| pause::resume(spool, &name)).await? {
        true => Ok(Json(json!({"result": "resumed", "what": told})).into_response()),
        false => Err(Problem::new(StatusCode::NOT_FOUND, format!("{told} is not paused"))),
    }
}
