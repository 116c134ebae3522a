//! Request to rule, exactly as nginx does it, and why this one; no I/O.
//!
//! ```
//! use clb_model::{DomainPattern, UrlPattern};
//! use clb_routing::{Router, Scratch};
//!
//! let domain = DomainPattern::parse("*.example.com")?;
//! let router = Router::new()
//!     .with(&domain, &UrlPattern::parse("/")?, 1, "all")?
//!     .with(&domain, &UrlPattern::parse(r"~ \.php$")?, 2, "php")?;
//! let mut scratch = Scratch::new();
//! let route = router.route(b"WWW.example.com:80", b"/a/../b%2Ephp?q=1", &mut scratch)?;
//! assert_eq!(*route.value, "php");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod byte_set;
mod domain;
mod error;
mod explain;
mod few;
mod filter;
mod host;
mod list;
mod matcher;
mod path;
mod router;
mod superset;
mod table;
mod tree;
mod urls;

pub use error::{HostFault, PathFault, PatternError, RouteError};
pub use explain::Explanation;
pub use matcher::{MATCH_LIMIT, check_domain, check_url};
pub use path::resolve_path;
pub use router::{Route, Router, Scratch};
