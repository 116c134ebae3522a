//! Checking an Action's parameters against its table (actions.md A.11 step 5).

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use crate::common;
use crate::echo::echo;
use crate::error::ApiError;
use crate::form::Pair;
use crate::params::{Params, Value};
use crate::suggest::nearest;
use crate::table::{ActionSpec, ParamKind, ParamSpec, Presence, Shape};

/// Largest array index (actions.md A.4).
const MAX_INDEX: u16 = 9999;

/// Most elements of one array (actions.md A.4).
pub(crate) const MAX_ELEMENTS: usize = 1000;

/// One received parameter that has found its row.
struct Placed {
    /// As the client wrote the name.
    sent: String,
    /// Wiped when it is dropped: it may be a private key.
    value: Zeroizing<String>,
}

/// What was received, by row of the table and index.
type Rows = BTreeMap<(usize, u16), Placed>;

/// Unknown names first, then the rows of the table in their order and, within a row, by index.
pub(crate) fn check(action: &ActionSpec, received: Vec<Pair>) -> Result<Params, ApiError> {
    let rows = place_all(action, received)?;
    let mut indexes: BTreeMap<&'static str, BTreeSet<u16>> = BTreeMap::new();
    for (row, index) in rows.keys() {
        if let Some(array) = action.params.get(*row).and_then(array_of) {
            indexes.entry(array).or_default().insert(*index);
        }
    }
    let mut params = Params::default();
    for (row, spec) in action.params.iter().enumerate() {
        let Some(array) = array_of(spec) else {
            check_one(&mut params, spec, 0, rows.get(&(row, 0)))?;
            continue;
        };
        let none = BTreeSet::new();
        let occurring = indexes.get(array).unwrap_or(&none);
        if occurring.len() > MAX_ELEMENTS {
            return Err(ApiError::parameter(format!(
                "{array}.n: {} elements, at most {MAX_ELEMENTS} are allowed",
                occurring.len()
            )));
        }
        if occurring.is_empty() && spec.presence == Presence::Required {
            check_one(&mut params, spec, 0, None)?;
        }
        for index in occurring {
            check_one(&mut params, spec, *index, rows.get(&(row, *index)))?;
        }
    }
    Ok(params)
}

/// Finds the row of every received parameter.
fn place_all(action: &ActionSpec, received: Vec<Pair>) -> Result<Rows, ApiError> {
    let mut rows = Rows::new();
    // Names come before everything else; what is wrong beside them waits until all are known.
    let mut later = None;
    for (sent, value) in received {
        let (form, index) = split_index(&sent);
        if let Some(row) = row_named(action, &form) {
            later = later.or(place(&mut rows, (row, index), sent, value));
            continue;
        }
        if let Some(key) = aliased(action, &form, index) {
            later = later.or(place(&mut rows, key, sent, value));
            continue;
        }
        let Some(tolerated) = action.tolerated.iter().find(|one| one.name == form) else {
            return Err(unknown(action, &sent));
        };
        if let Some(only) = tolerated.only
            && !value.is_empty()
            && value != only
        {
            later = later.or(Some(ApiError::parameter(format!(
                "{}={}: must be {only}",
                echo(&sent),
                echo(&value)
            ))));
        }
    }
    match later {
        Some(error) => Err(error),
        None => Ok(rows),
    }
}

/// Puts a parameter into its row. An empty value counts as absent, so it neither pushes out nor
/// contradicts the same parameter under its other name.
fn place(rows: &mut Rows, key: (usize, u16), sent: String, value: String) -> Option<ApiError> {
    match rows.get(&key) {
        Some(_) if value.is_empty() => None,
        Some(other) if !other.value.is_empty() => Some(ApiError::parameter(format!(
            "{}: means the same as {}, only one of them may be given",
            echo(&sent),
            echo(&other.sent)
        ))),
        _ => {
            let value = Zeroizing::new(value);
            rows.insert(key, Placed { sent, value });
            None
        }
    }
}

