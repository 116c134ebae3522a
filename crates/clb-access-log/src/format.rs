//! Rows as people and programs read them.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::row::{Number, Row, Text};

/// A row with the field values of DescribeLoadBalancerLog.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    row: &'a Row<'a>,
    zone: &'a TimeZone,
}

/// What stands where there is nothing to say.
const NOTHING: &str = "-";

impl<'a> Shown<'a> {
    /// Shows a row, times in this zone.
    #[must_use]
    pub fn new(row: &'a Row<'a>, zone: &'a TimeZone) -> Self {
        Self { row, zone }
    }

    /// `time_local`, such as `02/Nov/2017:12:03:13 +0800`.
    #[must_use]
    pub fn time_local(&self) -> String {
        let micros = i64::try_from(self.row.number(Number::Time)).unwrap_or(0);
        let time = Timestamp::from_microsecond(micros).unwrap_or_default();
        let zoned = time.to_zoned_datetime(self.zone.clone());
        zoned.strftime("%d/%b/%Y:%H:%M:%S %z").to_string()
    }

    /// The row as an object with the fields of DescribeLoadBalancerLog, in the order of the
    /// document's example, and after them those that only we have: `request_id`, `rule`, `reason`,
    /// `http_referer`. `rule` shows the number of a rule as its id.
    #[must_use]
    pub fn full_object(&self, rule: impl FnOnce(u64) -> String) -> Map<String, Value> {
        let mut object = self.object();
        let row = self.row;
        let mut put = |name: &str, value: String| {
            object.insert(name.to_owned(), value.into());
        };
        put("request_id", self.text(Text::Id));
        put(
            "rule",
            match row.number(Number::Rule) {
                0 => NOTHING.to_owned(),
                number => rule(number),
            },
        );
        let reason = match row.reason().word() {
            "" => NOTHING,
            word => word,
        };
        put("reason", reason.to_owned());
        put("http_referer", self.text(Text::Referer));
        object
    }

    fn text(&self, text: Text) -> String {
        match self.row.text(text) {
            [] => NOTHING.to_owned(),
            text => escape(text, false),
        }
    }

    /// The row as an object with the fields of DescribeLoadBalancerLog, in the order of the
    /// document's example.
    #[must_use]
    pub fn object(&self) -> Map<String, Value> {
        let row = self.row;
        let text = |text| self.text(text);
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| {
            object.insert(name.to_owned(), value);
        };
        put("server_name", text(Text::ServerName).into());
        put("request", text(Text::Line).into());
        put("remote_addr", shown(row.peer()).into());
        put("upstream_addr", shown(row.upstream()).into());
        let header = self.upstream(Number::UpstreamHeader);
        put(
            "upstream_header_time",
            header.map_or(NOTHING.to_owned(), seconds_text).into(),
        );
        put(
            "connection_requests",
            row.number(Number::OfConnection).into(),
        );
        put("ssl_cipher", self.cipher().into());
        put(
            "remote_port",
            row.number(Number::PeerPort).to_string().into(),
        );
        put("time_local", self.time_local().into());
        put("http_host", text(Text::Host).into());
        put("server_addr", shown(row.vip()).into());
        put("bytes_sent", row.number(Number::Sent).into());
        put("upstream_status", self.upstream_status().into());
        put("protocol_type", row.protocol().name().into());
        put("ssl_handshake_time", self.handshake().into());
        put("request_time", seconds(self.took()));
        put(
            "upstream_connect_time",
            self.upstream_time(Number::UpstreamConnect),
        );
        put("request_length", row.number(Number::Received).into());
        put("ssl_session_reused", self.reused().into());
        put("tcpinfo_rtt", row.number(Number::Rtt).into());
        put(
            "upstream_response_time",
            self.upstream_time(Number::UpstreamResponse),
        );
        put("ssl_protocol", self.tls().into());
        put("status", row.number(Number::Status).to_string().into());
        put("http_user_agent", text(Text::Agent).into());
        object
    }

