//! The urls of a domain that are no regular expressions, in a tree of their common beginnings. One
//! walk finds the exact one and the longest prefix. Versions of the tree share what is the same: a
//! change makes new nodes on the way to one url only.

use std::sync::Arc;

use clb_model::UrlModifier;

use crate::domain::Location;

/// Urls of one text and kind, the oldest first. More than one only when they are spelled
/// differently and mean the same, as `/a` and `^~ /a`; nginx loads no such pair.
type Same<T> = Vec<Arc<Location<T>>>;

struct Node<T> {
    /// What is added to the text of the node above.
    part: Box<[u8]>,
    exact: Same<T>,
    prefix: Same<T>,
    /// By the first byte of their parts, which all differ.
    below: Vec<Below<T>>,
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
            exact: self.exact.clone(),
            prefix: self.prefix.clone(),
            below: self.below.clone(),
            min_order: self.min_order,
        }
    }
}

pub(crate) struct Tree<T> {
    root: Arc<Node<T>>,
}

impl<T> Clone for Tree<T> {
    fn clone(&self) -> Self {
        Self {
            root: Arc::clone(&self.root),
        }
    }
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self {
            root: Arc::new(Node::leaf(&[])),
        }
    }
}

/// What a path meets in a tree.
pub(crate) struct Found<'t, T> {
    /// The url that is the path.
    pub(crate) exact: Option<&'t Arc<Location<T>>>,
    /// The longest that the path begins with.
    pub(crate) prefix: Option<&'t Arc<Location<T>>>,
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
            if let Some(prefix) = node.prefix.first() {
                found.prefix = Some(prefix);
            }
            let Some(first) = rest.first() else {
                found.exact = node.exact.first();
                return found;
            };
            let next = node.below(*first).ok();
            let Some((next, left)) = next
                .and_then(|at| node.below.get(at))
                .and_then(|below| Some((&below.node, rest.strip_prefix(&*below.node.part)?)))
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
            all.extend(&node.prefix);
            let Some(first) = rest.first() else {
                all.extend(&node.exact);
                return all;
            };
            let next = node.below(*first).ok();
            let Some((next, left)) = next
                .and_then(|at| node.below.get(at))
                .and_then(|below| Some((&below.node, rest.strip_prefix(&*below.node.part)?)))
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
            nodes.extend(node.below.iter().rev().map(|below| &below.node));
            Some(node.exact.iter().chain(&node.prefix))
        })
        .flatten()
    }

    /// Adds a url, or replaces the one of the same text; says whether there was one.
    pub(crate) fn with(&self, location: Arc<Location<T>>) -> (Self, bool) {
        let mut root = Node::clone(&self.root);
        let text = location.url.clone();
        let replaced = root.add(text.expression().as_bytes(), location);
        let root = Arc::new(root);
        (Self { root }, replaced)
    }

    /// Takes the url of that text away; `None` when there is none.
    pub(crate) fn without(&self, url: &clb_model::UrlPattern) -> Option<Self> {
        let mut root = Node::clone(&self.root);
        root.remove(url.expression().as_bytes(), url).then(|| Self {
            root: Arc::new(root),
        })
    }
}

impl<T> Node<T> {
    fn leaf(part: &[u8]) -> Self {
        Self {
            part: part.into(),
            exact: Vec::new(),
            prefix: Vec::new(),
            below: Vec::new(),
            min_order: u64::MAX,
        }
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefix.is_empty() && self.below.is_empty()
    }

    fn below(&self, first: u8) -> Result<usize, usize> {
        self.below.binary_search_by_key(&first, |below| below.first)
    }

    fn same(&mut self, modifier: UrlModifier) -> &mut Same<T> {
        match modifier {
            UrlModifier::Exact => &mut self.exact,
            _ => &mut self.prefix,
        }
    }

    fn refresh(&mut self) {
        let own = self.exact.first().into_iter().chain(self.prefix.first());
        let own = own.map(|location| location.order);
        let below = self.below.iter().map(|below| below.node.min_order);
        self.min_order = own.chain(below).min().unwrap_or(u64::MAX);
    }

    /// Adds at `rest`, counted from this node; says whether one was replaced.
    fn add(&mut self, rest: &[u8], location: Arc<Location<T>>) -> bool {
        let replaced = match rest.first() {
            None => {
                let same = self.same(location.url.modifier());
                let before = same.len();
                same.retain(|other| other.url != location.url);
                let replaced = same.len() < before;
                let at = same.partition_point(|other| other.place() < location.place());
                same.insert(at, location);
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
        let end: Box<[u8]> = end.into();
        let first = end.first().copied().unwrap_or_default();
        above.min_order = self.min_order;
        self.part = end;
        above.below.push(Below {
            first,
            node: Arc::new(self),
        });
        above
    }

    fn remove(&mut self, rest: &[u8], url: &clb_model::UrlPattern) -> bool {
        let removed = match rest.first() {
            None => {
                let same = self.same(url.modifier());
                let before = same.len();
                same.retain(|other| other.url != *url);
                same.len() < before
            }
            Some(&first) => self.remove_below(first, rest, url),
        };
        self.refresh();
        removed
    }

    fn remove_below(&mut self, first: u8, rest: &[u8], url: &clb_model::UrlPattern) -> bool {
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
        let ([], [], [only]) = (&*self.exact, &*self.prefix, &*self.below) else {
            return self;
        };
        let mut node = Node::clone(&only.node);
        node.part = [&*self.part, &*node.part].concat().into();
        node
    }
}

fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}
