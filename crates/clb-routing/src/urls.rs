//! The urls of a domain that are no regular expressions: few of them side by side, many in a tree.

use std::sync::Arc;

use clb_model::UrlPattern;

use crate::domain::Location;
use crate::few::{FEW, Few};
use crate::tree::{Found, Tree};

pub(crate) enum Urls<T> {
    /// Large, for it lies beside the domain's name.
    Few(Few<T>),
    /// More than [`FEW`].
    Many { tree: Tree<T>, len: usize },
}

impl<T: Clone> Clone for Urls<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Few(few) => Self::Few(few.clone()),
            Self::Many { tree, len } => Self::Many {
                tree: tree.clone(),
                len: *len,
            },
        }
    }
}

impl<T: Clone> Default for Urls<T> {
    fn default() -> Self {
        Self::Few(Few::default())
    }
}

impl<T: Clone> Urls<T> {
    /// What a path meets.
    pub(crate) fn find(&self, path: &[u8]) -> Found<'_, T> {
        match self {
            Self::Few(few) => few.find(path),
            Self::Many { tree, .. } => tree.find(path),
        }
    }

    /// Every url that fits the path, the shortest first: for the explanation.
    pub(crate) fn all(&self, path: &[u8]) -> Vec<&Arc<Location<T>>> {
        match self {
            Self::Few(few) => few.all(path),
            Self::Many { tree, .. } => tree.all(path),
        }
    }

    /// The order of the oldest.
    pub(crate) fn min_order(&self) -> Option<u64> {
        match self {
            Self::Few(few) => few.min_order(),
            Self::Many { tree, .. } => tree.min_order(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Location<T>>> {
        let (few, many) = match self {
            Self::Few(few) => (Some(few.iter()), None),
            Self::Many { tree, .. } => (None, Some(tree.iter())),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }

    /// Adds a url, or replaces the one of the same text; says whether there was one.
    pub(crate) fn with(&self, location: Arc<Location<T>>) -> (Self, bool) {
        match self {
            Self::Few(few) => {
                let (few, replaced) = few.with(location);
                let urls = match few.len() {
                    ..=FEW => Self::Few(few),
                    len => Self::Many {
                        tree: few.iter().fold(Tree::default(), |tree, location| {
                            tree.with(Arc::clone(location)).0
                        }),
                        len,
                    },
                };
                (urls, replaced)
            }
            Self::Many { tree, len } => {
                let (tree, replaced) = tree.with(location);
                let len = len + usize::from(!replaced);
                (Self::Many { tree, len }, replaced)
            }
        }
    }

    /// Takes the url of that text away; `None` when there is none.
    pub(crate) fn without(&self, url: &UrlPattern) -> Option<Self> {
        match self {
            Self::Few(few) => few.without(url).map(Self::Few),
            Self::Many { tree, len } => {
                let tree = tree.without(url)?;
                Some(match len - 1 {
                    ..=FEW => Self::Few(tree.iter().fold(Few::default(), |few, location| {
                        few.with(Arc::clone(location)).0
                    })),
                    len => Self::Many { tree, len },
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Met;
    use proptest::prelude::*;

    fn url() -> impl Strategy<Value = UrlPattern> {
        let modifier = prop::sample::select(vec!["", "= ", "=", "^~ ", "^~"]);
        let parts = prop::sample::select(vec!["a", "b", "A", "/", "ab", "."]);
        let text = prop::collection::vec(parts, 0..4);
        (modifier, text).prop_map(|(modifier, text)| {
            UrlPattern::parse(&format!("{modifier}/{}", text.concat())).unwrap()
        })
    }

    fn orders<'l>(found: impl IntoIterator<Item = &'l Arc<Location<u64>>>) -> Vec<u64> {
        found.into_iter().map(|location| location.value).collect()
    }

    fn order(met: &Option<Met<'_, u64>>) -> Option<u64> {
        met.as_ref().map(|met| {
            assert_eq!(met.location.value, *met.value);
            *met.value
        })
    }

    fn sorted(mut orders: Vec<u64>) -> Vec<u64> {
        orders.sort_unstable();
        orders
    }

    proptest! {
        // Around the border between few and many, in both directions.
        #[test]
        fn a_list_and_a_tree_find_the_same(
            changes in prop::collection::vec((url(), prop::bool::weighted(0.7)), 0..60),
            paths in prop::collection::vec("/[abA/.]{0,6}", 20),
        ) {
            let (mut urls, mut tree) = (Urls::default(), Tree::default());
            for (order, (url, is_added)) in (0..).zip(changes) {
                if is_added {
                    let location = Arc::new(Location::new(url, order, order));
                    let (more, replaced) = urls.with(Arc::clone(&location));
                    let (more_tree, replaced_tree) = tree.with(location);
                    prop_assert_eq!(replaced, replaced_tree);
                    (urls, tree) = (more, more_tree);
                } else {
                    let (less, less_tree) = (urls.without(&url), tree.without(&url));
                    prop_assert_eq!(less.is_some(), less_tree.is_some());
                    urls = less.unwrap_or(urls);
                    tree = less_tree.unwrap_or(tree);
                }
                let len = tree.iter().count();
                prop_assert_eq!(matches!(urls, Urls::Few(_)), len <= FEW);
                prop_assert_eq!(urls.min_order(), tree.min_order());
                prop_assert_eq!(sorted(orders(urls.iter())), sorted(orders(tree.iter())));
            }
            for path in paths {
                let path = path.as_bytes();
                let (found, wanted) = (urls.find(path), tree.find(path));
                prop_assert_eq!(order(&found.exact), order(&wanted.exact));
                if found.exact.is_none() {
                    prop_assert_eq!(order(&found.prefix), order(&wanted.prefix));
                }
                prop_assert_eq!(orders(urls.all(path)), orders(tree.all(path)));
            }
        }
    }
}