    /// The line of nginx's predefined format `combined`, without its end. The remote user is always
    /// `-`: the gateway authenticates nobody.
    #[must_use]
    pub fn combined(&self) -> String {
        let row = self.row;
        let text = |text| match row.text(text) {
            [] => NOTHING.to_owned(),
            text => escape(text, true),
        };
        let body = row
            .number(Number::Sent)
            .saturating_sub(row.number(Number::SentHead));
        format!(
            "{} - - [{}] \"{}\" {} {body} \"{}\" \"{}\"",
            shown(row.peer()),
            self.time_local(),
            text(Text::Line),
            row.number(Number::Status),
            text(Text::Referer),
            text(Text::Agent),
        )
    }

    fn took(&self) -> Duration {
        Duration::from_micros(self.row.number(Number::Took))
    }

    fn upstream(&self, number: Number) -> Option<Duration> {
        let micros = self.row.number(number).checked_sub(1)?;
        Some(Duration::from_micros(micros))
    }

    fn upstream_time(&self, number: Number) -> Value {
        self.upstream(number)
            .map_or_else(|| NOTHING.into(), seconds)
    }

    fn upstream_status(&self) -> String {
        match self.row.number(Number::UpstreamStatus) {
            0 => NOTHING.to_owned(),
            status => status.to_string(),
        }
    }

    fn tls(&self) -> &'static str {
        match self.row.number(Number::TlsVersion) {
            0x0303 => "TLSv1.2",
            0x0304 => "TLSv1.3",
            _ => NOTHING,
        }
    }

    fn has_tls(&self) -> bool {
        self.row.number(Number::TlsVersion) != 0
    }

    fn cipher(&self) -> String {
        match self.row.number(Number::TlsCipher) {
            0 => NOTHING.to_owned(),
            number => cipher_name(number).map_or_else(|| format!("0x{number:04X}"), str::to_owned),
        }
    }

    fn reused(&self) -> &'static str {
        match (self.has_tls(), self.row.number(Number::TlsResumed)) {
            (false, _) => NOTHING,
            (true, 0) => ".",
            (true, _) => "r",
        }
    }

    fn handshake(&self) -> String {
        match self.has_tls() {
            true => seconds_text(Duration::from_micros(self.row.number(Number::TlsHandshake))),
            false => NOTHING.to_owned(),
        }
    }
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| value.to_string())
}

/// Seconds, with milliseconds after the point if there are any: 1, not 1.0.
#[expect(clippy::cast_precision_loss, reason = "exact below 2^53 milliseconds")]
fn seconds(time: Duration) -> Value {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    match millis % 1_000 {
        0 => (millis / 1_000).into(),
        _ => (millis as f64 / 1_000.0).into(),
    }
}

fn seconds_text(time: Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

/// A text of the outside world in which nothing is active: control characters, backslashes, and
/// octets that are no UTF-8 are `\xHH`, as nginx writes them; so are characters that end a line or
/// turn the direction of writing. `quotes`: also `"`.
#[must_use]
pub fn escape(text: &[u8], quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let hex = |octets: &[u8], out: &mut String| {
        for octet in octets {
            let _ = write!(out, "\\x{octet:02X}");
        }
    };
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            let is_active = match character {
                '\\' => true,
                '"' => quotes,
                '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
                other => other.is_control(),
            };
            match is_active {
                true => hex(character.encode_utf8(&mut [0; 4]).as_bytes(), &mut out),
                false => out.push(character),
            }
        }
        hex(chunk.invalid(), &mut out);
    }
    out
}

