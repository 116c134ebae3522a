//! Watches how much memory the process has, so that nothing new is taken when it is too much.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clb_net::MemoryGauge;
use clb_snapshot::Board;

/// How often it is looked at: in this time new connections can bring some megabytes.
const LOOK: Duration = Duration::from_millis(20);

/// The least time between two log lines, in milliseconds.
const LOG_EVERY_MS: u64 = 60_000;

/// Starts the thread that watches, until the board closes.
///
/// # Errors
/// When /proc can not be read, or there can be no thread.
pub fn watch(board: Arc<Board>) -> io::Result<()> {
    let gauge = MemoryGauge::new()?;
    look(&gauge, &board)?;
    thread::Builder::new()
        .name("memory".to_owned())
        .spawn(move || {
            while !board.is_closing() {
                if let Err(error) = look(&gauge, &board) {
                    return tracing::error!(%error, "memory can not be watched any more");
                }
                thread::sleep(LOOK);
            }
        })?;
    Ok(())
}

fn look(gauge: &MemoryGauge, board: &Board) -> io::Result<()> {
    let octets = gauge.read()?;
    board.note_memory(octets);
    if board.is_over_memory() {
        let now_ms = board.millis_at(Instant::now());
        if board.memory_log.pass(now_ms, LOG_EVERY_MS) {
            let limit = board.settings().max_memory;
            let connections = board.connections();
            tracing::error!(
                octets,
                limit,
                connections,
                "limits.memory is reached: nothing new is taken"
            );
        }
    }
    Ok(())
}
