//! CPU time of other processes, as the scheduler counts it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

/// The run time of all threads of all `pids` together: the first field of each
/// `/proc/PID/task/TID/schedstat`, nanoseconds. A thread that ends takes its time along, so a difference
/// of two readings only means something if no thread ended in between. A thread that runs at this moment
/// is counted up to the last tick of the scheduler.
pub(crate) fn of(pids: &[u32]) -> anyhow::Result<Duration> {
    let mut total = 0;
    for pid in pids {
        let tasks = format!("/proc/{pid}/task");
        for task in fs::read_dir(&tasks).with_context(|| format!("process {pid}: {tasks}"))? {
            total += run_time(&task?.path())?;
        }
    }
    Ok(Duration::from_nanos(total))
}

/// This process's own run time.
pub(crate) fn own() -> anyhow::Result<Duration> {
    of(&[std::process::id()])
}

fn run_time(task: &Path) -> anyhow::Result<u64> {
    // The thread may have ended since the folder was read.
    let Ok(text) = fs::read_to_string(task.join("schedstat")) else {
        return Ok(0);
    };
    let first = text.split_ascii_whitespace().next().unwrap_or_default();
    first
        .parse()
        .with_context(|| format!("{}/schedstat: {text:?}", task.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn work_is_counted() {
        let before = own().unwrap();
        let start = Instant::now();
        while own().unwrap() == before {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "no time was counted"
            );
        }
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        assert!(of(&[u32::MAX]).is_err());
    }
}
