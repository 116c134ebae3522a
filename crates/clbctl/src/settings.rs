//! Where the gateway is and who calls: options, environment, `clbctl.toml`, in this order.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};
use serde::Deserialize;
use zeroize::Zeroizing;

/// Each may be an option, a variable `CLBCTL_…`, or a key of the file.
const OPTIONS: &[(&str, &str)] = &[
    (
        "endpoint",
        "The gateway: https://HOST:PORT, or http:// for one that serves without TLS",
    ),
    ("secret_id", "SecretId of the key"),
    ("secret_key_file", "File that has the SecretKey in one line"),
    (
        "credentials",
        "File with secret_id and secret_key, such as credentials.toml of a gateway's state_dir",
    ),
    (
        "certificate",
        "PEM file: the gateway's own certificate, or that of its authority",
    ),
    (
        "fingerprint",
        "SHA-256 of the gateway's certificate, hexadecimal, colons allowed; decides alone, whatever --certificate says",
    ),
    ("region", "Region that requests name"),
];

/// `clbctl.toml`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    endpoint: Option<String>,
    secret_id: Option<String>,
    secret_key: Option<String>,
    secret_key_file: Option<String>,
    credentials: Option<String>,
    certificate: Option<String>,
    fingerprint: Option<String>,
    region: Option<String>,
}

/// `credentials.toml` of a gateway.
#[derive(Deserialize)]
struct Credentials {
    secret_id: String,
    secret_key: String,
}

/// A SecretKey: not shown by `Debug`, wiped from memory when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes one over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The key itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What is needed for a call.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `https://…` or `http://…`
    pub endpoint: String,
    /// SecretId.
    pub secret_id: String,
    /// SecretKey.
    pub secret_key: Secret,
    /// What the gateway's certificate must be, or be signed by.
    pub certificate: Option<PathBuf>,
    /// What its SHA-256 must be.
    pub fingerprint: Option<String>,
    /// Region.
    pub region: Option<String>,
}

