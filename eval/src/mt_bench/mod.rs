//! MT-Bench: a model answers questions of two turns, and a judge rates each answer from 1 to 10.
//!
//! `set` reads FastChat's files, `answer` lets the model speak, `judge_prompt` puts the judge's
//! question together, `verdict` reads its reply, `judgment` asks it, `summary` makes numbers of
//! ratings. What a model or a judge said is kept under everything that it depends on, so that each
//! is asked once.

mod answer;
mod judge_prompt;
mod judgment;
mod set;
mod summary;
mod verdict;

pub use self::answer::{Speaker, prompt, temperature};
pub use self::judge_prompt::JudgePrompt;
pub use self::judgment::{Judgment, judge};
pub use self::set::{BenchSet, Question};
pub use self::summary::summary;
pub use self::verdict::{Verdict, agreed, rating, verdict};
