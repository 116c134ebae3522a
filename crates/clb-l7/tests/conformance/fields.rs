//! The syntax of header sections.

use anyhow::{Result, ensure};

use crate::harness::*;

fn with(field: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: test\r\n{field}\r\n\r\n")
}

fn is(name: &'static str, value: &'static str) -> impl Fn(&Request) -> Result<()> + Send + Sync {
    move |request| request.fields.is(name, value)
}

#[test]
fn names() {
    let mut rows: Vec<Row> = [
        ("space before the colon", "X-A : b"),
        ("tab before the colon", "X-A\t: b"),
        ("spaces before the colon", "X-A  : b"),
        ("space before Host's colon", "Host : test"),
        ("no colon", "X-A b"),
        ("no colon and no space", "XA"),
        ("only a colon", ":"),
        ("no name", ": b"),
        ("only a space as name", " : b"),
        ("a space in the name", "X A: b"),
        ("a parenthesis in the name", "X(A: b"),
        ("a slash in the name", "X/A: b"),
        ("brackets in the name", "X[A]: b"),
        ("braces in the name", "X{A}: b"),
        ("a quote in the name", "\"X\": b"),
        ("an equals sign in the name", "X=A: b"),
        ("an at sign in the name", "X@A: b"),
        ("a semicolon in the name", "X;A: b"),
        ("a comma in the name", "X,A: b"),
        ("angle brackets in the name", "<X>: b"),
        ("a question mark in the name", "X?: b"),
        ("a backslash in the name", "X\\A: b"),
        ("NUL in the name", "X\0A: b"),
        ("a control octet in the name", "X\x01A: b"),
        ("DEL in the name", "X\x7fA: b"),
        ("CR in the name", "X\rA: b"),
        ("a vertical tab before the colon", "X\x0b: b"),
        ("a request line as a field", "GET /other HTTP/1.1"),
    ]
    .into_iter()
    .map(|(name, field)| {
        refused(format!("field name: {name}"), "RFC 9112 2.2, 5, 5.1", "400 to what is not the grammar: a field line is a token, a colon, a value; 400 to white space before the colon", with(field))
    })
    .collect();
    rows.push(refused(
        "field name: an octet above 127",
        "RFC 9110 5.1",
        "a field name is a token",
        b"GET / HTTP/1.1\r\nHost: test\r\nX\xe9: b\r\n\r\n",
    ));
    rows.push(refused(
        "field name: white space before the colon of the last field",
        "RFC 9112 5.1",
        "400 to white space before the colon",
        with("A: b\r\nC: d\r\nX-Last : e"),
    ));
    rows.push(refused(
        "field name: UTF-8 byte order mark first",
        "RFC 9110 5.1",
        "a field name is a token",
        b"GET / HTTP/1.1\r\n\xef\xbb\xbfHost: test\r\n\r\n",
    ));
    rows.extend([
        passed(
            "field name of every token character",
            "RFC 9110 5.6.2",
            "all of them are token characters",
            with("!#$%&'*+-.^_`|~09aZ: b"),
            is("!#$%&'*+-.^_`|~09aZ", "b"),
        ),
        passed(
            "field name with underscore",
            "RFC 9110 5.1, 7.6",
            "unknown fields are forwarded",
            with("X_Under_Score: b"),
            is("X_Under_Score", "b"),
        ),
        passed(
            "field name with a dot",
            "RFC 9110 5.1, 7.6",
            "unknown fields are forwarded",
            with("X.Dot: b"),
            is("X.Dot", "b"),
        ),
        passed(
            "field name of digits",
            "RFC 9110 5.1, 7.6",
            "unknown fields are forwarded",
            with("123: b"),
            is("123", "b"),
        ),
        passed(
            "field name of one letter",
            "RFC 9110 5.1, 7.6",
            "unknown fields are forwarded",
            with("a: b"),
            is("a", "b"),
        ),
    ]);
    run("field names", rows);
}

