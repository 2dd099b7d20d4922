//! Every path that is served, and by which method.
//!
//! Looking is GET (and HEAD), acting is POST and needs the token. What a path doesn't know is refused before anybody is
//! asked who he is: 405, with the methods that it knows.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use super::{App, guard};

/// Octets of a request's body.
pub(super) const BODY: usize = 64 * 1024;

/// See the module.
pub struct Routes {
    served: App,
    router: Router<App>,
    /// As the document names them.
    pub known: Vec<(&'static str, &'static str)>,
}

impl Routes {
    pub fn new(served: App) -> Routes {
        Routes { served, router: Router::new(), known: Vec::new() }
    }

    pub fn get<H: Handler<T, App>, T: 'static>(mut self, path: &'static str, handler: H) -> Routes {
        self.known.push(("get", path));
        self.router = self.router.route(path, get(handler));
        self
    }

    /// For who has the token.
    pub fn act<H: Handler<T, App>, T: 'static>(mut self, path: &'static str, handler: H) -> Routes {
        self.known.push(("post", path));
        let may_act = from_fn_with_state(self.served.clone(), guard::may_act);
        self.router = self.router.route(path, post(handler).route_layer(may_act));
        self
    }

    pub fn finish(self) -> Router {
        let check = from_fn_with_state(self.served.clone(), guard::check);
        self.router.layer(check).layer(DefaultBodyLimit::max(BODY)).with_state(self.served)
    }
}
