//! The checked parameters of one request, typed as the Action's table says.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::echo::echo;
use crate::error::ApiError;

/// One parameter's value.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// A parameter of type Int.
    Int(i64),
    /// A parameter of any other type.
    Text(String),
    /// A private key: wiped from memory when dropped, not shown by `Debug`, never in a message.
    Secret(Zeroizing<String>),
}

impl Value {
    fn int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Text(_) | Self::Secret(_) => None,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Int(_) => None,
            Self::Text(value) => Some(value),
            Self::Secret(value) => Some(value),
        }
    }

    /// `=value` for a message; nothing for a secret.
    fn echoed(&self) -> String {
        match self {
            Self::Int(value) => format!("={value}"),
            Self::Text(value) => format!("={}", echo(value)),
            Self::Secret(_) => String::new(),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
            Self::Secret(_) => f.write_str("[redacted]"),
        }
    }
}

/// The fields of one array element, by name.
type Fields = BTreeMap<&'static str, Value>;

/// The parameters of one request, after the table's checks. Names are the table's, also when the
/// client used an alias; an absent or empty parameter is not there, defaults are not filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    scalars: BTreeMap<&'static str, Value>,
    lists: BTreeMap<&'static str, BTreeMap<u16, Value>>,
    arrays: BTreeMap<&'static str, BTreeMap<u16, Fields>>,
}

impl Params {
    /// The value of an Int parameter, or nothing when it was absent.
    #[must_use]
    pub fn int(&self, name: &str) -> Option<i64> {
        self.scalars.get(name).and_then(Value::int)
    }

    /// The value of a parameter of another type, or nothing when it was absent.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.scalars.get(name).and_then(Value::text)
    }

    /// The values of `name.n`, in the order of their indexes.
    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<&str> {
        self.lists
            .get(name)
            .map(|list| list.values().filter_map(Value::text).collect())
            .unwrap_or_default()
    }

    /// The elements of the array `name.n.field`, in the order of their indexes.
    #[must_use]
    pub fn elements(&self, name: &str) -> Vec<Element<'_>> {
        self.arrays
            .get_key_value(name)
            .map(|(array, elements)| {
                elements
                    .iter()
                    .map(|(index, fields)| Element {
                        array,
                        index: *index,
                        fields,
                    })
                    .collect()
            })
            .unwrap_or_default()
    }

    /// Whether the parameter was there and not empty; for an array, whether it has an element.
    #[must_use]
    pub fn is_given(&self, name: &str) -> bool {
        self.scalars.contains_key(name)
            || self.lists.contains_key(name)
            || self.arrays.contains_key(name)
    }

    /// The 4000 (9003) that refuses parameter `name` because of `reason`: `name=value: reason`.
    #[must_use]
    pub fn refuse(&self, name: &str, reason: &str) -> ApiError {
        refusal(name, self.scalars.get(name), reason)
    }

    pub(crate) fn set(&mut self, name: &'static str, value: Value) {
        self.scalars.insert(name, value);
    }

    pub(crate) fn set_in_list(&mut self, name: &'static str, index: u16, value: Value) {
        self.lists.entry(name).or_default().insert(index, value);
    }

    pub(crate) fn set_field(
        &mut self,
        array: &'static str,
        index: u16,
        field: &'static str,
        value: Value,
    ) {
        self.arrays
            .entry(array)
            .or_default()
            .entry(index)
            .or_default()
            .insert(field, value);
    }
}

/// One element of an array of objects, such as `listeners.0`.
#[derive(Debug, Clone, Copy)]
pub struct Element<'a> {
    array: &'static str,
    /// The element's index as sent, 0 to 9999; indexes may have gaps.
    pub index: u16,
    fields: &'a Fields,
}

impl<'a> Element<'a> {
    /// The value of an Int field, or nothing when it was absent.
    #[must_use]
    pub fn int(&self, field: &str) -> Option<i64> {
        self.fields.get(field).and_then(Value::int)
    }

    /// The value of a field of another type, or nothing when it was absent.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&'a str> {
        self.fields.get(field).and_then(Value::text)
    }

    /// Whether the field was there and not empty.
    #[must_use]
    pub fn is_given(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// The parameter's name as sent, such as `listeners.0.timeOut`.
    #[must_use]
    pub fn name(&self, field: &str) -> String {
        format!("{}.{}.{field}", self.array, self.index)
    }

    /// The 4000 (9003) that refuses `field` because of `reason`:
    /// `listeners.0.field=value: reason`.
    #[must_use]
    pub fn refuse(&self, field: &str, reason: &str) -> ApiError {
        refusal(&self.name(field), self.fields.get(field), reason)
    }
}

fn refusal(name: &str, value: Option<&Value>, reason: &str) -> ApiError {
    let echoed = value.map(Value::echoed).unwrap_or_default();
    ApiError::parameter(format!("{name}{echoed}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Params {
        let mut params = Params::default();
        params.set("limit", Value::Int(20));
        params.set("searchKey", Value::Text("web".to_owned()));
        for (index, id) in [(10, "lb-c"), (2, "lb-b"), (0, "lb-a")] {
            params.set_in_list("loadBalancerIds", index, Value::Text(id.to_owned()));
        }
        params.set_field("listeners", 10, "protocol", Value::Int(3));
        params.set_field("listeners", 2, "protocol", Value::Int(2));
        params.set_field(
            "listeners",
            2,
            "certKey",
            Value::Secret(Zeroizing::new("-----BEGIN".to_owned())),
        );
        params
    }

    #[test]
    fn values_are_found_by_name_and_type() {
        let params = sample();
        assert_eq!(params.int("limit"), Some(20));
        assert_eq!(params.text("limit"), None);
        assert_eq!(params.text("searchKey"), Some("web"));
        assert_eq!(params.int("offset"), None);
        assert!(params.is_given("loadBalancerIds") && params.is_given("listeners"));
        assert!(!params.is_given("offset"));
    }

    #[test]
    fn arrays_stand_in_the_order_of_their_numbers() {
        let params = sample();
        assert_eq!(params.texts("loadBalancerIds"), ["lb-a", "lb-b", "lb-c"]);
        assert!(params.texts("listenerIds").is_empty());
        let indexes: Vec<u16> = params
            .elements("listeners")
            .iter()
            .map(|e| e.index)
            .collect();
        assert_eq!(indexes, [2, 10]);
    }

    #[test]
    fn a_refusal_names_the_parameter_as_sent_and_its_value() {
        let params = sample();
        let element = params.elements("listeners")[1];
        assert_eq!(
            element.refuse("protocol", "not here").full_message(),
            "(9003) listeners.10.protocol=3: not here"
        );
        assert_eq!(
            element.refuse("SSLMode", "required").full_message(),
            "(9003) listeners.10.SSLMode: required"
        );
        assert_eq!(
            params.refuse("searchKey", "no").message,
            "searchKey=web: no"
        );
    }

    #[test]
    fn a_secret_is_readable_by_name_only() {
        let params = sample();
        let element = params.elements("listeners")[0];
        assert_eq!(element.text("certKey"), Some("-----BEGIN"));
        assert_eq!(
            element.refuse("certKey", "no").message,
            "listeners.2.certKey: no"
        );
        assert!(!format!("{params:?}").contains("BEGIN"));
    }
}
