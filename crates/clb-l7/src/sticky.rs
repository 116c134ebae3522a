//! Session persistence by cookie (semantics.md 3).

use clb_balance::{COOKIE_NONCE, SetCookie};
use clb_model::{BindingId, SessionExpire};
use clb_snapshot::{Pick, Pool};

use crate::http1::Request;
use crate::local::Local;

/// How a request's client stays with its member.
#[derive(Debug)]
pub(crate) struct Sticky {
    expire: SessionExpire,
    /// The member that the client's cookie names.
    pub(crate) wanted: Option<BindingId>,
    /// The cookie has less than half of its time left.
    is_old: bool,
}

impl Sticky {
    /// What the request's cookies say to the pool; `None` when it does not ask for any.
    pub(crate) fn of(
        request: &Request<'_>,
        pool: &Pool,
        local: &Local,
        name: &str,
    ) -> Option<Self> {
        let expire = pool.view().cookie_expire()?;
        let now = local.unix_seconds();
        let (key, seconds) = (local.board().cookie_key()?, u64::from(expire.get()));
        let opened = request
            .cookies(name.as_bytes())
            .find_map(|value| key.open(pool.name().as_bytes(), value, now, seconds));
        Some(Self {
            expire,
            wanted: opened.map(|cookie| BindingId(cookie.member)),
            is_old: opened.is_some_and(|cookie| cookie.needs_renewal(now, seconds)),
        })
    }

    /// The cookie that the client needs, to stay with the member that was picked.
    pub(crate) fn cookie(
        &self,
        pick: &Pick,
        pool: &Pool,
        local: &Local,
        name: &str,
        secure: bool,
    ) -> Option<Box<[u8]>> {
        if pick.is_wanted() && !self.is_old {
            return None;
        }
        let key = local.board().cookie_key()?;
        let nonce: [u8; COOKIE_NONCE] = local.random();
        let now = local.unix_seconds();
        let value = key.seal(pool.name().as_bytes(), pick.binding().0, now, nonce);
        let cookie = SetCookie {
            name,
            value: &value,
            max_age: self.expire.get(),
            secure,
        };
        Some(cookie.to_string().into_bytes().into())
    }
}
