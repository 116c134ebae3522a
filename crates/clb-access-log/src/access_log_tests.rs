use super::*;
use crate::query::Condition;
use crate::row::{Number, Text, name_number};
use crate::targets::FileFormat;
use std::fs;

fn domain(number: u32) -> Option<Arc<str>> {
    Some(format!("{number}.example.com").into())
}

fn settings() -> Settings {
    Settings {
        enabled: true,
        retention: Duration::from_secs(72 * 3_600),
        max_bytes: 64 << 20,
        ring_bytes: 8 << 20,
        targets: Targets::default(),
    }
}

fn start(dir: &Path, settings: Settings) -> AccessLog {
    let show = |rule: u64| rule.to_string();
    let log = AccessLog::start(dir, settings, 2, Box::new(domain), None, show, "gate").unwrap();
    log.open().unwrap();
    log
}

fn send(sender: &mut Sender, numbers: std::ops::Range<u64>) {
    let mut row = Row::default();
    for number in numbers {
        row.set(Number::Time, now_us());
        row.set(Number::Status, 200 + number % 4 * 100);
        row.set(Number::Rule, 1 + number % 3);
        row.set(Number::Sent, number);
        let line = format!("GET /{number} HTTP/1.1");
        let mut row = row;
        row.set_text(Text::Line, line.as_bytes());
        let name = name_number(1 + number as u32 % 3);
        row.set_text(Text::ServerName, &name);
        sender.send(&row);
    }
}

fn all(conditions: Vec<Condition>) -> Query {
    Query {
        times: (0, u64::MAX),
        conditions,
        latest_first: false,
        offset: 0,
        limit: 100_000,
    }
}

fn sent(page: &Page) -> Vec<u64> {
    let mut numbers: Vec<u64> = page.rows().map(|row| row.number(Number::Sent)).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_query_sees_what_was_handed_over_before() {
    let dir = tempfile::tempdir().unwrap();
    let log = start(dir.path(), settings());
    let (mut one, mut two) = (log.sender(0).unwrap(), log.sender(1).unwrap());
    assert!(log.sender(0).is_none());
    drop(one);
    one = log.sender(0).unwrap();
    for round in 0..50 {
        let start = round * 2;
        send(&mut one, start..start + 1);
        send(&mut two, start + 1..start + 2);
        let page = log.query(&all(Vec::new())).unwrap();
        assert_eq!(sent(&page), (0..start + 2).collect::<Vec<_>>());
    }
    let named = Condition::Text(Text::ServerName, b"2.EXAMPLE.com".to_vec(), true);
    let page = log.query(&all(vec![named])).unwrap();
    assert_eq!(
        sent(&page),
        (0..100)
            .filter(|number| number % 3 == 1)
            .collect::<Vec<_>>()
    );
}

#[test]
fn nothing_is_lost_by_a_restart_nor_there_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut count = 0;
    // Blocks are closed in some of these runs and not in others.
    for more in [100, 20_000, 1, 8_191, 8_192, 0, 5] {
        let log = start(dir.path(), settings());
        send(&mut log.sender(0).unwrap(), count..count + more);
        count += more;
        let page = log.query(&all(Vec::new())).unwrap();
        assert_eq!(page.total, count);
        assert_eq!(sent(&page), (0..count).collect::<Vec<_>>());
        assert_eq!(log.figures().rows, count);
        log.stop();
    }
    let log = start(dir.path(), settings());
    let errors = Condition::Number(Number::Status, 500, true);
    let page = log.query(&all(vec![errors])).unwrap();
    assert_eq!(
        page.total,
        (0..count).filter(|number| number % 4 == 3).count() as u64
    );
}

#[test]
fn extra_targets_get_every_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let mut settings = settings();
    settings.targets.file = Some((path.clone(), FileFormat::Combined));
    let log = start(&dir.path().join("rows"), settings);
    send(&mut log.sender(0).unwrap(), 0..1_000);
    log.stop();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1_000);
    assert!(text.lines().all(|line| line.contains("\"GET /")));
}

