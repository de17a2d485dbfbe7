//! MT-Bench: a model answers questions of two turns, and a judge rates each answer from 1 to 10.
//!
//! `set` reads FastChat's files, `answer` lets the model speak, `prompt` puts the judge's question
//! together, `verdict` reads its reply, `judgment` asks it, `summary` makes numbers of ratings. What
//! a model or a judge said is kept under everything that it depends on, so that it is asked once.

mod answer;
mod judgment;
mod prompt;
mod set;
mod summary;
mod verdict;

pub use self::answer::{Speaker, temperature};
pub use self::judgment::{Judgment, judge};
pub use self::prompt::JudgePrompt;
pub use self::set::{BenchSet, Question};
pub use self::summary::summary;
pub use self::verdict::{Verdict, agreed, rating, verdict};