fn row_named(action: &ActionSpec, form: &str) -> Option<usize> {
    action.params.iter().position(|spec| spec.name == form)
}

/// The row and index that another name of a parameter stands for. The target of an alias has
/// either the alias's index (`a.n`) or a fixed one (`a.0`).
fn aliased(action: &ActionSpec, form: &str, index: u16) -> Option<(usize, u16)> {
    let alias = action.aliases.iter().find(|alias| alias.name == form)?;
    if let Some(row) = row_named(action, alias.target) {
        return Some((row, index));
    }
    let (target, fixed) = split_index(alias.target);
    row_named(action, &target).map(|row| (row, fixed))
}

fn array_of(spec: &ParamSpec) -> Option<&'static str> {
    match spec.shape() {
        Shape::Scalar(_) => None,
        Shape::List(array) | Shape::Field { array, .. } => Some(array),
    }
}

/// `listeners.3.protocol` as `listeners.n.protocol` and 3; other names as they are, and 0.
fn split_index(name: &str) -> (String, u16) {
    let parts = name.split_once('.').and_then(|(array, rest)| {
        let (index, field) = match rest.split_once('.') {
            Some((index, field)) => (index, Some(field)),
            None => (rest, None),
        };
        Some((array, parse_index(index)?, field))
    });
    match parts {
        Some((array, index, Some(field))) => (format!("{array}.n.{field}"), index),
        Some((array, index, None)) => (format!("{array}.n"), index),
        // A literal `n` is no index.
        None if name.split('.').any(|part| part == "n") => (String::new(), 0),
        None => (name.to_owned(), 0),
    }
}

/// An index: decimal, without leading zeros, 0 to 9999.
fn parse_index(text: &str) -> Option<u16> {
    parse_unsigned(text)
        .and_then(|index| u16::try_from(index).ok())
        .filter(|index| *index <= MAX_INDEX)
}

fn unknown(action: &ActionSpec, sent: &str) -> ApiError {
    if let Some(reason) = bad_index(action, sent) {
        return ApiError::parameter(format!("{}: {reason}", echo(sent)));
    }
    let index = sent
        .split(['.', '[', ']', '_'])
        .find_map(parse_index)
        .unwrap_or(0);
    let own = action.params.iter().map(|spec| spec.name_at(index));
    let shared = common::NAMES.iter().map(|name| (*name).to_owned());
    let hint = nearest(sent, own.chain(shared))
        .map(|name| format!("; the nearest known one is {name}"))
        .unwrap_or_default();
    ApiError::parameter(format!(
        "{}: {} has no such parameter{hint}",
        echo(sent),
        action.name
    ))
}

/// Why a name that would be an array's has no acceptable index.
fn bad_index(action: &ActionSpec, sent: &str) -> Option<String> {
    let (array, rest) = sent.split_once('.').unwrap_or((sent, ""));
    let index = rest.split('.').next().unwrap_or_default();
    let is_array = action
        .params
        .iter()
        .any(|spec| array_of(spec) == Some(array));
    let looks_like_index = index.is_empty() || index.bytes().all(|octet| octet.is_ascii_digit());
    (is_array && looks_like_index && parse_index(index).is_none()).then(|| {
        format!(
            "{array} is an array, its indexes are 0 to {MAX_INDEX} without leading zeros, as in {array}.0"
        )
    })
}

/// Checks one place of one row and keeps its value.
fn check_one(
    params: &mut Params,
    spec: &ParamSpec,
    index: u16,
    placed: Option<&Placed>,
) -> Result<(), ApiError> {
    let Some(placed) = placed.filter(|placed| !placed.value.is_empty()) else {
        return match spec.presence {
            Presence::Optional => Ok(()),
            Presence::Required | Presence::RequiredInElement => Err(ApiError::parameter(format!(
                "{}: required, but absent or empty; must be {}",
                spec.name_at(index),
                spec.kind.allowed()
            ))),
        };
    };
    let value = read(spec, &placed.value).ok_or_else(|| refusal(spec, placed))?;
    match spec.shape() {
        Shape::Scalar(name) => params.set(name, value),
        Shape::List(name) => params.set_in_list(name, index, value),
        Shape::Field { array, field } => params.set_field(array, index, field, value),
    }
    Ok(())
}

