//! What a client gets, seen by the crate h2 as a client.

use std::future::poll_fn;
use std::io::{BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{Request, Response, StatusCode};
use rustls::pki_types::ServerName;

use super::harness::Settings;
use super::harness::lane::closed_port;
use super::harness::plane::Served;
use super::harness::tls::NAME;
use super::raw::{h2_config, read_body, read_head};
use super::table::Bench;

/// A backend's side of one connection.
fn answering(mut stream: TcpStream, mut answer: impl FnMut(&str, &[u8]) -> Option<String>) {
    let reading = stream.try_clone().unwrap();
    let mut reader = BufReader::new(&reading);
    while let Some(head) = read_head(&mut reader) {
        let Some(body) = read_body(&mut reader, &head) else {
            return;
        };
        let Some(answer) = answer(&head, &body) else {
            return;
        };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A backend; `answer` is asked for each request, `None` hangs up.
pub fn backend(
    answer: impl FnMut(&str, &[u8]) -> Option<String> + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let answer = answer.clone();
            std::thread::spawn(move || answering(stream, answer));
        }
    });
    addr
}

pub fn text(body: &str, fields: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}\r\n{body}")
}

/// Runs with a client's connection.
fn with<F: Future<Output = ()>>(
    settings: &Settings,
    backends: &[SocketAddr],
    within: impl FnOnce(SendRequest<Bytes>) -> F,
) {
    let bench = Bench::start(settings);
    let served = bench.listen(backends);
    with_served(&bench, &served, within);
}

/// Runs with a client's connection to a listener.
pub fn with_served<F: Future<Output = ()>>(
    bench: &Bench,
    served: &Served<'_>,
    within: impl FnOnce(SendRequest<Bytes>) -> F,
) {
    let config = h2_config(&bench.authority);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(served.addr()).await.unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        let tls = tokio_rustls::TlsConnector::from(config);
        let tls = tls.connect(name, tcp).await.unwrap();
        // One stream's window does not use the connection's up.
        let (client, connection) = h2::client::Builder::new()
            .initial_connection_window_size(1 << 20)
            .handshake(tls)
            .await
            .unwrap();
        let driven = tokio::spawn(connection);
        within(client).await;
        driven.abort();
    });
}

pub fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("https://{NAME}{path}"))
}

/// Sends a request without a body.
pub async fn ask(client: &mut SendRequest<Bytes>, request: Request<()>) -> Response<RecvStream> {
    *client = client.clone().ready().await.unwrap();
    client.send_request(request, true).unwrap().0.await.unwrap()
}

/// Sends the head of a request with a body.
pub async fn begin(
    client: &mut SendRequest<Bytes>,
    request: Request<()>,
) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    *client = client.clone().ready().await.unwrap();
    client.send_request(request, false).unwrap()
}

pub async fn body(mut stream: RecvStream) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data.unwrap();
        stream.flow_control().release_capacity(data.len()).unwrap();
        body.extend_from_slice(&data);
    }
    body
}

#[test]
fn a_host_that_the_certificate_does_not_cover_is_misdirected() {
    // RFC 9110, 7.4; RFC 9113, 9.1.2
    let hello = backend(|_, _| Some(text("hello", "")));
    with(&Settings::default(), &[hello], async |mut client| {
        let elsewhere = Request::get("https://www.example.org/").body(()).unwrap();
        let answer = ask(&mut client, elsewhere).await;
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST);
        let here = ask(&mut client, request("GET", "/").body(()).unwrap()).await;
        assert_eq!(body(here.into_body()).await, b"hello");
    });
}

