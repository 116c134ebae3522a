//! Which trace a request belongs to, and which span of it is ours.

use clb_snapshot::Tracing;

use crate::http1::Request;
use crate::http1::trace::{TRACEPARENT_LENGTH, TraceParent, trace_of};
use crate::local::Local;

/// Octets of a trace, a span and the span before it, as the access log has them.
pub(crate) const CONTEXT_LENGTH: usize = 32;

/// What a request is sent on with in the place of its own traceparent.
#[derive(Debug)]
pub(crate) struct Traced {
    value: [u8; TRACEPARENT_LENGTH],
    /// The client's tracestate belongs to it.
    keeps_state: bool,
    /// The span that is to be recorded.
    pub(crate) context: Option<[u8; CONTEXT_LENGTH]>,
}

impl Traced {
    pub(crate) fn addition(&self) -> (&[u8], bool) {
        (&self.value, self.keeps_state)
    }
}

/// Decides it; `None` where the client's fields go on as they are.
pub(crate) fn traced(
    tracing: Tracing,
    request: &Request<'_>,
    id: &[u8],
    local: &Local,
) -> Option<Traced> {
    if !tracing.creates && !tracing.records {
        return None;
    }
    let given = request.traceparent.and_then(TraceParent::read);
    if given.is_some() && !tracing.records {
        return None;
    }
    let parent = match given {
        Some(given) => TraceParent {
            span: local.random(),
            ..given
        },
        None => {
            let [draw] = local.random::<1>();
            // 256 steps are near enough to a percentage.
            let is_sampled = u32::from(draw) * 100 < tracing.sample_percent * 256;
            TraceParent {
                trace: trace_of(id).unwrap_or_else(|| local.random()),
                span: local.random(),
                flags: TraceParent::flags(is_sampled),
            }
        }
    };
    let is_recorded = tracing.records && parent.is_sampled();
    Some(Traced {
        value: parent.to_value(),
        keeps_state: given.is_some(),
        context: is_recorded.then(|| {
            let mut context = [0; CONTEXT_LENGTH];
            let before = given.map_or([0; 8], |given| given.span);
            let octets = parent.trace.iter().chain(&parent.span).chain(&before);
            context
                .iter_mut()
                .zip(octets)
                .for_each(|(to, from)| *to = *from);
            context
        }),
    })
}
