//! Who may ask.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::Sources;

/// What every answer says: nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Refuses what a web page elsewhere may have caused. A name that its owner makes point here (DNS
/// rebinding) is in Host; a request from another site's page has that site in Origin.
pub(crate) async fn guard(
    State(sources): State<Arc<Sources>>,
    request: Request,
    next: Next,
) -> Response {
    let hosts = sources.hosts.load();
    let mut answer = match check(request.headers(), &hosts) {
        Ok(()) => next.run(request).await,
        Err(why) => (StatusCode::FORBIDDEN, format!("{why}\n")).into_response(),
    };
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    answer
}

fn check(headers: &HeaderMap, hosts: &[String]) -> Result<(), String> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let host = text(header::HOST).unwrap_or_default();
    if !is_known(host, hosts) {
        return Err(format!(
            "Host {host:?}: the console is served under an address, localhost, or a name in admin.hosts"
        ));
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        if origin.strip_prefix("http://") != Some(host) {
            return Err(format!(
                "Origin {origin:?}: only the console's own pages may ask"
            ));
        }
    }
    match text(HeaderName::from_static("sec-fetch-site")) {
        // What browsers say of a request that no page of ours has caused.
        Some("cross-site" | "same-site") => {
            Err("Sec-Fetch-Site: only the console's own pages may ask".to_owned())
        }
        _ => Ok(()),
    }
}

/// An address cannot be made to point elsewhere, and browsers do not look localhost up.
fn is_known(host: &str, hosts: &[String]) -> bool {
    let (name, rest) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').unwrap_or_default(),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = |rest: &str| {
        rest.is_empty()
            || rest
                .strip_prefix(':')
                .is_some_and(|port| port.parse::<u16>().is_ok())
    };
    if !is_port(rest) {
        return false;
    }
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(pairs: &[(&str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        check(&headers, &["gate.example.com".to_owned()]).is_ok()
    }

    #[test]
    fn a_name_that_points_here_is_not_enough() {
        for host in [
            "127.0.0.1:9180",
            "[::1]:9180",
            "localhost:9180",
            "gate.example.com",
            "Gate.example.com:80",
        ] {
            assert!(allowed(&[("host", host)]), "{host}");
        }
        for host in [
            "",
            "evil.example.com:9180",
            "127.0.0.1.evil.com",
            "localhost.evil.com:9180",
            "gate.example.com.evil.com",
            "127.0.0.1:80.evil.com",
            "[::1].evil.com",
            "[::1",
        ] {
            assert!(!allowed(&[("host", host)]), "{host}");
        }
    }

    #[test]
    fn other_sites_pages_may_not_ask() {
        let host = ("host", "127.0.0.1:9180");
        assert!(allowed(&[host, ("origin", "http://127.0.0.1:9180")]));
        for origin in [
            "http://evil.com",
            "https://127.0.0.1:9180",
            "http://127.0.0.1:80",
            "null",
        ] {
            assert!(!allowed(&[host, ("origin", origin)]), "{origin}");
        }
        assert!(allowed(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(allowed(&[host, ("sec-fetch-site", "none")]));
        assert!(!allowed(&[host, ("sec-fetch-site", "cross-site")]));
    }
}
