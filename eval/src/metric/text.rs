//! Ways of comparing a written answer with the right one.

use std::collections::BTreeMap;

use neo_data::python::{is_punctuation, lower, split_words};

use super::generation::Settings;
use crate::Result;

/// `exact_match`: equality after what the settings leave out of both sides.
///
/// # Errors
/// A pattern that backtracks without end.
pub fn exact_match(settings: &Settings, gold: &str, answer: &str) -> Result<bool> {
    Ok(reduced(settings, gold)? == reduced(settings, answer)?)
}

/// Patterns first, then case, punctuation, digits, in this order.
fn reduced(settings: &Settings, text: &str) -> Result<String> {
    let mut text = text.to_owned();
    for pattern in &settings.ignored {
        text = pattern.replace(&text, "", 0)?;
    }
    if settings.ignore_case {
        text = lower(&text).into_owned();
    }
    if settings.ignore_punctuation {
        text.retain(|c| !is_punctuation(c));
    }
    if settings.ignore_numbers {
        text.retain(|c| !c.is_ascii_digit());
    }
    Ok(text)
}

/// F1 of the words that both have, as SQuAD normalises them: lower case, no punctuation, no
/// articles. `by_character` takes every Chinese character as a word, as CMRC 2018 does.
pub fn token_f1(gold: &str, answer: &str, by_character: bool) -> f64 {
    let (gold, answer) = (tokens(gold, by_character), tokens(answer, by_character));
    if gold.is_empty() || answer.is_empty() {
        return f64::from(u8::from(gold == answer));
    }
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for token in &gold {
        *left.entry(token).or_default() += 1;
    }
    let take = |token: &&String| match left.get_mut(token.as_str()) {
        Some(n) if *n > 0 => {
            *n -= 1;
            true
        }
        _ => false,
    };
    let shared = answer.iter().filter(take).count() as f64;
    2.0 * shared / (gold.len() + answer.len()) as f64
}

fn tokens(text: &str, by_character: bool) -> Vec<String> {
    let is_mark = |c: char| is_punctuation(c) || (by_character && is_chinese_mark(c));
    let plain: String = lower(text).chars().filter(|&c| !is_mark(c)).collect();
    let words =
        split_words(&plain).filter(|word| by_character || !["a", "an", "the"].contains(word));
    let mut tokens = Vec::new();
    for word in words {
        if !by_character {
            tokens.push(word.to_owned());
            continue;
        }
        let mut latin = String::new();
        for c in word.chars() {
            if matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}') {
                tokens.extend((!latin.is_empty()).then(|| std::mem::take(&mut latin)));
                tokens.push(c.to_string());
            } else {
                latin.push(c);
            }
        }
        tokens.extend((!latin.is_empty()).then_some(latin));
    }
    tokens
}

fn is_chinese_mark(c: char) -> bool {
    matches!(c, '\u{3000}'..='\u{303f}' | '\u{ff01}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff20}')
        || "“”‘’…—·「」『』".contains(c)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_sides_lose_what_is_ignored() {
        let given =
            json!({"ignore_case": true, "regexes_to_ignore": [",", "\\$", "(?s).*#### ", "\\.$"]});
        let settings = Settings::new("exact_match", given.as_object().unwrap()).unwrap();
        let check = |gold, answer, expected| {
            assert_eq!(exact_match(&settings, gold, answer).unwrap(), expected, "{gold} {answer}");
        };
        check("so\nit is #### 1,000", "$1000.", true);
        check("#### 5", "5.0", false);
        check("A", "a", true);
        let given = json!({"ignore_punctuation": true, "ignore_numbers": true});
        let settings = Settings::new("exact_match", given.as_object().unwrap()).unwrap();
        assert!(exact_match(&settings, "a.1", "a").unwrap());
        assert!(Settings::new("acc", given.as_object().unwrap()).is_err());
    }

    #[test]
    fn shared_words_count_once_each() {
        let check = |gold, answer, by_character, expected: f64| {
            let found = token_f1(gold, answer, by_character);
            assert!((found - expected).abs() < 1e-12, "{gold} {answer} {found}");
        };
        check("the Eiffel Tower", "eiffel tower.", false, 1.0);
        check("a b c", "b b d", false, 0.4);
        check("北京大学", "北京", true, 2.0 / 3.0);
        check("《NBA》联赛", "nba联赛", true, 1.0);
        check("", "", false, 1.0);
    }
}
