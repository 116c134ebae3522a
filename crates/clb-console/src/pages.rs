//! The files.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse, Response};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

macro_rules! files {
    ($($kind:ident $name:literal,)*) => {
        /// Name, media type and content of each file.
        const FILES: &[(&str, &str, &str)] = &[
            $(($name, $kind, include_str!(concat!("../pages/", $name))),)*
        ];
    };
}

files! {
    HTML "index.html",
    CSS "console.css",
    SCRIPT "app.js",
    SCRIPT "api.js",
    SCRIPT "dom.js",
    SCRIPT "format.js",
    SCRIPT "plots.js",
    SCRIPT "rows.js",
    SCRIPT "overview.js",
    SCRIPT "listener.js",
    SCRIPT "backends.js",
    SCRIPT "requests.js",
    SCRIPT "lists.js",
    SCRIPT "explain.js",
    SCRIPT "vendor/uplot.js",
    CSS "vendor/uplot.css",
    TEXT "vendor/uplot.LICENSE",
}

pub(crate) async fn moved() -> Response {
    (StatusCode::PERMANENT_REDIRECT, [(LOCATION, "/console/")]).into_response()
}

pub(crate) async fn index() -> Response {
    answer("index.html")
}

pub(crate) async fn file(Path(name): Path<String>) -> Response {
    answer(&name)
}

fn answer(name: &str) -> Response {
    let found = FILES.iter().find(|(known, ..)| *known == name);
    match found {
        // The files are the program's: another program may have others.
        Some((_, kind, content)) => (
            [(CONTENT_TYPE, *kind), (CACHE_CONTROL, "no-cache")],
            *content,
        )
            .into_response(),
        None => (StatusCode::NOT_FOUND, "no such page\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_ask_for_nothing_from_elsewhere() {
        for (name, _, content) in FILES
            .iter()
            .filter(|(name, ..)| !name.starts_with("vendor/"))
        {
            for scheme in ["http://", "https://"] {
                let mut places = content.match_indices(scheme);
                // A namespace is a name, and nobody asks for it.
                let other = places.find(|(at, _)| {
                    !content
                        .get(*at..)
                        .unwrap_or_default()
                        .starts_with("http://www.w3.org/")
                });
                assert_eq!(other, None, "{name}");
            }
            assert!(!content.contains("innerHTML"), "{name}");
        }
    }
}
