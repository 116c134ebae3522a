//! How this process was started, so that another one can be started the same way.

use std::ffi::OsString;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use anyhow::Context as _;
use clb_net::Channel;
use std::os::fd::OwnedFd;

/// The process that a successor is started by says its id here.
pub(super) const PREDECESSOR: &str = "CLBD_PREDECESSOR";

static STARTED_AS: OnceLock<(PathBuf, Vec<OsString>)> = OnceLock::new();

/// Remembers the program's path and its arguments; to be called first of all.
pub fn remember() {
    let mut arguments = std::env::args_os();
    let name = arguments.next().map(PathBuf::from).unwrap_or_default();
    let _ = STARTED_AS.set((path_of(&name), arguments.collect()));
}

/// The path that it was called by, not the file behind it: a link may point to another version by
/// the time it is wanted.
fn path_of(name: &Path) -> PathBuf {
    let is_path = name.components().count() > 1 || name.is_absolute();
    let called = is_path.then(|| std::path::absolute(name).ok()).flatten();
    called
        .or_else(|| std::env::current_exe().ok())
        .unwrap_or_else(|| name.to_owned())
}

/// Whether this process was started as the successor of another.
pub(super) fn is_successor() -> bool {
    let predecessor = std::env::var(PREDECESSOR).ok();
    predecessor.is_some_and(|id| id == parent_id().to_string())
}

/// Starts the program anew, with one end of the channel as its standard input.
pub(super) fn start_successor(end: Channel) -> anyhow::Result<Child> {
    let (path, arguments) = STARTED_AS
        .get()
        .context("it is not known how this program was started")?;
    Command::new(path)
        .args(arguments)
        .env(PREDECESSOR, std::process::id().to_string())
        .stdin(Stdio::from(OwnedFd::from(end)))
        .spawn()
        .with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_as_it_was_called_and_a_name_becomes_the_file() {
        assert_eq!(
            path_of(Path::new("/opt/clbd/current/clbd")),
            Path::new("/opt/clbd/current/clbd")
        );
        let here = std::env::current_dir().unwrap();
        assert_eq!(path_of(Path::new("target/clbd")), here.join("target/clbd"));
        assert_eq!(path_of(Path::new("clbd")), std::env::current_exe().unwrap());
    }
}
