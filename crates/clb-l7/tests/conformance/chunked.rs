//! The chunked coding in requests.

use anyhow::{Result, ensure};

use crate::harness::*;

fn chunked(chunks: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
}

fn hello(request: &Request) -> Result<()> {
    request.body.is("hello")
}

#[test]
fn syntax() {
    const S: &str = "RFC 9112 7.1";
    const WHY: &str =
        "a chunk is a hexadecimal size, perhaps extensions, CRLF, that many octets, CRLF";
    let mut rows: Vec<Row> = [
        ("no size", "\r\nhello\r\n0\r\n\r\n"),
        ("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a size with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
        ("a size with a leading space", " 5\r\nhello\r\n0\r\n\r\n"),
        ("a size with a leading tab", "\t5\r\nhello\r\n0\r\n\r\n"),
        ("a size with a letter", "5g\r\nhello\r\n0\r\n\r\n"),
        ("a size in words", "five\r\nhello\r\n0\r\n\r\n"),
        ("a size with h", "5h\r\nhello\r\n0\r\n\r\n"),
        ("a size with a dot", "5.0\r\nhello\r\n0\r\n\r\n"),
        ("a size with a comma", "5,5\r\nhello\r\n0\r\n\r\n"),
        ("a size with an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("a size with a quote", "\"5\"\r\nhello\r\n0\r\n\r\n"),
        ("two sizes", "5 5\r\nhello\r\n0\r\n\r\n"),
        (
            "a size that overflows 64 bits",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "a size that overflows by far",
            "ffffffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "a size that overflows 32 bits twice",
            "100000000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
        ),
        ("NUL in the size", "5\0\r\nhello\r\n0\r\n\r\n"),
        (
            "a control octet before the size",
            "\x0b5\r\nhello\r\n0\r\n\r\n",
        ),
        ("a LF behind the size", "5\nhello\r\n0\r\n\r\n"),
        ("a CR behind the size", "5\rhello\r\n0\r\n\r\n"),
        ("two CRs behind the size", "5\r\r\nhello\r\n0\r\n\r\n"),
        ("a LF behind the data", "5\r\nhello\n0\r\n\r\n"),
        ("a CR behind the data", "5\r\nhello\r0\r\n\r\n"),
        ("nothing behind the data", "5\r\nhello0\r\n\r\n"),
        ("data longer than the size", "4\r\nhello\r\n0\r\n\r\n"),
        ("data shorter than the size", "6\r\nhello\r\n0\r\n\r\n"),
        ("two octets instead of CRLF", "5\r\nhelloXX0\r\n\r\n"),
        (
            "an empty line between chunks",
            "5\r\nhello\r\n\r\n0\r\n\r\n",
        ),
        ("a LF behind the last chunk", "5\r\nhello\r\n0\n\r\n"),
        ("a LF as the last line", "5\r\nhello\r\n0\r\n\n"),
        ("a CR as the last line", "5\r\nhello\r\n0\r\n\rX"),
        ("LF everywhere", "5\nhello\n0\n\n"),
        ("a last chunk of minus zero", "5\r\nhello\r\n-0\r\n\r\n"),
        ("a last chunk of 0x0", "5\r\nhello\r\n0x0\r\n\r\n"),
        ("a last chunk with a letter", "5\r\nhello\r\n0z\r\n\r\n"),
        ("no chunk but data", "hello"),
        (
            "a request instead of a chunk",
            "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n",
        ),
        ("a colon behind the size", "5: a\r\nhello\r\n0\r\n\r\n"),
        (
            "an equals sign behind the size",
            "5=a\r\nhello\r\n0\r\n\r\n",
        ),
    ]
    .into_iter()
    .map(|(name, chunks)| refused_body(format!("chunk: {name}"), S, WHY, chunked(chunks)))
    .collect();
    rows.push(refused_body("chunk: an octet above 127 in the size", S, WHY, b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\xb2\r\nhello\r\n0\r\n\r\n"));
    rows.extend(
        [
            ("one chunk", "5\r\nhello\r\n0\r\n\r\n"),
            (
                "five chunks",
                "1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n",
            ),
            ("a size with zeros", "0005\r\nhello\r\n0\r\n\r\n"),
            ("a last chunk of many zeros", "5\r\nhello\r\n0000\r\n\r\n"),
        ]
        .map(|(name, chunks)| passed(format!("chunk: {name}"), S, "valid", chunked(chunks), hello)),
    );
    rows.extend([
        passed(
            "chunk: no data",
            S,
            "an empty body",
            chunked("0\r\n\r\n"),
            |request| request.body.is(""),
        ),
        passed(
            "chunk: a size in small letters",
            S,
            "hexadecimal",
            chunked("a\r\n0123456789\r\n0\r\n\r\n"),
            |request| request.body.is("0123456789"),
        ),
        passed(
            "chunk: a size in capitals",
            S,
            "hexadecimal",
            chunked("A\r\n0123456789\r\n0\r\n\r\n"),
            |request| request.body.is("0123456789"),
        ),
        passed(
            "chunk: data that looks like chunks",
            S,
            "the size decides",
            chunked("c\r\n0\r\n\r\n0\r\n\r\nGE\r\n0\r\n\r\n"),
            |request| request.body.is("0\r\n\r\n0\r\n\r\nGE"),
        ),
        either(
            "chunk: a space behind the size",
            S,
            "no grammar, but a known habit of old senders",
            &[400],
            chunked("5 \r\nhello\r\n0\r\n\r\n"),
            hello,
        ),
        either(
            "chunk: a size with 40 zeros",
            S,
            "valid, unless it is too long",
            &[400],
            chunked("00000000000000000000000000000000000000005\r\nhello\r\n0\r\n\r\n"),
            hello,
        ),
    ]);
    run("chunk syntax", rows);
}

#[test]
fn extensions() {
    const S: &str = "RFC 9112 7.1.1";
    const IGNORE: &str = "unrecognised chunk extensions are ignored";
    const BAD: &str = "an extension that is not the grammar must not hide a line end";
    let mut rows: Vec<Row> = [
        ("a name", ";a"),
        ("a name and a value", ";a=b"),
        ("two", ";a=b;c=d"),
        ("a quoted value", ";a=\"b c\""),
        ("a quoted value with a semicolon", ";a=\"b;c\""),
        ("a quoted value with an escaped quote", ";a=\"b\\\"c\""),
    ]
    .into_iter()
    .map(|(name, extension)| {
        passed(
            format!("chunk extension: {name}"),
            S,
            IGNORE,
            chunked(&format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n")),
            hello,
        )
    })
    .collect();
    rows.extend(
        [
            ("spaces round the semicolon", " ; a"),
            ("spaces round the equals sign", ";a = b"),
            ("no name", ";"),
            ("no value", ";a="),
            ("a tab", ";\ta=b"),
            ("two semicolons", ";;a"),
            ("a quote without its end", ";a=\"b"),
        ]
        .map(|(name, extension)| {
            either(
                format!("chunk extension: {name}"),
                S,
                "bad white space or no grammar: ignored or refused",
                &[400],
                chunked(&format!("5{extension}\r\nhello\r\n0\r\n\r\n")),
                hello,
            )
        }),
    );
    rows.extend(
        [
            ("a LF in it", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
            ("a LF behind it", "5;a\nhello\r\n0\r\n\r\n"),
            ("a bare CR in it", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
            (
                "a bare CR behind the semicolon",
                "5;\r\r\nhello\r\n0\r\n\r\n",
            ),
            ("NUL in it", "5;a\0\r\nhello\r\n0\r\n\r\n"),
            ("a LF in the last chunk's", "5\r\nhello\r\n0;\n\r\n\r\n"),
            ("a LF in quotes", "5;a=\"b\nc\"\r\nhello\r\n0\r\n\r\n"),
        ]
        .map(|(name, chunks)| {
            refused_body(format!("chunk extension: {name}"), S, BAD, chunked(chunks))
        }),
    );
    rows.push(either(
        "chunk extension: CR LF in quotes",
        S,
        "the line ends there: ignored or refused",
        &[400],
        chunked("5;a=\"b\r\n0\r\n\r\n\r\n0\r\n\r\n"),
        |request| request.body.is("0\r\n\r\n"),
    ));
    rows.push(
        row(
            "chunk extensions without end",
            S,
            "the total size of extensions is limited",
            |lane| {
                let mut client = lane.client_sends(chunked("5;"))?;
                for _ in 0..1000 {
                    client.try_send("a".repeat(1024));
                }
                client.wait()?;
                is_refused(&mut client, &[400, 413, 431])?;
                lane.nothing_came_whole()
            },
        )
        .own(),
    );
    rows.push(
        row(
            "many chunks of one octet with long extensions",
            S,
            "the total size of extensions is limited",
            |lane| {
                let mut client = lane.client_sends(chunked(""))?;
                let chunk = format!("1;{}\r\nx\r\n", "a".repeat(2000));
                for _ in 0..2000 {
                    client.try_send(&chunk);
                }
                client.wait()?;
                is_refused(&mut client, &[400, 413, 431])?;
                lane.nothing_came_whole()
            },
        )
        .own(),
    );
    run("chunk extensions", rows);
}

#[test]
fn trailers() {
    const S: &str = "RFC 9112 7.1.2, RFC 9110 6.5";
    let mut rows: Vec<Row> = [
        ("white space before the colon", "X-T : a\r\n"),
        ("no colon", "X-T\r\n"),
        ("no name", ": a\r\n"),
        ("a space in the name", "X T: a\r\n"),
        ("NUL in the name", "X\0T: a\r\n"),
        ("a bare CR in the value", "X-T: a\rb\r\n"),
        ("a LF instead of the first CRLF", "X-T: a\nX-U : b\r\n"),
        ("a request line", "GET /smuggled HTTP/1.1\r\n"),
        ("white space first", " X-T: a\r\n"),
    ]
    .into_iter()
    .map(|(name, trailer)| {
        refused_body(
            format!("trailer: {name}"),
            "RFC 9112 5, 7.1.2",
            "a trailer section has the syntax of fields",
            chunked(&format!("5\r\nhello\r\n0\r\n{trailer}\r\n")),
        )
    })
    .collect();
    rows.extend([
        passed("a trailer", S, "forwarded as a trailer or discarded, never a header", chunked("5\r\nhello\r\n0\r\nX-T: a\r\n\r\n"), |request| {
            hello(request)?;
            request.fields.lack(&["x-t"])?;
            let trailers = request.body.trailers.all("x-t");
            ensure!(trailers.is_empty() || trailers == ["a"], "{trailers:?}");
            Ok(())
        }),
        passed("an announced trailer", S, "forwarded as a trailer or discarded, never a header", "POST / HTTP/1.1\r\nHost: test\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: a\r\n\r\n", |request| {
            request.fields.lack(&["x-t"])?;
            hello(request)
        }),
        passed("several trailers and one empty", S, "the section ends with the empty line", chunked("5\r\nhello\r\n0\r\nA: b\r\nC:\r\nD: e\r\n\r\n"), hello),
        either("trailers that frame", S, "framing fields in trailers have no effect and must not be merged", &[400], chunked("5\r\nhello\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: gzip\r\nHost: other\r\n\r\n"), |request| {
            hello(request)?;
            request.fields.is("host", "test")?;
            request.body.trailers.lack(&["content-length", "transfer-encoding", "host"])
        }).own(),
        either("trailers that authorise and route", S, "such fields must not be merged into the header section", &[400], chunked("5\r\nhello\r\n0\r\nAuthorization: x\r\nX-Forwarded-For: 9.9.9.9\r\nCookie: a=b\r\n\r\n"), |request| {
            hello(request)?;
            request.fields.lack(&["authorization", "cookie"])?;
            ensure!(!request.fields.members("x-forwarded-for").contains(&"9.9.9.9".to_string()));
            Ok(())
        }),
        either("a folded trailer", "RFC 9112 5.2", "400, or each fold replaced by spaces", &[400], chunked("5\r\nhello\r\n0\r\nX-T: a\r\n b\r\n\r\n"), hello),
        row("trailers without end", "RFC 9110 5.4, RFC 9112 7.1.2", "the trailer section is bounded", |lane| {
            let mut client = lane.client_sends(chunked("5\r\nhello\r\n0\r\n"))?;
            for number in 0..20_000 {
                client.try_send(format!("X-T-{number}: {}\r\n", "a".repeat(100)));
            }
            client.wait()?;
            is_refused(&mut client, &[400, 413, 431])?;
            lane.nothing_came_whole()
        }).own(),
        row("one trailer without end", "RFC 9110 5.4, RFC 9112 7.1.2", "the trailer section is bounded", |lane| {
            let mut client = lane.client_sends(chunked("5\r\nhello\r\n0\r\nX-T: "))?;
            for _ in 0..1000 {
                client.try_send("a".repeat(1024));
            }
            client.wait()?;
            is_refused(&mut client, &[400, 413, 431])?;
            lane.nothing_came_whole()
        }).own(),
    ]);
    run("trailers", rows);
}
