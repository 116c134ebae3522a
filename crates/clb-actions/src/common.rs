//! The common parameters (actions.md A.3) and what A.11 says of them in steps 1 and 2.

use crate::check::parse_unsigned;
use crate::echo::echo;
use crate::error::ApiError;
use crate::form::Pair;
use crate::signature::Algorithm;
use crate::table::{has_characters, is_clean};

/// Names of the common parameters.
pub(crate) const NAMES: &[&str] = &[
    "Action",
    "Region",
    "Timestamp",
    "Nonce",
    "SecretId",
    "Signature",
    "SignatureMethod",
    "Token",
    "Version",
    "RequestClient",
    "RequestSource",
    "Language",
];

/// Common parameters that are plain text, checked before the Action's own.
const TEXTS: &[&str] = &[
    "SignatureMethod",
    "RequestClient",
    "RequestSource",
    "Language",
];

/// Longest value of a common parameter, in characters.
const MAX_CHARACTERS: usize = 255;

/// The common parameters that say who calls.
#[derive(Debug)]
pub(crate) struct Credentials<'a> {
    pub(crate) secret_id: &'a str,
    /// Unix time in seconds.
    pub(crate) timestamp: u64,
    pub(crate) nonce: u64,
    pub(crate) signature: &'a str,
    pub(crate) algorithm: Algorithm,
}

/// The value of a parameter; an empty one counts as absent.
pub(crate) fn value<'a>(pairs: &'a [Pair], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(given, value)| given == name && !value.is_empty())
        .map(|(_, value)| value.as_str())
}

/// Step 2: Timestamp, Nonce, SecretId and Signature present and well-formed (4000), no Token
/// (4100), no Version (6100).
pub(crate) fn credentials(pairs: &[Pair]) -> Result<Credentials<'_>, ApiError> {
    let timestamp = unsigned(
        pairs,
        "Timestamp",
        "the Unix time in seconds, as an integer",
    )?;
    let nonce = unsigned(
        pairs,
        "Nonce",
        "a random integer from 0 to 18446744073709551615",
    )?;
    let secret_id = text(pairs, "SecretId")?;
    let signature = text(pairs, "Signature")?;
    if value(pairs, "Token").is_some() {
        return Err(ApiError::auth_failure(
            "Token: there are no temporary keys here, leave Token out",
        ));
    }
    if let Some(version) = value(pairs, "Version") {
        return Err(ApiError::not_supported(format!(
            "Version={}: only version 2 of the API is served, leave Version out",
            echo(version)
        )));
    }
    Ok(Credentials {
        secret_id,
        timestamp,
        nonce,
        signature,
        algorithm: Algorithm::from_method_param(value(pairs, "SignatureMethod")),
    })
}

/// Step 4: the common parameters that have no effect must still be text.
pub(crate) fn check_texts(pairs: &[Pair]) -> Result<(), ApiError> {
    TEXTS
        .iter()
        .filter_map(|name| value(pairs, name).map(|given| (name, given)))
        .try_for_each(|(name, given)| check_text(name, given))
}

/// A required common parameter of type String.
pub(crate) fn text<'a>(pairs: &'a [Pair], name: &str) -> Result<&'a str, ApiError> {
    let given = value(pairs, name)
        .ok_or_else(|| ApiError::parameter(format!("{name}: required, but absent or empty")))?;
    check_text(name, given)?;
    Ok(given)
}

fn check_text(name: &str, given: &str) -> Result<(), ApiError> {
    if is_clean(given) && has_characters(given, 1, MAX_CHARACTERS) {
        Ok(())
    } else {
        Err(ApiError::parameter(format!(
            "{name}={}: must be text of 1 to {MAX_CHARACTERS} characters without control characters",
            echo(given)
        )))
    }
}

fn unsigned(pairs: &[Pair], name: &str, allowed: &str) -> Result<u64, ApiError> {
    let given = value(pairs, name).ok_or_else(|| {
        ApiError::parameter(format!(
            "{name}: required, but absent or empty; must be {allowed}"
        ))
    })?;
    parse_unsigned(given)
        .ok_or_else(|| ApiError::parameter(format!("{name}={}: must be {allowed}", echo(given))))
}