#[test]
fn bodies_have_limits_of_size_and_time() {
    let settings = Settings {
        request_body: 4,
        // More than a busy machine lets pass between two frames that are sent together.
        client_body: Duration::from_millis(500),
        ..Settings::default()
    };
    let count = backend(|_, body| Some(text(&format!("{}", body.len()), "")));
    with(&settings, &[count], async |mut client| {
        let announced = request("POST", "/").header("content-length", "5");
        let (answer, _body) = begin(&mut client, announced.body(()).unwrap()).await;
        assert_eq!(
            answer.await.unwrap().status(),
            StatusCode::PAYLOAD_TOO_LARGE
        );

        let (answer, mut body) = begin(&mut client, request("POST", "/").body(()).unwrap()).await;
        body.send_data("abcde".into(), true).unwrap();
        assert_eq!(
            answer.await.unwrap().status(),
            StatusCode::PAYLOAD_TOO_LARGE
        );

        let (answer, mut body) = begin(&mut client, request("POST", "/").body(()).unwrap()).await;
        body.send_data("abc".into(), false).unwrap();
        assert_eq!(answer.await.unwrap().status(), StatusCode::REQUEST_TIMEOUT);

        let (answer, mut sent) = begin(&mut client, request("POST", "/").body(()).unwrap()).await;
        sent.send_data("abcd".into(), true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(!super::answers::body(answer.into_body()).await.is_empty());
    });
}

#[test]
fn long_uploads_arrive_whole() {
    // In pieces of all sizes, so that records end everywhere in what is read at once.
    let check = backend(|_, body| {
        let is_good = body.iter().zip(0..).all(|(&got, at)| got == pattern(at));
        Some(text(&format!("{} {is_good}", body.len()), ""))
    });
    with(&Settings::default(), &[check], async |mut client| {
        for size in [1_000, 9_000, 16_384, 40_000, 65_535] {
            const LENGTH: usize = 3 << 20;
            let post = request("POST", "/").header("content-length", LENGTH);
            let (answer, mut sent) = begin(&mut client, post.body(()).unwrap()).await;
            let whole: Bytes = (0..LENGTH).map(pattern).collect();
            let mut rest = whole;
            while !rest.is_empty() {
                sent.reserve_capacity(size.min(rest.len()));
                let room = poll_fn(|cx| sent.poll_capacity(cx)).await;
                let piece = rest.split_to(room.unwrap().unwrap().min(rest.len()));
                sent.send_data(piece, rest.is_empty()).unwrap();
            }
            let answer = answer.await.unwrap();
            let told = body(answer.into_body()).await;
            assert_eq!(told, format!("{LENGTH} true").as_bytes(), "{size}");
        }
    });
}

fn pattern(at: usize) -> u8 {
    (at * 31 / 7) as u8
}

#[test]
fn a_silent_backend_is_504_and_a_broken_one_502() {
    let settings = Settings {
        backend_response: Duration::from_millis(50),
        ..Settings::default()
    };
    let silent = backend(|_, _| {
        std::thread::park();
        None
    });
    with(&settings, &[silent], async |mut client| {
        let answer = ask(&mut client, request("GET", "/").body(()).unwrap()).await;
        assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    });
    let broken = backend(|_, _| Some("ICY 200 OK\r\n\r\n".to_owned()));
    with(&Settings::default(), &[broken], async |mut client| {
        let answer = ask(&mut client, request("GET", "/").body(()).unwrap()).await;
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(
            answer.headers()["content-type"],
            "text/plain; charset=utf-8"
        );
        assert!(answer.headers().contains_key("date"));
    });
}

#[test]
fn another_backend_is_asked_when_one_hangs_up() {
    let (_held, closed) = closed_port().unwrap();
    let hangs_up = backend(|_, _| None);
    let good = backend(|_, body| Some(text(&format!("took {}", body.len()), "")));
    for bad in [closed, hangs_up] {
        with(&Settings::default(), &[bad, good], async |mut client| {
            for _ in 0..4 {
                let answer = ask(&mut client, request("GET", "/").body(()).unwrap()).await;
                assert_eq!(body(answer.into_body()).await, b"took 0");
            }
        });
    }
    // A body that has not begun is sent to another too.
    with(&Settings::default(), &[closed, good], async |mut client| {
        for _ in 0..4 {
            let post = request("POST", "/").header("content-length", "10000");
            let (answer, mut sent) = begin(&mut client, post.body(()).unwrap()).await;
            sent.send_data(vec![b'a'; 10_000].into(), true).unwrap();
            let answer = answer.await.unwrap();
            assert_eq!(body(answer.into_body()).await, b"took 10000");
        }
    });
}

#[test]
fn what_is_odd_in_a_backends_answer() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-hop\r\nKeep-Alive: 5\r\nX-Hop: 1\r\n\
                  X-Two: a\r\nx-two: b\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                  Transfer-Encoding: chunked\r\n\r\n5;ext\r\nhello\r\n0\r\nX-Sum: 9\r\n\r\n";
    let odd = backend(move |_, _| Some(answer.to_owned()));
    with(&Settings::default(), &[odd], async |mut client| {
        let answer = ask(&mut client, request("GET", "/").body(()).unwrap()).await;
        let fields = answer.headers().clone();
        for hop in ["connection", "keep-alive", "x-hop", "transfer-encoding"] {
            assert!(!fields.contains_key(hop), "{hop}");
        }
        for name in ["x-two", "set-cookie"] {
            assert_eq!(fields.get_all(name).iter().count(), 2, "{name}");
        }
        let mut content = answer.into_body();
        assert_eq!(content.data().await.unwrap().unwrap(), "hello");
        let trailers = content.trailers().await.unwrap().unwrap();
        assert_eq!(trailers["x-sum"], "9");
    });
}

