//! Settings of HTTP listeners.

use std::time::Duration;

/// Settings that apply to the next request on every worker. The names are those of clb.toml, and
/// the default values too (design/interfaces.md).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// `timeouts.client_header`: from the first octet of a head, or from accept, to its end (408).
    pub client_header: Duration,
    /// `timeouts.client_body`: between two reads of a request's body (408), and between two
    /// writes of an answer that the client does not take.
    pub client_body: Duration,
    /// `timeouts.client_keepalive`: how long a client's connection may wait for its next request.
    pub client_keepalive: Duration,
    /// `timeouts.drain_idle`: how long a connection that waits for a request when its listener goes
    /// may still bring one. It is answered and the connection ends; closing it at once would fail
    /// a request that is on its way.
    pub drain_idle: Duration,
    /// `timeouts.backend_response`: until the head of an answer, between two reads of its body,
    /// and between two writes of a request that the backend does not take (504).
    pub backend_response: Duration,
    /// `timeouts.backend_keepalive`: how long a backend's connection is kept for reuse.
    pub backend_keepalive: Duration,
    /// `timeouts.tunnel_idle`: how long an upgraded connection may carry nothing.
    pub tunnel_idle: Duration,
    /// `timeouts.tls_handshake`: from accept to the end of the TLS handshake.
    pub tls_handshake: Duration,
    /// `limits.tls_handshakes`: TLS handshakes in progress, all workers together; the oldest of a
    /// worker makes room for a new one. `usize::MAX` for no limit.
    pub tls_handshakes: usize,
    /// `limits.request_line`, octets (414).
    pub request_line: usize,
    /// `limits.request_head`, octets, the request line included (431).
    pub request_head: usize,
    /// `limits.request_fields`, field lines of a request and of its trailer (431).
    pub request_fields: usize,
    /// `limits.response_head`, octets (502).
    pub response_head: usize,
    /// `limits.request_body`, octets (413); `u64::MAX` for no limit.
    pub request_body: u64,
    /// `limits.h2_concurrent_streams`: HTTP/2 streams at once in a client's connection, 1 or more.
    pub h2_concurrent_streams: u32,
    /// `[tracing]`
    pub tracing: Tracing,
    /// `http.via`: whether a Via field is added both ways (RFC 9110 7.6.3).
    pub via: bool,
    /// `http.no_backend_status`: the status when the pool has nobody to pick; 503 or 200.
    pub no_backend_status: u16,
    /// `http.session_cookie`: the name of the cookie of session persistence.
    pub session_cookie: Box<str>,
}

/// What becomes of traceparent and tracestate (W3C Trace Context).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tracing {
    /// Whether requests without a valid traceparent get one.
    pub creates: bool,
    /// Whether the gateway is a span of the traces that pass it, and records those that are
    /// sampled.
    pub records: bool,
    /// How many of a hundred traces that begin here are sampled.
    pub sample_percent: u32,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            client_header: Duration::from_secs(60),
            client_body: Duration::from_secs(60),
            client_keepalive: Duration::from_secs(75),
            drain_idle: Duration::from_secs(2),
            backend_response: Duration::from_secs(60),
            backend_keepalive: Duration::from_secs(60),
            tunnel_idle: Duration::from_secs(900),
            tls_handshake: Duration::from_secs(10),
            tls_handshakes: 8_192,
            request_line: 16 * 1024,
            request_head: 64 * 1024,
            request_fields: 128,
            response_head: 64 * 1024,
            request_body: u64::MAX,
            h2_concurrent_streams: 128,
            tracing: Tracing::default(),
            via: false,
            no_backend_status: 503,
            session_cookie: "clb_route".into(),
        }
    }
}
