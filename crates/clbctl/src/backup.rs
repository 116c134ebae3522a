//! `clbctl backup` and `clbctl restore`: the state of a gateway on this machine.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Arg, ArgMatches, Command, ValueHint};
use serde_json::json;

fn with_arguments(command: Command, file: &'static str) -> Command {
    command
        .arg(
            Arg::new("state_dir")
                .long("state-dir")
                .value_name("DIR")
                .required(true)
                .value_hint(ValueHint::DirPath)
                .help("state_dir of the gateway, on this machine"),
        )
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .value_hint(ValueHint::FilePath)
                .help(file),
        )
}

/// The subcommands.
#[must_use]
pub fn subcommands() -> [Command; 2] {
    let backup = Command::new("backup").about(
        "Copies the gateway's state into a new file while it runs; private keys are in it, so keep it safe",
    );
    let restore = Command::new("restore").about(
        "Puts a backup in the place of the state of a gateway that does not run, and keeps what was there beside it",
    );
    [
        with_arguments(backup, "The backup; it must not exist"),
        with_arguments(restore, "The backup"),
    ]
}

fn paths(matches: &ArgMatches) -> anyhow::Result<(PathBuf, PathBuf)> {
    let one = |name: &str| {
        let given = matches.get_one::<String>(name);
        given.map(PathBuf::from).with_context(|| name.to_owned())
    };
    Ok((one("state_dir")?, one("file")?))
}

/// What `backup` prints.
///
/// # Errors
/// When there is no backup.
pub fn back_up(matches: &ArgMatches, as_json: bool) -> anyhow::Result<String> {
    let (state_dir, file) = paths(matches)?;
    let objects = clb_store::back_up(&state_dir, &file)?;
    Ok(match as_json {
        true => format!("{}\n", json!({ "file": file, "objects": objects })),
        false => format!("{}: {objects} objects\n", file.display()),
    })
}

/// What `restore` prints.
///
/// # Errors
/// When nothing was changed, and why.
pub fn restore(matches: &ArgMatches, as_json: bool) -> anyhow::Result<String> {
    let (state_dir, file) = paths(matches)?;
    let restored = clb_store::restore(&state_dir, &file)?;
    let (objects, replaced) = (restored.objects, restored.replaced);
    if as_json {
        let answer = json!({ "objects": objects, "replaced": replaced });
        return Ok(format!("{answer}\n"));
    }
    let kept = replaced.map(|path| format!("; what was there is {}", path.display()));
    let kept = kept.unwrap_or_default();
    Ok(format!(
        "{}: {objects} objects{kept}\n",
        state_dir.display()
    ))
}
