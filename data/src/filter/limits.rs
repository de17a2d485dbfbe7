//! Limits on a measured quantity, and rule names that exist, as rule files write them.

use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, de::Error as _};

/// Limits on one quantity.
///
/// A value equal to `min` or `max` is kept; one equal to `above` or `below` is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Smallest value kept.
    pub min: Option<f64>,
    /// Largest value kept.
    pub max: Option<f64>,
    /// Only values above this are kept.
    pub above: Option<f64>,
    /// Only values below this are kept.
    pub below: Option<f64>,
}

impl Limits {
    /// The limit that a value crosses, if any.
    pub fn crossed(&self, value: f64) -> Option<f64> {
        let too_small = |&limit: &f64| value < limit;
        let too_large = |&limit: &f64| value > limit;
        self.min
            .filter(too_small)
            .or(self.above.filter(|limit| value <= *limit))
            .or(self.max.filter(too_large))
            .or(self.below.filter(|limit| value >= *limit))
    }
}

/// The rules that a kind of rule file may name, in the order in which they are tried.
pub(super) trait Catalogue {
    /// The names.
    fn names() -> Vec<&'static str>;
}

/// The place of a rule in its catalogue, read from its name.
pub(super) struct RuleIndex<C>(pub(super) usize, PhantomData<C>);

impl<'de, C: Catalogue> Deserialize<'de> for RuleIndex<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let names = C::names();
        match names.iter().position(|known| *known == name) {
            Some(idx) => Ok(Self(idx, PhantomData)),
            // In the words of serde, from which `toml_file` finds line and nearest name.
            None => Err(D::Error::custom(format!(
                "unknown field `{name}`, expected one of `{}`",
                names.join("`, `")
            ))),
        }
    }
}

impl<C> PartialEq for RuleIndex<C> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<C> Eq for RuleIndex<C> {}

impl<C> PartialOrd for RuleIndex<C> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<C> Ord for RuleIndex<C> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_keep_or_drop_their_own_value() {
        let check = |limits: Limits, value, crossed| assert_eq!(limits.crossed(value), crossed);
        let both = Limits { min: Some(3.0), max: Some(10.0), ..Limits::default() };
        check(both, 2.9, Some(3.0));
        check(both, 3.0, None);
        check(both, 10.0, None);
        check(both, 10.1, Some(10.0));
        let open = Limits { above: Some(1.0), below: Some(2.0), ..Limits::default() };
        check(open, 1.0, Some(1.0));
        check(open, 1.5, None);
        check(open, 2.0, Some(2.0));
    }
}
