//! Cases and what must come of them.

use super::harness::plane::{Plane, Served};
use super::harness::tls::{Authority, server_tls_with};
use super::harness::{RuleOf, Settings};
use super::raw::*;

/// What must come.
#[derive(Debug, Clone, Copy)]
pub enum Want {
    /// The connection ends, with one of these codes if it says one.
    Ends(&'static [u32]),
    /// The stream is reset with one of these codes, or the connection ends with one.
    Reset(u32, &'static [u32]),
    /// The stream is answered to its end.
    Answer(u32),
    /// PING is answered: the connection is well.
    Lives,
}

type Script = Box<dyn Fn(&mut Raw) + Send + Sync>;

pub struct Case {
    pub name: &'static str,
    pub section: &'static str,
    pub want: Want,
    pub settings: &'static [(u16, u32)],
    pub script: Script,
}

pub fn case(
    section: &'static str,
    name: &'static str,
    want: Want,
    script: impl Fn(&mut Raw) + Send + Sync + 'static,
) -> Case {
    Case {
        name,
        section,
        want,
        settings: &[],
        script: Box::new(script),
    }
}

/// A case that is one frame.
pub fn one(
    section: &'static str,
    name: &'static str,
    want: Want,
    (kind, flags, stream): (u8, u8, u32),
    payload: &[u8],
) -> Case {
    let payload = payload.to_vec();
    case(section, name, want, move |raw| {
        raw.frame(kind, flags, stream, &payload);
    })
}

/// A gateway that offers HTTP/2.
pub struct Bench {
    pub plane: Plane,
    pub authority: Authority,
}

impl Bench {
    pub fn start(settings: &Settings) -> Self {
        Self {
            plane: Plane::start(settings),
            authority: Authority::new("servers"),
        }
    }

    pub fn listen(&self, backends: &[std::net::SocketAddr]) -> Served<'_> {
        self.listen_with_rules(backends, &[])
    }

    pub fn listen_with_rules(
        &self,
        backends: &[std::net::SocketAddr],
        rules: &[RuleOf],
    ) -> Served<'_> {
        let tls = server_tls_with(&self.authority.server(), None, None, true);
        self.plane.listen_with_rules(backends, rules, Some(tls))
    }

    pub fn open(&self, served: &Served<'_>) -> Raw {
        Raw::open(served.addr(), &h2_config(&self.authority), &[])
    }
}

/// Runs cases one after the other, each on a connection of its own; panics with all that failed.
pub fn run(cases: Vec<Case>) {
    let bench = Bench::start(&Settings::default());
    let served = bench.listen(&[hello()]);
    let config = h2_config(&bench.authority);
    let count = cases.len();
    let mut failures = Vec::new();
    for one in cases {
        let mut raw = Raw::open(served.addr(), &config, one.settings);
        (one.script)(&mut raw);
        // Whoever ends the connection does so before it answers this.
        if matches!(one.want, Want::Lives | Want::Ends(_)) {
            raw.frame(PING, 0, 0, b"are you?");
        }
        let mut seen = Vec::new();
        if !comes(&mut raw, one.want, &mut seen) {
            failures.push(format!(
                "{} [{}]: wanted {:?}, saw {seen:?}",
                one.name, one.section, one.want
            ));
        }
    }
    let failed = failures.len();
    println!("{count} cases, {failed} failed");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Reads until what is wanted has come, or cannot come any more.
fn comes(raw: &mut Raw, want: Want, seen: &mut Vec<(u8, u8, u32, u32)>) -> bool {
    loop {
        let frame = match raw.try_read() {
            Ok(Some(frame)) => frame,
            Ok(None) => return matches!(want, Want::Ends(_) | Want::Reset(..)),
            Err(Late) => return false,
        };
        let is_well = frame.kind == PING && frame.flags & ACK != 0 && frame.payload == b"are you?";
        let code = match frame.kind {
            RST_STREAM | GOAWAY => frame.code(),
            _ => 0,
        };
        seen.push((frame.kind, frame.flags, frame.stream, code));
        let (is_reset, is_end) = (frame.kind == RST_STREAM, frame.kind == GOAWAY);
        match want {
            Want::Ends(codes) if is_end => return codes.contains(&code),
            Want::Reset(_, codes) if is_end => return codes.contains(&code),
            Want::Reset(stream, codes) if is_reset && frame.stream == stream => {
                return codes.contains(&code);
            }
            Want::Answer(stream) if frame.stream == stream => match frame.kind {
                HEADERS | DATA if frame.flags & END_STREAM != 0 => return true,
                RST_STREAM => return false,
                _ => {}
            },
            Want::Answer(_) | Want::Lives if is_end => return false,
            Want::Lives | Want::Ends(_) if is_well => return matches!(want, Want::Lives),
            _ => {}
        }
    }
}