/// The name that OpenSSL gives a cipher suite, and nginx with it.
fn cipher_name(number: u64) -> Option<&'static str> {
    Some(match number {
        0x1301 => "TLS_AES_128_GCM_SHA256",
        0x1302 => "TLS_AES_256_GCM_SHA384",
        0x1303 => "TLS_CHACHA20_POLY1305_SHA256",
        0xc02b => "ECDHE-ECDSA-AES128-GCM-SHA256",
        0xc02c => "ECDHE-ECDSA-AES256-GCM-SHA384",
        0xc02f => "ECDHE-RSA-AES128-GCM-SHA256",
        0xc030 => "ECDHE-RSA-AES256-GCM-SHA384",
        0xcca8 => "ECDHE-RSA-CHACHA20-POLY1305",
        0xcca9 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Protocol, Reason};

    #[test]
    fn nothing_in_a_text_is_active() {
        assert_eq!(
            escape(b"GET /a%20b?c=\"d\" HTTP/1.1", false),
            "GET /a%20b?c=\"d\" HTTP/1.1"
        );
        assert_eq!(escape(b"\"a\\b\"", true), "\\x22a\\x5Cb\\x22");
        assert_eq!(
            escape(b"a\r\nb\x1b[31m\x7f\0", false),
            "a\\x0D\\x0Ab\\x1B[31m\\x7F\\x00"
        );
        assert_eq!(
            escape("b\u{fc}cher \u{202e}x\u{85}".as_bytes(), false),
            "b\u{fc}cher \\xE2\\x80\\xAEx\\xC2\\x85"
        );
        assert_eq!(escape(b"\xff\xc3", false), "\\xFF\\xC3");
    }

    fn row() -> Row<'static> {
        let mut row = Row::default();
        row.set(Number::Time, 1_509_595_393_000_000);
        row.set(Number::Status, 200);
        row.set(Number::Took, 1_234_567);
        row.set(Number::Sent, 239);
        row.set(Number::SentHead, 200);
        row.set(Number::PeerPort, 40_554);
        row.set(Number::OfConnection, 1);
        row.set_text(Text::Peer, &[119, 28, 138, 187]);
        row.set_text(Text::Vip, &[115, 159, 132, 241]);
        row.set_text(Text::Line, b"GET / HTTP/1.1");
        row
    }

    #[test]
    fn a_request_without_a_backend_shows_as_in_the_document() {
        let row = row();
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        let object = Shown::new(&row, &zone).full_object(|_| String::new());
        let text = serde_json::to_string(&object).unwrap();
        assert_eq!(
            text,
            r#"{"server_name":"-","request":"GET / HTTP/1.1","remote_addr":"119.28.138.187","upstream_addr":"-","upstream_header_time":"-","connection_requests":1,"ssl_cipher":"-","remote_port":"40554","time_local":"02/Nov/2017:12:03:13 +0800","http_host":"-","server_addr":"115.159.132.241","bytes_sent":239,"upstream_status":"-","protocol_type":"http","ssl_handshake_time":"-","request_time":1.234,"upstream_connect_time":"-","request_length":0,"ssl_session_reused":"-","tcpinfo_rtt":0,"upstream_response_time":"-","ssl_protocol":"-","status":"200","http_user_agent":"-","request_id":"-","rule":"-","reason":"-","http_referer":"-"}"#
        );
        assert_eq!(
            Shown::new(&row, &zone).combined(),
            "119.28.138.187 - - [02/Nov/2017:12:03:13 +0800] \"GET / HTTP/1.1\" 200 39 \"-\" \"-\""
        );
    }

    #[test]
    fn a_request_with_a_backend_and_tls_shows_both() {
        let mut row = row();
        row.set(Number::Protocol, Protocol::Http2 as u64);
        row.set(Number::TlsVersion, 0x0304);
        row.set(Number::TlsCipher, 0x1301);
        row.set(Number::TlsResumed, 1);
        row.set(Number::TlsHandshake, 2_500);
        row.set(Number::UpstreamStatus, 502);
        row.set(Number::UpstreamConnect, 1);
        row.set(Number::UpstreamHeader, 3_001);
        row.set(Number::UpstreamResponse, 2_000_001);
        row.set(Number::Reason, Reason::AnswerCut as u64);
        row.set(Number::Rule, 3);
        row.set_text(Text::Upstream, &[10, 0, 0, 1, 0x1f, 0x90]);
        let object = Shown::new(&row, &TimeZone::UTC).full_object(|rule| format!("loc-{rule}"));
        for (name, value) in [
            ("upstream_addr", "10.0.0.1:8080".into()),
            ("upstream_status", "502".into()),
            ("upstream_connect_time", 0.into()),
            ("upstream_header_time", "0.003".into()),
            ("upstream_response_time", 2.into()),
            ("ssl_protocol", "TLSv1.3".into()),
            ("ssl_cipher", "TLS_AES_128_GCM_SHA256".into()),
            ("ssl_session_reused", "r".into()),
            ("ssl_handshake_time", "0.002".into()),
            ("protocol_type", "http2".into()),
            ("rule", "loc-3".into()),
            ("reason", "answer_cut".into()),
        ] {
            assert_eq!(object.get(name), Some::<&Value>(&value), "{name}");
        }
    }
}
