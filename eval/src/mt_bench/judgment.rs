//! The judge is asked about every answer, and its replies are kept as they come.

use serde_json::{Value, json};

use super::set::{BenchSet, Question};
use super::verdict::rating;
use crate::Result;
use crate::cache::AnswerCache;
use crate::evaluation::cached;
use crate::judge::{self, Judge, Reply};

/// What a judge said about the answer of one turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgment {
    /// The question.
    pub question: Question,
    /// 1 or 2.
    pub turn: usize,
    /// The answer that is judged.
    pub answer: String,
    /// Name of the judge's prompt.
    pub prompt: String,
    /// What it was asked.
    pub asked: String,
    /// What it said.
    pub reply: Reply,
    /// The rating that was read out of it.
    pub score: Option<f64>,
}

impl Judgment {
    /// The judgment with FastChat's keys, and the answer beside it.
    pub fn line(&self, model: &Value, judge: &Judge) -> Value {
        json!({
            "question_id": self.question.id,
            "category": self.question.category,
            "turn": self.turn,
            "model": model,
            "judge": [judge.endpoint().model, self.prompt],
            "judge_model": self.reply.model,
            "answer": self.answer,
            "user_prompt": self.asked,
            "judgment": self.reply.text,
            "score": self.score,
        })
    }
}

/// Asks the judge about both answers to each question, and tells `progress` how many of how many
/// replies are there.
///
/// # Errors
/// A judge that does not answer, or a reply that cannot be kept.
pub fn judge(
    set: &BenchSet,
    questions: &[Question],
    answers: &[[String; 2]],
    judge: &Judge,
    cache: &mut AnswerCache,
    progress: &dyn Fn(usize, usize),
) -> Result<Vec<Judgment>> {
    let turns = (0..questions.len()).flat_map(|i| [(i, 0), (i, 1)]);
    let turns: Vec<(usize, usize)> = turns.collect();
    let asked = turns.iter().map(|&(i, turn)| set.judge_question(&questions[i], &answers[i], turn));
    let asked: Vec<judge::Question> = asked.collect::<Result<_>>()?;
    let replies = ask(&asked, judge, cache, progress)?;
    let judgment =
        |((&(i, turn), asked), reply): ((&(usize, usize), judge::Question), Reply)| Judgment {
            question: questions[i].clone(),
            turn: turn + 1,
            answer: answers[i][turn].clone(),
            prompt: set.prompt(&questions[i], turn).name.clone(),
            asked: asked.user,
            score: rating(&reply.text),
            reply,
        };
    Ok(turns.iter().zip(asked).zip(replies).map(judgment).collect())
}

/// A reply to each question, asked for where none is kept.
fn ask(
    questions: &[judge::Question],
    judge: &Judge,
    cache: &mut AnswerCache,
    progress: &dyn Fn(usize, usize),
) -> Result<Vec<Reply>> {
    let endpoint = judge.endpoint();
    let key = |i: usize| {
        let judge::Question { system, user } = &questions[i];
        json!(["judge", endpoint.url, endpoint.model, system, user])
    };
    let read = |value: &Value| {
        let text = |i: usize| value.get(i).and_then(Value::as_str).map(str::to_owned);
        Some(Reply { text: text(0)?, model: text(1)? })
    };
    let write = |reply: &Reply| json!([reply.text, reply.model]);
    let replies = cached(questions.len(), cache, &key, &read, &write, |answers| {
        judge.ask(questions, answers, progress)
    })?;
    Ok(replies.iter().filter_map(read).collect())
}
