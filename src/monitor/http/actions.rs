//! What operators do: the same moves in the spool as the commands make, for who has the token.

use std::time::Duration;

use axum::Json;
use axum::body::{Bytes, HttpBody};
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::App;
use super::guard::{Named, Problem};
use super::routes::{BODY, Routes};
use crate::daemon::mended::{self, Stays};
use crate::daemon::{clock, late, relay_names};
use crate::deliver::RelayUrl;
use crate::mail::message_id::check_list;
use crate::mail::{Level, MessageId, Priority};
use crate::spool::Spool;
use crate::spool::bad::EntryName;
use crate::spool::disk::{Disk, DiskError};
use crate::spool::layout::PauseName;
use crate::spool::moves::{self, Cancelled, Moved, Rest};
use crate::spool::pause::{self, Pause};

/// In notes, where a command leaves a person's login.
const BY: &str = "http";
/// Characters: more is a text of its own.
const LONGEST_REASON: usize = 4000;
/// As the command's `--for`: 100 years.
const LONGEST_PAUSE: u64 = 36_525 * 86_400;

pub fn add_to(routes: Routes) -> Routes {
    routes
        .act("/api/v1/messages/{id}/requeue", requeue)
        .act("/api/v1/messages/{id}/hold", hold)
        .act("/api/v1/messages/{id}/release", release)
        .act("/api/v1/messages/{id}/cancel", cancel)
        .act("/api/v1/bad/{entry}/retry", retry)
        .act("/api/v1/pause", pause)
        .act("/api/v1/resume", resume)
}

type Answer = Result<Response, Problem>;

fn bad(why: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, why)
}

/// A body: a JSON object, or nothing where nothing is needed.
struct Order<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Order<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Order<T>, Problem> {
        let is_json = is_json(request.headers());
        // What is announced as too big is not waited for.
        if request.body().size_hint().lower() > BODY as u64 {
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body: expected at most {BODY} octets"),
            ));
        }
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|error| Problem::new(error.status(), error.body_text()))?;
        if !is_json && !body.is_empty() {
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected Content-Type: application/json"));
        }
        let body = if body.is_empty() { b"{}" } else { &*body };
        // A list of values would do for serde.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(bad("the body: expected an object"));
        }
        serde_json::from_slice(body).map(Order).map_err(|error| bad(format!("the body: {error}")))
    }
}

/// What says nothing is taken at its word.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return true };
    let kind = kind.to_str().unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// What is left out is none; `null` is a mistake.
fn there<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// `60.0` is a whole number, too: some languages know no others.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    let rounded =
        || number.as_f64().filter(|number| *number >= 0.0 && number.fract() == 0.0).map(|number| number as u64);
    let whole = number.as_u64().or_else(rounded);
    whole.map(Some).ok_or_else(|| D::Error::custom(format!("expected a whole number, not {number}")))
}

fn priority(text: &str) -> Result<Priority, Problem> {
    text.parse().map_err(|error: crate::mail::priority::BadPriority| bad(error.to_string()))
}

