//! Regions and their old short names (actions.md A.8).

/// The old short names, as several public client programs map them.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("gz", "ap-guangzhou"),
    ("sh", "ap-shanghai"),
    ("bj", "ap-beijing"),
    ("cd", "ap-chengdu"),
    ("cq", "ap-chongqing"),
    ("hk", "ap-hongkong"),
    ("sg", "ap-singapore"),
    ("kr", "ap-seoul"),
    ("th", "ap-bangkok"),
    ("in", "ap-mumbai"),
    ("jp", "ap-tokyo"),
    ("ca", "na-toronto"),
    ("usw", "na-siliconvalley"),
    ("use", "na-ashburn"),
    ("de", "eu-frankfurt"),
    ("ru", "eu-moscow"),
    ("shjr", "ap-shanghai-fsi"),
    ("szjr", "ap-shenzhen-fsi"),
];

/// The full name of a region: that of a short name, otherwise `name` itself.
#[must_use]
pub fn full_name(name: &str) -> &str {
    SHORT_NAMES
        .iter()
        .find(|(short, _)| *short == name)
        .map_or(name, |(_, full)| full)
}

/// The short name of a region where there is one, otherwise `name` itself.
#[must_use]
pub fn short_name(name: &str) -> &str {
    SHORT_NAMES
        .iter()
        .find(|(_, full)| *full == name)
        .map_or(name, |(short, _)| short)
}

/// Whether two names, short or full, mean the same region.
#[must_use]
pub fn same_region(one: &str, other: &str) -> bool {
    full_name(one) == full_name(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_known_by_both_of_its_names() {
        assert!(same_region("gz", "ap-guangzhou"));
        assert!(same_region("ap-guangzhou", "gz"));
        assert!(same_region("own-datacenter", "own-datacenter"));
        assert!(!same_region("sh", "ap-guangzhou"));
        assert!(!same_region("GZ", "ap-guangzhou"));
        assert_eq!(short_name("ap-guangzhou"), "gz");
        assert_eq!(short_name("gz"), "gz");
        assert_eq!(short_name("own-datacenter"), "own-datacenter");
    }

    #[test]
    fn no_short_name_stands_for_two_regions() {
        for (position, (short, full)) in SHORT_NAMES.iter().enumerate() {
            assert_eq!(full_name(short), *full);
            assert!(
                SHORT_NAMES[position + 1..]
                    .iter()
                    .all(|other| other.0 != *short && other.1 != *full)
            );
        }
    }
}
