use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::blocks::beyond;
use super::{Shared, Writer, lock};
use crate::access_log::{Names, Settings, now_us};
use crate::row::{Number, Row};
use crate::targets::Targets;

#[test]
fn rows_of_another_process_leave_no_room_behind() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Arc::new(Shared::new(Settings {
        enabled: true,
        retention: Duration::from_secs(3_600),
        max_bytes: 64 << 20,
        ring_bytes: 1 << 20,
        targets: Targets::default(),
    }));
    let names: Names = Box::new(|_| None);
    let shown: (fn(u64) -> String, &str) = (|rule| rule.to_string(), "gate");
    let mut writer = Writer::new(&shared, Vec::new(), dir.path(), (names, None), shown);
    writer.open().unwrap();
    let (mut row, mut rows) = (Row::default(), Vec::new());
    row.set(Number::Time, now_us());
    row.write(&mut rows);
    for _ in 0..100 {
        writer.take_in(&rows);
    }
    assert_eq!(shared.written.load(Ordering::Relaxed), 100);
    assert_eq!(lock(&shared.state).open.len(), 1, "they follow each other");
    assert_eq!(writer.spare.len(), 0);
    writer.write_journal();
    let before = writer.journaled;
    writer.take_in(&rows);
    let chunks = lock(&shared.state).open.clone();
    let rest: usize = beyond(&chunks, before)
        .map(|(chunk, start)| chunk.rows_from(start).count())
        .sum();
    assert_eq!(rest, 1, "the journal has the others");
}
