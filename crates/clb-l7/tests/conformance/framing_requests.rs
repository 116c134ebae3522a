//! Where a request's body ends: Content-Length and Transfer-Encoding in all doubtful forms.

use anyhow::{Result, ensure};

use crate::harness::*;

/// Behind every doubtful request lies one that must never be taken for a request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n{body}")
}

fn body(expected: &'static str) -> impl Fn(&Request) -> Result<()> + Send + Sync {
    move |request| request.body.is(expected)
}

/// One Content-Length of this value, whatever the form was.
fn length(request: &Request) -> Result<()> {
    ensure!(
        request.body.framing == Framing::Length(5),
        "{:?}",
        request.body.framing
    );
    request.body.is("hello")
}

/// A length that is valid and larger than any body: refused, or passed on as it is.
fn huge(name: &'static str, length: &'static str) -> Row {
    row(
        name,
        "RFC 9110 8.6",
        "a valid length, which a recipient may find too large, never another number",
        move |lane| {
            let mut client = lane.client_sends(post(&format!("Content-Length: {length}"), ""))?;
            while client.so_far()?.is_empty() {
                let time = std::time::Duration::from_millis(1);
                if let Some(mut backend) = lane.backend_within(0, time)? {
                    let head = backend.read_until(b"\r\n\r\n")?;
                    let head = latin1(&head).to_ascii_lowercase();
                    ensure!(head.contains(&format!("content-length: {length}\r\n")));
                    return Ok(());
                }
            }
            is_refused(&mut client, &[400, 413])?;
            lane.nothing_reached()
        },
    )
}

