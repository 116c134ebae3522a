//! What happens to connections when the listener goes.

use std::net::TcpStream;

use anyhow::ensure;

use crate::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
#[test]
fn draining() {
    const D: &str = "semantics 7";
    run(
        "draining",
        vec![
            row("a request in flight when the listener goes", D, "it is answered, with Connection: close, and the connection ends", |lane| {
                let mut client = lane.client_sends(GET)?;
                let mut backend = lane.backend()?;
                backend.request()?;
                lane.remove_listener()?;
                backend.send(OK)?;
                let answer = client.answer("GET")?;
                answer.status(200)?.body.is("ok")?;
                ensure!(answer.fields.says_close(), "close is not said");
                client.expect_end()
            }).own(),
            row("an answer in flight when the listener goes", D, "it comes whole, and the connection ends", |lane| {
                let mut client = lane.client_sends(GET)?;
                let mut backend = lane.backend()?;
                backend.request()?;
                backend.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")?;
                let answer = client.answer_head("GET")?;
                lane.remove_listener()?;
                backend.send("llo")?;
                client.body(answer.body.framing)?.is("hello")?;
                client.expect_end()
            }).own(),
            row("a request's body in flight when the listener goes", D, "the request is served", |lane| {
                let mut client = lane.client_sends("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhe")?;
                let mut backend = lane.backend()?;
                let request = backend.request_head()?;
                lane.remove_listener()?;
                client.send("llo")?;
                backend.body(request.body.framing)?.is("hello")?;
                backend.send(OK)?;
                client.answer("POST")?.status(200)?.body.is("ok")?;
                client.expect_end()
            }).own(),
            row("a request on an idle connection whose listener has gone", D, "it is answered, with Connection: close: it may have been on its way", |lane| {
                let (mut client, backend, _) = lane.exchange(GET, OK.as_bytes())?;
                client.answer("GET")?.status(200)?;
                lane.remove_listener()?;
                client.send(GET)?;
                let mut backend = lane.next_wire_or_end(backend, &mut client)?;
                backend.request()?;
                backend.send(OK)?;
                let answer = client.answer("GET")?;
                answer.status(200)?;
                ensure!(answer.fields.says_close(), "close is not said");
                client.expect_end()
            }).own(),
            row("a tunnel when the listener goes", D, "established connections go on", |lane| {
                let mut client = lane.client_sends("GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
                let mut backend = lane.backend()?;
                backend.request()?;
                backend.send("HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
                client.answer_head("GET")?.status(101)?;
                lane.remove_listener()?;
                client.send("still")?;
                backend.expect("still")?;
                backend.send("here")?;
                client.expect("here")
            }).own(),
            row("a new connection when the listener has gone", D, "refused", |lane| {
                lane.remove_listener()?;
                ensure!(TcpStream::connect(lane.addr).is_err(), "still accepted");
                Ok(())
            }).own().plain(),
        ],
    );
}
