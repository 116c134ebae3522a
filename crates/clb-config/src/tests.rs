use std::path::Path;

use proptest::prelude::*;

use crate::document::default_of;
use crate::keys::KEYS;
use crate::*;

fn config(text: &str) -> Config {
    parse(text, Path::new("etc/clb.toml")).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(text: &str) -> Vec<String> {
    match parse(text, Path::new("clb.toml")) {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .to_string()
            .lines()
            .map(ToOwned::to_owned)
            .collect(),
    }
}

#[test]
fn every_default_is_of_its_kind() {
    for key in KEYS {
        assert!(
            key.default.is_none() || default_of(key).is_some(),
            "{}",
            key.path
        );
    }
}

#[test]
fn an_empty_file_is_all_defaults() {
    let config = config("");
    assert_eq!(config.state_dir, Path::new("etc/clb-state"));
    assert_eq!(config.api.listen, ["127.0.0.1:8443".parse().unwrap()]);
    assert_eq!(config.api.tls, ApiTls::SelfSigned);
    assert_eq!(config.limits.api_body_bytes, 1 << 20);
    assert_eq!(config.timeouts.drain.as_secs(), 60);
    assert!(config.warnings.is_empty());
}

#[test]
fn the_example_has_no_problems() {
    let text = include_str!("../../../config/clb.toml");
    assert_eq!(config(text).instances.len(), 2);
}

#[test]
fn the_manual_page_is_current() {
    let written = include_str!("../../../deploy/man/clb.toml.5");
    assert_eq!(
        written,
        crate::man_page(),
        "run: cargo run -p clb-config --example reference -- man > deploy/man/clb.toml.5"
    );
}

#[test]
fn the_reference_is_current() {
    let written = include_str!("../../../docs/configuration.md");
    assert!(
        written == reference(),
        "run: cargo run -p clb-config --example reference > docs/configuration.md"
    );
}

#[test]
fn each_problem_has_its_place_and_says_what_is_allowed() {
    for (text, expected) in [
        (
            "state_dri = 1",
            "clb.toml:1:1: state_dri: unknown key; did you mean state_dir?",
        ),
        (
            "[limits]\nconections = 5",
            "clb.toml:2:1: limits.conections: unknown key; did you mean limits.connections?",
        ),
        (
            "[workers]\n  count = \"many\"",
            "clb.toml:2:11: workers.count = \"many\": must be a whole number from 0 to 1024",
        ),
        (
            "[workers]\ncount = -1",
            "clb.toml:2:9: workers.count = -1: must be a whole number from 0 to 1024",
        ),
        (
            "[api]\nlisten = [\"here\"]",
            "clb.toml:2:10: api.listen = [\"here\"]: must be an array of addresses and ports such as [\"127.0.0.1:8443\"], at least one",
        ),
        (
            "[api]\nlisten = []",
            "clb.toml:2:10: api.listen = []: must be an array of addresses and ports such as [\"127.0.0.1:8443\"], at least one",
        ),
        (
            "[timeouts]\ntask = \"0s\"",
            "clb.toml:2:8: timeouts.task = \"0s\": must be a duration such as \"500ms\", \"5s\", \"2m\" or \"72h\", more than 0",
        ),
        (
            "[vips]\npublic = [\"127.10.0.1/16\"]",
            "clb.toml:2:10: vips.public = [\"127.10.0.1/16\"]: must be an array of networks such as [\"10.0.0.0/8\"]",
        ),
        (
            "[vips]\nprivate = [\"127.10.3.0/24\"]",
            "clb.toml:2:11: vips.private 127.10.3.0/24 and vips.public 127.10.0.0/16 overlap",
        ),
        (
            "[[instances]]\nid = \"a\"",
            "clb.toml:1:1: instances.ip: is required and must be an IP address",
        ),
        (
            "[[instances]]\nid = \"a\"\nip = \"224.0.0.1\"",
            "clb.toml:3:6: instances.ip = \"224.0.0.1\": a multicast address can not be a backend",
        ),
        (
            "[backends]\nnetworks = [\"10.0.0.0/8\"]\n[[instances]]\nid = \"a\"\nip = \"11.0.0.1\"",
            "clb.toml:5:6: instances.ip = \"11.0.0.1\": lies outside [backends] networks",
        ),
        (
            "[admin]\nlisten = \"127.0.0.1:8443\"",
            "clb.toml:2:10: admin.listen: 127.0.0.1:8443 is used twice",
        ),
        (
            "[vips]\ninterface = \"eth0\"",
            "clb.toml:2:13: vips.interface = \"eth0\": not available yet, it comes with address management; until then only its default \"\" is accepted",
        ),
        (
            "[[load_balancers]]\nname = \"x y\"",
            "clb.toml:2:8: load_balancers.name = \"x y\": must be 1 to 50 letters, digits, '-' or '_'",
        ),
        (
            "[api.keys]\nx = 1",
            "clb.toml:1:6: api.keys: must be sections [[api.keys]]",
        ),
        ("log = 3", "clb.toml:1:1: log: must be a section [log]"),
    ] {
        assert_eq!(problems(text), [expected], "{text}");
    }
}

#[test]
fn all_problems_come_in_one_run_in_file_order() {
    let text = "[timeouts]\ndrain = 5\n[log]\nlevel = \"loud\"\n[[instances]]\nid = \"a\"\nip = \"1.1.1.1\"\n[[instances]]\nid = \"a\"\nip = \"x\"\n";
    let found = problems(text);
    let places: Vec<&str> = found
        .iter()
        .filter_map(|line| line.split(": ").next())
        .collect();
    assert_eq!(
        places,
        [
            "clb.toml:2:9",
            "clb.toml:4:9",
            "clb.toml:9:6",
            "clb.toml:10:6"
        ],
        "{found:?}"
    );
}

#[test]
fn syntax_errors_have_places_too() {
    let found = problems("[api]\nlisten = [\"127.0.0.1:1\"\n\n[log\nlevel = \"info\"\n");
    assert!(
        !found.is_empty() && found.iter().all(|line| line.starts_with("clb.toml:")),
        "{found:?}"
    );
    assert!(
        problems("a = 1\na = 2")[0].starts_with("clb.toml:2:1: "),
        "{:?}",
        problems("a = 1\na = 2")
    );
}

#[test]
fn defaults_of_later_keys_are_accepted() {
    let text = "[limits]\nrequest_line = \"16KiB\"\nrequest_body = 0\n[http]\nvia = false\n[access_log]\nretention = \"72h\"\n";
    config(text);
}

fn owner_only() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o600)
}