#[test]
fn content_length() {
    const S: &str = "RFC 9112 6.3, RFC 9110 8.6";
    const WHY: &str = "400 and close: a Content-Length that is not one decimal number";
    let mut rows: Vec<Row> = [
        "+5",
        "-5",
        "-0",
        "- 5",
        "5 5",
        "5, 6",
        "5,6",
        "6, 5",
        "5, 5, 6",
        "5;5",
        "5;",
        "0x5",
        "0X5",
        "5h",
        "5a",
        "a",
        "five",
        "5.0",
        "5.",
        ".5",
        "5e0",
        "1e1",
        "5_0",
        "\"5\"",
        "'5'",
        "(5)",
        "5 ;a=b",
        "5/1",
        "5 x",
        "0 5",
        "",
        "18446744073709551616",
        "18446744073709551621",
        "36893488147419103237",
        "99999999999999999999999999",
        "340282366920938463463374607431768211461",
        "5\x0b",
        "\x0b5",
        "5\x0c",
        "5\0",
        "5\x7f",
        "NaN",
        "inf",
        "*",
        "chunked",
        "-18446744073709551611",
    ]
    .into_iter()
    .map(|value| {
        let octets = post(
            &format!("Content-Length: {value}"),
            &format!("hello{SMUGGLED}"),
        );
        refused(format!("Content-Length {:?}", value), S, WHY, octets)
    })
    .collect();
    for value in ["\u{0}", "\u{b2}"] {
        let octets = [
            b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: ".as_slice(),
            &[value.chars().next().map_or(0, |c| c as u8)],
            b"\r\n\r\nhello",
        ]
        .concat();
        rows.push(refused(
            format!("Content-Length of the octet {value:?}"),
            S,
            WHY,
            octets,
        ));
    }
    rows.extend(
        [
            ("two that differ", "Content-Length: 5\r\nContent-Length: 6"),
            (
                "two that differ, the other way round",
                "Content-Length: 6\r\nContent-Length: 5",
            ),
            (
                "two that differ, in other cases",
                "Content-Length: 5\r\ncontent-length: 0",
            ),
            (
                "two that differ, apart",
                "Content-Length: 5\r\nX: y\r\nContent-Length: 55",
            ),
            (
                "one good and one bad",
                "Content-Length: 5\r\nContent-Length: x",
            ),
            (
                "one good and one empty",
                "Content-Length: 5\r\nContent-Length:",
            ),
            (
                "an empty one and a good one",
                "Content-Length:\r\nContent-Length: 5",
            ),
            (
                "one good and a negative one",
                "Content-Length: 5\r\nContent-Length: -5",
            ),
            (
                "three of which one differs",
                "Content-Length: 5\r\nContent-Length: 5\r\nContent-Length: 4",
            ),
            ("white space before the colon", "Content-Length : 5"),
            ("a tab before the colon", "Content-Length\t: 5"),
            ("a control octet before the name", "\x0bContent-Length: 5"),
            (
                "a good one and one with white space before the colon",
                "Content-Length: 5\r\nContent-Length : 6",
            ),
            ("a space before the name", " Content-Length: 5"),
        ]
        .map(|(name, fields)| {
            let octets = post(fields, &format!("hello{SMUGGLED}"));
            if name == "a space before the name" {
                // Behind Host it is a fold of Host's value.
                refused(
                    format!("Content-Length: {name}"),
                    "RFC 9112 5.2, 3.2",
                    "400: unfolded it makes Host invalid",
                    octets,
                )
            } else {
                refused(
                    format!("Content-Length: {name}"),
                    "RFC 9112 5.1, 6.3",
                    WHY,
                    octets,
                )
            }
        }),
    );
    const SAME: &str = "a list of equal numbers is refused or made one";
    rows.extend([
        either("two equal Content-Lengths", S, SAME, &[400], post("Content-Length: 5\r\nContent-Length: 5", "hello"), length),
        either("a list of two equal Content-Lengths", S, SAME, &[400], post("Content-Length: 5, 5", "hello"), length),
        either("a list of equal Content-Lengths without space", S, SAME, &[400], post("Content-Length: 5,5", "hello"), length),
        either("equal Content-Lengths with other zeros", S, SAME, &[400], post("Content-Length: 5\r\nContent-Length: 05", "hello"), length),
        either("a list with an empty member", S, SAME, &[400], post("Content-Length: 5,", "hello"), length),
        either("a list that begins with an empty member", S, SAME, &[400], post("Content-Length: ,5", "hello"), length),
        either("leading zeros", S, "1*DIGIT allows them", &[400], post("Content-Length: 0005", "hello"), length),
        either("many leading zeros", S, "1*DIGIT allows them", &[400], post("Content-Length: 00000000000000000000000000005", "hello"), length),
        huge("a length of 2^63", "9223372036854775808"),
        huge("a length of 2^64 - 1", "18446744073709551615"),
        passed("a length with white space round it", "RFC 9112 5.1", "white space is not part of the value", post("Content-Length: \t5 \t", "hello"), length),
        passed("a length in a name of other case", "RFC 9110 5.1", "field names are case-insensitive", post("cOnTeNt-LeNgTh: 5", "hello"), length),
        passed("a length of zero", S, "an empty body", post("Content-Length: 0", ""), body("")),
        passed("a body that looks like a request", S, "the length decides", post("Content-Length: 40", "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n.."), body("GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n..")),
        passed("no length and no coding", "RFC 9112 6.3", "a request without either has no body", "POST / HTTP/1.1\r\nHost: test\r\n\r\n", body("")),
        passed("GET with a body", "RFC 9110 9.3.1, RFC 9112 6", "framing does not depend on the method", "GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello", length),
        passed("GET with a chunked body", "RFC 9110 9.3.1, RFC 9112 6", "framing does not depend on the method", "GET / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", body("hello")),
        passed("HEAD with a body", "RFC 9110 9.3.2, RFC 9112 6", "framing does not depend on the method", "HEAD / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello", length),
        passed("DELETE with a body", "RFC 9110 9.3.5, RFC 9112 6", "framing does not depend on the method", "DELETE / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello", length),
        passed("OPTIONS with a body", "RFC 9110 9.3.7, RFC 9112 6", "framing does not depend on the method", "OPTIONS / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello", length),
        passed("an unknown method with a body", "RFC 9112 6", "framing does not depend on the method", "FROB / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello", length),
        passed_once("HTTP/1.0 with a length", "RFC 9112 6.3", "as in HTTP/1.1", "POST / HTTP/1.0\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello", length),
        passed_once("HTTP/1.0 POST without length", "RFC 9112 6.3", "no body", "POST / HTTP/1.0\r\nHost: test\r\n\r\n", body("")),
        passed("a field that only resembles Content-Length", "RFC 9110 5.1", "Content_Length and X-Content-Length mean nothing", post("Content_Length: 9\r\nX-Content-Length: 7\r\nContentLength: 3", ""), body("")),
    ]);
    run("content-length of requests", rows);
}

