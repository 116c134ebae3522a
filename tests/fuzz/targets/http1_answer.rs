//! An answer that is believed, rewritten, is believed again with the framing that was meant. The
//! first octet says what it is an answer to.

#![no_main]

use clb_l7::http1::{
    AnswerAdditions, AnswerBody, AnswerTo, Fields, HeadLimits, HeadScanner, MethodKind, Transfer,
    UpgradeAsked, Version, parse_answer, write_answer,
};
use libfuzzer_sys::fuzz_target;

const LIMITS: HeadLimits = HeadLimits {
    line: usize::MAX,
    head: usize::MAX,
    fields: usize::MAX,
};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, head)) = data.split_first() else {
        return;
    };
    let is = |bit: u8| choice & (1 << bit) != 0;
    let to = AnswerTo {
        method: if is(0) {
            MethodKind::Head
        } else {
            MethodKind::Other
        },
        client: if is(1) {
            Version::Http10
        } else {
            Version::Http11
        },
        upgrade_asked: UpgradeAsked::from(is(2).then_some(&b"websocket, foo/1"[..])),
        trailers: is(3),
    };
    let mut fields = Fields::default();
    let Ok(answer) = parse_answer(head, &mut fields, to) else {
        return;
    };
    assert_eq!(
        HeadScanner::default().scan(head, &LIMITS),
        Ok(Some(head.len()))
    );
    let additions = AnswerAdditions {
        client: to.client,
        close: is(4),
        date: b"now",
        set_cookie: is(5).then_some(b"a=b"),
        via: is(6),
        transfer: answer.transfer(to.client),
    };
    let mut written = Vec::new();
    write_answer(&answer, &additions, &mut written);
    assert_eq!(
        HeadScanner::default().scan(&written, &LIMITS),
        Ok(Some(written.len()))
    );
    let mut fields = Fields::default();
    let again = parse_answer(&written, &mut fields, to).expect("what we write is right");
    assert_eq!(again.status, answer.status);
    assert_eq!(again.is_interim, answer.is_interim);
    assert_eq!(again.upgrade, answer.upgrade);
    assert_eq!(
        again.body,
        match additions.transfer {
            Transfer::AsIs(0) => AnswerBody::None,
            Transfer::AsIs(length) => AnswerBody::Length(length),
            Transfer::Chunked => AnswerBody::Chunked,
            Transfer::UntilClose => AnswerBody::UntilClose,
        }
    );
    assert_eq!(again.connection_names().count(), 0);
});
