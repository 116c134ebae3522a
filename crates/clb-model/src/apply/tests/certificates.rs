//! Certificates: uploads, listeners that use them, replacement, clb.toml.

use proptest::prelude::*;

use super::application::{application_instance, http_listener};
use super::*;
use crate::command::{CertificateChoice, ListenerChange, NewTls, TlsPatch, Upload};

fn content(seed: u8, kind: CertificateKind) -> Arc<CertificateContent> {
    let key = PrivateKey::new(KeyForm::Pkcs8, &[0xa7; 40]);
    Arc::new(CertificateContent {
        fingerprint: Fingerprint([seed; 32]),
        certificates: vec![Der(vec![seed; 3])],
        key: (kind == CertificateKind::Server).then_some(key),
        subject: format!("CN={seed}"),
        not_before: 0,
        not_after: 2_000_000_000,
    })
}

fn upload_of(seed: u8, kind: CertificateKind) -> CertificateChoice {
    CertificateChoice::Upload(Upload {
        id: CertificateId::from_number(0),
        name: format!("certificate {seed}"),
        now: NOW,
        content: content(seed, kind),
    })
}

pub(super) fn upload(seed: u8) -> CertificateChoice {
    upload_of(seed, CertificateKind::Server)
}

fn authority(seed: u8) -> CertificateChoice {
    upload_of(seed, CertificateKind::ClientAuthority)
}

fn stored(id: CertificateId) -> CertificateChoice {
    CertificateChoice::Stored(id)
}

pub(super) fn tls(certificate: CertificateChoice) -> NewTls {
    NewTls {
        mode: SslMode::Unidirectional,
        certificate,
        authority: None,
    }
}

fn mutual(certificate: CertificateChoice, authority: CertificateChoice) -> NewTls {
    NewTls {
        mode: SslMode::Mutual,
        certificate,
        authority: Some(authority),
    }
}

pub(super) fn https(load_balancer: LbId, listeners: Vec<(i64, NewTls)>) -> Command {
    let new = |(port, tls): (i64, NewTls)| NewApplicationListener {
        protocol: Protocol::Https,
        tls: Some(tls),
        ..http_listener(port)
    };
    Command::Application {
        load_balancer,
        command: ApplicationCommand::CreateListeners {
            now: NOW,
            listeners: listeners.into_iter().map(new).collect(),
        },
    }
}

fn modify(load_balancer: LbId, listener: ListenerId, tls: TlsPatch) -> Command {
    let change = Box::new(ListenerChange {
        tls,
        https_parameter: Some("SSLMode".to_owned()),
        ..ListenerChange::default()
    });
    Command::Application {
        load_balancer,
        command: ApplicationCommand::ModifyListener { listener, change },
    }
}

fn replace(old: CertificateId, new: CertificateChoice) -> Command {
    Command::ReplaceCertificate { old, new }
}

struct Scene {
    bench: Bench,
    lb: LbId,
}

impl Scene {
    fn new() -> Self {
        let mut bench = Bench::new();
        let lb = bench.run(application_instance()).unwrap().load_balancers[0];
        Self { bench, lb }
    }

    fn run(&mut self, command: Command) -> Result<Applied, ModelError> {
        self.bench.run(command)
    }

    fn listeners(&self) -> Vec<Arc<Listener>> {
        self.bench.state.listeners_of(self.lb).cloned().collect()
    }

    fn tls(&self, index: usize) -> ListenerTls {
        self.listeners()[index].tls.unwrap()
    }

