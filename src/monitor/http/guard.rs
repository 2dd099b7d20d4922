//! Who may ask, and for what.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
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
        let mode = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.permissions().mode();
        if mode & 0o007 != 0 {
            return Err(wrong(format!("everybody may read or change it (mode {:03o}); expected 640", mode & 0o777)));
        }
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
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

/// The names under which this listener may be asked.
pub fn hosts(address: SocketAddr, more: &[String]) -> Vec<String> {
    let own = match address.ip() {
        ip if ip.is_loopback() => vec!["localhost".into(), "127.0.0.1".into(), "[::1]".into()],
        std::net::IpAddr::V4(ip) => vec![ip.to_string()],
        std::net::IpAddr::V6(ip) => vec![format!("[{ip}]")],
    };
    own.into_iter().chain(more.iter().map(|host| host.to_ascii_lowercase())).collect()
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

/// Before every answer: the host's name, and for anything that changes something the token. Behind it: the headers that
/// keep other sites' scripts out.
pub async fn check(State(served): State<App>, request: Request, next: Next) -> Response {
    let refused = refusal(&served, &request);
    let is_post = request.method() == Method::POST;
    let mut response = match refused {
        Some(refused) => refused,
        None => next.run(request).await,
    };
    // What the router answers by itself has no body to read.
    if matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
        && !response.headers().contains_key(header::CONTENT_TYPE)
    {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = problem(response.status(), if is_post { "no such action" } else { "no such resource" });
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    harden(response.headers_mut());
    response
}

fn refusal(served: &App, request: &Request) -> Option<Response> {
    if let Some(hosts) = &served.hosts {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        let name = name.map_or(host, |(name, _)| name).to_ascii_lowercase();
        if !hosts.contains(&name) {
            let why = format!("the host {name:?} is none of this server's names; http.hosts adds one");
            return Some(problem(StatusCode::MISDIRECTED_REQUEST, why));
        }
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    if !served.allows_actions {
        let why = "actions are refused beyond loopback without http.insecure = true";
        return Some(problem(StatusCode::FORBIDDEN, why));
    }
    let Some(token) = &served.token else {
        return Some(problem(StatusCode::FORBIDDEN, "this server only shows: http.token_file is not set"));
    };
    let offered = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let offered = offered.strip_prefix(b"Bearer ").or(offered.strip_prefix(b"bearer "));
    if !offered.is_some_and(|offered| token.is(offered)) {
        let mut response = problem(StatusCode::UNAUTHORIZED, "expected Authorization: Bearer with the token");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return Some(response);
    }
    None
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