/// Settings that can not be used.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    /// Nothing says it.
    #[error("{0}: give --{option}, {variable} or {0} in {file}", option = .0.replace('_', "-"), variable = variable(.0), file = .1.display())]
    Missing(&'static str, PathBuf),
    /// A file can not be read.
    #[error("{file}: {source}")]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file says what it may not.
    #[error("{file}: {source}")]
    Content {
        /// Which.
        file: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// A file with a SecretKey is open to others.
    #[error("{file}: has mode {mode:04o} and a SecretKey: only its owner may have access, as after chmod 600 {file}", file = file.display())]
    Open {
        /// Which.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

fn variable(name: &str) -> String {
    format!("CLBCTL_{}", name.to_uppercase())
}

/// Adds the options to a command, for all its subcommands.
#[must_use]
pub fn with_options(mut command: Command) -> Command {
    command = command.arg(
        Arg::new("config")
            .long("config")
            .value_name("FILE")
            .global(true)
            .help_heading("Gateway")
            .help("Instead of ~/.config/clb/clbctl.toml, which may have these options as keys and secret_key"),
    );
    for (name, help) in OPTIONS {
        command = command.arg(
            Arg::new(*name)
                .long(name.replace('_', "-"))
                .value_name("VALUE")
                .global(true)
                .help_heading("Gateway")
                .help(format!("{help} [env: {}]", variable(name))),
        );
    }
    command
}

/// Reads them.
///
/// # Errors
/// [`BadSettings`]
pub fn read(
    matches: &ArgMatches,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Settings, BadSettings> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    let default = default_file(&set);
    let given = matches.get_one::<String>("config").map(PathBuf::from);
    let file = match given {
        Some(file) => file,
        None if default.exists() => default,
        None => PathBuf::new(),
    };
    let stored: File = match file.as_os_str().is_empty() {
        true => File::default(),
        false => toml_of(&file)?,
    };
    if stored.secret_key.is_some() {
        check_closed(&file)?;
    }
    // Files in a file are beside it.
    let beside = |name: String| file.parent().unwrap_or(Path::new("")).join(name);
    let chosen = |name: &'static str, stored: Option<String>| {
        matches
            .get_one::<String>(name)
            .cloned()
            .or_else(|| set(&variable(name)))
            .or(stored)
    };
    let path = |name: &'static str, stored: Option<String>| {
        chosen(name, stored.map(|name| beside(name).display().to_string())).map(PathBuf::from)
    };
    let shown = match file.as_os_str().is_empty() {
        true => default_file(&set),
        false => file.clone(),
    };
    let missing = |name| BadSettings::Missing(name, shown.clone());
    let credentials = path("credentials", stored.credentials)
        .map(|file| -> Result<Credentials, BadSettings> {
            check_closed(&file)?;
            toml_of(&file)
        })
        .transpose()?;
    let of_file = path("secret_key_file", stored.secret_key_file)
        .map(|file| -> Result<String, BadSettings> {
            check_closed(&file)?;
            let text = text_of(&file)?;
            Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        })
        .transpose()?;
    let (id, key) = credentials
        .map(|made| (made.secret_id, made.secret_key))
        .unzip();
    Ok(Settings {
        endpoint: chosen("endpoint", stored.endpoint).ok_or_else(|| missing("endpoint"))?,
        secret_id: chosen("secret_id", stored.secret_id)
            .or(id)
            .ok_or_else(|| missing("secret_id"))?,
        secret_key: of_file
            .or_else(|| set(&variable("secret_key")))
            .or(stored.secret_key)
            .or(key)
            .map(Secret::new)
            .ok_or_else(|| missing("secret_key_file"))?,
        certificate: path("certificate", stored.certificate),
        fingerprint: chosen("fingerprint", stored.fingerprint),
        region: chosen("region", stored.region),
    })
}

/// `$XDG_CONFIG_HOME/clb/clbctl.toml`, by default in `~/.config`.
fn default_file(set: &impl Fn(&str) -> Option<String>) -> PathBuf {
    let base = set("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".config")))
        .unwrap_or_default();
    base.join("clb/clbctl.toml")
}

fn text_of(file: &Path) -> Result<String, BadSettings> {
    fs::read_to_string(file).map_err(|source| BadSettings::File {
        file: file.to_owned(),
        source,
    })
}

fn toml_of<T: for<'de> Deserialize<'de>>(file: &Path) -> Result<T, BadSettings> {
    toml::from_str(&text_of(file)?).map_err(|source| BadSettings::Content {
        file: file.to_owned(),
        source: Box::new(source),
    })
}

fn check_closed(file: &Path) -> Result<(), BadSettings> {
    let metadata = fs::metadata(file).map_err(|source| BadSettings::File {
        file: file.to_owned(),
        source,
    })?;
    let mode = metadata.mode() & 0o777;
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(BadSettings::Open {
            file: file.to_owned(),
            mode,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn settings(line: &[&str], environment: &[(&str, &str)]) -> Result<Settings, String> {
        let matches = with_options(Command::new("x"))
            .try_get_matches_from([&["x"], line].concat())
            .unwrap();
        let environment: HashMap<&str, &str> = environment.iter().copied().collect();
        read(&matches, |name| {
            environment.get(name).map(ToString::to_string)
        })
        .map_err(|error| error.to_string())
    }

    fn write(file: &Path, text: &str, mode: u32) {
        fs::write(file, text).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn options_come_before_the_environment_and_that_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        fs::create_dir_all(dir.path().join(".config/clb")).unwrap();
        let file = dir.path().join(".config/clb/clbctl.toml");
        write(
            &file,
            "endpoint = \"https://a\"\nsecret_id = \"b\"\nsecret_key = \"c\"\ncertificate = \"d.pem\"\nregion = \"e\"\n",
            0o600,
        );
        let environment = [
            ("HOME", home),
            ("CLBCTL_SECRET_ID", "f"),
            ("CLBCTL_REGION", "g"),
        ];
        let found = settings(&["--region", "h"], &environment).unwrap();
        assert_eq!(found.endpoint, "https://a");
        assert_eq!(found.secret_id, "f");
        assert_eq!(found.secret_key.expose(), "c");
        assert!(!format!("{found:?}").contains("\"c\""));
        assert_eq!(found.region.as_deref(), Some("h"));
        let beside = dir.path().join(".config/clb/d.pem");
        assert_eq!(found.certificate, Some(beside));
        write(&file, "endpoint = \"https://a\"\nendpiont = 1\n", 0o600);
        assert!(
            settings(&[], &environment)
                .unwrap_err()
                .contains("endpiont")
        );
    }

    #[test]
    fn what_is_missing_is_told_with_every_way_to_give_it() {
        let error = settings(&[], &[("HOME", "/nobody")]).unwrap_err();
        for part in [
            "--endpoint",
            "CLBCTL_ENDPOINT",
            "/nobody/.config/clb/clbctl.toml",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn files_with_a_secret_key_must_be_closed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials.toml");
        let name = file.to_str().unwrap();
        let line = ["--endpoint", "http://a", "--credentials", name];
        write(&file, "secret_id = \"a\"\nsecret_key = \"b\"\n", 0o640);
        let open = settings(&line, &[]).unwrap_err();
        assert!(
            open.contains("mode 0640") && !open.contains("\"b\""),
            "{open}"
        );
        write(&file, "secret_id = \"a\"\nsecret_key = \"b\"\n", 0o600);
        let found = settings(&line, &[]).unwrap();
        assert_eq!((&*found.secret_id, found.secret_key.expose()), ("a", "b"));
        let key = dir.path().join("key");
        write(&key, "from-file\n", 0o600);
        let line = [&line[..], &["--secret-key-file", key.to_str().unwrap()]].concat();
        let found = settings(&line, &[]).unwrap();
        assert_eq!(found.secret_key.expose(), "from-file");
    }
}
