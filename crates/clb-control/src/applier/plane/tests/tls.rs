//! HTTPS listeners: when what handshakes are done with is compiled anew, and for whom.

use clb_model::{
    CertificateChoice, CertificateContent, CertificateId, FileCertificate, ListenerChange, NewTls,
    SslMode, TlsPatch, Upload,
};

use super::*;
use crate::certificates::content;

fn made(name: &str) -> Arc<CertificateContent> {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let checked = clb_cert::server(&made.cert.pem(), &made.signing_key.serialize_pem());
    Arc::new(content(checked.unwrap()))
}

fn upload(content: &Arc<CertificateContent>) -> CertificateChoice {
    CertificateChoice::Upload(Upload {
        id: CertificateId::from_number(0),
        name: "www".to_owned(),
        now: NOW,
        content: Arc::clone(content),
    })
}

impl Bench {
    fn https(&self, port: i64, certificate: CertificateChoice) -> Command {
        Command::Application {
            load_balancer: self.lb,
            command: ApplicationCommand::CreateListeners {
                now: NOW,
                listeners: vec![NewApplicationListener {
                    id: ListenerId::from_number(0),
                    name: String::new(),
                    protocol: Protocol::Https,
                    port: Port::try_from(port).unwrap(),
                    settings: None,
                    tls: Some(NewTls {
                        mode: SslMode::Unidirectional,
                        certificate,
                        authority: None,
                    }),
                }],
            },
        }
    }

    fn only_listener(&self) -> ListenerId {
        self.ahead.listeners().next().unwrap().id
    }

    fn handshakes_of(&self, listener: ListenerId) -> Arc<ServerTls> {
        let served = self.plane.board.snapshot();
        Arc::clone(served.get(listener).unwrap().tls.as_ref().unwrap())
    }

    fn covers(&self, host: &str) -> bool {
        self.handshakes_of(self.only_listener()).covers(host)
    }

    fn certificate(&self) -> CertificateId {
        let listener = self.ahead.listener(self.only_listener()).unwrap();
        listener.tls.unwrap().certificate
    }
}

#[test]
fn a_replacement_is_published_once_and_keeps_the_listener() {
    let mut bench = Bench::new(Family::Application);
    let create = bench.https(free_port(), upload(&made("old.example")));
    bench.run(create).unwrap();
    let id = bench.only_listener();
    let before = Arc::clone(bench.plane.board.snapshot().get(id).unwrap());
    assert!(bench.covers("old.example"));
    let replace = Command::ReplaceCertificate {
        old: bench.certificate(),
        new: upload(&made("new.example")),
    };
    let (removed, generation) = bench.run(replace).unwrap();
    assert!(removed.is_empty() && generation.is_some());
    let after = Arc::clone(bench.plane.board.snapshot().get(id).unwrap());
    assert!(bench.covers("new.example") && !bench.covers("old.example"));
    assert!(Arc::ptr_eq(&before.sockets, &after.sockets));
    assert!(Arc::ptr_eq(&before.live, &after.live));
    // A change of the name compiles nothing.
    let change = Box::new(ListenerChange {
        name: Some("web".to_owned()),
        ..ListenerChange::default()
    });
    let (_, generation) = bench.ask(ApplicationCommand::ModifyListener {
        listener: id,
        change,
    });
    assert_eq!(generation, None);
}

#[test]
fn an_upload_is_known_before_the_task_that_brought_it() {
    let mut bench = Bench::new(Family::Application);
    let content = made("www.example");
    // Of another instance, answered and not yet begun.
    let mut first = bench.https(free_port(), upload(&content));
    first.assign_ids(bench.ahead.counters_mut());
    let waiting = apply(&bench.ahead, &bench.env, &first).unwrap().changes;
    waiting.iter().for_each(|change| bench.plane.learn(change));
    let stored = waiting.iter().find_map(|change| match &change.after {
        Some(Object::Certificate(certificate)) => Some(Arc::clone(certificate)),
        _ => None,
    });
    let stored = stored.unwrap();
    let id = stored.id;
    bench.ahead.insert(&Object::Certificate(stored));
    let second = bench.https(free_port(), CertificateChoice::Stored(id));
    bench.run(second).unwrap();
    assert!(bench.covers("www.example"));
}

#[test]
fn a_changed_file_reaches_its_listeners() {
    let mut bench = Bench::new(Family::Application);
    let id = CertificateId::parse("4b9fc92b").unwrap();
    let put = |bench: &mut Bench, name: &str| {
        let file = FileCertificate {
            name: String::new(),
            content: made(name),
        };
        bench.env.certificates.insert(id, file);
        bench.run(Command::FollowCertificates { now: NOW }).unwrap()
    };
    put(&mut bench, "first.example");
    let create = bench.https(free_port(), CertificateChoice::Stored(id));
    bench.run(create).unwrap();
    let (_, generation) = put(&mut bench, "second.example");
    assert!(generation.is_some() && bench.covers("second.example"));
}

#[test]
fn what_is_taken_back_has_its_old_certificate() {
    let mut bench = Bench::new(Family::Application);
    let create = bench.https(free_port(), upload(&made("old.example")));
    bench.run(create).unwrap();
    let listener = bench.only_listener();
    let tls = TlsPatch {
        certificate: Some(upload(&made("new.example"))),
        ..TlsPatch::default()
    };
    let changes = bench.changes(Command::Application {
        load_balancer: bench.lb,
        command: ApplicationCommand::ModifyListener {
            listener,
            change: Box::new(ListenerChange {
                tls,
                ..ListenerChange::default()
            }),
        },
    });
    bench.plane.apply(&changes, &mut bench.health).unwrap();
    bench.plane.publish();
    assert!(bench.covers("new.example"));
    bench.plane.take_back(&changes, &mut bench.health);
    bench.plane.publish();
    assert!(bench.covers("old.example"));
}

#[test]
fn a_certificate_that_can_not_be_served_fails_the_task_and_takes_no_port() {
    let mut bench = Bench::new(Family::Application);
    let mut broken = CertificateContent::clone(&made("www.example"));
    broken.certificates[0].0.truncate(20);
    let port = free_port();
    let create = bench.https(port, upload(&Arc::new(broken)));
    let Err(reason) = bench.run(create) else {
        panic!("it was taken");
    };
    assert!(reason.contains("can not be served"), "{reason}");
    assert!(bench.plane.state.listeners().next().is_none());
    bench.listen(port).unwrap();
}
