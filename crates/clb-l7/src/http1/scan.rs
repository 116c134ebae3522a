//! Where a head ends, found as its octets come in (RFC 9112, section 2.1).

use super::octets::{CRLF, from};

/// How long a head may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Octets of the first line, without its CRLF.
    pub line: usize,
    /// Octets of the head, with all CRLFs.
    pub head: usize,
    /// Lines after the first, without the empty one.
    pub fields: usize,
}

impl HeadLimits {
    /// Whether a head of `length` octets, whose first line with its CRLF has `first`, is within
    /// them. Its fields were counted when they were read.
    #[inline]
    pub(crate) fn hold(&self, first: usize, length: usize) -> bool {
        first <= self.line.saturating_add(CRLF.len()) && length <= self.head
    }
}

/// What is wrong with a head that is no head, whatever its fields say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// The first line has more than [`HeadLimits::line`] octets.
    #[error("the first line is too long")]
    LineTooLong,
    /// The head has more than [`HeadLimits::head`] octets.
    #[error("the head is too long")]
    HeadTooLong,
    /// The head has more than [`HeadLimits::fields`] fields.
    #[error("the head has too many fields")]
    TooManyFields,
    /// LF without CR before it. RFC 9112, section 2.2, lets a recipient take it for a line's end;
    /// one that does and one that does not read two different messages.
    #[error("a line ends in LF without CR")]
    BareLf,
    /// CR without LF after it (RFC 9112, section 2.2).
    #[error("CR without LF")]
    BareCr,
    /// A zero octet (RFC 9110, section 5.5).
    #[error("a zero octet in the head")]
    Nul,
    /// The first line is empty: more empty lines before a request than [`leading_crlf`] skips, or
    /// any before an answer.
    #[error("the first line is empty")]
    EmptyStartLine,
}

/// Why a head is refused before it is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("octet {at}: {fault}")]
pub struct HeadError {
    /// What is wrong.
    pub fault: HeadFault,
    /// Position, from the head's first octet, of the octet that made it wrong.
    pub at: usize,
}

impl HeadError {
    /// The status for a request: 414 for its line, 431 for size and number of fields (RFC 9110,
    /// 15.5.15; RFC 6585, section 5), else 400. An answer with any of these is bad: 502.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.fault {
            HeadFault::LineTooLong => 414,
            HeadFault::HeadTooLong | HeadFault::TooManyFields => 431,
            HeadFault::BareLf | HeadFault::BareCr | HeadFault::Nul | HeadFault::EmptyStartLine => {
                400
            }
        }
    }
}

/// Empty lines that are skipped before a request line. RFC 9112, section 2.2, asks for at least
/// one; a client that sends them without end must not be listened to without end.
pub const LEADING_CRLFS: usize = 8;

/// Octets of empty lines (CRLF only) at the start of `data`, at most [`LEADING_CRLFS`] lines: where
/// the next request's head begins (RFC 9112, section 2.2). For requests only: before an answer
/// nothing may stand.
///
/// The bound holds if the caller leaves them in the buffer until the head is complete; a CR at the
/// end of `data` is not yet counted.
#[must_use]
pub fn leading_crlf(data: &[u8]) -> usize {
    data.chunks_exact(CRLF.len())
        .take(LEADING_CRLFS)
        .take_while(|&pair| pair == CRLF)
        .count()
        * CRLF.len()
}

/// Finds the end of a head. Remembers how far it looked, so that a client that sends one octet at
/// a time costs no more than one that sends all at once.
#[derive(Debug, Clone, Default)]
pub struct HeadScanner {
    /// Octets before this one are judged.
    seen: usize,
    /// Where the line begins that `seen` is in.
    line_start: usize,
    /// Complete lines before it, the first one included.
    lines: usize,
    /// Where the first line ends, until [`HeadScanner::first_line`] has given it out.
    first_end: usize,
}

