use proptest::prelude::*;

use super::*;

fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
    let mut octets = (length as u32).to_be_bytes()[1..].to_vec();
    octets.extend([kind, flags, 0, 0, 0, 1]);
    octets.extend(vec![0; length]);
    octets
}

/// After the preface.
fn watch() -> Watch {
    let mut watch = Watch::new(0);
    watch.look(&[b'p'; PREFACE], 0).unwrap();
    watch
}

fn looked(octets: &[u8]) -> Result<(), Fault> {
    watch().look(octets, 0)
}

#[test]
fn lengths_that_the_kind_does_not_allow() {
    for (kind, flags, length, is_good) in [
        (PRIORITY, 0, 5, true),
        (PRIORITY, 0, 4, false),
        (RST_STREAM, 0, 4, true),
        (RST_STREAM, 0, 5, false),
        (SETTINGS, 0, 0, true),
        (SETTINGS, 0, 12, true),
        (SETTINGS, 0, 13, false),
        (SETTINGS, FLAG_1, 0, true),
        (SETTINGS, FLAG_1, 6, false),
        (PING, 0, 8, true),
        (PING, FLAG_1, 7, false),
        (GOAWAY, 0, 8, true),
        (GOAWAY, 0, 100, true),
        (GOAWAY, 0, 7, false),
        (WINDOW_UPDATE, 0, 4, true),
        (WINDOW_UPDATE, 0, 0, false),
        (DATA, 0, 16_384, true),
        (0x99, 0, 3, true),
    ] {
        let fault = Fault {
            before: 0,
            reason: Reason::FRAME_SIZE_ERROR,
        };
        let expected = if is_good { Ok(()) } else { Err(fault) };
        assert_eq!(
            looked(&frame(kind, flags, length)),
            expected,
            "{kind} {length}"
        );
    }
}

#[test]
fn a_window_beyond_the_limit() {
    let with = |value: u32| {
        let mut octets = frame(SETTINGS, 0, 12);
        octets[HEAD + 6 + 1] = INITIAL_WINDOW as u8;
        octets[HEAD + 8..].copy_from_slice(&value.to_be_bytes());
        looked(&octets)
    };
    assert_eq!(with(MAX_WINDOW), Ok(()));
    let fault = Fault {
        before: HEAD + 6,
        reason: Reason::FLOW_CONTROL_ERROR,
    };
    assert_eq!(with(MAX_WINDOW + 1), Err(fault));
}

/// How many frames are taken, all at once.
fn taken(watch: &mut Watch, kind: u8, length: usize, now_ms: u64) -> u64 {
    let octets = frame(kind, 0, length);
    let taken = (0..100_000).take_while(|_| watch.look(&octets, now_ms).is_ok());
    taken.count() as u64
}

#[test]
fn frames_that_carry_nothing_have_a_budget() {
    assert_eq!(taken(&mut watch(), WINDOW_UPDATE, 4, 0), IDLE_FRAMES);
    assert_eq!(taken(&mut watch(), DATA, 0, 0), IDLE_FRAMES);
    let all = IDLE_FRAMES * OCTETS_PER_IDLE_FRAME;
    let answered = all / (OCTETS_PER_IDLE_FRAME + PING_ANSWER);
    assert_eq!(taken(&mut watch(), PING, 8, 0), answered);
    // What carries something has none.
    assert_eq!(taken(&mut watch(), DATA, 1, 0), 100_000);
    assert_eq!(taken(&mut watch(), HEADERS, 1, 0), 100_000);
}

#[test]
fn time_and_answers_fill_the_budget() {
    let mut one = watch();
    taken(&mut one, WINDOW_UPDATE, 4, 0);
    assert_eq!(
        taken(&mut one, WINDOW_UPDATE, 4, 1_000),
        IDLE_FRAMES_PER_SECOND
    );
    one.sent(8_000);
    assert_eq!(taken(&mut one, WINDOW_UPDATE, 4, 1_000), 1_000);
    one.sent(usize::MAX);
    assert_eq!(taken(&mut one, WINDOW_UPDATE, 4, 1_000), IDLE_FRAMES);
    // What many short looks earn is not lost.
    let mut often = watch();
    taken(&mut often, WINDOW_UPDATE, 4, 0);
    for ms in 0..1_000 {
        often.look(&[], ms).unwrap();
    }
    let earned = taken(&mut often, WINDOW_UPDATE, 4, 1_000);
    assert_eq!(earned, IDLE_FRAMES_PER_SECOND);
}

#[test]
fn a_flood_is_paid_by_no_answer_to_it() {
    let mut one = watch();
    let octets = frame(PING, 0, 8);
    let mut count = 0;
    while one.look(&octets, 0).is_ok() && count < 100_000 {
        one.sent(PING_ANSWER as usize);
        count += 1;
    }
    assert!((1..=IDLE_FRAMES).contains(&count), "{count}");
}

proptest! {
    /// However the octets are cut, the same comes out at the same place.
    #[test]
    fn cuts_change_nothing(
        frames in prop::collection::vec((0u8..12, 0u8..2, 0usize..20), 1..40),
        cuts in prop::collection::vec(1usize..30, 1..200),
    ) {
        let octets: Vec<u8> = frames
            .iter()
            .flat_map(|&(kind, flags, length)| frame(kind, flags, length))
            .collect();
        let whole = looked(&octets).map_err(|fault| fault.reason);
        let mut one = watch();
        let (mut rest, mut pieces) = (&octets[..], Ok(()));
        for cut in cuts.iter().cycle() {
            let (piece, more) = rest.split_at(*cut.min(&rest.len()));
            pieces = one.look(piece, 0).map_err(|fault| fault.reason);
            rest = more;
            if rest.is_empty() || pieces.is_err() {
                break;
            }
        }
        prop_assert_eq!(whole, pieces);
    }
}
