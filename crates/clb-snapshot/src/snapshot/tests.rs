use super::*;
use crate::{ListenSockets, Live, Pool, PoolKey, PoolView, RuleLive, Service, Stickiness};
use clb_model::{LbId, Protocol, Scheduler};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn listener(number: u64) -> Arc<Listener> {
    let id = ListenerId::from_number(number);
    let view = PoolView::build(Scheduler::Wrr, Stickiness::Off, Vec::new());
    Arc::new(Listener {
        id,
        lb: LbId::from_number(1),
        addr: ([127, 0, 0, 1], 80).into(),
        protocol: Protocol::Tcp,
        client_ip: clb_model::ClientIp::Gateway,
        service: Service::Pool(Arc::new(Pool::new(PoolKey::Listener(id), view, 1))),
        live: Arc::new(Live::new(1)),
        unruled: Arc::new(RuleLive::new(1)),
        tls: None,
        sockets: Arc::new(ListenSockets::tcp(Vec::new())),
    })
}

fn describe(change: &Change) -> (char, ListenerId) {
    match change {
        Change::Added(listener) => ('+', listener.id),
        Change::Changed { old, new } => {
            assert_eq!(old.id, new.id);
            assert!(!Arc::ptr_eq(old, new));
            ('~', new.id)
        }
        Change::Removed(listener) => ('-', listener.id),
    }
}

#[test]
fn a_change_copies_one_shard_and_leaves_the_rest_shared() {
    let full = (0..1_000).fold(Snapshot::new(), |snapshot, number| {
        snapshot.insert(listener(number))
    });
    assert_eq!(full.len(), 1_000);
    let changed = full.insert(listener(500));
    let shared = full.shards.iter().zip(changed.shards.iter());
    assert_eq!(shared.filter(|(a, b)| !Arc::ptr_eq(a, b)).count(), 1);
    let changes: Vec<_> = changed.changes_since(&full).iter().map(describe).collect();
    assert_eq!(changes, [('~', ListenerId::from_number(500))]);
}

#[test]
fn the_same_snapshot_has_no_changes() {
    let snapshot = Snapshot::new().insert(listener(1));
    assert!(snapshot.changes_since(&snapshot.clone()).is_empty());
    assert!(!snapshot.is_empty() && snapshot.remove(ListenerId::from_number(1)).is_empty());
}

proptest! {
    #[test]
    fn it_behaves_like_a_map_and_its_changes_lead_from_one_to_the_other(
        before in prop::collection::vec((0u64..400, any::<bool>()), 0..200),
        after in prop::collection::vec((0u64..400, any::<bool>()), 0..50),
    ) {
        let mut map = BTreeMap::new();
        let mut apply = |snapshot: Snapshot, steps: Vec<(u64, bool)>| {
            let snapshot = steps.into_iter().fold(snapshot, |snapshot, (number, insert)| {
                let id = ListenerId::from_number(number);
                if insert {
                    let listener = listener(number);
                    map.insert(id, Arc::clone(&listener));
                    snapshot.insert(listener)
                } else {
                    map.remove(&id);
                    snapshot.remove(id)
                }
            });
            (snapshot, map.clone())
        };
        let (old, mut replayed) = apply(Snapshot::new(), before);
        let (new, wanted) = apply(old.clone(), after);
        prop_assert_eq!(new.len(), wanted.len());
        prop_assert_eq!(new.iter().count(), wanted.len());
        for change in new.changes_since(&old) {
            match change {
                Change::Added(listener) => {
                    prop_assert!(replayed.insert(listener.id, listener).is_none());
                }
                Change::Changed { old, new } => {
                    let replaced = replayed.insert(new.id, new).unwrap();
                    prop_assert!(Arc::ptr_eq(&replaced, &old));
                }
                Change::Removed(listener) => {
                    prop_assert!(replayed.remove(&listener.id).is_some());
                }
            }
        }
        prop_assert_eq!(replayed.len(), wanted.len());
        for (id, listener) in &wanted {
            prop_assert!(Arc::ptr_eq(&replayed[id], listener));
            prop_assert!(Arc::ptr_eq(new.get(*id).unwrap(), listener));
        }
    }
}
