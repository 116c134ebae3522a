//! The urls of a domain that are no regular expressions, in a tree of their common beginnings. One
//! walk finds the exact one and the longest prefix. Versions of the tree share what is the same: a
//! change makes new nodes on the way to one url only.

use std::sync::Arc;

use clb_model::{UrlModifier, UrlPattern};
use smallvec::SmallVec;

use crate::domain::Location;

/// Two cache lines with the counts of its `Arc`: with thousands of urls no node on the way to one
/// is in a cache (ADR 19).
struct Node<T> {
    /// What is added to the text of the node above.
    part: SmallVec<[u8; 24]>,
    /// The urls of this text, first the exact ones, the oldest first of each kind. More than one of
    /// a kind only when they are spelled differently and mean the same, as `/a` and `^~ /a`; nginx
    /// loads no such pair.
    own: SmallVec<[Arc<Location<T>>; 1]>,
    /// How many of them are exact.
    exact: usize,
    /// By the first byte of their parts, which all differ.
    below: SmallVec<[Below<T>; 2]>,
    min_order: u64,
}

struct Below<T> {
    first: u8,
    node: Arc<Node<T>>,
}

impl<T> Clone for Below<T> {
    fn clone(&self) -> Self {
        Self {
            first: self.first,
            node: Arc::clone(&self.node),
        }
    }
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        Self {
            part: self.part.clone(),
            own: self.own.clone(),
            exact: self.exact,
            below: self.below.clone(),
            min_order: self.min_order,
        }
    }
}

pub(crate) struct Tree<T> {
    root: Node<T>,
}

impl<T> Clone for Tree<T> {
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
        }
    }
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self {
            root: Node::leaf(&[]),
        }
    }
}

/// What a path meets.
pub(crate) struct Found<'t, T> {
    /// The url that is the path.
    pub(crate) exact: Option<Met<'t, T>>,
    /// The longest that the path begins with.
    pub(crate) prefix: Option<Met<'t, T>>,
}

/// A url that a path meets.
pub(crate) struct Met<'t, T> {
    pub(crate) location: &'t Arc<Location<T>>,
    /// What it points to; not looked for in the location, which may be far away.
    pub(crate) value: &'t T,
}

impl<'t, T> From<&'t Arc<Location<T>>> for Met<'t, T> {
    fn from(location: &'t Arc<Location<T>>) -> Self {
        Self {
            location,
            value: &location.value,
        }
    }
}

impl<T> Tree<T> {
    pub(crate) fn find(&self, path: &[u8]) -> Found<'_, T> {
        let mut found = Found {
            exact: None,
            prefix: None,
        };
        let mut node = &self.root;
        let mut rest = path;
        loop {
            if let Some(prefix) = node.prefixes().first() {
                found.prefix = Some(prefix.into());
            }
            let Some(first) = rest.first() else {
                found.exact = node.exacts().first().map(Met::from);
                return found;
            };
            let next = node.below(*first).ok();
            let Some((next, left)) = next
                .and_then(|at| node.below.get(at))
                .and_then(|below| Some((&*below.node, rest.strip_prefix(&*below.node.part)?)))
            else {
                return found;
            };
            (node, rest) = (next, left);
        }
    }

    /// Every url that fits the path, the shortest first: for the explanation.
    pub(crate) fn all(&self, path: &[u8]) -> Vec<&Arc<Location<T>>> {
        let mut all = Vec::new();
        let mut node = &self.root;
        let mut rest = path;
        loop {
            all.extend(node.prefixes());
            let Some(first) = rest.first() else {
                all.extend(node.exacts());
                return all;
            };
            let next = node.below(*first).ok();
            let Some((next, left)) = next
                .and_then(|at| node.below.get(at))
                .and_then(|below| Some((&*below.node, rest.strip_prefix(&*below.node.part)?)))
            else {
                return all;
            };
            (node, rest) = (next, left);
        }
    }

    /// The order of the oldest.
    pub(crate) fn min_order(&self) -> Option<u64> {
        (!self.root.is_empty()).then_some(self.root.min_order)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Location<T>>> {
        let mut nodes = vec![&self.root];
        std::iter::from_fn(move || {
            let node = nodes.pop()?;
            nodes.extend(node.below.iter().rev().map(|below| &*below.node));
            Some(node.own.iter())
        })
        .flatten()
    }

    /// Adds a url, or replaces the one of the same text; says whether there was one.
    pub(crate) fn with(&self, location: Arc<Location<T>>) -> (Self, bool) {
        let mut root = self.root.clone();
        let text = location.url.clone();
        let replaced = root.add(text.expression().as_bytes(), location);
        (Self { root }, replaced)
    }

    /// Takes the url of that text away; `None` when there is none.
    pub(crate) fn without(&self, url: &UrlPattern) -> Option<Self> {
        let mut root = self.root.clone();
        root.remove(url.expression().as_bytes(), url)
            .then_some(Self { root })
    }
}

