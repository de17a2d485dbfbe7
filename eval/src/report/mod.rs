//! Results of an evaluation as files: the summary in lm-evaluation-harness's layout, and the log of
//! every sample; both are read back here too.

mod identity;
mod results;
mod sample_log;
mod samples;
mod summary;

pub use self::identity::folder_sha256;
pub use self::results::{Config, Results, TaskResult};
pub use self::sample_log::{LoggedSample, TaskLog, read_samples};
pub use self::samples::sample_lines;
pub use self::summary::{Evaluated, group_measures, summary};
pub(crate) use self::summary::{leaves, metrics};