impl HeadScanner {
    /// Nothing of a head has been looked at.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.seen == 0
    }

    /// Looks at `data`, everything since the head's first octet: the same octets as at the last
    /// call and what came after them. `Ok(None)`: more is needed. `Ok(Some(length))`: the head is
    /// `data[..length]`, the empty line included, and the scanner is ready for the next head.
    ///
    /// # Errors
    /// [`HeadError`], at the first octet that no head within `limits` can have, the same one
    /// however the octets are split over calls. The scanner is of no use after that.
    pub fn scan(&mut self, data: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
        loop {
            let found = memchr::memchr3(b'\r', b'\n', 0, from(data, self.seen));
            let stop = found.map_or(data.len(), |offset| self.seen + offset);
            self.check_limits(stop, found.is_some(), limits)?;
            let fault = |fault| Err(HeadError { fault, at: stop });
            if found.is_none() {
                self.seen = stop;
                return Ok(None);
            }
            match data.get(stop) {
                Some(b'\n') => return fault(HeadFault::BareLf),
                Some(0) => return fault(HeadFault::Nul),
                _ => {}
            }
            let Some(&next) = data.get(stop + 1) else {
                // The CR is looked at again, together with what follows.
                self.seen = stop;
                return Ok(None);
            };
            if stop + 1 >= limits.head {
                return Err(HeadError {
                    fault: HeadFault::HeadTooLong,
                    at: limits.head,
                });
            }
            if next != b'\n' {
                return fault(HeadFault::BareCr);
            }
            if stop == self.line_start && self.lines == 0 {
                return fault(HeadFault::EmptyStartLine);
            }
            if stop == self.line_start {
                *self = Self::default();
                return Ok(Some(stop + CRLF.len()));
            }
            if self.lines == 0 {
                self.first_end = stop;
            }
            self.seen = stop + CRLF.len();
            self.line_start = self.seen;
            self.lines += 1;
        }
    }

    /// While a head is not complete: its first line, once, as soon as that is. So that a client of
    /// HTTP/0.9, which sends one line and waits, is told at once; see
    /// [`check_request_line`](super::check_request_line) and
    /// [`check_status_line`](super::check_status_line). `data` is what [`scan`](Self::scan) saw.
    pub fn first_line<'a>(&mut self, data: &'a [u8]) -> Option<&'a [u8]> {
        match std::mem::take(&mut self.first_end) {
            0 => None,
            end => data.get(..end),
        }
    }

    /// Checks the limits for the octets before `stop`, all of the current line, and for the one at
    /// `stop` if it is there. The earliest octet over a limit decides.
    fn check_limits(
        &self,
        stop: usize,
        is_there: bool,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        if stop > self.line_start && self.lines > limits.fields {
            let at = self.line_start;
            if at < limits.head {
                return Err(HeadError {
                    fault: HeadFault::TooManyFields,
                    at,
                });
            }
        }
        let line_end = self.line_start.saturating_add(limits.line);
        if self.lines == 0 && stop > line_end && line_end < limits.head {
            return Err(HeadError {
                fault: HeadFault::LineTooLong,
                at: line_end,
            });
        }
        if stop > limits.head || (is_there && stop == limits.head) {
            return Err(HeadError {
                fault: HeadFault::HeadTooLong,
                at: limits.head,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        line: 20,
        head: 60,
        fields: 3,
    };

    fn whole(data: &[u8]) -> Result<Option<usize>, HeadError> {
        HeadScanner::default().scan(data, &LIMITS)
    }

    #[test]
    fn heads_and_faults() {
        use HeadFault::*;
        let long = format!("{}\r\n", "a".repeat(21));
        let wide = format!("a\r\n{}\r\n", "b".repeat(60));
        type Row<'a> = (&'a [u8], Result<Option<usize>, (HeadFault, usize)>);
        let rows: &[Row<'_>] = &[
            (b"", Ok(None)),
            (b"a", Ok(None)),
            (b"a\r", Ok(None)),
            (b"a\r\n", Ok(None)),
            (b"a\r\n\r", Ok(None)),
            (b"a\r\n\r\n", Ok(Some(5))),
            (b"a\r\nb:c\r\n\r\nrest\n\0", Ok(Some(10))),
            // RFC 9112, 2.2: bare CR and bare LF
            (b"a\n", Err((BareLf, 1))),
            (b"a\r\nb\n", Err((BareLf, 4))),
            (b"a\r\n\n", Err((BareLf, 3))),
            (b"a\rb", Err((BareCr, 1))),
            (b"a\r\r\n", Err((BareCr, 1))),
            (b"a\r\n\rb", Err((BareCr, 3))),
            (b"a\r\n\r\r\n", Err((BareCr, 3))),
            // RFC 9110, 5.5: NUL
            (b"a\0", Err((Nul, 1))),
            (b"\x16\x03\x01\0", Err((Nul, 3))),
            (b"\r\n", Err((EmptyStartLine, 0))),
            (b"\r", Ok(None)),
            (b"\rG", Err((BareCr, 0))),
            (b"\n", Err((BareLf, 0))),
            // limits
            (long.as_bytes(), Err((LineTooLong, 20))),
            (wide.as_bytes(), Err((HeadTooLong, 60))),
            (b"a\r\nb\r\nc\r\nd\r\n\r\n", Ok(Some(14))),
            (b"a\r\nb\r\nc\r\nd\r\ne", Err((TooManyFields, 12))),
        ];
        for (data, expected) in rows {
            let expected = expected.map_err(|(fault, at)| HeadError { fault, at });
            assert_eq!(
                whole(data),
                expected,
                "{:?}",
                data.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn the_last_octet_that_fits() {
        // Head and first line at their limits, and one octet over them.
        let head = |length: usize| format!("a\r\n{}\r\n\r\n", "b".repeat(length - 7)).into_bytes();
        assert_eq!(whole(&head(60)), Ok(Some(60)));
        for length in [61, 62, 63, 64, 65] {
            let error = HeadError {
                fault: HeadFault::HeadTooLong,
                at: 60,
            };
            assert_eq!(whole(&head(length)), Err(error), "{length}");
        }
        let line = |length: usize| format!("{}\r\n\r\n", "a".repeat(length)).into_bytes();
        assert_eq!(whole(&line(20)), Ok(Some(24)));
        // The head's limit counts when it is reached first.
        let limits = HeadLimits {
            head: 3,
            fields: 0,
            ..LIMITS
        };
        let error = HeadScanner::default().scan(b"a\r\nb", &limits);
        assert_eq!(
            error.map_err(|error| error.fault),
            Err(HeadFault::HeadTooLong)
        );
        let limits = HeadLimits { head: 20, ..LIMITS };
        let error = HeadScanner::default().scan(&line(21), &limits);
        assert_eq!(
            error.map_err(|error| error.fault),
            Err(HeadFault::HeadTooLong)
        );
    }

    #[test]
    fn statuses() {
        for (fault, status) in [
            (HeadFault::LineTooLong, 414),
            (HeadFault::HeadTooLong, 431),
            (HeadFault::TooManyFields, 431),
            (HeadFault::BareLf, 400),
        ] {
            assert_eq!(HeadError { fault, at: 0 }.status(), status);
        }
    }

    #[test]
    fn empty_lines_before_a_request() {
        for (data, length) in [
            (&b""[..], 0),
            (b"\r", 0),
            (b"\r\n", 2),
            (b"\r\n\r", 2),
            (b"\r\n\r\nGET", 4),
            (b"\n\r\n", 0),
            (b"\r\n\n", 2),
        ] {
            assert_eq!(leading_crlf(data), length, "{data:?}");
        }
        assert_eq!(leading_crlf(&b"\r\n".repeat(100)), 2 * LEADING_CRLFS);
    }

    #[test]
    fn ready_for_the_next_head() {
        let mut scanner = HeadScanner::default();
        assert_eq!(scanner.scan(b"a\r\n\r\nb\r\n\r\n", &LIMITS), Ok(Some(5)));
        assert_eq!(scanner.scan(b"b\r\n\r\n", &LIMITS), Ok(Some(5)));
    }

    #[test]
    fn empty_lines_that_come_in_pieces() {
        // As a connection uses the two: skip, then scan, after each octet.
        let length_after = |text: &[u8]| {
            let mut scanner = HeadScanner::default();
            (1..=text.len()).find_map(|end| {
                let skipped = leading_crlf(&text[..end]);
                match scanner.scan(&text[skipped..end], &LIMITS) {
                    Ok(None) => None,
                    Ok(Some(length)) => Some(Ok((skipped, length))),
                    Err(error) => Some(Err(error.fault)),
                }
            })
        };
        for lines in 0..=LEADING_CRLFS {
            let text = ["\r\n".repeat(lines).as_str(), "a\r\n\r\n"].concat();
            assert_eq!(length_after(text.as_bytes()), Some(Ok((2 * lines, 5))));
        }
        let text = ["\r\n".repeat(LEADING_CRLFS + 1).as_str(), "a\r\n\r\n"].concat();
        let fault = Some(Err(HeadFault::EmptyStartLine));
        assert_eq!(length_after(text.as_bytes()), fault);
    }

    #[test]
    fn the_first_line_is_given_once() {
        let mut scanner = HeadScanner::default();
        let data = b"ab\r\nc\r\n\r\n";
        for (end, line) in [
            (0, None),
            (3, None),
            (4, Some(&b"ab"[..])),
            (5, None),
            (8, None),
        ] {
            assert_eq!(scanner.scan(&data[..end], &LIMITS), Ok(None));
            assert_eq!(scanner.first_line(&data[..end]), line, "{end}");
        }
        assert_eq!(scanner.scan(data, &LIMITS), Ok(Some(9)));
        assert_eq!(scanner.first_line(data), None);
    }

    fn octets() -> impl Strategy<Value = Vec<u8>> {
        // Mostly line ends, so that random text gets somewhere.
        let piece = prop_oneof![
            6 => Just(b"\r\n".to_vec()),
            6 => Just(b"ab".to_vec()),
            2 => Just(b"0123456789".to_vec()),
            1 => Just(b"\r".to_vec()),
            1 => Just(b"\n".to_vec()),
            1 => Just(b"\0".to_vec()),
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn the_split_does_not_matter(data in octets(), step in 1..9_usize) {
            let mut scanner = HeadScanner::default();
            let mut end = 0;
            let mut result = scanner.scan(&[], &LIMITS);
            while let Ok(None) = result {
                if end == data.len() {
                    break;
                }
                end = (end + step).min(data.len());
                result = scanner.scan(&data[..end], &LIMITS);
            }
            prop_assert_eq!(result, whole(&data));
        }

        #[test]
        fn what_it_accepts_is_a_head(data in octets()) {
            if let Ok(Some(length)) = whole(&data) {
                let head = &data[..length];
                prop_assert!(head.ends_with(b"\r\n\r\n"));
                prop_assert_eq!(memchr::memmem::find(head, b"\r\n\r\n"), Some(length - 4));
                prop_assert!(length <= LIMITS.head);
            }
        }
    }
}
