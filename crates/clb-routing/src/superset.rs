//! From a PCRE expression to one for `regex-automata` that matches at least what PCRE matches.
//!
//! That is all a prefilter needs: PCRE2 decides afterwards. So what the other engine does not know
//! may be widened (a back-reference to "anything", an assertion to "true", a possessive quantifier
//! to a greedy one), and what is left has one meaning only, because this module writes it out:
//! bytes, sets of bytes, groups, alternatives, quantifiers, and the two ends. What it does not know
//! has no superset, and PCRE2 is asked every time.

use crate::byte_set::{self, ByteSet};
use crate::filter::Filter;

/// Groups within groups; nginx's users need three.
const MAX_DEPTH: usize = 20;

/// Repeats are written out by the automaton; more than this many become "or more".
const MAX_REPEAT: u32 = 16;

const TRUE: &str = "(?:)";
const ANYTHING: &str = r"(?:[\x00-\xFF]*)";
/// `$`: before a newline at the end, or at the end.
const END: &str = r"(?:\n?$)";

/// The superset of `expression`, if this module knows every construct in it.
pub(crate) fn of(expression: &str, no_case: bool) -> Option<String> {
    let (no_case, expression) = match expression.strip_prefix("(?i)") {
        Some(rest) => (true, rest),
        None => (no_case, expression),
    };
    let mut parser = Parser {
        rest: expression.as_bytes(),
        no_case,
    };
    let whole = parser.alternatives(0)?;
    (parser.rest.is_empty() && Filter::takes(&whole)).then_some(whole)
}

struct Parser<'a> {
    rest: &'a [u8],
    no_case: bool,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn take(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn take_if(&mut self, wanted: &str) -> bool {
        match self.rest.strip_prefix(wanted.as_bytes()) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Up to the end or to a `)`, which stays.
    fn alternatives(&mut self, depth: usize) -> Option<String> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut out = String::new();
        loop {
            match self.peek() {
                None | Some(b')') => return Some(out),
                Some(b'|') => {
                    self.take();
                    out.push('|');
                }
                Some(_) => {
                    let atom = self.atom(depth)?;
                    self.quantified(atom, &mut out)?;
                }
            }
        }
    }

    fn atom(&mut self, depth: usize) -> Option<String> {
        Some(match self.take()? {
            b'.' => r"[^\n]".to_owned(),
            b'^' => "^".to_owned(),
            // Further on, something might consume the newline: then it is only known to be true.
            b'$' if depth == 0 && matches!(self.peek(), None | Some(b'|')) => END.to_owned(),
            b'$' => TRUE.to_owned(),
            b'[' => {
                let (set, rest) = byte_set::class(self.rest, self.no_case)?;
                self.rest = rest;
                set.written()?
            }
            b'(' => self.group(depth)?,
            b'\\' => self.escape()?,
            // Each of these is an error for PCRE2, or means what a newer version makes of it.
            b'*' | b'+' | b'?' | b'{' => return None,
            byte => self.literal(byte)?,
        })
    }

    fn literal(&self, byte: u8) -> Option<String> {
        let mut set = ByteSet::default();
        set.add(byte);
        if self.no_case {
            set.ignore_case();
        }
        set.written()
    }

    fn group(&mut self, depth: usize) -> Option<String> {
        let mut asserts = false;
        if self.take_if("?") {
            if self.take_if("=") || self.take_if("!") || self.take_if("<=") || self.take_if("<!") {
                asserts = true;
            } else if self.take_if("<") || self.take_if("P<") {
                self.name(b'>')?;
            } else if self.take_if("'") {
                self.name(b'\'')?;
            } else if !(self.take_if(":") || self.take_if(">") || self.take_if("|")) {
                return None;
            }
        } else if self.peek() == Some(b'*') {
            return None;
        }
        let inner = self.alternatives(depth + 1)?;
        if self.take() != Some(b')') {
            return None;
        }
        Some(match asserts {
            true => TRUE.to_owned(),
            false => format!("(?:{inner})"),
        })
    }

    fn name(&mut self, end: u8) -> Option<()> {
        loop {
            match self.take()? {
                byte if byte == end => return Some(()),
                byte if byte.is_ascii_alphanumeric() || byte == b'_' => {}
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<String> {
        match self.peek()? {
            b'A' => {
                self.take();
                Some("^".to_owned())
            }
            b'z' => {
                self.take();
                Some("$".to_owned())
            }
            b'Z' | b'b' | b'B' => {
                self.take();
                Some(TRUE.to_owned())
            }
            b'1'..=b'9' => {
                self.take();
                // \10 and more may be octal.
                match self.peek() {
                    Some(b'0'..=b'9') => None,
                    _ => Some(ANYTHING.to_owned()),
                }
            }
            _ => {
                let (mut set, rest) = byte_set::escape(self.rest)?;
                self.rest = rest;
                if self.no_case {
                    set.ignore_case();
                }
                set.written()
            }
        }
    }

    /// `atom` with the quantifiers that follow it.
    fn quantified(&mut self, mut atom: String, out: &mut String) -> Option<()> {
        loop {
            let repeats = match self.peek() {
                Some(b'*') => {
                    self.take();
                    "*".to_owned()
                }
                Some(b'+') => {
                    self.take();
                    "+".to_owned()
                }
                Some(b'?') => {
                    self.take();
                    "?".to_owned()
                }
                Some(b'{') => self.counts()?,
                _ => break,
            };
            // Lazy or possessive: which match is found differs, not whether there may be one.
            let _ = self.take_if("?") || self.take_if("+");
            atom = format!("(?:{atom}{repeats})");
        }
        out.push_str(&atom);
        Some(())
    }

    /// `{n}`, `{n,}` or `{n,m}`; `{,m}` is text for PCRE2 until 10.42 and a count since.
    fn counts(&mut self) -> Option<String> {
        self.take();
        let least = self.number()?.min(MAX_REPEAT);
        let most = match self.take()? {
            b'}' => {
                return Some(match least {
                    MAX_REPEAT => format!("{{{least},}}"),
                    _ => format!("{{{least}}}"),
                });
            }
            b',' => match self.peek()? {
                b'}' => None,
                _ => Some(self.number()?),
            },
            _ => return None,
        };
        if self.take()? != b'}' {
            return None;
        }
        Some(match most {
            Some(most) if most < least => return None,
            Some(most) if most < MAX_REPEAT => format!("{{{least},{most}}}"),
            _ => format!("{{{least},}}"),
        })
    }

    fn number(&mut self) -> Option<u32> {
        let mut number: Option<u32> = None;
        while let Some(byte @ b'0'..=b'9') = self.peek() {
            self.take();
            number = Some(number.unwrap_or(0) * 10 + u32::from(byte - b'0'));
            if number > Some(65_535) {
                return None;
            }
        }
        number
    }
}
