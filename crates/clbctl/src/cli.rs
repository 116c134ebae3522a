//! The command line as a whole.

use std::time::Duration;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};
use clap_complete::Shell;
use clb_actions::table::ActionSpec;
use clb_actions::{ACTIONS, Kind};
use serde_json::Value;

use crate::client::{CallError, Client};
use crate::explain::Request;
use crate::names::kebab;
use crate::{arguments, audit, backup, declared, explain, settings, table, tree};

/// How long a task is waited for if nobody says; clients of the original give up after about three
/// minutes (actions.md C.8).
const PATIENCE: &str = "180";

/// What became of a command line.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The API refused, or could not be asked; exit code 1.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The command line or the settings are wrong; exit code 2.
    #[error("{0:#}")]
    Usage(anyhow::Error),
}

/// Everything that `clbctl` takes.
#[must_use]
pub fn command() -> Command {
    let command = Command::new("clbctl")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Calls the Action API of a clbd gateway")
        .long_about(
            "Calls the Action API of a clbd gateway. Every Action is a subcommand; `call` takes \
             parameters as the API names them. A value @FILE is the content of the file. Changes \
             are waited for. Exit codes: 0 done, 1 refused by the API or not answered, 2 wrong \
             usage.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            Arg::new("json")
                .long("json")
                .global(true)
                .action(ArgAction::SetTrue)
                .help("Print the answer as it came, not as tables"),
        )
        .arg(
            Arg::new("no_wait")
                .long("no-wait")
                .global(true)
                .action(ArgAction::SetTrue)
                .help("Do not wait until a change is in force"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .global(true)
                .value_name("SECONDS")
                .value_parser(clap::value_parser!(u64))
                .default_value(PATIENCE)
                .help("How long to wait for a change"),
        )
        .subcommand(
            Command::new("get").about("Everything that the gateway has, as a tree with health"),
        )
        .subcommand(
            Command::new("call")
                .about("Calls any Action with parameters as the API names them")
                .arg(Arg::new("action").value_name("ACTION").required(true))
                .arg(
                    Arg::new("parameters")
                        .value_name("NAME=VALUE")
                        .num_args(0..)
                        .value_hint(ValueHint::Other),
                ),
        )
        .subcommand(explain::subcommand())
        .subcommands(declared::subcommands())
        .subcommand(audit::subcommand())
        .subcommands(backup::subcommands())
        .subcommand(
            Command::new("completions")
                .about("Prints what a shell needs to complete command lines")
                .arg(
                    Arg::new("shell")
                        .required(true)
                        .value_parser(clap::value_parser!(Shell)),
                ),
        )
        .subcommand(Command::new("man").about("Prints the man page"))
        .subcommands(ACTIONS.iter().map(arguments::subcommand));
    settings::with_options(command)
}

/// Carries a command line out, and returns what it prints.
///
/// # Errors
/// [`Failure`]
pub async fn run(
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<String, Failure> {
    let Some((name, own)) = matches.subcommand() else {
        return Ok(String::new());
    };
    let as_json = own.get_flag("json");
    match name {
        "completions" => return Ok(completions(own)),
        "man" => return man().map_err(Failure::Usage),
        "audit" => return audit::run(own, as_json).map_err(Failure::Usage),
        "backup" => return backup::back_up(own, as_json).map_err(Failure::Usage),
        "restore" => return backup::restore(own, as_json).map_err(Failure::Usage),
        _ => {}
    }
    let usage = |error: anyhow::Error| Failure::Usage(error);
    let (action, pairs) = match name {
        "get" | "export" | "apply" | "explain" => ("", Vec::new()),
        "call" => {
            let action = own.get_one::<String>("action").map(String::as_str);
            let given = own.get_many::<String>("parameters").into_iter().flatten();
            let pairs = arguments::raw(given).map_err(|error| usage(error.into()))?;
            (action.unwrap_or_default(), pairs)
        }
        name => {
            let action = ACTIONS
                .iter()
                .find(|action| kebab(action.name) == name)
                .with_context(|| format!("{name}: no such Action"))
                .map_err(usage)?;
            let pairs = arguments::parameters(action, own).map_err(|error| usage(error.into()))?;
            // What the gateway would say of the request alone is said here.
            action
                .check(pairs.clone())
                .map_err(|error| usage(anyhow::anyhow!("{}", error.message)))?;
            (action.name, pairs)
        }
    };
    // Files and URLs are read before anything is asked.
    let request = match name {
        "explain" => Some(Request::new(own).map_err(usage)?),
        _ => None,
    };
    let wanted = match name {
        "apply" => declared::wanted(own).map_err(usage)?,
        _ => Vec::new(),
    };
    let settings = settings::read(own, environment).map_err(|error| usage(error.into()))?;
    let client = Client::new(settings).map_err(|error| match error {
        CallError::Endpoint(_) | CallError::Pin(_) => usage(error.into()),
        error => Failure::Call(error),
    })?;
    let seconds = own.get_one::<u64>("timeout").copied().unwrap_or_default();
    let patience = Duration::from_secs(seconds);
    match (name, request) {
        ("export", _) => return declared::export(&client, patience).await,
        ("apply", _) => return declared::apply(&client, own, &wanted, patience, as_json).await,
        ("get", _) => {
            let found = tree::read(&client).await?;
            return Ok(match as_json {
                true => format!("{}\n", Value::Array(found)),
                false => tree::render(&found),
            });
        }
        (_, Some(request)) => {
            let found = tree::read(&client).await?;
            let explained = request.explain(&found, as_json);
            return explained
                .map_err(|error| Failure::Call(CallError::Incomplete(format!("{error:#}"))));
        }
        _ => {}
    }
    let answer = client.call(action, &pairs).await?;
    let is_task = ActionSpec::find(action).is_some_and(|action| action.kind == Kind::Async);
    if is_task && !own.get_flag("no_wait") {
        client.wait(action, &answer, patience).await?;
    }
    Ok(match as_json {
        true => format!("{}\n", answer.text),
        false => table::render(&answer.value),
    })
}

fn completions(matches: &ArgMatches) -> String {
    let mut out = Vec::new();
    if let Some(shell) = matches.get_one::<Shell>("shell") {
        clap_complete::generate(*shell, &mut command(), "clbctl", &mut out);
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn man() -> anyhow::Result<String> {
    let mut out = Vec::new();
    let mut whole = command();
    whole.build();
    let page = clap_mangen::Man::new(whole.clone());
    page.render(&mut out)?;
    for sub in whole.get_subcommands() {
        let page = clap_mangen::Man::new(sub.clone());
        out.extend_from_slice(format!(".SS clbctl {}\n", sub.get_name()).as_bytes());
        page.render_description_section(&mut out)?;
        page.render_options_section(&mut out)?;
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_action_is_a_subcommand() {
        let command = command();
        for action in ACTIONS {
            assert!(
                command.find_subcommand(kebab(action.name)).is_some(),
                "{}",
                action.name
            );
        }
    }

    fn failure(line: &[&str]) -> Failure {
        let matches = command().try_get_matches_from(line).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(run(&matches, |_| None)).unwrap_err()
    }

    #[test]
    fn what_the_request_alone_tells_is_refused_before_anything_is_sent() {
        let error = failure(&[
            "clbctl",
            "create-load-balancer",
            "--load-balancer-type",
            "4",
        ]);
        assert!(matches!(&error, Failure::Usage(_)));
        assert!(
            error
                .to_string()
                .contains("loadBalancerType=4: must be one of 2, 3"),
            "{error}"
        );
        let error = failure(&["clbctl", "describe-load-balancers"]);
        assert!(error.to_string().contains("--endpoint"), "{error}");
    }

    #[test]
    fn man_page_and_completions_know_every_action() {
        let page = man().unwrap();
        assert!(
            page.contains("create\\-load\\-balancer") && page.contains("sched"),
            "{page}"
        );
        for shell in ["bash", "zsh", "fish"] {
            let matches = command()
                .try_get_matches_from(["clbctl", "completions", shell])
                .unwrap();
            let (_, own) = matches.subcommand().unwrap();
            assert!(completions(own).contains("modify-lb-health"), "{shell}");
        }
    }
}
