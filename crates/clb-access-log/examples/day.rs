//! What it takes to ask a day of many requests: `bench/log`, or
//! `cargo run --release -p clb-access-log --example day [ROWS]`.
//!
//! The rows are of 50 load balancers; of the one that is asked about there are as many as said. They
//! have 1,000 paths, 200 clients, 50 user agents, an id each, and one in 50 is a 404, one in 1,000 a 502.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clb_access_log::{
    AccessLog, Condition, Number, Query, Row, Settings, Shown, Targets, Text, name_number,
};

const DAY_US: u64 = 86_400 * 1_000_000;
const LB: u64 = 0x6162_6364_6566_6768;
/// Rows of others, for each hundred of the one that is asked about.
const OTHERS: u64 = 20;

fn now_us() -> Result<u64, Box<dyn Error>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u64::try_from(now.as_micros())?)
}

/// A number that looks like any other.
fn scramble(number: u64) -> u64 {
    let mixed = (number ^ number >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

fn start(dir: &std::path::Path) -> Result<AccessLog, Box<dyn Error>> {
    let settings = Settings {
        enabled: true,
        retention: Duration::from_secs(72 * 3_600),
        max_bytes: 64 << 30,
        ring_bytes: 64 << 20,
        targets: Targets::default(),
    };
    let domain = |number: u32| Some(Arc::from(format!("www{number}.example.com")));
    let names = Box::new(domain);
    let log = AccessLog::start(
        dir,
        settings,
        1,
        names,
        None,
        |rule| rule.to_string(),
        "bench",
    )?;
    log.open()?;
    Ok(log)
}

fn fill(log: &AccessLog, rows: u64, end: u64) -> Result<(), Box<dyn Error>> {
    let mut sender = log.sender(0).ok_or("the ring is taken")?;
    let all = rows + rows / 100 * OTHERS;
    let began = Instant::now();
    for number in 0..all {
        let mixed = scramble(number);
        let is_other = number % (100 + OTHERS) >= 100;
        let mut row = Row::default();
        row.set(Number::Time, end - DAY_US + number * (DAY_US / all));
        row.set(Number::Lb, if is_other { LB + 1 + mixed % 49 } else { LB });
        row.set(Number::Listener, LB);
        row.set(Number::Rule, 1 + mixed % 20);
        let status = match mixed % 1_000 {
            0 => 502,
            1..=20 => 404,
            _ => 200,
        };
        row.set(Number::Status, status);
        row.set(Number::UpstreamStatus, status);
        row.set(Number::Took, 300 + mixed % 5_000);
        row.set(Number::Received, 390);
        row.set(Number::Sent, 500 + mixed % 20_000);
        row.set(Number::SentHead, 250);
        row.set(Number::OfConnection, 1 + mixed % 100);
        row.set(Number::PeerPort, 1_024 + mixed % 60_000);
        row.set(Number::Rtt, 200 + mixed % 900);
        row.set(Number::UpstreamHeader, 200 + mixed % 4_000);
        row.set(Number::UpstreamResponse, 250 + mixed % 5_000);
        let line = format!(
            "GET /catalogue/{}?page={} HTTP/1.1",
            mixed % 1_000,
            mixed % 7
        );
        let agent = format!(
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 ({})",
            mixed % 50
        );
        let id = format!("{mixed:016x}{number:016x}");
        let name = name_number((1 + mixed % 20) as u32);
        row.set_text(Text::ServerName, &name);
        let peer = [10, 0, 0, (mixed % 200) as u8];
        row.set_text(Text::Peer, &peer);
        row.set_text(Text::Vip, &[127, 10, 0, 1]);
        row.set_text(Text::Upstream, &[10, 1, 0, 1, 0x1f, 0x90]);
        row.set_text(Text::Line, line.as_bytes());
        row.set_text(Text::Host, b"www.example.com");
        row.set_text(Text::Agent, agent.as_bytes());
        row.set_text(Text::Id, id.as_bytes());
        sender.send(&row);
        while number % 4_096 == 0 && number.saturating_sub(log.figures().written) > 100_000 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    while log.figures().written < all {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (took, figures) = (began.elapsed(), log.figures());
    println!(
        "{all} rows in {:.1} s, {} lost; {} bytes on disk, {:.1} a row\n",
        took.as_secs_f64(),
        figures.dropped_ring + figures.dropped_disk,
        figures.bytes,
        figures.bytes as f64 / all as f64,
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let rows: u64 = std::env::args()
        .nth(1)
        .map_or(Ok(10_000_000), |rows| rows.parse())?;
    let dir = std::env::temp_dir().join(format!("clb-day-{}", std::process::id()));
    let end = now_us()?;
    let log = start(&dir)?;
    fill(&log, rows, end)?;
    log.stop();
    let began = Instant::now();
    let log = start(&dir)?;
    println!("opened again in {} ms\n", began.elapsed().as_millis());
    println!("| first page of 20, the latest first | matches | first ms | median of 9 ms |");
    println!("|---|---|---|---|");
    let status = |status, is| vec![Condition::Number(Number::Status, status, is)];
    for (what, conditions, offset) in [
        ("no filter", Vec::new(), 0),
        ("status 502", status(502, true), 0),
        ("status 404", status(404, true), 0),
        ("status 404, offset 10,000", status(404, true), 10_000),
        ("status 200", status(200, true), 0),
        ("status_not 200", status(200, false), 0),
        ("status 418, of which there is none", status(418, true), 0),
        (
            "remote_addr",
            vec![Condition::Text(Text::Peer, vec![10, 0, 0, 7], true)],
            0,
        ),
        (
            "server_name",
            vec![Condition::Text(
                Text::ServerName,
                b"www7.example.com".to_vec(),
                true,
            )],
            0,
        ),
        ("request_time", vec![Condition::Took(5_000, 5_200)], 0),
    ] {
        let mut conditions = conditions;
        conditions.push(Condition::Number(Number::Lb, LB, true));
        let query = Query {
            times: (end - DAY_US, end),
            conditions,
            latest_first: true,
            offset,
            limit: 20,
        };
        let (mut times, mut total) = (Vec::new(), 0);
        for _ in 0..10 {
            let began = Instant::now();
            let page = log.query(&query)?;
            let zone = jiff::tz::TimeZone::UTC;
            let shown = page.rows().map(|row| Shown::new(&row, &zone).object());
            total = page.total + shown.filter(|object| object.is_empty()).count() as u64;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        let first = times.remove(0);
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).copied().unwrap_or(first);
        println!("| {what} | {total} | {first:.0} | {median:.0} |");
    }
    log.stop();
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
