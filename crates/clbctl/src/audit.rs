//! `clbctl audit`: the audit log of a state folder.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};
use clb_model::UnixMillis;
use clb_store::{AuditFilter, AuditLog, Audited, Outcome};
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use serde_json::{Value, json};

use crate::table::{plain, shown, text};

/// Entries that are shown if nobody says how many.
const SHOWN: &str = "50";

/// The subcommand.
#[must_use]
pub fn subcommand() -> Command {
    Command::new("audit")
        .about("Who has asked for which change, when, and what came of it; read from the gateway's state_dir")
        .arg(
            Arg::new("state_dir")
                .long("state-dir")
                .value_name("DIR")
                .required(true)
                .help("state_dir of the gateway, on this machine"),
        )
        .arg(
            Arg::new("key")
                .long("key")
                .value_name("ID")
                .help("Only calls of this SecretId"),
        )
        .arg(
            Arg::new("action")
                .long("action")
                .value_name("NAME")
                .help("Only this Action"),
        )
        .arg(
            Arg::new("since")
                .long("since")
                .value_name("TIME")
                .value_parser(time)
                .help("Not before this: \"2026-11-25 20:00:00\" in local time, or as in RFC 3339"),
        )
        .arg(
            Arg::new("refused")
                .long("refused")
                .action(ArgAction::SetTrue)
                .help("Only what was refused"),
        )
        .arg(
            Arg::new("before")
                .long("before")
                .value_name("NUMBER")
                .value_parser(clap::value_parser!(u64))
                .help("Only entries before this one, to go on from an earlier call"),
        )
        .arg(
            Arg::new("limit")
                .long("limit")
                .value_name("NUMBER")
                .value_parser(clap::value_parser!(usize))
                .default_value(SHOWN)
                .help("How many at most, the newest first"),
        )
}

fn time(given: &str) -> Result<i64, String> {
    let local = |civil: civil::DateTime| civil.to_zoned_datetime(TimeZone::system());
    let instant = given.parse::<Timestamp>().ok().or_else(|| {
        let civil = given.parse::<civil::DateTime>().ok()?;
        local(civil).ok().map(|zoned| zoned.timestamp())
    });
    instant
        .map(Timestamp::as_millisecond)
        .ok_or_else(|| "must be YYYY-MM-DD HH:MM:SS or a time of RFC 3339".to_owned())
}

/// What it prints.
///
/// # Errors
/// When the log can not be read.
pub fn run(matches: &ArgMatches, as_json: bool) -> anyhow::Result<String> {
    let one = |name: &str| matches.get_one::<String>(name).cloned();
    let folder: PathBuf = one("state_dir").unwrap_or_default().into();
    let filter = AuditFilter {
        secret_id: one("key"),
        action: one("action"),
        since: matches.get_one::<i64>("since").copied().map(UnixMillis),
        refused: matches.get_flag("refused"),
        before: matches.get_one::<u64>("before").copied(),
    };
    let limit = matches
        .get_one::<usize>("limit")
        .copied()
        .unwrap_or_default();
    let found = AuditLog::open(&folder)?.read(&filter, limit)?;
    Ok(match as_json {
        true => format!("{}\n", Value::Array(found.iter().map(as_value).collect())),
        false => as_table(&found),
    })
}

fn as_table(found: &[Audited]) -> String {
    let mut table = plain(&[
        "number",
        "time",
        "key",
        "from",
        "action",
        "result",
        "parameters",
    ]);
    for Audited {
        number,
        entry,
        outcome,
    } in found
    {
        let parameters: Vec<String> = entry
            .parameters
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let peer = entry.peer.map(|peer| peer.to_string()).unwrap_or_default();
        let row = [
            number.to_string(),
            local_time(entry.at),
            entry.secret_id.clone(),
            peer,
            entry.action.clone(),
            result(entry.code, &entry.message, outcome),
            parameters.join(" "),
        ];
        table.add_row(row.map(|cell| cell.chars().flat_map(shown).collect::<String>()));
    }
    text(&table)
}

fn local_time(at: UnixMillis) -> String {
    let time = Timestamp::from_millisecond(at.0).unwrap_or_default();
    let zoned = time.to_zoned_datetime(TimeZone::system());
    zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn result(code: u32, message: &str, outcome: &Outcome) -> String {
    match (code, outcome) {
        (0, Outcome::Succeeded) => "done".to_owned(),
        (0, Outcome::Pending) => "in progress".to_owned(),
        (0, Outcome::Failed(reason)) => format!("taken back: {reason}"),
        (0, Outcome::Unknown) => "accepted".to_owned(),
        _ => format!("{code} {message}"),
    }
}

fn as_value(audited: &Audited) -> Value {
    let Audited {
        number,
        entry,
        outcome,
    } = audited;
    let (outcome, reason) = match outcome {
        Outcome::Unknown => ("unknown", None),
        Outcome::Pending => ("pending", None),
        Outcome::Succeeded => ("succeeded", None),
        Outcome::Failed(reason) => ("failed", Some(reason)),
    };
    let time = Timestamp::from_millisecond(entry.at.0).unwrap_or_default();
    let parameters: serde_json::Map<String, Value> = entry
        .parameters
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    json!({
        "number": number,
        "time": time.to_string(),
        "secretId": entry.secret_id,
        "peer": entry.peer.map(|peer| peer.to_string()),
        "client": entry.client,
        "action": entry.action,
        "parameters": parameters,
        "code": entry.code,
        "message": entry.message,
        "task": entry.task.map(|task| task.0),
        "outcome": outcome,
        "reason": reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(time("1970-01-01T00:00:01Z"), Ok(1000));
        assert_eq!(time("1970-01-01T01:00:01+01:00"), Ok(1000));
        assert!(time("2026-11-25 20:00:00").is_ok());
        assert!(time("yesterday").is_err());
    }

    #[test]
    fn results_say_what_became_of_it() {
        let failed = Outcome::Failed("port in use".to_owned());
        assert_eq!(result(0, "", &failed), "taken back: port in use");
        assert_eq!(
            result(5000, "(11041) gone", &Outcome::Unknown),
            "5000 (11041) gone"
        );
    }
}
