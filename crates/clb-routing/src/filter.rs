//! Many expressions in one automaton: which of them may match at all. It costs about the same for
//! one expression as for all of them.

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_automata::util::pool::Pool;
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind, PatternID, PatternSet};

/// Octets that one expression's automaton may have.
const MAX_EXPRESSION: usize = 16 << 10;

/// Octets of states that one filter remembers for each thread that uses it. States come from what
/// requests are like, so this bounds what clients can make us keep.
const MAX_STATES: usize = 256 << 10;

/// So often may the remembered states be thrown away within one search before it is given up.
const MAX_CLEARS: usize = 4;

type MakeCache = Box<dyn Fn() -> Cache + Send + Sync>;

pub(crate) struct Filter {
    dfa: DFA,
    caches: Pool<Cache, MakeCache>,
}

impl Filter {
    /// Whether an expression is small enough for a filter.
    pub(crate) fn takes(superset: &str) -> bool {
        nfa(&[superset], MAX_EXPRESSION).is_some()
    }

    /// A filter over expressions that [`Filter::takes`] has accepted, in this order.
    pub(crate) fn new(supersets: &[&str]) -> Option<Self> {
        let limit = MAX_EXPRESSION.saturating_mul(supersets.len());
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .cache_capacity(MAX_STATES)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(MAX_CLEARS));
        let dfa = DFA::builder()
            .configure(config)
            .build_from_nfa(nfa(supersets, limit)?)
            .ok()?;
        let maker = dfa.clone();
        Some(Self {
            dfa,
            caches: Pool::new(Box::new(move || maker.create_cache())),
        })
    }

    /// Puts into `found` which expressions may match; `false` when that cannot be told, and any of
    /// them may.
    pub(crate) fn search(&self, subject: &[u8], found: &mut PatternSet) -> bool {
        found.clear();
        let mut cache = self.caches.get();
        self.dfa
            .try_which_overlapping_matches(&mut cache, &Input::new(subject), found)
            .is_ok()
    }
}

fn nfa(expressions: &[&str], limit: usize) -> Option<NFA> {
    NFA::compiler()
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .configure(
            thompson::Config::new()
                .utf8(false)
                .which_captures(WhichCaptures::None)
                .nfa_size_limit(Some(limit)),
        )
        .build_many(expressions)
        .ok()
}

/// A set for [`Filter::search`] that is large enough for `expressions`.
pub(crate) fn pattern_set(expressions: usize) -> PatternSet {
    PatternSet::new(expressions.min(PatternID::LIMIT))
}
