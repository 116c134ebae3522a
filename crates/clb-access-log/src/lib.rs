//! The access log of HTTP and HTTPS listeners.
//!
//! Workers push one [`Row`] for each request into a ring of their own and never wait: a full ring
//! loses the row, which is counted. One thread takes the rows from the rings, writes them to the
//! extra targets and gathers them into blocks: columns, compressed one by one, so that a
//! [query](AccessLog::query) reads those columns only that it asks about. Blocks are appended to
//! segments, files that are removed whole when they are too old or too many. What is not in a block
//! yet is kept in a journal, written once a second. See ADR 28.

mod access_log;
mod block;
mod chunk;
mod columns;
mod format;
mod journal;
mod notable;
mod query;
mod ring;
mod row;
mod segments;
mod targets;
mod writer;

pub use access_log::{AccessLog, AccessLogError, Figures, Names, Observer, Settings};
pub use format::{Shown, escape};
pub use query::{Condition, Page, Query};
pub use ring::Sender;
pub use row::{Number, Protocol, Reason, Row, Text, name_number};
pub use targets::{FileFormat, Targets};
pub use writer::Sink;
