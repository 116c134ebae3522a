use super::*;
use clb_model::{Counters, NetworkName};

fn network(name: &str, number: u64) -> Object {
    Object::Network(NetworkName {
        name: name.to_owned(),
        number,
    })
}

fn transaction(changes: Vec<Change>) -> Transaction {
    changes.into()
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(dir.path(), None).unwrap();
    let counters = Object::Counters(Counters::new(u64::MAX));
    store
        .commit(vec![
            transaction(vec![
                Change::made(network("vpc-a", 1)),
                Change::made(network("vpc-b", 2)),
            ]),
            transaction(vec![
                Change::removed(network("vpc-a", 1)),
                Change::changed(network("vpc-b", 2), network("vpc-b", 3)),
                Change::made(counters.clone()),
            ]),
        ])
        .unwrap();
    drop(store);
    let mut store = SqliteStore::open(dir.path(), None).unwrap();
    assert_eq!(store.revision(), Revision(2));
    assert_eq!(store.load(Kind::Network).unwrap(), [network("vpc-b", 3)]);
    assert_eq!(store.get(&Key::Counters).unwrap(), Some(counters));
    assert_eq!(store.get(&Key::Network("vpc-a".to_owned())).unwrap(), None);
}

#[test]
fn the_feed_tells_each_transaction_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(dir.path(), None).unwrap();
    store
        .commit(vec![transaction(vec![Change::made(network("vpc-a", 1))])])
        .unwrap();
    assert!(matches!(
        store.watch(Revision(0)),
        Err(StoreError::Compacted {
            asked: 0,
            current: 1
        })
    ));
    let mut watch = store.watch(Revision(1)).unwrap();
    store
        .commit(vec![
            transaction(vec![Change::made(network("vpc-b", 2))]),
            transaction(vec![Change::made(network("vpc-c", 3))]),
        ])
        .unwrap();
    let told: Vec<u64> = std::iter::from_fn(|| watch.try_recv().ok())
        .map(|committed| committed.revision.0)
        .collect();
    assert_eq!(told, [2, 3]);
}

#[test]
fn a_failed_commit_leaves_everything_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(dir.path(), None).unwrap();
    store
        .commit(vec![transaction(vec![Change::made(network("vpc-a", 1))])])
        .unwrap();
    let mut watch = store.watch(Revision(1)).unwrap();
    store
        .connection
        .pragma_update(None, "query_only", true)
        .unwrap();
    let failed = store.commit(vec![transaction(vec![Change::made(network("vpc-b", 2))])]);
    assert!(matches!(failed, Err(StoreError::Sqlite { .. })));
    assert!(watch.try_recv().is_err());
    assert_eq!(store.revision(), Revision(1));
    store
        .connection
        .pragma_update(None, "query_only", false)
        .unwrap();
    assert_eq!(store.load(Kind::Network).unwrap(), [network("vpc-a", 1)]);
}

#[test]
fn checking_reads_everything_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert!(SqliteStore::check(dir.path(), None).unwrap().is_none());
    assert!(!dir.path().join("state.db").exists());
    let mut store = SqliteStore::open(dir.path(), None).unwrap();
    store
        .commit(vec![transaction(vec![Change::made(network("vpc-a", 1))])])
        .unwrap();
    assert_eq!(
        SqliteStore::check(dir.path(), None).unwrap().unwrap(),
        [network("vpc-a", 1)]
    );
    store
        .connection
        .execute_batch("INSERT INTO objects VALUES ('network', 'vpc-b', '{}'), ('ghost', 'x', '1')")
        .unwrap();
    let problems = SqliteStore::check(dir.path(), None).unwrap_err();
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems
            .iter()
            .any(|problem| problem.contains("network vpc-b")),
        "{problems:?}"
    );
}

#[test]
fn a_newer_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), None).unwrap();
    store
        .connection
        .pragma_update(None, "user_version", 99)
        .unwrap();
    drop(store);
    let error = SqliteStore::open(dir.path(), None).unwrap_err().to_string();
    assert!(error.contains("version 99"), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("state.db"), [7u8; 4096]).unwrap();
    let error = SqliteStore::open(dir.path(), None).unwrap_err().to_string();
    assert!(error.contains("state.db"), "{error}");
}

fn session_key() -> Object {
    Object::SessionKey(clb_model::SessionKey([0xa7; 32]))
}

fn whole_folder(dir: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(dir).unwrap();
    files
        .flat_map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .collect()
}