fn refusal(spec: &ParamSpec, placed: &Placed) -> ApiError {
    let value = if spec.is_secret {
        String::new()
    } else {
        format!("={}", echo(&placed.value))
    };
    ApiError::parameter(format!(
        "{}{value}: must be {}",
        placed.sent,
        spec.kind.allowed()
    ))
}

/// The typed value, or nothing when the text is none of the row's values.
fn read(spec: &ParamSpec, text: &str) -> Option<Value> {
    match spec.kind {
        ParamKind::Int { .. } | ParamKind::IntEnum(_) => parse_int(text)
            .filter(|value| spec.kind.takes_int(*value))
            .map(Value::Int),
        _ if !spec.kind.takes_text(text) => None,
        _ if spec.is_secret => Some(Value::Secret(Zeroizing::new(text.to_owned()))),
        _ => Some(Value::Text(text.to_owned())),
    }
}

/// An Int (actions.md A.5): `0` or `-?[1-9][0-9]*`, of 64 bits.
pub(crate) fn parse_int(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = is_plain_number(digits) && text != "-0";
    is_plain.then(|| text.parse().ok()).flatten()
}

/// A UInt (actions.md A.5): as [`parse_int`], not negative, of 64 bits.
pub(crate) fn parse_unsigned(text: &str) -> Option<u64> {
    is_plain_number(text).then(|| text.parse().ok()).flatten()
}

fn is_plain_number(digits: &str) -> bool {
    digits.bytes().all(|octet| octet.is_ascii_digit())
        && (digits == "0" || !(digits.is_empty() || digits.starts_with('0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::Regex;

    #[test]
    fn names_are_split_at_their_index() {
        for (name, form, index) in [
            ("loadBalancerId", "loadBalancerId", 0),
            ("loadBalancerIds.0", "loadBalancerIds.n", 0),
            ("listeners.9999.protocol", "listeners.n.protocol", 9999),
            ("listeners.10000.protocol", "listeners.10000.protocol", 0),
            ("listeners.01.protocol", "listeners.01.protocol", 0),
            ("listeners.n.protocol", "", 0),
            ("loadBalancerIds.n", "", 0),
        ] {
            assert_eq!(split_index(name), (form.to_owned(), index), "{name}");
        }
    }

    #[test]
    fn integers_are_plain_decimal() {
        for (text, value) in [
            ("0", 0),
            ("7", 7),
            ("-1", -1),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_int(text), Some(value), "{text}");
        }
        for text in [
            "",
            "-",
            "-0",
            "00",
            "01",
            "-01",
            "+1",
            " 1",
            "1 ",
            "1.0",
            "1e3",
            "0x10",
            "443s",
            "１",
            "--1",
            "9223372036854775808",
        ] {
            assert_eq!(parse_int(text), None, "{text}");
        }
        assert_eq!(parse_unsigned("18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_unsigned("18446744073709551616"), None);
        assert_eq!(parse_unsigned("-1"), None);
    }

    proptest! {
        #[test]
        fn integers_parse_exactly_as_the_grammar_says(
            text in prop_oneof!["[-+ 0-9.a]{0,6}", any::<i64>().prop_map(|n| n.to_string()), any::<String>()]
        ) {
            let grammar = Regex::new("^(0|-?[1-9][0-9]*)$").unwrap();
            let expected = grammar
                .is_match(&text)
                .then(|| text.parse::<i64>().ok())
                .flatten();
            prop_assert_eq!(parse_int(&text), expected);
        }

        #[test]
        fn no_name_panics(name in any::<String>()) {
            let _ = split_index(&name);
        }
    }
}