fn checked(reason: String) -> Result<String, Problem> {
    let is_said = reason.chars().any(|c| c > ' ') && reason.chars().count() <= LONGEST_REASON;
    if is_said { Ok(reason) } else { Err(bad(format!("reason: expected 1 to {LONGEST_REASON} characters"))) }
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
        Moved::NotFound => Err(Problem::no_such_message()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct To {
    priority: String,
}

async fn requeue(State(served): State<App>, Named(id): Named<MessageId>, Order(to): Order<To>) -> Answer {
    let to = priority(&to.priority)?;
    moved(on_spool(served, move |spool, _| moves::requeue(spool, &id, to)).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    reason: String,
}

async fn hold(State(served): State<App>, Named(id): Named<MessageId>, Order(why): Order<Reason>) -> Answer {
    let why = checked(why.reason)?;
    moved(on_spool(served, move |spool, _| moves::hold(spool, &id, clock::epoch(), BY, &why)).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Back {
    #[serde(default, deserialize_with = "there")]
    priority: Option<String>,
}

async fn release(State(served): State<App>, Named(id): Named<MessageId>, Order(to): Order<Back>) -> Answer {
    let to = to.priority.as_deref().map(priority).transpose()?;
    if to == Some(Priority::Held) {
        return Err(bad("priority: z would hold, not release"));
    }
    let act = move |spool: &Spool, served: &App| {
        late::release(spool, &id, to, served.in_force(|settings| settings.inject.priority), clock::epoch())
    };
    moved(on_spool(served, act).await?)
}

async fn cancel(State(served): State<App>, Named(id): Named<MessageId>, Order(why): Order<Reason>) -> Answer {
    let why = checked(why.reason)?;
    let act = move |spool: &Spool, _: &App| moves::cancel(spool, &id, clock::epoch(), BY, &why, Rest::Keep);
    match on_spool(served, act).await? {
        Some(Cancelled { from, entry }) => {
            let told = json!({"result": "cancelled", "from": from.to_string(), "rest": "bad/", "entry": entry});
            Ok(Json(told).into_response())
        }
        None => Err(Problem::no_such_message()),
    }
}

async fn retry(State(served): State<App>, Named(entry): Named<String>, Order(to): Order<Back>) -> Answer {
    let gone = || Problem::new(StatusCode::NOT_FOUND, "there is no such message in bad/");
    let entry: EntryName = entry.parse().map_err(|_| gone())?;
    let to = to.priority.as_deref().map(priority).transpose()?;
    let act = move |spool: &Spool, served: &App| {
        mended::retry(spool, &entry, to, served.in_force(|settings| settings.inject.priority), clock::epoch())
    };
    match on_spool(served, act).await? {
        Ok(to) => Ok(Json(json!({"result": "put-back", "to": to.to_string()})).into_response()),
        Err(Stays::Gone) => Err(gone()),
        Err(Stays::Broken(obstacles)) => {
            Err(Problem::new(StatusCode::CONFLICT, format!("it stays in bad/: {}", obstacles.join("; "))))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToPause {
    #[serde(default, deserialize_with = "there")]
    relay: Option<String>,
    #[serde(default, deserialize_with = "there")]
    list: Option<String>,
    #[serde(default, deserialize_with = "there")]
    priority: Option<String>,
    /// Seconds.
    #[serde(default, deserialize_with = "whole")]
    r#for: Option<u64>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToResume {
    #[serde(default, deserialize_with = "there")]
    relay: Option<String>,
    #[serde(default, deserialize_with = "there")]
    list: Option<String>,
    #[serde(default, deserialize_with = "there")]
    priority: Option<String>,
}

/// What to pause or resume: one of relay, list and priority, or everything.
fn name(served: &App, which: ToResume) -> Result<PauseName, Problem> {
    let name = match which {
        ToResume { relay: None, list: None, priority: None } => PauseName::Everything,
        ToResume { relay: Some(relay), list: None, priority: None } => {
            let known = served.in_force(|settings| {
                settings.relays.iter().find(|known| known.is_called(&relay)).map(|known| known.url.clone())
            });
            let url: Option<RelayUrl> = known.or_else(|| relay.parse().ok());
            let url = url.map(|url| PauseName::Relay(url.to_string())).filter(PauseName::fits);
            url.ok_or_else(|| {
                Problem::new(StatusCode::NOT_FOUND, "relay: there is none of this name, and it is no URL")
            })?
        }
        ToResume { relay: None, list: Some(list), priority: None } => match check_list(&list) {
            Ok(()) => PauseName::List(list),
            Err(why) => return Err(bad(format!("list: {why}"))),
        },
        ToResume { relay: None, list: None, priority: Some(level) } => {
            let level: Option<Level> = priority(&level)?.level();
            PauseName::Level(level.ok_or_else(|| bad("priority: nothing is ever sent from z"))?)
        }
        _ => return Err(bad("expected one of relay, list and priority, or none for everything")),
    };
    if name.fits() { Ok(name) } else { Err(bad("its name is too long for a file's")) }
}

async fn pause(State(served): State<App>, Order(order): Order<ToPause>) -> Answer {
    let ToPause { relay, list, priority, r#for, reason } = order;
    let name = name(&served, ToResume { relay, list, priority })?;
    let why = checked(reason)?;
    if r#for.is_some_and(|time| !(1..=LONGEST_PAUSE).contains(&time)) {
        return Err(bad(format!("for: expected a number of seconds from 1 to {LONGEST_PAUSE}")));
    }
    let now = clock::now();
    let until = r#for.map(|time| now.plus(Duration::from_secs(time)).epoch().0);
    let told = name.plain();
    let act = move |spool: &Spool, served: &App| {
        if let PauseName::Relay(url) = &name {
            let configured = served.in_force(|settings| settings.relays.clone());
            if !relay_names::is_there(spool, &configured, url)? {
                return Ok(false);
            }
        }
        pause::pause(spool, &name, &Pause { since: now.epoch().0, by: BY.into(), why, until })?;
        Ok(true)
    };
    if !on_spool(served, act).await? {
        let why = "relay: there is none of this URL, neither in the configuration nor in use";
        return Err(Problem::new(StatusCode::NOT_FOUND, why));
    }
    Ok(Json(json!({"result": "paused", "what": told, "until": until})).into_response())
}

async fn resume(State(served): State<App>, Order(which): Order<ToResume>) -> Answer {
    let name = name(&served, which)?;
    let told = name.plain();
    match on_spool(served, move |spool, _| pause::resume(spool, &name)).await? {
        true => Ok(Json(json!({"result": "resumed", "what": told})).into_response()),
        false => Err(Problem::new(StatusCode::NOT_FOUND, format!("{told} is not paused"))),
    }
}