    fn contradiction(&mut self, command: Command) -> String {
        match self.run(command) {
            Err(ModelError::Contradiction(message)) => message,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn equal_uploads_have_one_id_also_within_a_request() {
    let mut scene = Scene::new();
    let lb = scene.lb;
    let both = vec![(443, tls(upload(1))), (444, tls(upload(1)))];
    scene.run(https(lb, both)).unwrap();
    scene
        .run(https(lb, vec![(445, mutual(upload(1), authority(2)))]))
        .unwrap();
    assert_eq!(scene.bench.state.certificate_count(), 2);
    let ids: Vec<CertificateId> = (0..3).map(|index| scene.tls(index).certificate).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    let users = scene.bench.state.users_of(ids[0]).count();
    assert_eq!(users, 3);
    let authority = scene.tls(2).authority.unwrap();
    assert_eq!(scene.bench.state.users_of(authority).count(), 1);
}

#[test]
fn one_kind_can_not_stand_for_the_other() {
    let mut scene = Scene::new();
    let lb = scene.lb;
    scene
        .run(https(lb, vec![(443, mutual(upload(1), authority(2)))]))
        .unwrap();
    let ListenerTls {
        certificate,
        authority,
        ..
    } = scene.tls(0);
    let authority = authority.unwrap();
    assert!(
        scene
            .contradiction(https(lb, vec![(444, tls(stored(authority)))]))
            .starts_with("certId=")
    );
    let swapped = mutual(stored(certificate), stored(certificate));
    assert!(
        scene
            .contradiction(https(lb, vec![(444, swapped)]))
            .starts_with("certCaId=")
    );
    assert!(
        scene
            .contradiction(replace(certificate, stored(authority)))
            .starts_with("newCertId=")
    );
    assert!(
        scene
            .contradiction(replace(authority, upload(3)))
            .starts_with("oldCertId=")
    );
    let unknown = CertificateId::parse("zzzzzzzz").unwrap();
    for command in [
        https(lb, vec![(444, tls(stored(unknown)))]),
        replace(unknown, upload(3)),
        replace(certificate, stored(unknown)),
    ] {
        let refused = scene.run(command);
        assert_eq!(
            refused,
            Err(ModelError::CertificateNotFound("zzzzzzzz".to_owned()))
        );
    }
}

#[test]
fn the_mode_and_its_authority_go_together() {
    let mut scene = Scene::new();
    let lb = scene.lb;
    scene.run(https(lb, vec![(443, tls(upload(1)))])).unwrap();
    let id = scene.listeners()[0].id;
    let only_mutual = TlsPatch {
        mode: Some(SslMode::Mutual),
        ..TlsPatch::default()
    };
    let message = scene.contradiction(modify(lb, id, only_mutual.clone()));
    assert!(message.contains("certCaId"), "{message}");
    let with_authority = TlsPatch {
        authority: Some(authority(2)),
        ..only_mutual.clone()
    };
    scene.run(modify(lb, id, with_authority)).unwrap();
    let kept = scene.tls(0).authority;
    assert!(kept.is_some());
    scene.run(modify(lb, id, only_mutual)).unwrap();
    assert_eq!(scene.tls(0).authority, kept);
    let one_way = TlsPatch {
        mode: Some(SslMode::Unidirectional),
        ..TlsPatch::default()
    };
    scene.run(modify(lb, id, one_way)).unwrap();
    assert_eq!(scene.tls(0).authority, None);
    assert_eq!(scene.bench.state.users_of(kept.unwrap()).count(), 0);
    let alone = TlsPatch {
        authority: Some(authority(2)),
        ..TlsPatch::default()
    };
    assert!(
        scene
            .contradiction(modify(lb, id, alone))
            .starts_with("SSLMode=unidirectional")
    );
}

#[test]
fn http_listeners_have_no_certificates() {
    let mut scene = Scene::new();
    let lb = scene.lb;
    let listeners = vec![http_listener(80)];
    let command = ApplicationCommand::CreateListeners {
        now: NOW,
        listeners,
    };
    scene
        .run(Command::Application {
            load_balancer: lb,
            command,
        })
        .unwrap();
    let listener = scene.listeners()[0].id;
    let refused = scene.run(modify(lb, listener, TlsPatch::default()));
    let parameter = "SSLMode".to_owned();
    let protocol = Protocol::Http;
    assert_eq!(
        refused,
        Err(ModelError::NotOfProtocol {
            parameter,
            protocol
        })
    );
}

#[test]
fn a_replacement_reaches_every_listener_of_every_instance() {
    let mut scene = Scene::new();
    let lb = scene.lb;
    let other = scene.run(application_instance()).unwrap().load_balancers[0];
    scene
        .run(https(
            lb,
            vec![(443, tls(upload(1))), (444, tls(upload(1)))],
        ))
        .unwrap();
    scene
        .run(https(other, vec![(443, tls(upload(1)))]))
        .unwrap();
    let old = scene.tls(0).certificate;
    assert!(
        scene
            .run(replace(old, stored(old)))
            .unwrap()
            .changes
            .is_empty()
    );
    assert!(
        scene
            .run(replace(old, upload(1)))
            .unwrap()
            .changes
            .is_empty()
    );
    let applied = scene.run(replace(old, upload(2))).unwrap();
    assert_eq!(applied.load_balancers.len(), 2);
    let new = scene.tls(0).certificate;
    assert_ne!(new, old);
    assert_eq!(scene.bench.state.users_of(new).count(), 3);
    // Unused by now: success, and nothing is stored.
    assert!(
        scene
            .run(replace(old, upload(3)))
            .unwrap()
            .changes
            .is_empty()
    );
    assert_eq!(scene.bench.state.certificate_count(), 2);
}

#[test]
fn the_limit_counts_certificates_once() {
    let mut scene = Scene::new();
    let lb = scene.lb;
    scene.bench.env.limits.certificates = 1;
    scene.run(https(lb, vec![(443, tls(upload(1)))])).unwrap();
    scene.run(https(lb, vec![(444, tls(upload(1)))])).unwrap();
    let refused = scene.run(https(lb, vec![(445, tls(upload(2)))]));
    let limit = ModelError::Limit {
        name: "certificates",
        max: 1,
    };
    assert_eq!(refused, Err(limit));
}

#[test]
fn an_upload_outlives_its_failed_task() {
    let mut scene = Scene::new();
    let (lb, other) = (
        scene.lb,
        scene.run(application_instance()).unwrap().load_balancers[0],
    );
    let failed = scene.bench.task(https(lb, vec![(443, tls(upload(1)))]));
    scene
        .run(https(other, vec![(443, tls(upload(1)))]))
        .unwrap();
    scene.bench.fail(failed);
    assert!(scene.listeners().is_empty());
    let user = scene.bench.state.listeners_of(other).next().unwrap();
    let used = user.tls.unwrap().certificate;
    assert!(scene.bench.state.certificate(used).is_some());
    for (name, length, wanted) in scene.bench.state.lengths() {
        assert_eq!(length, wanted, "{name}");
    }
}

#[test]
fn a_replacement_that_is_done_anew_stays_with_its_instances() {
    let mut scene = Scene::new();
    let one = scene.lb;
    let other = scene.run(application_instance()).unwrap().load_balancers[0];
    let bench = &mut scene.bench;
    let first = bench.task(https(one, vec![(441, tls(upload(1)))]));
    let second = bench.task(https(one, vec![(440, tls(upload(1)))]));
    let third = bench.task(https(other, vec![(441, tls(upload(2)))]));
    let old = bench.state.uploaded(Fingerprint([1; 32])).unwrap();
    let replacing = bench.task(replace(old, upload(2)));
    let listener = bench.state.listeners_of(other).next().unwrap().id;
    let patch = TlsPatch {
        certificate: Some(upload(1)),
        ..TlsPatch::default()
    };
    bench.task(modify(other, listener, patch));
    // Done anew now, it finds the certificate at the other instance, too, which it did not wait for.
    bench.fail(first);
    let state = &bench.state.task(replacing).unwrap().state;
    let TaskState::Failed { message } = state else {
        panic!("{state:?}");
    };
    let concerns = format!("it would concern {other} now, too");
    assert!(message.contains(&concerns), "{message}");
    // Otherwise it would bring back a listener that is gone.
    bench.fail(third);
    bench.fail(second);
    assert_eq!(bench.state.listeners().count(), 0);
    check(&bench.state);
}

#[test]
fn files_are_followed_and_withdrawn() {
    let mut scene = Scene::new();
    let lb = scene.lb;
    let [used, unused] = ["4b9fc92b", "e2b6d555"].map(|id| CertificateId::parse(id).unwrap());
    let file = |seed| FileCertificate {
        name: "www".to_owned(),
        content: content(seed, CertificateKind::Server),
    };
    let follow = Command::FollowCertificates { now: NOW };
    scene.bench.env.certificates = HashMap::from([(used, file(1)), (unused, file(2))]);
    scene.run(follow.clone()).unwrap();
    assert!(scene.run(follow.clone()).unwrap().changes.is_empty());
    scene
        .run(https(lb, vec![(443, tls(stored(used)))]))
        .unwrap();
    // An equal upload is another certificate: the file may change.
    scene.run(https(lb, vec![(444, tls(upload(1)))])).unwrap();
    assert_ne!(scene.tls(1).certificate, used);
    scene.bench.env.certificates = HashMap::from([(used, file(3)), (unused, file(2))]);
    let applied = scene.run(follow.clone()).unwrap();
    assert_eq!(
        (applied.changes.len(), applied.load_balancers),
        (1, vec![lb])
    );
    // Of another kind while it is in use: passed over.
    let as_authority = FileCertificate {
        content: content(4, CertificateKind::ClientAuthority),
        ..file(4)
    };
    scene.bench.env.certificates = HashMap::from([(used, as_authority), (unused, file(2))]);
    assert!(scene.run(follow.clone()).unwrap().changes.is_empty());
    assert_eq!(
        certificate_conflicts(&scene.bench.state, &scene.bench.env).len(),
        1
    );
    scene.bench.env.certificates = HashMap::new();
    scene.run(follow.clone()).unwrap();
    assert!(scene.bench.state.certificate(unused).is_none());
    let kept = scene.bench.state.certificate(used).unwrap();
    assert_eq!(
        (kept.origin, kept.content.fingerprint),
        (Origin::Withdrawn, Fingerprint([3; 32]))
    );
    let refused = scene.run(https(lb, vec![(445, tls(stored(used)))]));
    assert_eq!(
        refused,
        Err(ModelError::CertificateNotFound(used.to_string()))
    );
    let listeners = vec![scene.listeners()[0].id];
    let command = ApplicationCommand::DeleteListeners { listeners };
    scene
        .run(Command::Application {
            load_balancer: lb,
            command,
        })
        .unwrap();
    scene.run(follow).unwrap();
    assert!(scene.bench.state.certificate(used).is_none());
}

#[test]
fn keys_read_back_and_are_not_shown() {
    let certificate = Object::Certificate(Arc::new(Certificate {
        id: CertificateId::from_number(7),
        name: "www".to_owned(),
        origin: Origin::Uploaded,
        created: NOW,
        content: content(9, CertificateKind::Server),
    }));
    let text = serde_json::to_string(&certificate).unwrap();
    assert_eq!(serde_json::from_str::<Object>(&text).unwrap(), certificate);
    let shown = format!("{certificate:?}").to_lowercase();
    assert!(!shown.contains("a7") && !shown.contains("167"), "{shown}");
    let broken = text.replace("p6en", "!6en");
    let error = serde_json::from_str::<Object>(&broken)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("a private key is not base64"), "{error}");
}

#[derive(Debug, Clone)]
enum Step {
    Https(usize, i64, u8, bool),
    Modify(usize, Option<u8>, Option<bool>),
    Replace(u8, u8),
    /// Which of two ids clb.toml has, and with what.
    Follow([Option<u8>; 2]),
    FromFile(usize, i64, usize),
    Delete(usize),
    Succeed(usize),
    Fail(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let seed = || 1u8..4;
    let port = || 440i64..443;
    let lb = || 0usize..2;
    prop_oneof![
        4 => (lb(), port(), seed(), any::<bool>()).prop_map(|(lb, p, s, m)| Step::Https(lb, p, s, m)),
        2 => (lb(), prop::option::of(seed()), any::<Option<bool>>())
            .prop_map(|(lb, s, m)| Step::Modify(lb, s, m)),
        3 => (seed(), seed()).prop_map(|(old, new)| Step::Replace(old, new)),
        2 => [prop::option::of(seed()), prop::option::of(seed())].prop_map(Step::Follow),
        2 => (lb(), port(), 0usize..2).prop_map(|(lb, p, which)| Step::FromFile(lb, p, which)),
        1 => lb().prop_map(Step::Delete),
        3 => (0usize..5).prop_map(Step::Succeed),
        2 => (0usize..5).prop_map(Step::Fail),
    ]
}

const FILES: [&str; 2] = ["4b9fc92b", "e2b6d555"];

fn mode(is_mutual: bool) -> SslMode {
    match is_mutual {
        true => SslMode::Mutual,
        false => SslMode::Unidirectional,
    }
}

fn command_of(bench: &mut Bench, lbs: &[LbId], step: &Step) -> Option<Command> {
    let first = |lb: LbId| {
        bench
            .state
            .listeners_of(lb)
            .next()
            .map(|listener| listener.id)
    };
    let file = |which: usize| CertificateId::parse(FILES[which]).unwrap();
    Some(match step {
        Step::Https(lb, port, seed, true) => https(
            lbs[*lb],
            vec![(*port, mutual(upload(*seed), authority(10 + *seed)))],
        ),
        Step::Https(lb, port, seed, false) => https(lbs[*lb], vec![(*port, tls(upload(*seed)))]),
        Step::Modify(lb, seed, is_mutual) => {
            let patch = TlsPatch {
                mode: is_mutual.map(mode),
                certificate: seed.map(upload),
                authority: seed
                    .filter(|_| *is_mutual == Some(true))
                    .map(|seed| authority(10 + seed)),
            };
            modify(lbs[*lb], first(lbs[*lb])?, patch)
        }
        Step::Replace(old, new) => {
            replace(bench.state.uploaded(Fingerprint([*old; 32]))?, upload(*new))
        }
        Step::Follow(seeds) => {
            let entries = seeds.iter().enumerate().filter_map(|(which, seed)| {
                let kind = match seed {
                    Some(3) => CertificateKind::ClientAuthority,
                    _ => CertificateKind::Server,
                };
                let content = content(20 + (*seed)?, kind);
                Some((
                    file(which),
                    FileCertificate {
                        name: String::new(),
                        content,
                    },
                ))
            });
            bench.env.certificates = entries.collect();
            Command::FollowCertificates { now: NOW }
        }
        Step::FromFile(lb, port, which) => {
            https(lbs[*lb], vec![(*port, tls(stored(file(*which))))])
        }
        Step::Delete(lb) => Command::Application {
            load_balancer: lbs[*lb],
            command: ApplicationCommand::DeleteListeners {
                listeners: vec![first(lbs[*lb])?],
            },
        },
        Step::Succeed(_) | Step::Fail(_) => return None,
    })
}

/// A task that may run now: the first one of each of its instances (actions.md C.8).
fn running(state: &State, index: usize) -> Option<TaskId> {
    let mut waited_for: Vec<LbId> = Vec::new();
    let mut running = Vec::new();
    for task in state.pending_tasks() {
        if !task.load_balancers.iter().any(|lb| waited_for.contains(lb)) {
            running.push(task.id);
        }
        waited_for.extend(&task.load_balancers);
    }
    running.get(index).copied()
}

/// What holds for every listener, whatever has happened.
fn check(state: &State) {
    for (index, length, expected) in state.lengths() {
        assert_eq!(length, expected, "{index}");
    }
    for listener in state.listeners() {
        let tls = listener.tls.unwrap();
        assert_eq!(tls.authority.is_some(), tls.mode == SslMode::Mutual);
        let kind = |id| state.certificate(id).map(|found| found.content.kind());
        assert_eq!(kind(tls.certificate), Some(CertificateKind::Server));
        if let Some(authority) = tls.authority {
            assert_eq!(kind(authority), Some(CertificateKind::ClientAuthority));
        }
        assert!(
            state
                .users_of(tls.certificate)
                .any(|user| user.id == listener.id)
        );
    }
    let mut fingerprints: Vec<Fingerprint> = state
        .certificates()
        .filter(|certificate| certificate.origin == Origin::Uploaded)
        .map(|certificate| certificate.content.fingerprint)
        .collect();
    let count = fingerprints.len();
    fingerprints.sort_unstable();
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), count, "equal uploads have several ids");
}

proptest! {
    #[test]
    fn no_listener_is_ever_without_its_certificates(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::new();
        bench.env.limits.certificates = 0;
        let lbs: Vec<LbId> = (0..2)
            .map(|_| bench.run(application_instance()).unwrap().load_balancers[0])
            .collect();
        for step in &steps {
            match step {
                Step::Succeed(index) => {
                    if let Some(task) = running(&bench.state, *index) {
                        let task = Arc::clone(bench.state.task(task).unwrap());
                        let changes = succeed(&bench.state, &task, NOW);
                        changes.iter().for_each(|change| bench.state.apply(change));
                    }
                }
                Step::Fail(index) => {
                    let task = running(&bench.state, *index);
                    // One that concerns no instance does not wait for workers, and cannot fail.
                    let may_fail = |task: &TaskId| {
                        let task = bench.state.task(*task).unwrap();
                        !task.load_balancers.is_empty()
                    };
                    if let Some(task) = task.filter(may_fail) {
                        bench.fail(task);
                    }
                }
                _ => {
                    if let Some(command) = command_of(&mut bench, &lbs, step) {
                        let mut probe = command.clone();
                        probe.assign_ids(&mut bench.state.counters().clone());
                        if apply(&bench.state, &bench.env, &probe).is_ok() {
                            bench.task(command);
                        }
                    }
                }
            }
            check(&bench.state);
        }
    }
}