#[test]
fn keys_come_inline_or_from_a_file_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key"), "from-file\n").unwrap();
    let text = "[[api.keys]]\nsecret_id = \"a\"\nsecret_key = \"inline-secret\"\n[[api.keys]]\nsecret_id = \"b\"\nsecret_key_file = \"key\"\naccess = \"read-only\"\n";
    let config = parse(text, &dir.path().join("clb.toml")).unwrap();
    assert_eq!(config.api.keys[0].secret_key.expose(), "inline-secret");
    assert_eq!(config.api.keys[1].secret_key.expose(), "from-file");
    assert_eq!(config.api.keys[1].access, Access::ReadOnly);
    assert!(
        config.warnings.iter().any(|warning| {
            warning.starts_with("api.keys.secret_key_file = \"key\": has mode 06")
        })
    );
    std::fs::set_permissions(dir.path().join("key"), owner_only()).unwrap();
    std::fs::write(dir.path().join("clb.toml"), text).unwrap();
    let config = load(&dir.path().join("clb.toml")).unwrap();
    let (warning, rest) = config.warnings.split_first().unwrap();
    assert!(
        rest.is_empty() && warning.contains("which has a secret_key: has mode 06"),
        "{warning}"
    );
    std::fs::set_permissions(dir.path().join("clb.toml"), owner_only()).unwrap();
    assert!(
        load(&dir.path().join("clb.toml"))
            .unwrap()
            .warnings
            .is_empty()
    );
    assert!(!format!("{config:?}").contains("secret\""));
    let bad = problems("[[api.keys]]\nsecret_id = \"a\"\nsecret_key = \"top secret\"\n");
    assert!(
        bad[0].contains("(hidden)") && !bad[0].contains("top secret"),
        "{bad:?}"
    );
    assert!(problems("[[api.keys]]\nsecret_id = \"a\"\n")[0].contains("is required"));
    assert!(
        problems("[[api.keys]]\nsecret_id = \"a\"\nsecret_key_file = \"ghost\"\n")[0]
            .contains("clb.toml:3:19")
    );
    let twice = "[[api.keys]]\nsecret_id = \"a\"\nsecret_key = \"x\"\n";
    assert!(problems(&twice.repeat(2))[0].contains("clb.toml:5:13: api.keys.secret_id"));
}

#[test]
fn risky_settings_are_warned_of() {
    let config = config(
        "[api]\nlisten = [\"0.0.0.0:8443\"]\ntls = \"off\"\n[admin]\nlisten = \"0.0.0.0:9180\"\n",
    );
    assert_eq!(config.warnings.len(), 2);
}

