//! Who may ask, and for what.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path as InPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{App, HttpError};

/// What whoever moves messages has to know. Never printed.
pub struct Token(Vec<u8>);

/// A guess must not be cheap.
const SHORTEST: usize = 16;

impl Token {
    /// The file's first line. Nobody but its owner and group may read it.
    pub fn read(path: &Path) -> Result<Token, HttpError> {
        let wrong = |why: String| HttpError::Token { path: path.to_owned(), why };
        not_for_everybody(path).map_err(wrong)?;
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        if text.starts_with('\u{feff}') {
            return Err(wrong("line 1 begins with a byte order mark (BOM), which no token has".into()));
        }
        let token = text.lines().next().unwrap_or_default().trim();
        if token.len() < SHORTEST || !token.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(wrong(format!("expected a token of at least {SHORTEST} printable ASCII characters in line 1")));
        }
        Ok(Token(token.as_bytes().to_vec()))
    }

    /// In a time that says nothing of where they differ.
    fn is(&self, offered: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, offered).is_ok()
    }
}

/// Who may act.
pub enum Actors {
    Nobody,
    /// Who has it.
    Token(Token),
    /// The file that says it is wrong.
    Unknown,
}

impl Actors {
    /// From `http.token_file`.
    pub fn read(token_file: Option<&Path>) -> Result<Actors, HttpError> {
        Ok(token_file.map(Token::read).transpose()?.map_or(Actors::Nobody, Actors::Token))
    }
}

/// Refuses a secret that is none.
pub fn not_for_everybody(path: &Path) -> Result<(), String> {
    let mode = std::fs::metadata(path).map_err(|error| error.to_string())?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(format!("everybody may read or change it (mode {:03o}); expected 640", mode & 0o777));
    }
    Ok(())
}

/// What a path names: text that reads as a `T`, or there is no such thing.
pub struct Named<T>(pub T);

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named<T>, Problem> {
        let InPath(text) = InPath::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::new(StatusCode::NOT_FOUND, "no such resource"))?;
        text.parse().map(Named).map_err(|_| Problem::no_such_message())
    }
}

/// The names under which this listener may be asked.
pub fn hosts(address: SocketAddr, more: &[String]) -> Vec<String> {
    // Who listens everywhere is here, too. Its addresses need no names: see [`is_address`].
    let ip = address.ip().to_canonical();
    let own = (ip.is_loopback() || ip.is_unspecified()).then(|| "localhost".to_owned());
    own.into_iter().chain(more.iter().map(|host| host.to_ascii_lowercase())).collect()
}

/// An address in numbers is nobody's name: no page from elsewhere can have been fetched by it and mean this server (DNS rebinding
/// takes a name).
fn is_address(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    bare.map_or_else(|| host.parse::<Ipv4Addr>().is_ok(), |bare| bare.parse::<Ipv6Addr>().is_ok())
}

/// What is wrong with a request (RFC 9457).
pub struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into() }
    }

    pub fn no_such_message() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "no such message is waiting: distributed, cancelled, or never there")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem { status, detail } = self;
        let title = status.canonical_reason().unwrap_or("error");
        let body =
            serde_json::json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail});
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
    }
}

pub fn problem(status: StatusCode, detail: impl Into<String>) -> Response {
    Problem::new(status, detail).into_response()
}

/// Before every answer: the host's name. Behind it: the headers that keep other sites' scripts out.
pub async fn check(State(served): State<App>, request: Request, next: Next) -> Response {
    let mut response = match strange_host(&served, &request) {
        Some(refused) => refused,
        None => next.run(request).await,
    };
    // What the router answers by itself has no body to read.
    if !response.headers().contains_key(header::CONTENT_TYPE) {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => problem(StatusCode::METHOD_NOT_ALLOWED, "not by this method"),
            StatusCode::NOT_FOUND => problem(StatusCode::NOT_FOUND, "no such resource"),
            _ => response,
        };
        response.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
    }
    harden(response.headers_mut());
    response
}

fn strange_host(served: &App, request: &Request) -> Option<Response> {
    let hosts = served.hosts.as_ref()?;
    // RFC 9112 §3.2.
    if request.headers().get_all(header::HOST).iter().count() > 1 {
        return Some(problem(StatusCode::BAD_REQUEST, "more than one Host"));
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    // Where the target is a whole URL, it says whom it means.
    let names = [Some(host), request.uri().authority().map(axum::http::uri::Authority::as_str)];
    names.into_iter().flatten().find_map(|host| {
        let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        let name = name.map_or(host, |(name, _)| name).to_ascii_lowercase();
        if hosts.contains(&name) || is_address(&name) {
            return None;
        }
        let why = format!("the host {name:?} is none of this server's names; http.hosts adds one");
        Some(problem(StatusCode::MISDIRECTED_REQUEST, why))
    })
}

/// Before everything that changes something: the token.
pub async fn may_act(State(served): State<App>, request: Request, next: Next) -> Response {
    if !served.allows_actions {
        let why = "actions are refused beyond loopback without TLS (http.tls_certificate) or http.insecure = true";
        return problem(StatusCode::FORBIDDEN, why);
    }
    let offered = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    // The scheme's case is the client's (RFC 9110 §11.1).
    let offered = offered.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
    let is_right = match &*served.actors.read() {
        Actors::Nobody => return problem(StatusCode::FORBIDDEN, "this server only shows: http.token_file is not set"),
        Actors::Unknown => {
            let why = "actions are refused: http.token_file can't be used; the scheduler's log says why";
            return problem(StatusCode::SERVICE_UNAVAILABLE, why);
        }
        Actors::Token(token) => offered.is_some_and(|(_, offered)| token.is(offered)),
    };
    if !is_right {
        let mut response = problem(StatusCode::UNAUTHORIZED, "expected Authorization: Bearer with the token");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    }
    next.run(request).await
}

fn harden(headers: &mut HeaderMap) {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                          connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
