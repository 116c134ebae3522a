//! Patterns of parameter values, compiled when they are first used.

use std::fmt;
use std::sync::OnceLock;

use regex::Regex;

/// A regular expression that lives in the table.
pub struct Pattern {
    source: &'static str,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// A pattern in the syntax of the regex crate; it should be anchored at both ends.
    #[must_use]
    pub const fn new(source: &'static str) -> Self {
        Self {
            source,
            compiled: OnceLock::new(),
        }
    }

    /// The pattern's text.
    #[must_use]
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// Whether `text` matches. A pattern that does not compile matches nothing; a test compiles
    /// every one of the table.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.compiled()
            .is_some_and(|expression| expression.is_match(text))
    }

    pub(crate) fn compiled(&self) -> Option<&Regex> {
        self.compiled
            .get_or_init(|| Regex::new(self.source).ok())
            .as_ref()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.source).finish()
    }
}

/// Name of a load balancer instance (actions.md C.9); letters are those of any script.
pub(crate) static INSTANCE_NAME: Pattern = Pattern::new(r"^[\p{L}\p{N}_-]{1,50}$");
/// What stands before the domain suffix of a classic public instance.
pub(crate) static DOMAIN_PREFIX: Pattern = Pattern::new("^[a-z0-9-]{1,20}$");
/// A network id: the number or the name.
pub(crate) static VPC_ID: Pattern = Pattern::new("^(0|[1-9][0-9]{0,9}|vpc-[a-z0-9]{1,16})$");
/// A subnet id: the number or the name.
pub(crate) static SUBNET_ID: Pattern = Pattern::new("^(0|[1-9][0-9]{0,9}|subnet-[a-z0-9]{1,16})$");
/// A time of GetMonitorData; zeros in front may be left out.
pub(crate) static MONITOR_TIME: Pattern =
    Pattern::new("^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2} [0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}$");
/// The path of an HTTP probe.
pub(crate) static CHECK_PATH: Pattern = Pattern::new(r"^/[\x21-\x7e]{0,254}$");
/// The path of a rule's probe.
pub(crate) static RULE_CHECK_PATH: Pattern = Pattern::new("^/[A-Za-z0-9_.&#?%/-]{0,79}$");
