//! What the process may use up.

use std::io;
use std::ops::RangeInclusive;
use std::os::fd::RawFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files (RLIMIT_NOFILE, getrlimit(2)) to the hard limit and gives
/// the soft limit that holds now; `u64::MAX` when there is none.
///
/// # Errors
/// What setrlimit(2) reports.
pub fn raise_nofile_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            },
        )?;
    }
    Ok(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}

/// Has no core file written (RLIMIT_CORE, core(5)): private keys would be in it. Only the soft limit is
/// lowered, so that prlimit(1) can allow one to somebody who looks for a fault.
///
/// # Errors
/// What setrlimit(2) reports.
pub fn forbid_core_files() -> io::Result<()> {
    let maximum = getrlimit(Resource::Core).maximum;
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum,
        },
    )?;
    Ok(())
}

/// Descriptors for which room is made at the start at most: 8 octets of the kernel's memory each.
const DESCRIPTORS_AT_START: u64 = 1 << 18;

/// Makes the process's table of descriptors as large as `limit` lets it become, up to 262,144.
///
/// Otherwise it doubles whenever it is full, and in a process with threads the one that opens the
/// descriptor waits meanwhile until every processor has passed through the scheduler
/// (`expand_fdtable` in Linux's fs/file.c): 10 to 16 ms were seen, in which a worker serves nobody.
///
/// # Errors
/// What fcntl(2) reports.
pub fn reserve_descriptors(limit: u64) -> io::Result<()> {
    let last = limit.min(DESCRIPTORS_AT_START).saturating_sub(1);
    let last = RawFd::try_from(last).unwrap_or(RawFd::MAX);
    let any = std::fs::File::open("/dev/null")?;
    drop(rustix::io::fcntl_dupfd_cloexec(&any, last)?);
    Ok(())
}

/// Reads again and again how much memory the process has of its own.
#[derive(Debug)]
pub struct MemoryGauge {
    statm: std::fs::File,
    page: u64,
}

impl MemoryGauge {
    /// Ready to read.
    ///
    /// # Errors
    /// When /proc can not be read.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            statm: std::fs::File::open("/proc/self/statm")?,
            page: rustix::param::page_size() as u64,
        })
    }

    /// Octets in memory that belong to no file: what the allocator and the stacks have (statm,
    /// proc(5): resident less shared).
    ///
    /// # Errors
    /// What reading gives, and `InvalidData` for another format.
    pub fn read(&self) -> io::Result<u64> {
        let mut text = [0; 128];
        let length = self.statm.read_at(&mut text, 0)?;
        let text = std::str::from_utf8(text.get(..length).unwrap_or_default());
        let mut numbers = text
            .unwrap_or_default()
            .split_ascii_whitespace()
            .map(|number| number.parse::<u64>().ok());
        let (_, resident, shared) = (numbers.next(), numbers.next(), numbers.next());
        match (resident.flatten(), shared.flatten()) {
            (Some(resident), Some(shared)) => Ok(resident.saturating_sub(shared) * self.page),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Octets of memory that this process and its neighbours may have: the machine's, or less if a
/// control group says so (memory.max of cgroups(7) version 2, its own and those above it;
/// memory.limit_in_bytes of version 1). None: it can not be found out.
#[must_use]
pub fn memory_there_is() -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| total_of(&text));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let own = Path::new("/sys/fs/cgroup").join(group.unwrap_or("/").trim_start_matches('/'));
    let above = own
        .ancestors()
        .take_while(|path| path.starts_with("/sys/fs/cgroup"))
        .map(|path| path.join("memory.max"));
    let old = PathBuf::from("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    let limits = above
        .chain([old])
        .filter_map(|path| read(&path)?.trim().parse().ok());
    machine.into_iter().chain(limits).min()
}

fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Whether the kernel may choose this port for a connection (ip_local_port_range, ip(7)), as it was
/// when this was first asked; true if that can not be read.
#[must_use]
pub fn may_be_chosen(port: u16) -> bool {
    static RANGE: OnceLock<Option<RangeInclusive<u16>>> = OnceLock::new();
    let range = RANGE.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
        parse_range(&text)
    });
    range.as_ref().is_none_or(|range| range.contains(&port))
}

fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut ports = text.split_ascii_whitespace().map(str::parse);
    let (first, last) = (ports.next()?.ok()?, ports.next()?.ok()?);
    Some(first..=last)
}

/// What the machine ran out of when a socket could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// The process's or the system's descriptors (EMFILE, ENFILE).
    Descriptors,
    /// Memory (ENOBUFS, ENOMEM).
    Memory,
    /// Ports towards one destination (EADDRNOTAVAIL).
    Ports,
}

/// Whether an error of socket(2), accept(2) or connect(2) tells that this machine ran out of
/// something, rather than anything about the peer.
#[must_use]
pub fn exhausted(error: &io::Error) -> Option<Exhausted> {
    match error.raw_os_error()? {
        libc::EMFILE | libc::ENFILE => Some(Exhausted::Descriptors),
        libc::ENOBUFS | libc::ENOMEM => Some(Exhausted::Memory),
        libc::EADDRNOTAVAIL => Some(Exhausted::Ports),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_rises_to_the_hard_one() {
        let soft = raise_nofile_limit().unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(soft, limit.current.unwrap_or(u64::MAX));
    }

    #[test]
    fn there_are_no_core_files_until_somebody_allows_them() {
        let before = getrlimit(Resource::Core).maximum;
        forbid_core_files().unwrap();
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), before));
    }

    #[test]
    fn there_is_room_for_descriptors_before_they_are_opened() {
        let limit = raise_nofile_limit().unwrap();
        reserve_descriptors(limit).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
        let size: u64 = size.unwrap().trim().parse().unwrap();
        assert!(size >= limit.min(DESCRIPTORS_AT_START), "{size} of {limit}");
    }

    #[test]
    fn memory_that_is_used_is_seen_and_what_there_is_known() {
        let gauge = MemoryGauge::new().unwrap();
        let before = gauge.read().unwrap();
        let taken = vec![1u8; 64 << 20];
        let after = gauge.read().unwrap();
        assert!(after >= before + (60 << 20), "{before} {after}");
        assert!(taken.iter().all(|octet| *octet == 1));
        assert!(memory_there_is().unwrap() > after);
        assert_eq!(
            total_of("MemTotal:       24689552 kB\nX: 1 kB"),
            Some(24_689_552 * 1024)
        );
        assert_eq!(total_of("MemTotal: x"), None);
    }

    #[test]
    fn ports_of_the_kernels_choice_are_known() {
        assert_eq!(parse_range("32768\t60999\n"), Some(32768..=60999));
        assert_eq!(parse_range(""), None);
        assert_eq!(parse_range("1 70000"), None);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(may_be_chosen(socket.local_addr().unwrap().port()));
    }

    #[test]
    fn running_out_is_told_from_what_the_peer_did() {
        let kind = |code| exhausted(&io::Error::from_raw_os_error(code));
        assert_eq!(kind(libc::EMFILE), Some(Exhausted::Descriptors));
        assert_eq!(kind(libc::ENFILE), Some(Exhausted::Descriptors));
        assert_eq!(kind(libc::ENOBUFS), Some(Exhausted::Memory));
        assert_eq!(kind(libc::EADDRNOTAVAIL), Some(Exhausted::Ports));
        assert_eq!(kind(libc::ECONNREFUSED), None);
        assert_eq!(exhausted(&io::Error::other("no code")), None);
    }
}
