//! Options that no safe wrapper has.
#![expect(
    unsafe_code,
    reason = "setsockopt(2) and getsockopt(2) with plain integers"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Places of SO_MEMINFO (include/uapi/linux/sock_diag.h).
const MEMINFO: usize = 9;
/// The place that counts datagrams for which there was no room.
const MEMINFO_DROPS: usize = 8;

/// Sets an option that is an `int`.
pub(crate) fn set(socket: &impl AsFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let length = size_of::<i32>() as libc::socklen_t;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the pointer is to an i32 that lives until after the call, and the length is its size;
    // the descriptor is open, as it is borrowed.
    let result =
        unsafe { libc::setsockopt(descriptor, level, name, (&raw const value).cast(), length) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Octets of `tcp_info` up to the round-trip time and its deviation (linux/tcp.h).
const INFO_TO_RTT: usize = 72;
/// Where the round-trip time is among them, in words of four octets.
const INFO_RTT: usize = 17;

/// The kernel's smoothed estimate of a connection's round-trip time, microseconds (TCP_INFO).
pub(crate) fn rtt(socket: &impl AsFd) -> io::Result<u32> {
    let mut words = [0_u32; INFO_TO_RTT / size_of::<u32>()];
    let mut length = size_of_val(&words) as libc::socklen_t;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the pointers are to an array and its length in octets, both of which live until after
    // the call, and the kernel writes at most that many; the descriptor is open, as it is borrowed.
    let result = unsafe {
        libc::getsockopt(
            descriptor,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut words).cast(),
            &raw mut length,
        )
    };
    match result {
        0 => Ok(words[INFO_RTT]),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Datagrams that the kernel threw away because the socket's receive buffer was full, since it was
/// opened (SO_MEMINFO, SK_MEMINFO_DROPS); it starts again from 0 after 4,294,967,295.
pub(super) fn drops(socket: &impl AsFd) -> io::Result<u32> {
    let mut places = [0_u32; MEMINFO];
    let mut length = size_of_val(&places) as libc::socklen_t;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the pointers are to an array and its length in octets, both of which live until after
    // the call, and the kernel writes at most that many; the descriptor is open, as it is borrowed.
    let result = unsafe {
        libc::getsockopt(
            descriptor,
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            (&raw mut places).cast(),
            &raw mut length,
        )
    };
    match result {
        0 => Ok(places[MEMINFO_DROPS]),
        _ => Err(io::Error::last_os_error()),
    }
}
