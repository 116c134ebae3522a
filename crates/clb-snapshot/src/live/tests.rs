use super::*;
use std::future::pending;

#[test]
fn an_admission_counts_until_it_is_dropped() {
    let live = Arc::new(Live::new(2));
    let (first, second) = (live.admit(0).unwrap(), live.admit(1).unwrap());
    first.count_opened();
    second.count_opened();
    first.count_bytes(10, 0);
    second.count_bytes(5, 7);
    second.count_failed();
    assert_eq!(live.active(), 2);
    drop((first, second));
    assert_eq!(live.active(), 0);
    let totals = Totals {
        opened: 2,
        failed: 1,
        bytes_in: 15,
        bytes_out: 7,
        ..Totals::default()
    };
    assert_eq!(live.totals(), totals);
}

#[test]
fn a_session_without_a_task_counts_and_leaves_the_tasks_alone() {
    let live = Arc::new(Live::new(1));
    let connection = live.admit(0).unwrap();
    let session = live.count(0);
    session.count_opened();
    session.count_datagram_in(100);
    session.count_datagram_out(0);
    session.count_datagram_out(40);
    assert_eq!(live.active(), 2);
    drop(session);
    assert_eq!(live.active(), 1);
    let totals = live.totals();
    assert_eq!(
        (totals.opened, totals.bytes_in, totals.bytes_out),
        (1, 100, 40)
    );
    assert_eq!((totals.datagrams_in, totals.datagrams_out), (1, 2));
    live.reset_all();
    // One that is not a task's may still be counted, for nobody waits for it.
    assert_eq!(live.count(0).worker(), 0);
    drop(connection);
    assert_eq!(live.active(), 0);
}

#[tokio::test]
async fn a_reset_cancels_what_is_open_and_admits_nothing_more() {
    let live = Arc::new(Live::new(2));
    let mut tasks = Vec::new();
    for worker in 0..2 {
        let admission = live.admit(worker).unwrap();
        let key = admission.key();
        let task = tokio::spawn(async move {
            pending::<()>().await;
            drop(admission);
        });
        live.arm(worker, key, task.abort_handle());
        tasks.push(task);
    }
    let unarmed = live.admit(0).unwrap();

    live.reset_all();
    for task in tasks {
        assert!(task.await.unwrap_err().is_cancelled());
    }
    assert!(live.admit(0).is_none());

    // One whose handle comes late is cancelled when it comes.
    let key = unarmed.key();
    let late = tokio::spawn(pending::<()>());
    live.arm(0, key, late.abort_handle());
    assert!(late.await.unwrap_err().is_cancelled());
    drop(unarmed);
    assert_eq!(live.active(), 0);
}

#[test]
fn an_admission_tells_where_it_is_counted() {
    let live = Arc::new(Live::new(3));
    let lines = |worker| {
        let mut lines = Vec::new();
        let admission = live.admit(worker).unwrap();
        admission.visit_counters(|line| lines.push(line.addr()));
        lines
    };
    let start = Arc::as_ptr(&live).addr();
    let part = |worker: usize| &raw const live.near[worker].inner;
    for worker in 0..INLINE_WORKERS {
        let from = part(worker).addr();
        let often = from..from + WorkerPart::OFTEN;
        let lines = lines(worker);
        assert_eq!(lines[0], start);
        let line = |at: usize| at / CACHE_LINE;
        let is_told = |at: usize| lines.iter().any(|told| line(*told) == line(at));
        assert!(often.clone().all(is_told), "{lines:?} {often:?}");
    }
    assert_eq!(lines(INLINE_WORKERS), [start]);
}

#[test]
fn one_worker_more_than_there_are_is_not_counted() {
    for workers in 1..4 {
        let live = Arc::new(Live::new(workers));
        assert_eq!(live.parts().count(), workers);
        assert!(live.part(workers - 1).is_some() && live.part(workers).is_none());
    }
}

#[test]
fn what_a_request_touches_is_close_together() {
    let counts = 16;
    assert_eq!(align_of::<Live>(), 8);
    assert!(counts + offset_of!(Live, active) < 64);
    assert!(counts + offset_of!(Live, passive) < 64);
    const { assert!(WorkerPart::OFTEN <= 2 * CACHE_LINE) };
    assert!(size_of::<WorkerPart>() <= 3 * 64);
}

#[tokio::test]
async fn keys_are_used_again_and_stay_apart() {
    let live = Arc::new(Live::new(1));
    let tasks: Vec<_> = (0..3).map(|_| tokio::spawn(pending::<()>())).collect();
    let mut open: Vec<_> = (0..3).map(|_| live.admit(0)).collect();
    let arm = |open: &[Option<Admission>]| {
        for (admission, task) in open.iter().zip(&tasks) {
            if let Some(admission) = admission {
                live.arm(0, admission.key(), task.abort_handle());
            }
        }
    };
    arm(&open);
    for gone in 0..3 {
        open[gone] = None;
        open[gone] = live.admit(0);
        arm(&open);
        for (admission, task) in open.iter().zip(&tasks) {
            let found = admission.as_ref().and_then(Admission::task);
            assert_eq!(found.map(|found| found.id()), Some(task.id()));
        }
    }
    live.reset_all();
    for task in tasks {
        assert!(task.await.unwrap_err().is_cancelled());
    }
}

#[tokio::test]
async fn a_task_finds_its_own_handle() {
    let live = Arc::new(Live::new(1));
    let admission = live.admit(0).unwrap();
    assert!(admission.task().is_none());
    let task = tokio::spawn(pending::<()>());
    live.arm(0, admission.key(), task.abort_handle());
    assert_eq!(admission.task().map(|task| task.id()), Some(task.id()));
}