impl<T> Node<T> {
    fn leaf(part: &[u8]) -> Self {
        Self {
            part: part.into(),
            own: SmallVec::new(),
            exact: 0,
            below: SmallVec::new(),
            min_order: u64::MAX,
        }
    }

    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.below.is_empty()
    }

    fn below(&self, first: u8) -> Result<usize, usize> {
        self.below.binary_search_by_key(&first, |below| below.first)
    }

    fn exacts(&self) -> &[Arc<Location<T>>] {
        self.own.get(..self.exact).unwrap_or_default()
    }

    fn prefixes(&self) -> &[Arc<Location<T>>] {
        self.own.get(self.exact..).unwrap_or_default()
    }

    /// Takes the url of that text away; says whether there was one.
    fn take(&mut self, url: &UrlPattern) -> bool {
        let before = self.own.len();
        self.own.retain(|other| other.url != *url);
        let taken = before - self.own.len();
        if url.modifier() == UrlModifier::Exact {
            self.exact -= taken;
        }
        taken > 0
    }

    /// Puts one that is not there in its place.
    fn put(&mut self, location: Arc<Location<T>>) {
        let is_older = |other: &Arc<Location<T>>| other.place() < location.place();
        match location.url.modifier() {
            UrlModifier::Exact => {
                let at = self.exacts().partition_point(is_older);
                self.own.insert(at, location);
                self.exact += 1;
            }
            _ => {
                let at = self.prefixes().partition_point(is_older);
                self.own.insert(self.exact + at, location);
            }
        }
    }

    fn refresh(&mut self) {
        let own = self.own.iter().map(|location| location.order);
        let below = self.below.iter().map(|below| below.node.min_order);
        self.min_order = own.chain(below).min().unwrap_or(u64::MAX);
    }

    /// Adds at `rest`, counted from this node; says whether one was replaced.
    fn add(&mut self, rest: &[u8], location: Arc<Location<T>>) -> bool {
        let replaced = match rest.first() {
            None => {
                let replaced = self.take(&location.url);
                self.put(location);
                replaced
            }
            Some(&first) => match self.below(first) {
                Err(at) => {
                    let mut node = Node::leaf(rest);
                    node.add(&[], location);
                    self.below.insert(
                        at,
                        Below {
                            first,
                            node: Arc::new(node),
                        },
                    );
                    false
                }
                Ok(at) => match self.below.get_mut(at) {
                    Some(below) => {
                        let mut node = Node::clone(&below.node);
                        let common = common(&node.part, rest);
                        if common < node.part.len() {
                            node = node.split(common);
                        }
                        let left = rest.get(common..).unwrap_or_default();
                        let replaced = node.add(left, location);
                        below.node = Arc::new(node);
                        replaced
                    }
                    None => false,
                },
            },
        };
        self.refresh();
        replaced
    }

    /// A node with the first `at` bytes of the part, above what was this node.
    fn split(mut self, at: usize) -> Self {
        let (start, end) = self.part.split_at(at);
        let mut above = Node::leaf(start);
        let end = SmallVec::from_slice(end);
        let first = end.first().copied().unwrap_or_default();
        above.min_order = self.min_order;
        self.part = end;
        above.below.push(Below {
            first,
            node: Arc::new(self),
        });
        above
    }

    fn remove(&mut self, rest: &[u8], url: &UrlPattern) -> bool {
        let removed = match rest.first() {
            None => self.take(url),
            Some(&first) => self.remove_below(first, rest, url),
        };
        self.refresh();
        removed
    }

    fn remove_below(&mut self, first: u8, rest: &[u8], url: &UrlPattern) -> bool {
        let Ok(at) = self.below(first) else {
            return false;
        };
        let Some(below) = self.below.get_mut(at) else {
            return false;
        };
        let Some(left) = rest.strip_prefix(&*below.node.part) else {
            return false;
        };
        let mut node = Node::clone(&below.node);
        if !node.remove(left, url) {
            return false;
        }
        if node.is_empty() {
            self.below.remove(at);
        } else {
            below.node = Arc::new(node.joined());
        }
        true
    }

    /// A node without urls of its own and with one node below is one with it.
    fn joined(self) -> Self {
        let ([], [only]) = (&*self.own, &*self.below) else {
            return self;
        };
        let mut node = Node::clone(&only.node);
        node.part.insert_from_slice(0, &self.part);
        node
    }
}

fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}
