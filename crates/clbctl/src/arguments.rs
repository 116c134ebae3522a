//! From a command line to an Action's parameters.

use std::fs;

use clap::{Arg, ArgAction, ArgMatches, Command};
use clb_actions::form::Pair;
use clb_actions::table::{ActionSpec, ParamSpec, Presence, Shape};

use crate::names::{allowed, kebab};

/// A command line that can not be sent.
#[derive(Debug, thiserror::Error)]
pub enum BadArgument {
    /// A part of an array's element is not `field=value` with a field that it has.
    #[error("--{flag} {given}: must be field=value,field=value…, with the fields {fields}")]
    Field {
        /// The option.
        flag: String,
        /// As given.
        given: String,
        /// What is allowed.
        fields: String,
    },
    /// A field is given twice.
    #[error("--{flag} {given}: {field} is given twice")]
    Twice {
        /// The option.
        flag: String,
        /// As given.
        given: String,
        /// The field.
        field: String,
    },
    /// A parameter of `call` is not `name=value`.
    #[error("{0}: must be name=value")]
    Pair(String),
    /// A file that a value names.
    #[error("{name}=@{file}: {source}")]
    File {
        /// The parameter.
        name: String,
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
}

/// The subcommand of an Action.
#[must_use]
pub fn subcommand(action: &ActionSpec) -> Command {
    let mut command = Command::new(kebab(action.name)).about(action.name);
    for spec in action.params {
        let is_first = |array: &str| {
            let same = |other: &&ParamSpec| matches!(other.shape(), Shape::Field { array: name, .. } if name == array);
            action
                .params
                .iter()
                .find(same)
                .is_some_and(|first| first.name == spec.name)
        };
        let arg = match spec.shape() {
            Shape::Scalar(name) => option(name)
                .help(allowed(spec))
                .required(spec.presence == Presence::Required),
            Shape::List(name) => option(name)
                .help(format!("{}; may be given several times", allowed(spec)))
                .action(ArgAction::Append)
                .required(spec.presence == Presence::Required),
            Shape::Field { array, .. } if is_first(array) => element(action, array),
            Shape::Field { .. } => continue,
        };
        command = command.arg(arg);
    }
    command
}

fn option(name: &'static str) -> Arg {
    Arg::new(name)
        .long(kebab(name))
        .value_name("VALUE")
        .allow_hyphen_values(true)
}

/// The option of an array, whose value is one element.
fn element(action: &ActionSpec, array: &'static str) -> Arg {
    let fields: Vec<(&'static str, &ParamSpec)> = fields(action, array).collect();
    let lines: Vec<String> = fields
        .iter()
        .map(|(field, spec)| format!("{field}: {}", allowed(spec)))
        .collect();
    let is_required = fields
        .iter()
        .any(|(_, spec)| spec.presence == Presence::Required);
    Arg::new(array)
        .long(kebab(array))
        .value_name("FIELD=VALUE,…")
        .help("An element, may be given several times; --help lists its fields")
        .long_help(format!(
            "An element as field=value,field=value…; may be given several times. Its fields:\n{}",
            lines.join("\n")
        ))
        .action(ArgAction::Append)
        .required(is_required)
}

/// The fields of an array's elements.
fn fields<'a>(
    action: &'a ActionSpec,
    array: &'a str,
) -> impl Iterator<Item = (&'static str, &'a ParamSpec)> {
    action
        .params
        .iter()
        .filter_map(move |spec| match spec.shape() {
            Shape::Field { array: name, field } if name == array => Some((field, spec)),
            _ => None,
        })
}

/// The parameters that a subcommand's options say. A value `@FILE` is the file's content.
///
/// # Errors
/// [`BadArgument`]
pub fn parameters(action: &ActionSpec, matches: &ArgMatches) -> Result<Vec<Pair>, BadArgument> {
    let mut pairs = Vec::new();
    let mut arrays = Vec::new();
    for spec in action.params {
        match spec.shape() {
            Shape::Scalar(name) => {
                for value in matches.get_many::<String>(name).into_iter().flatten() {
                    pairs.push((name.to_owned(), content(name, value)?));
                }
            }
            Shape::List(name) => {
                let values = matches.get_many::<String>(name).into_iter().flatten();
                for (index, value) in values.enumerate() {
                    pairs.push((format!("{name}.{index}"), content(name, value)?));
                }
            }
            Shape::Field { array, .. } if !arrays.contains(&array) => {
                arrays.push(array);
                let values = matches.get_many::<String>(array).into_iter().flatten();
                for (index, value) in values.enumerate() {
                    for (field, value) in split(action, array, value)? {
                        let name = format!("{array}.{index}.{field}");
                        let value = content(&name, &value)?;
                        pairs.push((name, value));
                    }
                }
            }
            Shape::Field { .. } => {}
        }
    }
    Ok(pairs)
}

/// An element's fields. A comma separates only where a field follows, so that texts may have some.
fn split(
    action: &ActionSpec,
    array: &'static str,
    given: &str,
) -> Result<Vec<(&'static str, String)>, BadArgument> {
    let known: Vec<&'static str> = fields(action, array).map(|(field, _)| field).collect();
    let begun = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let field = known.iter().find(|field| **field == name)?;
        Some((*field, value.to_owned()))
    };
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for part in given.split(',') {
        if let Some((field, value)) = begun(part) {
            if found.iter().any(|(name, _)| *name == field) {
                return Err(BadArgument::Twice {
                    flag: kebab(array),
                    given: given.to_owned(),
                    field: field.to_owned(),
                });
            }
            found.push((field, value));
        } else if let Some((_, value)) = found.last_mut() {
            value.push(',');
            value.push_str(part);
        } else {
            return Err(BadArgument::Field {
                flag: kebab(array),
                given: given.to_owned(),
                fields: known.join(", "),
            });
        }
    }
    Ok(found)
}

