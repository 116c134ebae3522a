//! The metrics of GetMonitorData.

use crate::point::Point;

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// A metric of GetMonitorData (actions.md D).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Metric {
            $($(#[$doc])* $name,)*
        }

        impl Metric {
            /// All of them, in the order of the official page.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The API's name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

metrics! {
    /// Connections at the end of the period.
    Connections = "connum",
    /// New connections per minute.
    NewConnections = "new_conn",
    /// From clients, Mbit/s.
    InTraffic = "intraffic",
    /// To clients, Mbit/s.
    OutTraffic = "outtraffic",
    /// From clients, packets/s: datagrams of UDP listeners; unknown elsewhere.
    InPackets = "inpkg",
    /// To clients, packets/s; the same.
    OutPackets = "outpkg",
    /// Answers per minute.
    Answers2xx = "httpCode_2XX",
    /// Answers per minute.
    Answers3xx = "httpCode_3XX",
    /// Answers per minute, 404 among them.
    Answers4xx = "httpCode_4XX",
    /// Answers per minute, 502 among them.
    Answers5xx = "httpCode_5XX",
    /// Answers per minute.
    Answers404 = "httpCode_404",
    /// Answers per minute.
    Answers502 = "httpCode_502",
    /// The longest request, milliseconds.
    LongestResponse = "response_time_max",
    /// Mean of all requests, milliseconds.
    MeanResponse = "response_time_average",
    /// Requests that a backend did not answer in time, per minute.
    Timeouts = "response_timeout_num",
    /// Requests per second.
    Requests = "QPS",
}

/// How many there are before those of HTTP: all that `qce/lb_public` and `qce/lb_private` have.
const BASIC: usize = 6;

impl Metric {
    /// Reads a name, whatever the case of its letters.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|metric| metric.name().eq_ignore_ascii_case(name))
            .copied()
    }

    /// Whether `qce/lb_public` and `qce/lb_private` have it.
    #[must_use]
    pub fn is_basic(self) -> bool {
        Self::ALL.iter().take(BASIC).any(|metric| *metric == self)
    }

    /// The value of a period of `seconds`; `None` where it is not known. `counts_packets`: there is
    /// a UDP listener among what is asked for.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
    pub fn value(self, point: &Point, seconds: u32, counts_packets: bool) -> Option<f64> {
        let seconds = f64::from(seconds);
        let per_minute = |count: u64| count as f64 * 60.0 / seconds;
        let megabits = |bytes: u64| bytes as f64 * 8.0 / 1e6 / seconds;
        let packets = |count: u64| counts_packets.then_some(count as f64 / seconds);
        Some(match self {
            Self::Connections => point.connections as f64,
            Self::NewConnections => per_minute(point.opened),
            Self::InTraffic => megabits(point.bytes_in),
            Self::OutTraffic => megabits(point.bytes_out),
            Self::InPackets => return packets(point.packets_in),
            Self::OutPackets => return packets(point.packets_out),
            Self::Answers2xx => per_minute(point.answers_2xx),
            Self::Answers3xx => per_minute(point.answers_3xx),
            Self::Answers4xx => per_minute(point.answers_4xx),
            Self::Answers5xx => per_minute(point.answers_5xx),
            Self::Answers404 => per_minute(point.answers_404),
            Self::Answers502 => per_minute(point.answers_502),
            Self::LongestResponse => point.longest_us as f64 / 1e3,
            Self::MeanResponse => match point.requests {
                0 => 0.0,
                requests => point.took_us as f64 / requests as f64 / 1e3,
            },
            Self::Timeouts => per_minute(point.timeouts),
            Self::Requests => point.requests as f64 / seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case() {
        for metric in Metric::ALL {
            assert_eq!(Metric::parse(&metric.name().to_uppercase()), Some(*metric));
        }
        assert_eq!(Metric::parse("Connum"), Some(Metric::Connections));
        assert_eq!(Metric::parse("connections"), None);
        assert!(Metric::OutPackets.is_basic() && !Metric::Answers2xx.is_basic());
    }

    #[test]
    fn units_are_those_of_the_official_page() {
        let point = Point {
            connections: 7,
            opened: 600,
            bytes_in: 37_500_000,
            answers_4xx: 5,
            requests: 300,
            took_us: 600_000,
            longest_us: 1_500,
            ..Point::default()
        };
        let value = |metric: Metric| metric.value(&point, 300, false);
        assert_eq!(value(Metric::Connections), Some(7.0));
        assert_eq!(value(Metric::NewConnections), Some(120.0));
        assert_eq!(value(Metric::InTraffic), Some(1.0));
        assert_eq!(value(Metric::InPackets), None);
        assert_eq!(Metric::InPackets.value(&point, 300, true), Some(0.0));
        assert_eq!(value(Metric::Answers4xx), Some(1.0));
        assert_eq!(value(Metric::MeanResponse), Some(2.0));
        assert_eq!(value(Metric::LongestResponse), Some(1.5));
        assert_eq!(value(Metric::Requests), Some(1.0));
        assert_eq!(
            Metric::MeanResponse.value(&Point::default(), 60, false),
            Some(0.0)
        );
    }
}
