use proptest::prelude::*;

use super::*;
use crate::http1::FieldFault;

/// All data, what remains after the body, and the trailer fields; `None` when more is needed.
type Decoded = Option<(Vec<u8>, usize, Vec<u8>)>;

/// Decodes `input` in pieces of `step` octets.
fn decode(input: &[u8], step: usize) -> Result<Decoded, (ChunkError, Vec<u8>)> {
    let mut decoder = ChunkDecoder::default();
    let mut data = Vec::new();
    let mut at = 0;
    let mut end = step.min(input.len());
    loop {
        match decoder
            .next(&input[at..end])
            .map_err(|error| (error, data.clone()))?
        {
            ChunkPart::Data { start, end, used } => {
                assert!(start < end && end == used);
                data.extend_from_slice(&input[at + start..at + end]);
                at += used;
            }
            ChunkPart::NeedMore { used } => {
                assert_eq!(at + used, end);
                at = end;
                if end == input.len() {
                    assert!(decoder.trailers().is_empty());
                    return Ok(None);
                }
                end = (end + step).min(input.len());
            }
            ChunkPart::End { used } => {
                at += used;
                assert_eq!(decoder.next(&input[at..]), Ok(ChunkPart::End { used: 0 }));
                return Ok(Some((data, at, decoder.trailers().to_vec())));
            }
        }
    }
}

