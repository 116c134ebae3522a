//! Problems with their places.

use std::fmt;
use std::path::PathBuf;

/// What is wrong with a file: every problem, in the order of the file, one a line as
/// `file:line:column: what is wrong, what is allowed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    path: PathBuf,
    /// Line, column (both from 1; columns count characters), message.
    problems: Vec<(usize, usize, String)>,
}

impl Problems {
    pub(crate) fn whole_file(path: PathBuf, message: String) -> Self {
        Self {
            path,
            problems: vec![(1, 1, message)],
        }
    }

    /// Line and column, from 1, and the message of each problem.
    pub fn iter(&self) -> impl Iterator<Item = &(usize, usize, String)> {
        self.problems.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problems
            .iter()
            .try_for_each(|(line, column, message)| {
                writeln!(f, "{}:{line}:{column}: {message}", self.path.display())
            })
    }
}

impl std::error::Error for Problems {}

/// Collects problems by offset.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    found: Vec<(usize, String)>,
}

impl Collector {
    pub(crate) fn add(&mut self, offset: usize, message: impl Into<String>) {
        self.found.push((offset, message.into()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn into_problems(mut self, path: PathBuf, text: &str) -> Problems {
        self.found.sort_by_key(|(offset, _)| *offset);
        let problems = self
            .found
            .into_iter()
            .map(|(offset, message)| {
                let before = text.get(..offset.min(text.len())).unwrap_or(text);
                let line = before.matches('\n').count() + 1;
                let start = before.rfind('\n').map_or(0, |newline| newline + 1);
                let column = before.get(start..).unwrap_or_default().chars().count() + 1;
                (line, column, message.trim().replace('\n', "; "))
            })
            .collect();
        Problems { path, problems }
    }
}