#[test]
fn values() {
    const S: &str = "RFC 9110 5.5";
    fn tidy(request: &Request) -> Result<()> {
        // The reader of the head has found no bare CR, LF or NUL.
        request.fields.one("x-a")?;
        request.fields.lack(&["x-b"])
    }
    let mut rows = vec![
        passed(
            "no space after the colon",
            "RFC 9112 5",
            "white space is optional",
            with("X-A:b"),
            is("x-a", "b"),
        ),
        passed(
            "white space round a value",
            "RFC 9112 5.1",
            "it is not part of the value",
            with("X-A: \t  b \t "),
            is("x-a", "b"),
        ),
        passed(
            "an empty value",
            S,
            "a value may be empty",
            with("X-A:"),
            is("x-a", ""),
        ),
        passed(
            "a value of white space",
            S,
            "a value may be empty",
            with("X-A:  \t "),
            is("x-a", ""),
        ),
        passed(
            "white space within a value",
            S,
            "it is part of the value",
            with("X-A: b  c\td"),
            is("x-a", "b  c\td"),
        ),
        passed(
            "a value with colons",
            S,
            "a value may contain colons",
            with("X-A: b: c:d"),
            is("x-a", "b: c:d"),
        ),
        passed(
            "a value with quotes and commas",
            S,
            "opaque to the gateway",
            with("X-A: \"b, c\", d;e=\"\\\"\""),
            is("x-a", "\"b, c\", d;e=\"\\\"\""),
        ),
        passed(
            "a long value",
            S,
            "10,000 octets are within the limits",
            with(&format!("X-A: {}", "v".repeat(10_000))),
            |request| {
                ensure!(request.fields.one("x-a")?.len() == 10_000);
                Ok(())
            },
        )
        .own(),
        passed(
            "obs-text",
            S,
            "octets above 127 are opaque data",
            b"GET / HTTP/1.1\r\nHost: test\r\nX-A: b\xe9\xffc\r\n\r\n",
            is("x-a", "b\u{e9}\u{ff}c"),
        ),
        passed(
            "UTF-8",
            S,
            "octets above 127 are opaque data",
            with("X-A: é"),
            is("x-a", "\u{c3}\u{a9}"),
        ),
        passed(
            "repeated fields keep their order",
            "RFC 9110 5.3",
            "the order of fields of one name is not changed",
            with("X-A: 1\r\nX-B: x\r\nX-A: 2\r\nx-a: 3"),
            |request| {
                let all = request.fields.all("x-a").join(", ");
                ensure!(all == "1, 2, 3", "the values are {all}");
                Ok(())
            },
        ),
        passed(
            "end-to-end fields pass",
            "RFC 9110 7.6",
            "what is not hop-by-hop is forwarded",
            with(
                "Cookie: a=1\r\nAuthorization: Basic eA==\r\nAccept: */*\r\nIf-None-Match: \"x\"\r\nRange: bytes=0-1\r\nUser-Agent: t\r\nReferer: http://x/\r\nX-Own: 1\r\nCache-Control: no-cache\r\nAccept-Encoding: gzip",
            ),
            |request| {
                for (name, value) in [
                    ("cookie", "a=1"),
                    ("authorization", "Basic eA=="),
                    ("accept", "*/*"),
                    ("if-none-match", "\"x\""),
                    ("range", "bytes=0-1"),
                    ("user-agent", "t"),
                    ("referer", "http://x/"),
                    ("x-own", "1"),
                    ("cache-control", "no-cache"),
                    ("accept-encoding", "gzip"),
                ] {
                    request.fields.is(name, value)?;
                }
                Ok(())
            },
        ),
        either(
            "NUL in a value",
            S,
            "rejected, or replaced by a space",
            &[400],
            with("X-A: b\0c"),
            tidy,
        ),
        either(
            "NUL at a value's end",
            S,
            "rejected, or replaced by a space",
            &[400],
            with("X-A: b\0"),
            tidy,
        ),
        either(
            "a bare CR in a value",
            "RFC 9110 5.5, RFC 9112 2.2",
            "rejected, or replaced by a space",
            &[400],
            with("X-A: b\rX-B: c"),
            tidy,
        ),
        either(
            "a bare CR at a value's end",
            "RFC 9110 5.5, RFC 9112 2.2",
            "rejected, or replaced by a space",
            &[400],
            with("X-A: b\r"),
            tidy,
        ),
        either(
            "two CRs before the LF",
            "RFC 9112 2.2",
            "rejected, or replaced by a space",
            &[400],
            "GET / HTTP/1.1\r\nHost: test\r\nX-A: b\r\r\nX-C: d\r\n\r\n",
            tidy,
        ),
        either(
            "a bare CR before a smuggled field",
            "RFC 9112 2.2",
            "rejected, or replaced by a space",
            &[400],
            with("X-A: b\rTransfer-Encoding: chunked"),
            |request| request.fields.lack(&["transfer-encoding"]),
        ),
        // Folding: refused, or unfolded to spaces.
        either(
            "a folded value",
            "RFC 9112 5.2",
            "400, or each fold replaced by spaces",
            &[400],
            with("X-A: b\r\n c"),
            unfolded,
        ),
        either(
            "a value folded with a tab",
            "RFC 9112 5.2",
            "400, or each fold replaced by spaces",
            &[400],
            with("X-A: b\r\n\tc"),
            unfolded,
        ),
        either(
            "a fold before the value",
            "RFC 9112 5.2",
            "400, or each fold replaced by spaces",
            &[400],
            with("X-A:\r\n b c"),
            unfolded,
        ),
        either(
            "a fold without anything",
            "RFC 9112 5.2",
            "400, or each fold replaced by spaces",
            &[400],
            with("X-A: b c\r\n \r\nX-C: d"),
            unfolded,
        ),
        either(
            "a folded line that looks like a field",
            "RFC 9112 5.2",
            "400, or each fold replaced by spaces",
            &[400],
            with("X-A: b\r\n X-B: c"),
            |request| request.fields.lack(&["x-b"]),
        ),
        refused(
            "a folded Host",
            "RFC 9112 3.2, 5.2",
            "unfolded, it is not a valid Host",
            "GET / HTTP/1.1\r\nHost: te\r\n st\r\n\r\n",
        ),
        refused_by(
            "a folded Content-Length",
            "RFC 9112 5.2, 6.3",
            "unfolded, it is not a number",
            &[400],
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n 0\r\n\r\n0123456789",
        ),
        refused_by(
            "a folded Transfer-Encoding",
            "RFC 9112 5.2, 6.1",
            "unfolded, it is not chunked",
            &[400, 501],
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chun\r\n ked\r\n\r\n0\r\n\r\n",
        ),
        // White space before the first field.
        either(
            "white space before the first field",
            "RFC 9112 2.2",
            "rejected, or the line is dropped",
            &[400],
            "GET / HTTP/1.1\r\n X-A: b\r\nHost: test\r\n\r\n",
            |request| request.fields.lack(&["x-a"]),
        ),
        either(
            "a tab before the first field",
            "RFC 9112 2.2",
            "rejected, or the line is dropped",
            &[400],
            "GET / HTTP/1.1\r\n\tX-A: b\r\nHost: test\r\n\r\n",
            |request| request.fields.lack(&["x-a"]),
        ),
        either(
            "a line of white space after the request line",
            "RFC 9112 2.2",
            "rejected, or the line is dropped",
            &[400],
            "GET / HTTP/1.1\r\n \r\nHost: test\r\n\r\n",
            |request| request.fields.is("host", "test"),
        ),
    ];
    rows.extend(
        (1..=31u8)
            .chain([127])
            .filter(|c| !b"\t\r\n".contains(c))
            .map(|c| {
                let octets = [
                    b"GET / HTTP/1.1\r\nHost: test\r\nX-A: b".as_slice(),
                    &[c],
                    b"c\r\n\r\n",
                ]
                .concat();
                refused(
                    format!("control octet {c} in a value"),
                    S,
                    "field values with control octets are invalid; ours refuses them",
                    octets,
                )
                .own()
            }),
    );
    run("field values", rows);
}

fn unfolded(request: &Request) -> Result<()> {
    let value = request.fields.one("x-a")?;
    let words: Vec<_> = value.split_whitespace().collect();
    ensure!(words == ["b", "c"], "X-A is {value:?}");
    Ok(())
}
