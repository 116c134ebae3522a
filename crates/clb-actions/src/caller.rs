//! A genuine request before its parameters are checked: who calls what, and with which parameters.

use crate::common;
use crate::echo::echo;
use crate::error::ApiError;
use crate::form::Pair;
use crate::key::Access;
use crate::region;
use crate::request::{Admitted, Triple};
use crate::table::{ActionSpec, Kind};

/// Characters of one value that the audit log has whole.
const RECORDED_VALUE: usize = 255;
/// Characters of all parameters of a request that the audit log has.
const RECORDED_CHARACTERS: usize = 16 * 1024;

/// A genuine request for a known Action that nothing else was checked of yet.
#[derive(Debug)]
pub struct Caller {
    /// The Action it calls.
    pub action: &'static ActionSpec,
    /// The SecretId of the caller.
    pub key_id: String,
    /// RequestClient, else RequestSource, else empty: for the log.
    pub request_client: String,
    pub(crate) access: Access,
    pub(crate) triple: Triple,
    pub(crate) region: String,
    pub(crate) pairs: Vec<Pair>,
}

impl Caller {
    /// Whether the Action changes something.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.action.kind != Kind::Read
    }

    /// The Action's own parameters as they came, for the audit log.
    #[must_use]
    pub fn recorded(&self) -> Vec<(String, String)> {
        recorded(self.pairs.iter().filter(|pair| is_own(pair)))
    }

    /// The rest of the checks of the request alone: the key's access, the region, the Action's
    /// parameters (actions.md A.11, steps 4 and 5).
    ///
    /// # Errors
    /// The first error in the documented order.
    pub fn check(self) -> Result<Admitted, ApiError> {
        if self.access == Access::ReadOnly && self.changes() {
            return Err(ApiError::unauthorized_operation(format!(
                "{}: changes something, but this key is read-only",
                self.action.name
            )));
        }
        check_region(&self.pairs, &self.region)?;
        common::check_texts(&self.pairs)?;
        let own = self.pairs.into_iter().filter(is_own).collect();
        Ok(Admitted {
            action: self.action,
            params: self.action.check(own)?,
            triple: self.triple,
            key_id: self.key_id,
            request_client: self.request_client,
        })
    }
}

/// Parameters for the audit log: without what may be a private key, long values and long lists cut.
pub fn recorded<'p>(
    pairs: impl IntoIterator<Item = &'p Pair, IntoIter: Clone>,
) -> Vec<(String, String)> {
    let pairs = pairs.into_iter();
    let mut left = RECORDED_CHARACTERS;
    let mut recorded = Vec::new();
    for (name, value) in pairs.clone() {
        let value = recorded_value(name, value);
        let name: String = name.chars().take(RECORDED_VALUE).collect();
        let characters = name.chars().count() + value.chars().count();
        if characters > left {
            let rest = pairs.count() - recorded.len();
            recorded.push(("…".to_owned(), format!("and {rest} more")));
            break;
        }
        left -= characters;
        recorded.push((name, value));
    }
    recorded
}

/// Whether a parameter is the Action's, and not common to all.
fn is_own((name, _): &Pair) -> bool {
    !common::NAMES.contains(&name.as_str())
}

/// What the audit log has of a value. Also the key in a parameter whose name is misspelt, or that
/// is none, is left out.
fn recorded_value(name: &str, value: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.to_ascii_lowercase().contains("key") || value.contains("PRIVATE KEY") {
        return "(left out)".to_owned();
    }
    let characters = value.chars().count();
    if characters <= RECORDED_VALUE {
        return value.to_owned();
    }
    let first: String = value.chars().take(RECORDED_VALUE / 4).collect();
    format!("{first}… ({characters} characters)")
}

/// Step 4: a request that is meant for another region must not change this gateway.
fn check_region(pairs: &[Pair], served: &str) -> Result<(), ApiError> {
    match common::value(pairs, "Region") {
        Some(given) if !region::same_region(given, served) => Err(ApiError::parameter(format!(
            "Region={}: this gateway serves {served}",
            echo(given)
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(pairs: &[(&str, &str)]) -> Caller {
        let text = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Caller {
            action: ActionSpec::find("ReplaceCert").unwrap(),
            key_id: "id".to_owned(),
            request_client: String::new(),
            access: Access::Full,
            triple: Triple {
                secret_id: "id".to_owned(),
                timestamp: 1,
                nonce: 2,
            },
            region: "ap-guangzhou".to_owned(),
            pairs: pairs.iter().map(text).collect(),
        }
    }

    #[test]
    fn private_keys_are_left_out_whatever_they_are_called() {
        let pem = "-----BEGIN EC PRIVATE KEY-----\nMHcC";
        let caller = caller(&[
            ("Action", "ReplaceCert"),
            ("oldCertId", "4b9fc92b"),
            ("newCertKey", "MHcC"),
            ("listeners.0.certkey", "MHcC"),
            ("newCertContent", pem),
        ]);
        let recorded = caller.recorded();
        assert!(!format!("{recorded:?}").contains("MHcC"), "{recorded:?}");
        assert_eq!(recorded[0], ("oldCertId".to_owned(), "4b9fc92b".to_owned()));
        assert_eq!(recorded.len(), 4);
    }

    #[test]
    fn long_values_and_long_lists_are_cut() {
        let long = "é".repeat(300);
        let recorded = caller(&[("newCertName", &long)]).recorded();
        assert_eq!(
            recorded[0].1,
            format!("{}… (300 characters)", "é".repeat(63))
        );
        let many: Vec<_> = (0..1000)
            .map(|number| (format!("x.{number}"), "y".repeat(200)))
            .collect();
        let many: Vec<_> = many.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let recorded = caller(&many).recorded();
        let characters: usize = recorded.iter().map(|(a, b)| a.len() + b.len()).sum();
        assert!(characters < 16 * 1024 + 100);
        assert_eq!(
            recorded.last().unwrap().1,
            format!("and {} more", 1000 - recorded.len() + 1)
        );
    }
}
