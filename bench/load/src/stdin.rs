//! Ending together with whoever started us: the driver holds the other end of stdin.

use std::io::{self, Read};
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;

/// Has `token` reported when stdin is closed. A stdin that cannot be waited for (a file, /dev/null) is no
/// end: such a program runs until it is killed.
pub(crate) fn watch(registry: &Registry, token: Token) -> io::Result<()> {
    let fd = io::stdin().as_raw_fd();
    match registry.register(&mut SourceFd(&fd), token, Interest::READABLE) {
        Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => Ok(()),
        other => other,
    }
}

/// Waits until stdin is closed.
pub(crate) fn wait() -> io::Result<()> {
    let mut nothing = [0; 64];
    while io::stdin().read(&mut nothing)? > 0 {}
    Ok(())
}
