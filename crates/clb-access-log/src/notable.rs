//! The requests that somebody who looks for trouble wants to see first.

use std::collections::VecDeque;

use crate::row::{Front, Number, Row};

/// Failing requests that are kept.
const FAILING: usize = 100;
/// Slow ones of each minute.
const SLOWEST: usize = 20;
/// Minutes of which slow ones are kept.
const MINUTES: usize = 15;
const MINUTE_US: u64 = 60_000_000;

/// The last requests that failed, and the slowest of the last minutes; rows as they travel.
#[derive(Debug, Default)]
pub(crate) struct Notable {
    failing: VecDeque<Vec<u8>>,
    minutes: VecDeque<Minute>,
}

#[derive(Debug, Default)]
struct Minute {
    number: u64,
    /// The slowest first.
    rows: Vec<(u64, Vec<u8>)>,
}

impl Notable {
    /// Whether somebody will want to see it; most of ten thousand in a second nobody will.
    pub(crate) fn wants(&self, front: &Front) -> bool {
        if front.status >= 500 || front.upstream_status >= 500 {
            return true;
        }
        self.minutes.back().is_none_or(|minute| {
            minute.number < front.time / MINUTE_US
                || minute.rows.len() < SLOWEST
                || minute.rows.last().is_some_and(|last| front.took > last.0)
        })
    }

    pub(crate) fn see(&mut self, row: &Row<'_>) {
        if row.number(Number::Status) >= 500 || row.number(Number::UpstreamStatus) >= 500 {
            if self.failing.len() == FAILING {
                self.failing.pop_front();
            }
            self.failing.push_back(written(row));
        }
        let number = row.number(Number::Time) / MINUTE_US;
        if self.minutes.back().is_none_or(|last| last.number < number) {
            self.minutes.push_back(Minute {
                number,
                rows: Vec::new(),
            });
            if self.minutes.len() > MINUTES {
                self.minutes.pop_front();
            }
        }
        let Some(minute) = self.minutes.back_mut() else {
            return;
        };
        let took = row.number(Number::Took);
        if minute.rows.len() == SLOWEST && minute.rows.last().is_some_and(|last| took <= last.0) {
            return;
        }
        let place = minute.rows.partition_point(|(other, _)| *other >= took);
        minute.rows.insert(place, (took, written(row)));
        minute.rows.truncate(SLOWEST);
    }

    /// The last ones that failed, the latest first.
    pub(crate) fn failing(&self) -> Vec<Vec<u8>> {
        self.failing.iter().rev().cloned().collect()
    }

    /// The slowest of the minutes that have not passed `minutes` ago, the slowest first.
    pub(crate) fn slowest(&self, now_us: u64, minutes: u64) -> Vec<Vec<u8>> {
        let oldest = (now_us / MINUTE_US).saturating_sub(minutes);
        let recent = self.minutes.iter().filter(|minute| minute.number >= oldest);
        let mut rows: Vec<&(u64, Vec<u8>)> = recent.flat_map(|minute| &minute.rows).collect();
        rows.sort_by_key(|(took, _)| std::cmp::Reverse(*took));
        rows.into_iter()
            .take(SLOWEST)
            .map(|(_, row)| row.clone())
            .collect()
    }
}

fn written(row: &Row<'_>) -> Vec<u8> {
    let mut data = Vec::new();
    row.write(&mut data);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_the_last_minutes_are_kept() {
        let mut notable = Notable::default();
        for time in 0..2_000_u64 {
            let mut row = Row::default();
            row.set(Number::Time, time * 1_000_000);
            row.set(Number::Took, time * 7_919 % 2_000);
            row.set(Number::Status, if time % 100 == 0 { 502 } else { 200 });
            let mut data = Vec::new();
            row.write(&mut data);
            let (front, _) = Front::take(&mut data.as_slice()).unwrap();
            if notable.wants(&front) {
                notable.see(&row);
            }
        }
        let took = |rows: Vec<Vec<u8>>| -> Vec<u64> {
            let row = |data: &Vec<u8>| {
                Row::read(&mut data.as_slice())
                    .unwrap()
                    .number(Number::Took)
            };
            rows.iter().map(row).collect()
        };
        let slowest = took(notable.slowest(2_000_000_000, 5));
        let mut expected: Vec<u64> = (1_680..2_000).map(|time| time * 7_919 % 2_000).collect();
        expected.sort_unstable_by(|left, right| right.cmp(left));
        expected.truncate(20);
        assert_eq!(slowest, expected);
        assert_eq!(notable.failing().len(), 20);
    }
}
