//! Results of an evaluation as files: the summary in lm-evaluation-harness's layout, and the log of
//! every sample.

mod identity;
mod samples;
mod summary;

pub use self::identity::folder_sha256;
pub use self::samples::sample_lines;
pub(crate) use self::summary::metrics;
pub use self::summary::{Evaluated, group_measures, summary};
