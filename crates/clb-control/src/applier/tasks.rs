//! Which task may be applied when: those of one instance in the order of their answers, those of
//! different instances without waiting for each other (actions.md C.8). Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use clb_model::{LbId, Task, TaskId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not begun.
    Waiting,
    /// Handed out by [`TaskQueue::next`]; its instances' other tasks wait.
    Begun,
}

#[derive(Debug)]
struct Entry {
    task: Arc<Task>,
    stage: Stage,
}

/// The pending tasks.
#[derive(Debug, Default)]
pub(super) struct TaskQueue {
    entries: BTreeMap<TaskId, Entry>,
    /// Each instance's tasks, the one that may run first.
    lines: HashMap<LbId, VecDeque<TaskId>>,
    ready: VecDeque<TaskId>,
}

impl TaskQueue {
    /// Takes a new task, or the new form of one that waits: when an earlier task of its instances
    /// was taken back, what a later one changes is worked out anew.
    pub(super) fn put(&mut self, task: Arc<Task>) {
        let id = task.id;
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.task = task;
            return;
        }
        for lb in &task.load_balancers {
            self.lines.entry(*lb).or_default().push_back(id);
        }
        self.entries.insert(
            id,
            Entry {
                task,
                stage: Stage::Waiting,
            },
        );
        self.check_ready(id);
    }

    /// The next task that may be applied now.
    pub(super) fn next(&mut self) -> Option<Arc<Task>> {
        while let Some(id) = self.ready.pop_front() {
            if let Some(entry) = self.entries.get_mut(&id)
                && entry.stage == Stage::Waiting
            {
                entry.stage = Stage::Begun;
                return Some(Arc::clone(&entry.task));
            }
        }
        None
    }

    /// A task is over, in force or taken back: the next ones of its instances may go.
    pub(super) fn remove(&mut self, id: TaskId) {
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        for lb in &entry.task.load_balancers {
            if let Some(line) = self.lines.get_mut(lb) {
                line.retain(|waiting| *waiting != id);
                match line.front().copied() {
                    Some(next) => self.check_ready(next),
                    None => drop(self.lines.remove(lb)),
                }
            }
        }
    }

    /// The oldest task that is not over.
    pub(super) fn oldest(&self) -> Option<TaskId> {
        self.entries.keys().next().copied()
    }

    /// The newest task that is not over.
    pub(super) fn newest(&self) -> Option<TaskId> {
        self.entries.keys().next_back().copied()
    }

    /// How many are pending.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn check_ready(&mut self, id: TaskId) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let is_first = |lb: &LbId| self.lines.get(lb).and_then(VecDeque::front) == Some(&id);
        if entry.stage == Stage::Waiting && entry.task.load_balancers.iter().all(is_first) {
            self.ready.push_back(id);
        }
    }
}

/// Whether a task is over only when the workers have what was published with it. One that concerns no
/// instance changes nothing that they know: it must not be late, and taken back, for the sake of those that
/// began together with it, for others may have built on it without waiting for it.
pub(super) fn waits_for_workers(task: &Task) -> bool {
    !task.load_balancers.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clb_model::{Command, TaskState, UnixMillis};
    use proptest::prelude::*;

    fn task(id: u64, load_balancers: &[u64]) -> Arc<Task> {
        Arc::new(Task {
            id: TaskId(id),
            load_balancers: load_balancers
                .iter()
                .map(|lb| LbId::from_number(*lb))
                .collect(),
            created: UnixMillis(0),
            ended: None,
            state: TaskState::Pending {
                command: Box::new(Command::FollowInstances),
                changes: Arc::new([]),
            },
        })
    }

    fn drain(queue: &mut TaskQueue) -> Vec<u64> {
        std::iter::from_fn(|| queue.next())
            .map(|task| task.id.0)
            .collect()
    }

    #[test]
    fn only_tasks_of_instances_wait_for_workers() {
        assert!(waits_for_workers(&task(1, &[7])));
        assert!(!waits_for_workers(&task(2, &[])));
    }

    #[test]
    fn one_instance_in_order_others_at_once() {
        let mut queue = TaskQueue::default();
        for task in [
            task(1, &[7]),
            task(2, &[7]),
            task(3, &[8]),
            task(4, &[7, 8]),
            task(5, &[9]),
        ] {
            queue.put(task);
        }
        assert_eq!(drain(&mut queue), [1, 3, 5]);
        queue.remove(TaskId(3));
        assert_eq!(drain(&mut queue), [] as [u64; 0]);
        queue.remove(TaskId(1));
        assert_eq!(drain(&mut queue), [2]);
        queue.remove(TaskId(2));
        assert_eq!(drain(&mut queue), [4]);
    }

    #[test]
    fn a_waiting_task_is_replaced_by_its_new_form() {
        let mut queue = TaskQueue::default();
        queue.put(task(1, &[7]));
        queue.put(task(2, &[7]));
        assert_eq!(drain(&mut queue), [1]);
        let renewed = Arc::new(Task {
            created: UnixMillis(5),
            ..Task::clone(&task(2, &[7]))
        });
        queue.put(Arc::clone(&renewed));
        queue.remove(TaskId(1));
        assert_eq!(queue.next(), Some(renewed));
    }

    proptest! {
        #[test]
        fn every_task_runs_once_and_never_beside_another_of_its_instances(
            wanted in prop::collection::vec(prop::collection::vec(0u64..5, 1..3), 1..40),
            seed in any::<u64>(),
        ) {
            let mut queue = TaskQueue::default();
            let mut running: Vec<Arc<Task>> = Vec::new();
            let mut done = Vec::new();
            let mut random = seed;
            for (index, lbs) in wanted.iter().enumerate() {
                let mut lbs = lbs.clone();
                lbs.sort_unstable();
                lbs.dedup();
                queue.put(task(index as u64, &lbs));
            }
            while queue.len() > 0 {
                while let Some(next) = queue.next() {
                    for other in &running {
                        prop_assert!(next.load_balancers.iter().all(|lb| !other.load_balancers.contains(lb)));
                    }
                    running.push(next);
                }
                prop_assert!(!running.is_empty());
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
                let one = running.swap_remove((random >> 33) as usize % running.len());
                for earlier in &done {
                    let earlier: &Arc<Task> = earlier;
                    if earlier.load_balancers.iter().any(|lb| one.load_balancers.contains(lb)) {
                        prop_assert!(earlier.id < one.id);
                    }
                }
                queue.remove(one.id);
                done.push(one);
            }
            prop_assert_eq!(done.len(), wanted.len());
        }
    }
}