#[test]
fn transfer_encoding() {
    const S: &str = "RFC 9112 6.1, 6.3";
    const WHY: &str = "400 (or 501 for a coding that is not understood) and close";
    const CHUNKS: &str = "5\r\nhello\r\n0\r\n\r\n";
    let refuse = |name: &str, fields: &str| {
        let octets = post(fields, &format!("{CHUNKS}{SMUGGLED}"));
        refused_by(
            format!("Transfer-Encoding: {name}"),
            S,
            WHY,
            &[400, 501],
            octets,
        )
    };
    let mut rows: Vec<Row> = [
        "identity",
        "gzip",
        "deflate",
        "compress",
        "br",
        "x-gzip",
        "cow",
        "chunked, identity",
        "chunked, gzip",
        "identity, chunked",
        "gzip, chunked",
        "gzip,chunked",
        "chunked, chunked",
        "chunked,chunked",
        "chunked chunked",
        "xchunked",
        "chunkedx",
        "x-chunked",
        "chunk",
        "chunke",
        "chun ked",
        "chunked;",
        "chunked;a",
        "chunked;a=b",
        "chunked; q=1",
        "chunked;q=0",
        "\"chunked\"",
        "'chunked'",
        "(chunked)",
        "chunked, cow",
        "cow, chunked",
        "chunked/1",
        "chunked:",
        "chunked: chunked",
        "=chunked",
        "",
        ",",
        "chunked\0",
        "\0chunked",
        "\x0bchunked",
        "chunked\x0b",
        "chunked\x0c",
        "\x01chunked",
        "chunked\x7f",
        "chunked\t, identity",
        "chunked, trailers",
        "*",
        "5",
        "chun\u{212a}ed",
    ]
    .into_iter()
    .map(|value| {
        refuse(
            &format!("{value:?}"),
            &format!("Transfer-Encoding: {value}"),
        )
    })
    .collect();
    rows.extend([
        refuse(
            "two fields",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ),
        refuse(
            "two fields, identity last",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        ),
        refuse(
            "two fields, identity first",
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        ),
        refuse(
            "two fields, an unknown one last",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
        ),
        refuse(
            "two fields, an unknown one first",
            "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
        ),
        refuse(
            "two fields in other cases",
            "Transfer-Encoding: chunked\r\ntransfer-encoding: x",
        ),
        refuse(
            "two fields, the last empty",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding:",
        ),
        refuse(
            "two fields apart",
            "Transfer-Encoding: chunked\r\nX: y\r\nTransfer-Encoding: gzip",
        ),
        refuse(
            "white space before the colon",
            "Transfer-Encoding : chunked",
        ),
        refuse("a tab before the colon", "Transfer-Encoding\t: chunked"),
        refuse("a CR before the colon", "Transfer-Encoding\r: chunked"),
        refuse(
            "a space before the name",
            "X: y\r\n Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        ),
        refuse("folded before the value", "Transfer-Encoding:\r\n cow"),
        refuse("folded list", "Transfer-Encoding: chunked,\r\n identity"),
        refuse(
            "a control octet before the name",
            "\x0bTransfer-Encoding: chunked",
        ),
        refuse(
            "behind a bare CR in another field",
            "X: y\rTransfer-Encoding: chunked\r\nTransfer-Encoding: x",
        ),
    ]);
    rows.push(refused_by(
        "Transfer-Encoding with an octet above 127",
        S,
        WHY,
        &[400, 501],
        b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\xff\r\n\r\n0\r\n\r\n",
    ));
    rows.push(refused_by(
        "Transfer-Encoding with a no-break space",
        S,
        WHY,
        &[400, 501],
        b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: \xa0chunked\r\n\r\n0\r\n\r\n",
    ));
    rows.extend([
        refused_by("Transfer-Encoding in HTTP/1.0", "RFC 9112 6.1", "framing is faulty: closed at least, ours refuses", &[400, 501], "POST / HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        refused_by("Transfer-Encoding and Content-Length in HTTP/1.0", "RFC 9112 6.1", "framing is faulty even with a Content-Length", &[400, 501], "POST / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        either("an empty list member after chunked", "RFC 9110 5.6.1.2", "empty members may be ignored", &[400, 501], post("Transfer-Encoding: chunked,", CHUNKS), body("hello")),
        either("an empty list member before chunked", "RFC 9110 5.6.1.2", "empty members may be ignored", &[400, 501], post("Transfer-Encoding: , chunked", CHUNKS), body("hello")),
        either("chunked folded to the next line", "RFC 9112 5.2", "400, or the fold replaced by spaces", &[400, 501], post("Transfer-Encoding:\r\n chunked", CHUNKS), body("hello")),
        passed("chunked", S, "the one coding that every recipient must know", post("Transfer-Encoding: chunked", CHUNKS), body("hello")),
        passed("Chunked in other cases", "RFC 9112 7", "codings are case-insensitive", post("tRaNsFeR-eNcOdInG: cHuNkEd", CHUNKS), body("hello")),
        passed("chunked with white space round it", "RFC 9112 5.1", "white space is not part of the value", post("Transfer-Encoding: \t chunked \t", CHUNKS), body("hello")),
        passed("a field that only resembles Transfer-Encoding", "RFC 9110 5.1", "other names mean nothing", post("X-Transfer-Encoding: chunked\r\nTransferEncoding: chunked\r\nContent-Encoding: chunked", ""), body("")),
        passed("Content-Encoding is end-to-end", "RFC 9110 8.4", "a gateway does not touch content codings", post("Content-Encoding: gzip\r\nContent-Length: 5", "hello"), |request| {
            request.fields.is("content-encoding", "gzip")?;
            length(request)
        }),
    ]);
    run("transfer-encoding of requests", rows);
}