fn holds(dir: &Path, text: &str) -> bool {
    let text = text.as_bytes();
    whole_folder(dir)
        .windows(text.len())
        .any(|part| part == text)
}

#[test]
fn secrets_are_sealed_from_the_start_with_a_key_on() {
    let dir = tempfile::tempdir().unwrap();
    let clear = "a7".repeat(32);
    let mut store = SqliteStore::open(dir.path(), None).unwrap();
    let changes = vec![
        Change::made(session_key()),
        Change::made(network("vpc-a", 1)),
    ];
    store.commit(vec![transaction(changes)]).unwrap();
    assert!(holds(dir.path(), &clear));
    drop(store);
    let mut store = SqliteStore::open(dir.path(), Some(&[1; 32])).unwrap();
    assert_eq!(store.revision(), Revision(1));
    assert!(!holds(dir.path(), &clear));
    assert_eq!(store.get(&Key::SessionKey).unwrap(), Some(session_key()));
    let again = transaction(vec![Change::made(session_key())]);
    store.commit(vec![again]).unwrap();
    assert!(!holds(dir.path(), &clear));
    // What is no secret can still be read with any SQLite program.
    assert!(holds(dir.path(), "vpc-a"));
    drop(store);
    let mut store = SqliteStore::open(dir.path(), Some(&[1; 32])).unwrap();
    assert_eq!(store.load(Kind::SessionKey).unwrap(), [session_key()]);
    assert_eq!(store.load(Kind::Network).unwrap(), [network("vpc-a", 1)]);
}

#[test]
fn a_sealed_store_needs_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(dir.path(), Some(&[1; 32])).unwrap();
    let changes = vec![Change::made(session_key())];
    store.commit(vec![transaction(changes)]).unwrap();
    drop(store);
    let missing = SqliteStore::open(dir.path(), None);
    assert!(matches!(missing, Err(StoreError::KeyMissing { .. })));
    let wrong = SqliteStore::open(dir.path(), Some(&[2; 32]));
    assert!(matches!(wrong, Err(StoreError::KeyWrong { .. })));
    let problems = SqliteStore::check(dir.path(), None).unwrap_err();
    assert!(problems[0].to_string().contains("[store] key_file"));
    let objects = SqliteStore::check(dir.path(), Some(&[1; 32])).unwrap();
    assert_eq!(objects.unwrap(), [session_key()]);
}

/// A rule as it was stored before there were redirects.
const OLD_RULE: &str = r#"{"rule":{"id":"loc-aaaaaaab","load_balancer":"lb-aaaaaaab","listener":"lbl-aaaaaaab","order":2,"domain":"a.com","url":"/","scheduler":"wrr","session_expire":null,"health":{"enabled":true,"time_out":2,"interval_time":5,"health_num":3,"unhealth_num":3,"http":{"code":31,"path":"/"}}}}"#;

fn stored_value(store: &SqliteStore) -> String {
    let query = "SELECT value FROM objects WHERE kind = 'rule'";
    let row = store.connection.query_row(query, [], |row| row.get(0));
    row.unwrap()
}

#[test]
fn a_redirect_is_there_after_reopening_and_old_rules_have_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(dir.path(), None).unwrap();
    let insert = "INSERT INTO objects VALUES ('rule', 'loc-aaaaaaab', ?1)";
    store.connection.execute(insert, [OLD_RULE]).unwrap();
    let [old] = store.load(Kind::Rule).unwrap().try_into().unwrap();
    let Object::Rule(rule) = old.clone() else {
        panic!("{old:?}");
    };
    assert_eq!((rule.redirect_to, rule.auto_created), (None, false));
    let target = clb_model::RuleId::parse("loc-aaaaaaac").unwrap();
    let redirected = Object::Rule(Arc::new(clb_model::Rule {
        redirect_to: Some(target),
        auto_created: true,
        ..clb_model::Rule::clone(&rule)
    }));
    let change = Change::changed(old.clone(), redirected.clone());
    store.commit(vec![transaction(vec![change])]).unwrap();
    drop(store);
    let mut store = SqliteStore::open(dir.path(), None).unwrap();
    let loaded = store.load(Kind::Rule).unwrap();
    assert_eq!(loaded, std::slice::from_ref(&redirected));
    // Without a redirect a rule is stored as ever: an older gateway reads it too.
    let change = Change::changed(redirected, old);
    store.commit(vec![transaction(vec![change])]).unwrap();
    assert_eq!(stored_value(&store), OLD_RULE);
}