#[test]
fn bodies() {
    // RFC 9112, 7.1
    for (input, data, trailers) in [
        (&b"0\r\n\r\n"[..], &b""[..], &b""[..]),
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc", b""),
        (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde", b""),
        (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789", b""),
        (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", b""),
        (b"0003\r\nabc\r\n000\r\n\r\n", b"abc", b""),
        (
            b"0000000000000003\r\nabc\r\n0000000000000000\r\n\r\n",
            b"abc",
            b"",
        ),
        (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n", b""),
        // 7.1.1: extensions are skipped
        (b"3;a\r\nabc\r\n0;b=c\r\n\r\n", b"abc", b""),
        (b"3;a=b;c=\"d\\\"\t;e\";f\r\nabc\r\n0\r\n\r\n", b"abc", b""),
        (b"3 ; a = b ;\tc\r\nabc\r\n0\r\n\r\n", b"abc", b""),
        (b"3;a=\"\xe9\"\r\nabc\r\n0\r\n\r\n", b"abc", b""),
        (b"3;a=\"\"\r\nabc\r\n0\r\n\r\n", b"abc", b""),
        // 7.1.2
        (b"0\r\nA: b\r\nC:d \r\n\r\n", b"", b"A: b\r\nC:d \r\n"),
        (
            b"0\r\nHost: b\r\nC: d\r\nContent-Length: 5\r\n\r\n",
            b"",
            b"C: d\r\n",
        ),
    ] {
        for step in [1, 2, 3, 7, 1000] {
            let rest = [input, b"GET / HTTP/1.1\r\n"].concat();
            let expected = Some((data.to_vec(), input.len(), trailers.to_vec()));
            assert_eq!(decode(&rest, step), Ok(expected), "{input:?} {step}");
            for cut in 0..input.len() {
                assert_eq!(
                    decode(&input[..cut], step),
                    Ok(None),
                    "{input:?} {cut} {step}"
                );
            }
        }
    }
}

#[test]
fn what_is_refused() {
    use ChunkError::*;
    let field = |fault| Trailer(TrailerFault::Field(fault));
    for (input, error) in [
        // sizes
        (&b"\r\n"[..], Size),
        (b"\n", Size),
        (b" 3\r\n", Size),
        (b"\t3\r\n", Size),
        (b"+3\r\n", Size),
        (b"-3\r\n", Size),
        (b"0x3\r\n", Size),
        (b"x\r\n", Size),
        (b"g\r\n", Size),
        (b"3g\r\n", Size),
        (b"3_0\r\n", Size),
        (b"3.\r\n", Size),
        (b"3,3\r\n", Size),
        (b"3\0\r\n", Size),
        (b"3\x0b\r\n", Size),
        (b"\xef\xbb\xbf3\r\n", Size),
        (b";a\r\n", Size),
        (b"\"3\"\r\n", Size),
        (b"10000000000000000\r\n", Size),
        (b"00000000000000003\r\n", Size),
        (b"fffffffffffffffff\r\n", Size),
        // line ends
        (b"3\nabc", LineEnd),
        (b"3\rabc", LineEnd),
        (b"3\r\rabc", LineEnd),
        (b"0\n\n", LineEnd),
        (b"0\r\r\n", LineEnd),
        (b"3;a\nabc", LineEnd),
        (b"3;a\rabc", LineEnd),
        (b"3;a=b\n", LineEnd),
        (b"3;a=\"b\nc\"\r\n", LineEnd),
        (b"3;a=\"b\rc\"\r\n", LineEnd),
        (b"3;a=\"b\\\nc\"\r\n", LineEnd),
        (b"3;\r\n", LineEnd),
        (b"3;\n", LineEnd),
        (b"3;a=\r\n", LineEnd),
        (b"3 \r\n", LineEnd),
        (b"3\t\r\n", LineEnd),
        (b"3;a \r\n", LineEnd),
        (b"3;a=b \r\n", LineEnd),
        (b"3;a=\"b\r\n", LineEnd),
        // extensions
        (b"3 3\r\n", Extension),
        (b"3 a\r\n", Extension),
        (b"3;;a\r\n", Extension),
        (b"3;a;;b\r\n", Extension),
        (b"3 =b\r\n", Extension),
        (b"3;a=b =c\r\n", Extension),
        (b"3;=b\r\n", Extension),
        (b"3;a b\r\n", Extension),
        (b"3;a=b=c\r\n", Extension),
        (b"3;a=b c\r\n", Extension),
        (b"3;a=\"b\"c\r\n", Extension),
        (b"3;a\0\r\n", Extension),
        (b"3;a=\"\0\"\r\n", Extension),
        (b"3;a=\x7f\r\n", Extension),
        (b"3;(\r\n", Extension),
        // after the data
        (b"3\r\nabcd\r\n", DataEnd),
        (b"3\r\nabc0\r\n", DataEnd),
        (b"3\r\nabc\n", DataEnd),
        (b"3\r\nabc\rx", DataEnd),
        (b"3\r\nabc\r\r\n", DataEnd),
        (b"3\r\nabc;\r\n", DataEnd),
        // an empty line too many
        (b"3\r\nabc\r\n\r\n0\r\n\r\n", Size),
        // trailers
        (b"0\r\n\n", Trailer(TrailerFault::LineEnd)),
        (b"0\r\n\rx", Trailer(TrailerFault::LineEnd)),
        (b"0\r\nA: b\n\r\n", Trailer(TrailerFault::LineEnd)),
        (b"0\r\nA: b\rc\r\n\r\n", Trailer(TrailerFault::LineEnd)),
        (b"0\r\nA: b\0\r\n\r\n", field(FieldFault::Value)),
        (b"0\r\n A: b\r\n\r\n", field(FieldFault::Folded)),
        (b"0\r\nA : b\r\n\r\n", field(FieldFault::BlankBeforeColon)),
        (
            b"0\r\nGET / HTTP/1.1\r\n\r\n",
            field(FieldFault::BlankBeforeColon),
        ),
        (b"0\r\nabc\r\n\r\n", field(FieldFault::NoColon)),
    ] {
        for step in [1, 2, 1000] {
            let actual = decode(input, step).map_err(|(error, _)| error);
            assert_eq!(
                actual,
                Err(error),
                "{:?} {step}",
                input.escape_ascii().to_string()
            );
        }
    }
}

#[test]
fn bounds() {
    let line = |length: usize| format!("1;{}\r\na\r\n", "x".repeat(length - 1)).into_bytes();
    assert_eq!(decode(&line(EXTENSION_LENGTH), 1000), Ok(None));
    let over = decode(&line(EXTENSION_LENGTH + 1), 1000).map_err(|(error, _)| error);
    assert_eq!(over, Err(ChunkError::ExtensionTooLong));

    // Many short extensions and little data, which together are long.
    let mut small = b"1;x\r\na\r\n".repeat(EXTENSION_EXCESS as usize + 2);
    small.extend_from_slice(b"0\r\n\r\n");
    let error = decode(&small, 1000).map_err(|(error, _)| error);
    assert_eq!(error, Err(ChunkError::ExtensionTooLong));
    // As many, but with more data than extensions.
    let mut fair = b"2;x\r\nab\r\n".repeat(EXTENSION_EXCESS as usize + 2);
    fair.extend_from_slice(b"0\r\n\r\n");
    assert!(matches!(decode(&fair, 1000), Ok(Some(_))));

    let trailer = |length: usize| format!("0\r\nA:{}\r\n\r\n", "b".repeat(length - 6)).into_bytes();
    assert!(matches!(
        decode(&trailer(TRAILER_LENGTH), 1000),
        Ok(Some(_))
    ));
    let over = decode(&trailer(TRAILER_LENGTH + 1), 1000).map_err(|(error, _)| error);
    assert_eq!(over, Err(ChunkError::Trailer(TrailerFault::TooLong)));
}

#[test]
fn the_largest_chunk() {
    let mut decoder = ChunkDecoder::default();
    let input = b"ffffffffffffffff\r\nabc";
    let part = ChunkPart::Data {
        start: 18,
        end: 21,
        used: 21,
    };
    assert_eq!(decoder.next(input), Ok(part));
    assert_eq!(decoder.next(b""), Ok(ChunkPart::NeedMore { used: 0 }));
    assert_eq!(decoder.left, u64::MAX - 3);
}

#[test]
fn named_trailers_go() {
    // RFC 9110, 7.6.1
    let mut decoder = ChunkDecoder::without_trailers([&b"a"[..], b"X-B"].into_iter());
    let input = b"0\r\nA: 1\r\nx-b: 2\r\nC: 3\r\n\r\n";
    let used = input.len();
    assert_eq!(decoder.next(input), Ok(ChunkPart::End { used }));
    assert_eq!(decoder.trailers(), b"C: 3\r\n");
}

#[test]
fn written_chunks() {
    for (length, head) in [
        (1, "1\r\n"),
        (9, "9\r\n"),
        (10, "a\r\n"),
        (16, "10\r\n"),
        (4096, "1000\r\n"),
        (u64::MAX, "ffffffffffffffff\r\n"),
    ] {
        let mut out = Vec::new();
        write_chunk_head(length, &mut out);
        assert_eq!(out, head.as_bytes());
    }
    let mut out = Vec::new();
    write_chunk(b"", &mut out);
    write_chunk(b"abc", &mut out);
    write_last_chunk(b"A: b\r\n", &mut out);
    assert_eq!(out, b"3\r\nabc\r\n0\r\nA: b\r\n\r\n");
}

/// Something like a chunked body, with a few octets that are not.
fn octets() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => Just(b"3\r\nabc\r\n".to_vec()),
        2 => Just(b"2;a=\"b\"\r\n\r\n\r\n".to_vec()),
        2 => Just(b"0\r\n".to_vec()),
        2 => Just(b"A: b\r\n".to_vec()),
        3 => Just(b"\r\n".to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
        1 => Just(b" ;".to_vec()),
    ];
    proptest::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn the_split_does_not_matter(input in octets(), step in 1..20_usize) {
        prop_assert_eq!(decode(&input, step), decode(&input, input.len().max(1)));
    }

    #[test]
    fn what_is_written_is_read(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8), step in 1..700_usize) {
        let mut out = Vec::new();
        for chunk in &chunks {
            write_chunk(chunk, &mut out);
        }
        write_last_chunk(b"X-Sum: 1\r\n", &mut out);
        let expected = (chunks.concat(), out.len(), b"X-Sum: 1\r\n".to_vec());
        prop_assert_eq!(decode(&out, step), Ok(Some(expected)));
    }

    #[test]
    fn written_anew_it_is_the_same(input in octets()) {
        if let Ok(Some((data, _, trailers))) = decode(&input, 5) {
            let mut out = Vec::new();
            write_chunk(&data, &mut out);
            write_last_chunk(&trailers, &mut out);
            let length = out.len();
            prop_assert_eq!(decode(&out, 3), Ok(Some((data, length, trailers))));
        }
    }
}