#[test]
fn many_streams_share_a_connection_and_a_long_one_stops_none() {
    let mixed = backend(|head, _| match head.starts_with("GET /long ") {
        true => Some(text(&"x".repeat(4 << 20), "")),
        false => Some(text("short", "")),
    });
    with(&Settings::default(), &[mixed], async |mut client| {
        // Its window is never opened: it stays in the middle.
        let long = ask(&mut client, request("GET", "/long").body(()).unwrap()).await;
        let short: Vec<_> = (0..100)
            .map(|_| {
                let mut client = client.clone();
                tokio::spawn(async move {
                    let answer = ask(&mut client, request("GET", "/").body(()).unwrap()).await;
                    body(answer.into_body()).await
                })
            })
            .collect();
        for one in short {
            assert_eq!(one.await.unwrap(), b"short");
        }
        assert_eq!(body(long.into_body()).await.len(), 4 << 20);
    });
}

#[test]
fn a_websocket_talks_both_ways_and_ends_both_ways() {
    // RFC 8441, 5
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let reading = stream.try_clone().unwrap();
        let head = read_head(&mut BufReader::new(&reading)).unwrap();
        let key = head
            .lines()
            .find_map(|line| line.strip_prefix("sec-websocket-key: "))
            .unwrap();
        let accept = accept(key);
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\nfirst"
        );
        stream.write_all(answer.as_bytes()).unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        stream.write_all(b"last").unwrap();
        got
    });
    with(&Settings::default(), &[addr], async |mut client| {
        while !client.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await; // until the settings have come
        }
        let mut connect = request("CONNECT", "/chat")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-protocol", "chat")
            .body(())
            .unwrap();
        let websocket = h2::ext::Protocol::from_static("websocket");
        connect.extensions_mut().insert(websocket);
        let (answer, mut up) = begin(&mut client, connect).await;
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
        for name in ["sec-websocket-accept", "upgrade", "connection"] {
            assert!(!answer.headers().contains_key(name), "{name}");
        }
        let mut down = answer.into_body();
        assert_eq!(down.data().await.unwrap().unwrap(), "first");
        up.send_data("up".into(), false).unwrap();
        up.send_data("load".into(), true).unwrap();
        assert_eq!(body(down).await, b"last");
    });
    assert_eq!(server.join().unwrap(), b"upload");
}

fn accept(key: &str) -> String {
    use base64::Engine as _;
    use sha1::Digest as _;
    let mut hash = sha1::Sha1::new();
    hash.update(key);
    hash.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64::engine::general_purpose::STANDARD.encode(hash.finalize())
}

#[test]
fn a_websocket_that_is_refused_is_an_answer() {
    let refuses =
        backend(|_, _| Some("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned()));
    with(&Settings::default(), &[refuses], async |mut client| {
        let mut connect = request("CONNECT", "/chat").body(()).unwrap();
        let websocket = h2::ext::Protocol::from_static("websocket");
        connect.extensions_mut().insert(websocket);
        let (answer, _up) = begin(&mut client, connect).await;
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert_eq!(body(answer.into_body()).await, b"no");
    });
}
