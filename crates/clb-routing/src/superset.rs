//! From a PCRE expression to one for `regex-automata` that matches at least what PCRE matches.
//!
//! That is all a prefilter needs: PCRE2 decides afterwards. So what the other engine does not know
//! may be widened (a back-reference to "anything", an assertion to "true", a possessive quantifier
//! to a greedy one), and what is left has one meaning only, because this module writes it out:
//! bytes, sets of bytes, groups, alternatives, quantifiers, and the two ends. What it does not know
//! has no superset, and PCRE2 is asked every time.

use regex_syntax::hir::{Hir, Look, Repetition};

use crate::byte_set::{self, ByteSet};
use crate::filter::Filter;

/// Groups within groups; nginx's users need three.
const MAX_DEPTH: usize = 20;

/// Repeats are written out by the automaton; more than this many become "or more".
const MAX_REPEAT: u32 = 16;

/// The superset of `expression`, if this module knows every construct in it.
pub(crate) fn of(expression: &str, no_case: bool) -> Option<Hir> {
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

/// `atom` from `min` to `max` times.
fn repeat(atom: Hir, min: u32, max: Option<u32>) -> Hir {
    Hir::repetition(Repetition {
        min,
        max,
        greedy: true,
        sub: Box::new(atom),
    })
}

fn byte(byte: u8) -> ByteSet {
    let mut set = ByteSet::default();
    set.add(byte);
    set
}

fn any() -> ByteSet {
    let mut set = ByteSet::default();
    set.invert();
    set
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
    fn alternatives(&mut self, depth: usize) -> Option<Hir> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut alternatives = Vec::new();
        let mut sequence = Vec::new();
        loop {
            match self.peek() {
                None | Some(b')') => {
                    alternatives.push(Hir::concat(sequence));
                    return Some(Hir::alternation(alternatives));
                }
                Some(b'|') => {
                    self.take();
                    alternatives.push(Hir::concat(std::mem::take(&mut sequence)));
                }
                Some(_) => {
                    let atom = self.atom(depth)?;
                    sequence.push(self.quantified(atom)?);
                }
            }
        }
    }

    fn atom(&mut self, depth: usize) -> Option<Hir> {
        match self.take()? {
            b'.' => {
                let mut set = byte(b'\n');
                set.invert();
                set.class()
            }
            b'^' => Some(Hir::look(Look::Start)),
            // Before a newline at the end, or at the end. Further on in the expression something
            // might consume that newline: there it is only known to be true somewhere.
            b'$' if depth == 0 && matches!(self.peek(), None | Some(b'|')) => {
                let newline = repeat(byte(b'\n').class()?, 0, Some(1));
                Some(Hir::concat(vec![newline, Hir::look(Look::End)]))
            }
            b'$' => Some(Hir::empty()),
            b'[' => {
                let (set, rest) = byte_set::class(self.rest, self.no_case)?;
                self.rest = rest;
                set.class()
            }
            b'(' => self.group(depth),
            b'\\' => self.escape(),
            // Each of these is an error for PCRE2, or means what a newer version makes of it.
            b'*' | b'+' | b'?' | b'{' => None,
            literal => self.in_case(byte(literal)),
        }
    }

    fn in_case(&self, mut set: ByteSet) -> Option<Hir> {
        if self.no_case {
            set.ignore_case();
        }
        set.class()
    }

    fn group(&mut self, depth: usize) -> Option<Hir> {
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
        Some(if asserts { Hir::empty() } else { inner })
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

    fn escape(&mut self) -> Option<Hir> {
        let letter = self.peek()?;
        if !matches!(letter, b'A' | b'z' | b'Z' | b'b' | b'B' | b'1'..=b'9') {
            let (set, rest) = byte_set::escape(self.rest)?;
            self.rest = rest;
            return self.in_case(set);
        }
        self.take();
        match letter {
            b'A' => Some(Hir::look(Look::Start)),
            b'z' => Some(Hir::look(Look::End)),
            b'Z' | b'b' | b'B' => Some(Hir::empty()),
            // A back-reference; \10 and more may be octal.
            _ => match self.peek() {
                Some(b'0'..=b'9') => None,
                _ => Some(repeat(any().class()?, 0, None)),
            },
        }
    }

    /// `atom` with the quantifiers that follow it.
    fn quantified(&mut self, mut atom: Hir) -> Option<Hir> {
        loop {
            let (min, max) = match self.peek() {
                Some(b'*') => (0, None),
                Some(b'+') => (1, None),
                Some(b'?') => (0, Some(1)),
                Some(b'{') => self.counts()?,
                _ => return Some(atom),
            };
            // The last byte of the quantifier, of whichever kind.
            self.take();
            // Lazy or possessive: which match is found differs, not whether there may be one.
            let _ = self.take_if("?") || self.take_if("+");
            atom = repeat(atom, min, max);
        }
    }

    /// `{n}`, `{n,}` or `{n,m}` but for the `}`; `{,m}` is text for PCRE2 until 10.42 and a count
    /// since.
    fn counts(&mut self) -> Option<(u32, Option<u32>)> {
        self.take();
        let min = self.number()?;
        let max = match self.take_if(",") {
            true if self.peek() == Some(b'}') => None,
            true => Some(self.number()?),
            false => Some(min),
        };
        if self.peek() != Some(b'}') || max.is_some_and(|max| max < min) {
            return None;
        }
        let max = max.filter(|&max| max <= MAX_REPEAT);
        Some((min.min(MAX_REPEAT), max))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::pattern_set;
    use pcre2::bytes::RegexBuilder;
    use proptest::prelude::*;

    fn may_match(superset: &Hir, subject: &[u8]) -> bool {
        let mut found = pattern_set(1);
        let filter = Filter::new(&[superset]).unwrap();
        !filter.search(subject, &mut found) || !found.is_empty()
    }

    #[test]
    fn known_constructs_are_exact_enough_to_be_of_use() {
        for (expression, matches, does_not) in [
            (r"\.php$", "/a.php", "/a.phpx"),
            (r"\.php\z", "/a.php", "/a.php\n"),
            (r"^/(?<n>img|css)/", "/img/x", "/js/img/"),
            (r"^/v[1-3]{2,}+\d*?x", "/v12x", "/v1x"),
            (r"(?!x)^/a(?=b)", "/a", "/b"),
            (r"^/(\w+)/\1$", "/a/b", "//a"),
            (r"\A(?:a|b|)c", "c", "ab"),
            (r"(?i)^[^a]b", "xB", "Ab"),
            (r"a{20}", "aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaa"),
            (r"^(?>a+)b", "aab", "aac"),
            (r"x(\d|$)", "/x", "/y"),
            // What follows a "$" may be the newline that it stands before.
            (r"^(?:a$|b)\n", "a\n", "c\n"),
            (r"^a$\n", "a\n", "c\n"),
        ] {
            let superset = of(expression, false).unwrap();
            assert!(may_match(&superset, matches.as_bytes()), "{expression}");
            assert!(!may_match(&superset, does_not.as_bytes()), "{expression}");
        }
    }

    #[test]
    fn what_is_not_known_has_none() {
        for expression in [
            r"(?R)?a",
            r"a(?1)",
            r"(a)\10",
            r"\Qa\E",
            r"\p{L}",
            r"\h",
            r"\x{41}",
            "[[:alpha:]]",
            "(?i:a)",
            "a(?i)b",
            "a{,3}",
            "a{ 1}",
            "(?#x)",
            "(?(1)a)",
            r"\Ka",
            "x(*ACCEPT)",
            r"\g1",
            "(?P=n)",
            "*a",
            "a|*",
            "(a",
            "a)",
            r"[^\d\D]",
            r"\C",
            "\\",
            "((((((((((a{16}){16}){16}){16}){16}))))))",
        ] {
            assert!(of(expression, false).is_none(), "{expression}");
        }
        let deep = format!("{}a{}", "(".repeat(30), ")".repeat(30));
        assert!(of(&deep, false).is_none());
    }

    fn expression() -> impl Strategy<Value = String> {
        let atom = prop::sample::select(vec![
            "a", "b", "A", "B", "-", "/", r"\.", ".", "^", "$", r"\d", r"\W", r"\S", r"\b", r"\A",
            r"\z", r"\Z", r"\n", "[ab]", "[^a]", "[^B-]", r"[\w.]", "[]a]", "[A-C]", r"[^\d\n]",
            r"\x41", "\u{e9}", "", "[a&&b]", "[a-z~~b]",
        ])
        .prop_map(str::to_owned);
        let more = [
            "", "", "", "?", "*", "+", "{2}", "{1,2}?", "?+", "{0}", "|", r"\1",
        ];
        let open = [
            "(", "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?|", "(?<n>", "X",
        ];
        atom.prop_recursive(4, 40, 5, move |inner| {
            let part = (inner, prop::sample::select(more.to_vec()));
            let parts = prop::collection::vec(part, 1..5);
            let open = prop::sample::select(open.to_vec());
            (open, parts).prop_map(|(open, parts)| {
                let parts = parts.into_iter().map(|(atom, more)| atom + more);
                let parts = parts.collect::<String>();
                match open {
                    "X" => parts,
                    open => format!("{open}{parts})"),
                }
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn what_pcre_matches_the_superset_matches(
            expression in expression(),
            no_case: bool,
            subjects in prop::collection::vec("[abAB/.\n1é-]{0,8}", 12),
        ) {
            let Ok(pcre) = RegexBuilder::new()
                .caseless(no_case)
                .build(&format!("(*LIMIT_MATCH=10000){expression}"))
            else {
                return Ok(());
            };
            let Some(superset) = of(&expression, no_case) else {
                return Ok(());
            };
            for subject in &subjects {
                let subject = subject.as_bytes();
                if pcre.is_match(subject).unwrap_or(false) {
                    prop_assert!(may_match(&superset, subject), "{expression:?} {subject:?}");
                }
            }
        }
    }
}