#[test]
fn a_missing_file_is_named() {
    let error = load(Path::new("no/such/clb.toml")).unwrap_err().to_string();
    assert!(
        error.starts_with("no/such/clb.toml:1:1: can not be read"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn no_text_panics(text in "(?s).{0,200}") {
        let _ = parse(&text, Path::new("clb.toml"));
    }

    #[test]
    fn a_mutated_example_has_problems_inside_the_file(place in 0usize..4000, with in "[\\[\\]=\"a-z0-9\n.]{0,3}") {
        let example = include_str!("../../../config/clb.toml");
        let cut = (0..=place.min(example.len())).rev().find(|at| example.is_char_boundary(*at)).unwrap_or(0);
        let text = format!("{}{with}{}", &example[..cut], &example[cut..]);
        if let Err(problems) = parse(&text, Path::new("clb.toml")) {
            let lines = text.lines().count() + 1;
            for (line, column, message) in problems.iter() {
                prop_assert!(*line >= 1 && *line <= lines && *column >= 1 && !message.is_empty());
            }
        }
    }
}

/// A certificate and its key, in files beside clb.toml.
fn with_certificate(dir: &Path) -> std::path::PathBuf {
    let names = vec!["www.example.com".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(dir.join("www.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("www.key"), made.signing_key.serialize_pem()).unwrap();
    dir.join("clb.toml")
}

fn problems_beside(path: &Path, text: &str) -> String {
    match parse(text, path) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn certificates_are_read_from_their_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = with_certificate(dir.path());
    let text = "[[certificates]]\nid = \"4b9fc92b\"\nname = \"www\"\ncert = \"www.pem\"\nkey = \"www.key\"\n";
    let config = parse(text, &path).unwrap_or_else(|problems| panic!("{problems}"));
    let [certificate] = config.certificates.as_slice() else {
        panic!("{:?}", config.certificates);
    };
    assert_eq!((&*certificate.id, &*certificate.name), ("4b9fc92b", "www"));
    assert!(certificate.content.key.is_some());
    assert!(certificate_warnings(&config.certificates, 1_700_000_000).is_empty());
    assert_eq!(
        certificate_warnings(&config.certificates, i64::MAX).len(),
        1
    );
    let twice = problems_beside(&path, &format!("{text}{text}"));
    assert!(twice.contains("ids must be unique"), "{twice}");
}

#[test]
fn problems_of_certificates_have_the_place_of_their_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = with_certificate(dir.path());
    std::fs::write(dir.path().join("empty"), "").unwrap();
    for (text, wanted) in [
        (
            "id = \"short\"\ncert = \"www.pem\"",
            ":2:6: certificates.id = \"short\": must be eight characters of a-z0-9",
        ),
        ("id = \"4b9fc92b\"", ":1:1: certificates.cert: is required"),
        (
            "id = \"4b9fc92b\"\ncert = \"ghost\"",
            ":3:8: certificates.cert = \"ghost\": can not be read",
        ),
        (
            "id = \"4b9fc92b\"\ncert = \"www.pem\"",
            ":3:8: certificates.cert = \"www.pem\": certificate 1 (line 1)",
        ),
        (
            "id = \"4b9fc92b\"\ncert = \"www.pem\"\nkey = \"empty\"",
            ":4:7: certificates.key = \"empty\": no private key",
        ),
        (
            "id = \"4b9fc92b\"\ncert = \"www.pem\"\nkey = 7",
            ":4:7: certificates.key = 7: must be a path",
        ),
    ] {
        let found = problems_beside(&path, &format!("[[certificates]]\n{text}\n"));
        assert!(found.contains(wanted), "{found}");
    }
}

#[test]
fn the_store_key_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = (dir.path().join("clb.toml"), dir.path().join("store.key"));
    let text = "[store]\nkey_file = \"store.key\"\n";
    let ghost = problems_beside(&path, text);
    assert!(
        ghost.contains(":2:12: store.key_file = \"store.key\": can not be read"),
        "{ghost}"
    );
    let write = |content: &str, mode| {
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    write(&"0f".repeat(32), 0o640);
    let open = problems_beside(&path, text);
    assert!(open.contains("has mode 0640"), "{open}");
    write(&"0g".repeat(32), 0o600);
    let wrong = problems_beside(&path, text);
    assert!(
        wrong.contains("64 hexadecimal digits") && !wrong.contains("0g0g"),
        "{wrong}"
    );
    write(&format!("{}\n", "0f".repeat(32)), 0o600);
    let config = parse(text, &path).unwrap_or_else(|problems| panic!("{problems}"));
    let key = config.store.key.unwrap();
    assert_eq!(key.expose(), &[15; 32]);
    assert_eq!(format!("{key:?}"), "(hidden)");
}
