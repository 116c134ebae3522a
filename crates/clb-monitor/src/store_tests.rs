use super::*;

fn identity(lb: u64, level: Level, domain: &str, backend: Option<&str>) -> Identity {
    Identity {
        lb,
        level,
        protocol: "http",
        listen_port: 80,
        domain: domain.to_owned(),
        url: String::new(),
        backend: backend.map(|backend| backend.parse().unwrap()),
    }
}

fn point(connections: u64, requests: u64, longest_us: u64) -> Point {
    Point {
        connections,
        requests,
        opened: requests,
        longest_us,
        ..Point::default()
    }
}

/// The sum at the end of one period.
fn sum(store: &PointStore, period: Period, selection: &Selection, end: u64) -> Point {
    let sums = points(&store.connection, period, selection, end - 1, end).unwrap();
    sums.points.get(&end).copied().unwrap_or_default()
}

fn of_lb(lb: u64) -> Selection {
    Selection {
        lb: Some(lb),
        ..Selection::default()
    }
}

#[test]
fn a_listeners_requests_are_its_rules_too_and_its_connections_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = PointStore::open(dir.path()).unwrap();
    let rows = vec![
        (identity(1, Level::Listener, "", None), point(5, 2, 10)),
        (identity(1, Level::Rule, "a.com", None), point(3, 7, 90)),
        (identity(1, Level::Rule, "b.com", None), point(1, 4, 30)),
        (
            identity(1, Level::Member, "a.com", Some("10.0.0.1:80")),
            point(3, 7, 90),
        ),
        (
            identity(1, Level::Member, "b.com", Some("10.0.0.1:81")),
            point(1, 4, 30),
        ),
        (identity(2, Level::Rule, "a.com", None), point(9, 100, 1)),
    ];
    store.add_minute(60, rows).unwrap();
    let listener = Some(("http".to_owned(), 80));
    let found = sum(&store, Period::Minute, &of_lb(1), 60);
    assert_eq!((found.connections, found.opened), (5, 2));
    assert_eq!((found.requests, found.longest_us), (13, 90));
    let of_domain = |lb| Selection {
        lb,
        listener: listener.clone(),
        domain: Some("a.com".to_owned()),
        ..Selection::default()
    };
    assert_eq!(
        sum(&store, Period::Minute, &of_domain(Some(1)), 60).requests,
        7
    );
    assert_eq!(
        sum(&store, Period::Minute, &of_domain(None), 60).requests,
        107
    );
    let of_backend = |port| Selection {
        ip: Some("10.0.0.1".to_owned()),
        port,
        ..of_lb(1)
    };
    assert_eq!(
        sum(&store, Period::Minute, &of_backend(None), 60).connections,
        4
    );
    assert_eq!(
        sum(&store, Period::Minute, &of_backend(Some(81)), 60).connections,
        1
    );
}

#[test]
fn two_runs_within_a_minute_add_up_and_the_later_one_knows_the_connections() {
    let dir = tempfile::tempdir().unwrap();
    let listener = || identity(1, Level::Listener, "", None);
    let other = || identity(2, Level::Listener, "", None);
    let mut store = PointStore::open(dir.path()).unwrap();
    let first = vec![(listener(), point(5, 2, 10)), (other(), point(8, 1, 1))];
    store.add_minute(60, first).unwrap();
    drop(store);
    let mut store = PointStore::open(dir.path()).unwrap();
    assert_eq!(store.last_minute().unwrap(), 60);
    store
        .add_minute(60, vec![(listener(), point(1, 3, 4))])
        .unwrap();
    let found = sum(&store, Period::Minute, &of_lb(1), 60);
    assert_eq!(
        (found.connections, found.requests, found.longest_us),
        (1, 5, 10)
    );
    let gone = sum(&store, Period::Minute, &of_lb(2), 60);
    assert_eq!((gone.connections, gone.requests), (0, 1));
}

#[test]
fn five_minutes_are_the_sum_of_their_minutes_and_are_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = PointStore::open(dir.path()).unwrap();
    let listener = || identity(1, Level::Listener, "", None);
    for minute in 1..=5 {
        let connections = if minute == 5 { 0 } else { 9 };
        let row = (listener(), point(connections, minute, minute * 10));
        // Nothing happened in the third.
        let rows = if minute == 3 { Vec::new() } else { vec![row] };
        store.add_minute(minute * 60, rows).unwrap();
        store.gather(minute * 60).unwrap();
    }
    let found = sum(&store, Period::FiveMinutes, &of_lb(1), 300);
    assert_eq!(
        (found.connections, found.requests, found.longest_us),
        (0, 12, 50)
    );
    // A gateway that was down when they ended makes up for it.
    store
        .add_minute(360, vec![(listener(), point(4, 6, 1))])
        .unwrap();
    store.gather(360).unwrap();
    assert!(
        sampled(&store.connection, Period::FiveMinutes, 0, 600)
            .unwrap()
            .len()
            == 1
    );
    store.gather(2_000).unwrap();
    let found = sum(&store, Period::FiveMinutes, &of_lb(1), 600);
    assert_eq!((found.connections, found.requests), (4, 6));
    let before = sum(&store, Period::FiveMinutes, &of_lb(1), 300);
    store.gather(2_000).unwrap();
    assert_eq!(sum(&store, Period::FiveMinutes, &of_lb(1), 300), before);
}

#[test]
fn what_is_too_old_goes_and_names_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = PointStore::open(dir.path()).unwrap();
    let row = |domain: &str| (identity(1, Level::Rule, domain, None), point(0, 1, 1));
    store.add_minute(60, vec![row("old.com")]).unwrap();
    let now = 60 + 26 * 3_600;
    store.gather(now).unwrap();
    store.add_minute(now, vec![row("new.com")]).unwrap();
    store.expire(now).unwrap();
    let count = |store: &PointStore, of: &str| -> i64 {
        let query = format!("SELECT count(*) FROM {of}");
        store
            .connection
            .query_row(&query, [], |row| row.get(0))
            .unwrap()
    };
    // The minute is gone, the five minutes and the name are still there.
    assert_eq!((count(&store, "points"), count(&store, "series")), (2, 2));
    let later = now + 10 * 24 * 3_600;
    store.add_minute(later, vec![row("new.com")]).unwrap();
    store.expire(later).unwrap();
    assert_eq!((count(&store, "points"), count(&store, "series")), (1, 1));
    // Whoever comes back gets a new series.
    store.add_minute(later + 60, vec![row("old.com")]).unwrap();
    assert_eq!(count(&store, "series"), 2);
}

#[test]
fn a_damaged_file_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("monitor.db"),
        b"this is no database at all, is it?",
    )
    .unwrap();
    let mut store = PointStore::open(dir.path()).unwrap();
    store.add_minute(60, Vec::new()).unwrap();
    assert_eq!(store.last_minute().unwrap(), 60);
}