#[test]
fn a_folder_that_can_not_be_written_loses_rows_and_says_so_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let rows = dir.path().join("rows");
    let log = start(&rows, settings());
    let mut sender = log.sender(0).unwrap();
    send(&mut sender, 0..10);
    assert_eq!(log.query(&all(Vec::new())).unwrap().total, 10);
    // Gone from under it: no segment can be made.
    fs::remove_dir_all(&rows).unwrap();
    send(&mut sender, 10..20_000);
    let page = log.query(&all(Vec::new())).unwrap();
    let figures = log.figures();
    assert_eq!(page.total + figures.dropped_disk, 20_000);
    assert!(figures.dropped_disk > 0);
    fs::create_dir(&rows).unwrap();
    send(&mut sender, 20_000..40_000);
    let page = log.query(&all(Vec::new())).unwrap();
    assert!(sent(&page).ends_with(&[39_998, 39_999]));
    log.stop();
}

#[test]
fn a_reload_switches_the_log_and_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let log = start(&dir.path().join("rows"), settings());
    let sender = log.sender(0).unwrap();
    assert!(sender.is_enabled());
    let mut off = settings();
    off.enabled = false;
    log.reload(off);
    assert!(!sender.is_enabled() && !log.is_enabled());
    let path = dir.path().join("access.log");
    let mut with_file = settings();
    with_file.targets.file = Some((path.clone(), FileFormat::Json));
    log.reload(with_file);
    let mut sender = sender;
    log.refresh();
    log.refresh();
    send(&mut sender, 0..3);
    log.stop();
    assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 3);
}

/// A log that waits for the folder of another one.
fn waiting(dir: &Path) -> Arc<AccessLog> {
    let show = |rule: u64| rule.to_string();
    let other = |number: u32| Some(format!("other-{number}").into());
    let log = AccessLog::start(dir, settings(), 2, Box::new(other), None, show, "gate");
    Arc::new(log.unwrap())
}

#[test]
fn another_process_goes_on_with_the_folder_and_gets_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (start(dir.path(), settings()), waiting(dir.path()));
    let mut sender = old.sender(0).unwrap();
    send(&mut sender, 0..20_000);
    let to = Arc::clone(&new);
    old.hand_over(Box::new(move |rows| {
        assert!(rows.len() < 64 * 1024);
        to.take_in(rows.to_vec());
        Ok(())
    }));
    // Both record, and the folder is opened a little later.
    send(&mut sender, 20_000..30_000);
    send(&mut new.sender(1).unwrap(), 30_000..30_100);
    new.open().unwrap();
    send(&mut sender, 30_100..30_200);
    old.stop();
    let page = new.query(&all(Vec::new())).unwrap();
    assert_eq!(sent(&page), (0..30_200).collect::<Vec<_>>());
    // With the domains that their numbers had where they come from.
    let theirs = Condition::Text(Text::ServerName, b"2.example.com".to_vec(), true);
    let ours = Condition::Text(Text::ServerName, b"other-2".to_vec(), true);
    let count = |condition| new.query(&all(vec![condition])).unwrap().total;
    let seconds = |numbers: std::ops::Range<u64>| numbers.filter(|n| n % 3 == 1).count() as u64;
    assert_eq!(count(ours), seconds(30_000..30_100));
    assert_eq!(count(theirs), seconds(0..30_000) + seconds(30_100..30_200));
    new.stop();
    assert_eq!(start(dir.path(), settings()).figures().rows, 30_200);
}

#[test]
fn a_successor_that_goes_away_leaves_the_folder_to_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let old = start(dir.path(), settings());
    let mut sender = old.sender(0).unwrap();
    send(&mut sender, 0..10_000);
    old.hand_over(Box::new(|_| Err(io::ErrorKind::BrokenPipe.into())));
    send(&mut sender, 10_000..10_100);
    let new = waiting(dir.path());
    new.open().unwrap();
    send(&mut new.sender(0).unwrap(), 10_100..10_200);
    new.stop();
    old.open().unwrap();
    send(&mut sender, 10_200..10_300);
    let page = old.query(&all(Vec::new())).unwrap();
    assert_eq!(sent(&page), (0..10_300).collect::<Vec<_>>());
    assert_eq!(old.figures().dropped_disk, 0);
}
