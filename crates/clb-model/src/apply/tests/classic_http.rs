//! HTTP listeners of classic instances.

use super::application::rule_settings;
use super::*;

fn http(lb: LbId, port: i64) -> Command {
    let mut command = listen(lb, &[port]);
    if let Command::CreateListeners { listeners, .. } = &mut command {
        listeners[0].protocol = Protocol::Http;
        listeners[0].scheduler = Some(Scheduler::IpHash);
        listeners[0].health = rule_settings().health;
    }
    command
}

#[test]
fn public_instances_have_them_and_private_ones_do_not() {
    let mut bench = Bench::new();
    let public = bench.create(1)[0];
    bench.run(http(public, 80)).unwrap();
    let listener = bench.state.listeners_of(public).next().unwrap();
    assert_eq!(listener.settings().unwrap().scheduler, Scheduler::IpHash);
    let private = bench
        .run(create_command(1, LoadBalancerType::Private))
        .unwrap()
        .load_balancers[0];
    let refused = bench.run(http(private, 80));
    assert!(matches!(refused, Err(ModelError::Contradiction(_))));
}

#[test]
fn each_protocol_keeps_to_its_own_parameters() {
    let mut bench = Bench::new();
    let lb = bench.create(1)[0];
    bench.run(http(lb, 80)).unwrap();
    bench.run(listen(lb, &[81])).unwrap();
    let ids: Vec<_> = bench.state.listeners_of(lb).map(|l| l.id).collect();
    let mut modify = |index: usize, patch: ListenerPatch| {
        bench.run(Command::ModifyListener {
            load_balancer: lb,
            listener: ids[index],
            patch,
        })
    };
    let name = Some("x".to_owned());
    let layer4 = ListenerPatch {
        layer4_parameter: name.clone(),
        ..Default::default()
    };
    let layer7 = ListenerPatch {
        layer7_parameter: name.clone(),
        ..Default::default()
    };
    let https = ListenerPatch {
        https_parameter: name,
        ..Default::default()
    };
    for (index, patch) in [(0, &layer4), (0, &https), (1, &layer7), (1, &https)] {
        let refused = modify(index, patch.clone());
        assert!(
            matches!(refused, Err(ModelError::NotOfProtocol { .. })),
            "{index} {patch:?}"
        );
    }
    let check = ListenerPatch {
        http_code: HttpCodeMask::try_from(6).ok(),
        check_path: CheckPath::parse("/up").ok(),
        scheduler: Some(Scheduler::LeastConn),
        ..layer7
    };
    modify(0, check).unwrap();
    modify(1, layer4).unwrap();
    let listener = bench.state.listener(ids[0]).unwrap();
    let http = listener.settings().unwrap().health.http.clone().unwrap();
    assert_eq!((http.code.get(), http.path.as_str()), (6, "/up"));
}

#[test]
fn a_listener_of_an_earlier_version_reads_as_classic() {
    let text = r#"{"id":"lbl-abcdefgh","load_balancer":"lb-abcdefgh","order":3,"name":"","protocol":"tcp",
        "port":80,"instance_port":8080,"scheduler":"wrr","session_expire":null,
        "health":{"enabled":true,"time_out":2,"interval_time":5,"health_num":3,"unhealth_num":3},
        "status":"running"}"#;
    let listener: Listener = serde_json::from_str(text).unwrap();
    assert_eq!(listener.instance_port().unwrap().get(), 8080);
    assert_eq!(listener.settings().unwrap().health, health());
    let text = r#"{"id":7,"load_balancer":"lb-abcdefgh","instance":"ins-1","address":"127.0.0.1","weight":5}"#;
    let binding: Binding = serde_json::from_str(text).unwrap();
    assert_eq!(binding.owner(), Owner::LoadBalancer(binding.load_balancer));
}