/// The parameters of `call`: `name=value`, a value `@FILE` being the file's content.
///
/// # Errors
/// [`BadArgument`]
pub fn raw<'a>(given: impl Iterator<Item = &'a String>) -> Result<Vec<Pair>, BadArgument> {
    given
        .map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| BadArgument::Pair(pair.clone()))?;
            Ok((name.to_owned(), content(name, value)?))
        })
        .collect()
}

/// A value, or what is in the file that it names. The API takes no value that begins with '@'.
fn content(name: &str, value: &str) -> Result<String, BadArgument> {
    match value.strip_prefix('@') {
        None => Ok(value.to_owned()),
        Some(file) => fs::read_to_string(file).map_err(|source| BadArgument::File {
            name: name.to_owned(),
            file: file.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(action: &str, line: &[&str]) -> Result<Vec<Pair>, String> {
        let action = ActionSpec::find(action).unwrap();
        let matches = subcommand(action)
            .try_get_matches_from([&["x"], line].concat())
            .map_err(|error| error.to_string())?;
        parameters(action, &matches).map_err(|error| error.to_string())
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<Pair> {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        expected.iter().map(text).collect()
    }

    #[test]
    fn scalars_lists_and_elements_become_parameters() {
        let line = ["--load-balancer-type", "2", "--number", "3"];
        assert_eq!(
            parsed("CreateLoadBalancer", &line).unwrap(),
            pairs(&[("loadBalancerType", "2"), ("number", "3")])
        );
        let line = ["--load-balancer-ids", "lb-a", "--load-balancer-ids", "lb-b"];
        assert_eq!(
            parsed("DeleteLoadBalancers", &line).unwrap(),
            pairs(&[("loadBalancerIds.0", "lb-a"), ("loadBalancerIds.1", "lb-b")])
        );
        let line = [
            "--load-balancer-id",
            "lb-a",
            "--backends",
            "instanceId=ins-a,weight=5",
            "--backends",
            "instanceId=10.0.0.1",
        ];
        assert_eq!(
            parsed("RegisterInstancesWithLoadBalancer", &line).unwrap(),
            pairs(&[
                ("loadBalancerId", "lb-a"),
                ("backends.0.instanceId", "ins-a"),
                ("backends.0.weight", "5"),
                ("backends.1.instanceId", "10.0.0.1"),
            ])
        );
    }

    #[test]
    fn a_comma_separates_only_where_a_field_follows() {
        let line = ["--load-balancer-id", "lb-a", "--listeners"];
        let with = |element| {
            parsed(
                "CreateLoadBalancerListeners",
                &[&line[..], &[element]].concat(),
            )
        };
        let element = "listenerName=a, b,c=d,protocol=2,loadBalancerPort=1,instancePort=2";
        let found = with(element).unwrap();
        assert!(found.contains(&("listeners.0.listenerName".to_owned(), "a, b,c=d".to_owned())));
        assert_eq!(found.len(), 5);
        let twice = with("protocol=2,protocol=3").unwrap_err();
        assert!(twice.contains("protocol is given twice"), "{twice}");
        let unknown = with("port=80").unwrap_err();
        assert!(
            unknown.contains("loadBalancerPort, instancePort"),
            "{unknown}"
        );
    }

    #[test]
    fn what_is_missing_or_unknown_is_told() {
        let missing = parsed("CreateLoadBalancer", &[]).unwrap_err();
        assert!(missing.contains("--load-balancer-type"), "{missing}");
        let line = ["--load-balancer-type", "2", "--nmae", "x"];
        assert!(
            parsed("CreateLoadBalancer", &line)
                .unwrap_err()
                .contains("--nmae")
        );
    }

    #[test]
    fn values_come_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("www.pem");
        fs::write(&file, "-----BEGIN").unwrap();
        let at = format!("@{}", file.display());
        let line = ["--old-cert-id", "a", "--new-cert-content", &at];
        let found = parsed("ReplaceCert", &line).unwrap();
        assert!(found.contains(&("newCertContent".to_owned(), "-----BEGIN".to_owned())));
        let line = ["--old-cert-id", "a", "--new-cert-content", "@/no/such/file"];
        let missing = parsed("ReplaceCert", &line).unwrap_err();
        assert!(
            missing.contains("newCertContent=@/no/such/file"),
            "{missing}"
        );
    }

    #[test]
    fn raw_parameters_are_pairs() {
        let given = ["a.0.b=c=d".to_owned()];
        assert_eq!(raw(given.iter()).unwrap(), pairs(&[("a.0.b", "c=d")]));
        assert!(raw(["a".to_owned()].iter()).is_err());
    }
}
