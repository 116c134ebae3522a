//! A chunked body means the same however it is split, and the same again when it is written anew.
//! The first octet is the length of the pieces.

#![no_main]

use clb_l7::http1::{ChunkDecoder, ChunkError, ChunkPart, write_chunk, write_last_chunk};
use libfuzzer_sys::fuzz_target;

/// Data, length of the body and trailer fields; `None` when more is needed.
type Body = Option<(Vec<u8>, usize, Vec<u8>)>;

fn decode(input: &[u8], step: usize) -> Result<Body, (ChunkError, Vec<u8>)> {
    let mut decoder = ChunkDecoder::default();
    let mut data = Vec::new();
    let mut at = 0;
    let mut end = step.min(input.len());
    loop {
        match decoder.next(&input[at..end]) {
            Err(error) => return Err((error, data)),
            Ok(ChunkPart::Data {
                start,
                end: stop,
                used,
            }) => {
                assert!(start < stop && stop == used);
                data.extend_from_slice(&input[at + start..at + stop]);
                at += used;
            }
            Ok(ChunkPart::NeedMore { used }) => {
                assert_eq!(at + used, end);
                at = end;
                if end == input.len() {
                    return Ok(None);
                }
                end = (end + step).min(input.len());
            }
            Ok(ChunkPart::End { used }) => {
                return Ok(Some((data, at + used, decoder.trailers().to_vec())));
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&step, input)) = data.split_first() else {
        return;
    };
    let whole = decode(input, input.len().max(1));
    assert_eq!(decode(input, usize::from(step).max(1)), whole);
    if let Ok(Some((data, _, trailers))) = whole {
        let mut out = Vec::new();
        write_chunk(&data, &mut out);
        write_last_chunk(&trailers, &mut out);
        let length = out.len();
        assert_eq!(decode(&out, 7), Ok(Some((data, length, trailers))));
    }
});
