//! The page and what it is made of: in the program itself, so that nothing has to be installed or fetched.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::guard::{Named, problem};
use super::routes::Routes;

/// Name, type, content.
type Asset = (&'static str, &'static str, &'static [u8]);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const INDEX: Asset = ("index.html", HTML, include_bytes!("../page/index.html"));

/// Below `/assets/`.
const ASSETS: &[Asset] = &[
    ("icon.svg", "image/svg+xml", include_bytes!("../page/icon.svg")),
    ("messages.css", CSS, include_bytes!("../page/messages.css")),
    ("page.css", CSS, include_bytes!("../page/page.css")),
    ("uplot.css", CSS, include_bytes!("../page/uplot.css")),
    ("actions.js", SCRIPT, include_bytes!("../page/actions.js")),
    ("api.js", SCRIPT, include_bytes!("../page/api.js")),
    ("charts.js", SCRIPT, include_bytes!("../page/charts.js")),
    ("dialogs.js", SCRIPT, include_bytes!("../page/dialogs.js")),
    ("dom.js", SCRIPT, include_bytes!("../page/dom.js")),
    ("drag.js", SCRIPT, include_bytes!("../page/drag.js")),
    ("format.js", SCRIPT, include_bytes!("../page/format.js")),
    ("levels.js", SCRIPT, include_bytes!("../page/levels.js")),
    ("main.js", SCRIPT, include_bytes!("../page/main.js")),
    ("messages.js", SCRIPT, include_bytes!("../page/messages.js")),
    ("model.js", SCRIPT, include_bytes!("../page/model.js")),
    ("side.js", SCRIPT, include_bytes!("../page/side.js")),
    ("stream.js", SCRIPT, include_bytes!("../page/stream.js")),
    ("theme.js", SCRIPT, include_bytes!("../page/theme.js")),
    ("uplot.js", SCRIPT, include_bytes!("../page/uplot.js")),
    ("uplot.LICENSE", "text/plain; charset=utf-8", include_bytes!("../page/uplot.LICENSE")),
];

pub fn add_to(routes: Routes) -> Routes {
    routes.get("/", || async { answer(&INDEX) }).get("/assets/{name}", asset)
}

async fn asset(Named(name): Named<String>) -> Response {
    match ASSETS.iter().find(|(known, ..)| *known == name) {
        Some(asset) => answer(asset),
        None => problem(StatusCode::NOT_FOUND, "no such resource"),
    }
}

/// Not to be kept: another version of the program has another page, under the same names.
fn answer((_, kind, content): &'static Asset) -> Response {
    ([(header::CONTENT_TYPE, *kind)], *content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_everything_that_it_asks_for_is_there() {
        let octets: usize = ASSETS.iter().chain([&INDEX]).map(|(.., content)| content.len()).sum();
        assert!(octets < 200 * 1024, "{octets} octets");
        for (name, _, content) in ASSETS.iter().chain([&INDEX]).filter(|(name, ..)| *name != "uplot.js") {
            let text = std::str::from_utf8(content).unwrap();
            // `src="/assets/x"`, `from "./x"`.
            for mark in ["\"/assets/", "from \"./"] {
                for asked in text.split(mark).skip(1).map(|rest| rest.split('"').next().unwrap()) {
                    assert!(ASSETS.iter().any(|(known, ..)| *known == asked), "{name} asks for {asked}");
                }
            }
            assert!(!text.contains(".innerHTML") && !text.contains("insertAdjacentHTML"), "{name} writes markup");
        }
    }
}
