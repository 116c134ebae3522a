//! The nearest known name for one that is not known.

/// Characters of the unknown name that are compared: longer names are never near one of ours,
/// and the comparison costs the product of both lengths.
const COMPARED: usize = 64;

/// The candidate nearest to `name`, brackets and underscores counting as dots and case counting
/// little; the first of several that are equally near.
pub(crate) fn nearest<S: AsRef<str>>(
    name: &str,
    candidates: impl IntoIterator<Item = S>,
) -> Option<S> {
    let name: String = name.chars().take(COMPARED).collect();
    let dotted = name
        .replace("][", ".")
        .replace(['[', '_'], ".")
        .replace(']', "");
    let folded = dotted.to_lowercase();
    candidates.into_iter().min_by_key(|candidate| {
        let candidate = candidate.as_ref();
        (
            strsim::damerau_levenshtein(&folded, &candidate.to_lowercase()),
            strsim::damerau_levenshtein(&dotted, candidate),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_are_recognised() {
        let known = ["sessionExpire", "listeners.0.protocol", "loadBalancerId"];
        assert_eq!(nearest("sesionExpire", known), Some("sessionExpire"));
        assert_eq!(nearest("LoadBalancerID", known), Some("loadBalancerId"));
        assert_eq!(
            nearest("listeners[0][protocol]", known),
            Some("listeners.0.protocol")
        );
        assert_eq!(
            nearest("listeners_0_protocol", known),
            Some("listeners.0.protocol")
        );
        assert_eq!(nearest("x", [""; 0]), None);
    }
}
