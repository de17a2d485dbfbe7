//! Limits on a measured quantity, and rule names that exist, as rule files write them.

use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

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
    pub fn crossed(&self, value: f64) -> Option<Limit> {
        let min = self.min.filter(|limit| value < *limit).map(Limit::Min);
        let above = self.above.filter(|limit| value <= *limit).map(Limit::Above);
        let max = self.max.filter(|limit| value > *limit).map(Limit::Max);
        let below = self.below.filter(|limit| value >= *limit).map(Limit::Below);
        min.or(above).or(max).or(below)
    }

    /// Whether neither this value nor any smaller one crosses a limit.
    pub fn hold_up_to(&self, value: f64) -> bool {
        self.min.is_none() && self.above.is_none() && self.crossed(value).is_none()
    }
}

/// One limit with its direction, spelled as in rule files.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// Smallest value kept.
    Min(f64),
    /// Largest value kept.
    Max(f64),
    /// Only values above this are kept.
    Above(f64),
    /// Only values below this are kept.
    Below(f64),
}

impl Limit {
    /// The number, without its direction.
    pub fn value(self) -> f64 {
        match self {
            Self::Min(value) | Self::Max(value) | Self::Above(value) | Self::Below(value) => value,
        }
    }
}

impl Limit {
    /// How a value that crosses it stands to the number: `value < 0.3`.
    pub fn relation(self) -> &'static str {
        match self {
            Self::Min(_) => "<",
            Self::Above(_) => "<=",
            Self::Max(_) => ">",
            Self::Below(_) => ">=",
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let direction = match self {
            Self::Min(_) => "at least",
            Self::Max(_) => "at most",
            Self::Above(_) => "above",
            Self::Below(_) => "below",
        };
        write!(f, "{direction} {}", self.value())
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
        check(both, 2.9, Some(Limit::Min(3.0)));
        check(both, 3.0, None);
        check(both, 10.0, None);
        check(both, 10.1, Some(Limit::Max(10.0)));
        let open = Limits { above: Some(1.0), below: Some(2.0), ..Limits::default() };
        check(open, 1.0, Some(Limit::Above(1.0)));
        check(open, 1.5, None);
        check(open, 2.0, Some(Limit::Below(2.0)));
        assert!(!open.hold_up_to(1.5) && !both.hold_up_to(1.0));
        let upper = Limits { below: Some(2.0), ..Limits::default() };
        assert!(upper.hold_up_to(1.9) && !upper.hold_up_to(2.0));
    }
}
