//! Text until a stop string: prompts cut from the left to leave room for what is written.

use neo_model::branch::{Beginning, continue_text};
use neo_model::generate::{Sampling, choose};

use super::Network;
use crate::language_model::{Answers, Prompt};
use crate::task::Generation;
use crate::{Error, Result};

/// A common beginning shorter than this is not worth keeping.
const MIN_SHARED: usize = 8;

impl Network<'_> {
    pub(super) fn write_texts(
        &self,
        prompts: &[Prompt<'_>],
        settings: &Generation,
        answers: &mut Answers<'_, String>,
    ) -> Result<()> {
        let max_tokens = settings.n_tokens();
        let context = self.model.config.max_seq_len;
        let room = context.checked_sub(max_tokens).filter(|room| *room > 0).ok_or_else(|| {
            Error::Setting(format!(
                "{max_tokens} tokens are to be written, the model's context has {context}; set \
                 `max_gen_toks` in the task's `generation_kwargs`"
            ))
        })?;
        let mut encoded: Vec<Vec<u32>> =
            prompts.iter().map(|prompt| self.prompt_ids(prompt.context)).collect();
        cut_to_room(&mut encoded, room);
        let shared = common_beginning(&encoded);
        let first = encoded.first().map_or(&[][..], |ids| &ids[..shared]);
        let beginning = Beginning::empty(self.model).extended(self.model, &[(0, first)])?;
        for (i, (prompt, ids)) in prompts.iter().zip(&encoded).enumerate() {
            if !answers.know_all([i]) {
                let seed = prompt.repeat as u64;
                let text =
                    self.write_text(&beginning, &ids[shared..], settings, max_tokens, seed)?;
                answers.set(i, text)?;
            }
            (self.progress)(i + 1, prompts.len());
        }
        Ok(())
    }

    /// The tokens of a prompt; an empty one is the token that begins texts.
    fn prompt_ids(&self, context: &str) -> Vec<u32> {
        let mut ids = self.tokenizer.encode_with_specials(context);
        if ids.is_empty() {
            ids.push(self.tokenizer.bos_id());
        }
        ids
    }

    fn write_text(
        &self,
        beginning: &Beginning,
        ids: &[u32],
        settings: &Generation,
        max_tokens: usize,
        seed: u64,
    ) -> Result<String> {
        let n_choices = self.tokenizer.vocab_size();
        let sampling =
            Sampling { temperature: settings.temperature, top_p: settings.top_p, top_k: 0, seed };
        let mut new: Vec<u32> = Vec::new();
        continue_text(self.model, beginning, 0, ids, &mut |logits, n_made| {
            if n_made >= max_tokens {
                return None;
            }
            let id = choose(&logits[..n_choices.min(logits.len())], sampling, n_made as u64);
            if self.stop_ids.contains(&id) {
                return None;
            }
            new.push(id);
            let is_over = !settings.until.is_empty() && self.has_stop(&new, &settings.until);
            (!is_over && n_made + 1 < max_tokens).then_some(id)
        })?;
        Ok(cut(&self.tokenizer.decode(&new), &settings.until).to_owned())
    }

    fn has_stop(&self, ids: &[u32], until: &[String]) -> bool {
        let text = self.tokenizer.decode(ids);
        until.iter().any(|stop| !stop.is_empty() && text.contains(stop.as_str()))
    }
}

/// Leaves the last `room` tokens of each prompt, and says where that changes one.
fn cut_to_room(prompts: &mut [Vec<u32>], room: usize) {
    let n_cut = prompts.iter().filter(|ids| ids.len() > room).count();
    if n_cut > 0 {
        tracing::warn!(
            "{n_cut} of {} prompts have more than the {room} tokens that the model's context leaves \
             them, and lose their beginning",
            prompts.len()
        );
    }
    for ids in prompts {
        ids.drain(..ids.len().saturating_sub(room));
    }
}

/// The text before the first of each stop string, in their order.
fn cut<'a>(text: &'a str, until: &[String]) -> &'a str {
    let stops = until.iter().filter(|stop| !stop.is_empty());
    stops.fold(text, |text, stop| text.split(stop.as_str()).next().unwrap_or_default())
}

/// Tokens that all prompts begin with, but for the last of each.
fn common_beginning(prompts: &[Vec<u32>]) -> usize {
    let Some((first, others)) = prompts.split_first().filter(|(_, others)| !others.is_empty())
    else {
        return 0;
    };
    let mut common = first.len() - 1;
    for ids in others {
        let equal = first.iter().zip(ids).take_while(|(a, b)| a == b).count();
        common = common.min(equal).min(ids.len() - 1);
    }
    if common < MIN_SHARED { 0 } else { common }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_end_before_the_first_stop_string() {
        let until = ["\n\n".to_owned(), String::new(), "Q:".to_owned()];
        assert_eq!(cut("a Q: b\n\nc", &until), "a ");
        assert_eq!(cut("a\n\nQ:", &until), "a");
        assert_eq!(cut("a", &until), "a");
    }

    #[test]
    fn the_last_token_is_never_shared() {
        let ids: Vec<u32> = (0..20).collect();
        assert_eq!(common_beginning(&[ids.clone(), ids.clone()]), 19);
        assert_eq!(common_beginning(&[ids.clone(), vec![0, 1]]), 0);
        assert_eq!(common_beginning(&[ids]), 0);
    }
}
