//! Filters: named pipelines from what the model wrote to what is compared.
//!
//! One generation can pass through several pipelines, so one task reports strict and lenient marks.
//! Each step takes the responses of a document (a list, or what a step before made of it).

use serde_json::{Map, Value};

use crate::python::regex::{Found, Pattern, escape};
use crate::python::{self};
use crate::task::Document;
use neo_data::python::{lower, strip};

/// Steps with a name.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The name, which stands in the results behind the metric's.
    pub name: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    TakeFirst,
    TakeFirstK(usize),
    MajorityVote,
    Lowercase,
    Uppercase,
    Strip,
    Map { from: Map<String, Value>, default: Value },
    Regex(Extract),
    ChoiceRegex(Extract, Ignored),
}

/// Settings of the `regex` filter.
#[derive(Clone, Debug)]
struct Extract {
    pattern: std::sync::Arc<Pattern>,
    group: i64,
    fallback: Value,
}

/// What `multi_choice_regex` leaves out before it compares texts.
#[derive(Clone, Debug)]
struct Ignored {
    case: bool,
    punctuation: bool,
    patterns: Vec<std::sync::Arc<Pattern>>,
}

impl Pipeline {
    /// The pipeline of a task that states none.
    pub fn take_first() -> Self {
        Self { name: "none".into(), steps: vec![Step::TakeFirst] }
    }

    /// Reads an entry of `filter_list`.
    ///
    /// # Errors
    /// A filter that is unknown or a setting of the wrong kind.
    pub fn new(entry: &Value) -> Result<Self, String> {
        let name = entry.get("name").and_then(Value::as_str);
        let steps = entry.get("filter").and_then(Value::as_array);
        match (name, steps) {
            (Some(name), Some(steps)) => {
                let steps = steps.iter().map(Step::new).collect::<Result<_, _>>()?;
                Ok(Self { name: name.to_owned(), steps })
            }
            _ => Err("an entry of `filter_list` has a `name` and a list `filter`".into()),
        }
    }

    /// What comes out for one document's responses to one request.
    ///
    /// # Errors
    /// A step that does not fit what came before it.
    pub fn apply(&self, responses: Vec<Value>, document: &Document) -> Result<Value, String> {
        let first = Value::Array(responses);
        self.steps.iter().try_fold(first, |responses, step| step.apply(responses, document))
    }
}

impl Step {
    fn new(entry: &Value) -> Result<Self, String> {
        let function = entry.get("function").and_then(Value::as_str).unwrap_or_default();
        let flag = |key: &str| entry.get(key) == Some(&Value::Bool(true));
        Ok(match function {
            "take_first" => Self::TakeFirst,
            "take_first_k" => match entry.get("k").and_then(Value::as_u64) {
                Some(k) => Self::TakeFirstK(k as usize),
                None => return Err("filter `take_first_k` needs a count `k`".into()),
            },
            "majority_vote" => Self::MajorityVote,
            "lowercase" => Self::Lowercase,
            "uppercase" => Self::Uppercase,
            "remove_whitespace" => Self::Strip,
            "map" => Self::Map {
                from: entry
                    .get("mapping_dict")
                    .and_then(Value::as_object)
                    .cloned()
                    .unwrap_or_default(),
                default: entry.get("default_value").cloned().unwrap_or_default(),
            },
            "regex" => Self::Regex(Extract::new(entry)?),
            "multi_choice_regex" => {
                let patterns = entry.get("regexes_to_ignore").and_then(Value::as_array);
                let ignored = Ignored {
                    case: flag("ignore_case"),
                    punctuation: flag("ignore_punctuation"),
                    patterns: compiled(patterns.map_or(&[], Vec::as_slice))?,
                };
                Self::ChoiceRegex(Extract::new(entry)?, ignored)
            }
            other => {
                return Err(format!(
                    "filter `{other}` is unknown, expected `take_first`, `take_first_k`, \
                     `majority_vote`, `regex`, `multi_choice_regex`, `remove_whitespace`, \
                     `lowercase`, `uppercase` or `map`"
                ));
            }
        })
    }

    fn apply(&self, responses: Value, document: &Document) -> Result<Value, String> {
        let Value::Array(items) = responses else {
            return Err("a filter stands behind `take_first`, which leaves one response".into());
        };
        let each = |f: &dyn Fn(&str) -> Result<Value, String>| {
            let texts = items.iter().map(|item| f(item.as_str().unwrap_or_default()));
            texts.collect::<Result<_, _>>().map(Value::Array)
        };
        match self {
            Self::TakeFirst => items.into_iter().next().ok_or_else(|| "no response".into()),
            Self::TakeFirstK(k) if items.len() < *k => {
                let found = items.len();
                Err(format!(
                    "`take_first_k` needs {k} responses, {found} are there: raise `repeats`"
                ))
            }
            Self::TakeFirstK(k) => Ok(Value::Array(items.into_iter().take(*k).collect())),
            Self::MajorityVote => Ok(Value::Array(vec![most_common(&items)])),
            Self::Lowercase => each(&|text| Ok(lower(text).into_owned().into())),
            Self::Uppercase => each(&|text| Ok(text.to_uppercase().into())),
            Self::Strip => each(&|text| Ok(strip(text).into())),
            Self::Map { from, default } => {
                each(&|text| Ok(from.get(text).unwrap_or(default).clone()))
            }
            Self::Regex(extract) => each(&|text| extract.apply(text)),
            Self::ChoiceRegex(extract, ignored) => {
                let choices = ChoiceTexts::new(document, ignored)?;
                each(&|text| choices.find(text, extract, ignored))
            }
        }
    }
}

/// The most frequent response, the earliest of equals.
fn most_common(items: &[Value]) -> Value {
    let count = |item: &Value| items.iter().filter(|other| *other == item).count();
    let mut best: Option<(&Value, usize)> = None;
    for item in items {
        let n = count(item);
        if best.is_none_or(|(_, most)| n > most) {
            best = Some((item, n));
        }
    }
    best.map_or(Value::Null, |(item, _)| item.clone())
}

impl Extract {
    fn new(entry: &Value) -> Result<Self, String> {
        let pattern = entry.get("regex_pattern").and_then(Value::as_str);
        let pattern = Pattern::new(pattern.unwrap_or(r"#### (\-?[0-9\.\,]+)"));
        Ok(Self {
            pattern: std::sync::Arc::new(pattern.map_err(|problem| problem.to_string())?),
            group: entry.get("group_select").and_then(Value::as_i64).unwrap_or(0),
            fallback: entry.get("fallback").cloned().unwrap_or_else(|| "[invalid]".into()),
        })
    }

    fn apply(&self, text: &str) -> Result<Value, String> {
        let found = self.pattern.find_all(text).map_err(|problem| problem.to_string())?;
        if found.is_empty() {
            return Ok(self.fallback.clone());
        }
        let picked = picked(&found, self.group).ok_or_else(|| {
            format!("`group_select: {}` is beyond the {} matches", self.group, found.len())
        })?;
        Ok(picked.map_or_else(|| self.fallback.clone(), |text| strip(text).into()))
    }
}

/// The match at a position counted from either end, and of several groups the first that is not empty.
fn picked(found: &[Found], position: i64) -> Option<Option<&str>> {
    let position = if position < 0 { position + found.len() as i64 } else { position };
    let found = found.get(usize::try_from(position).ok()?)?;
    Some(match found {
        Found::Text(text) => Some(text),
        Found::Groups(groups) => groups.iter().find(|group| !group.is_empty()).map(String::as_str),
    })
}

/// The patterns by which `multi_choice_regex` finds a choice where its own pattern does not.
struct ChoiceTexts {
    texts: Pattern,
    letters: Pattern,
    letter_of: Vec<(String, String)>,
}

impl ChoiceTexts {
    fn new(document: &Document, ignored: &Ignored) -> Result<Self, String> {
        let choices = document.fields.get("choices").and_then(Value::as_array);
        let Some(choices) = choices else {
            return Err("`multi_choice_regex` needs the field `choices`".into());
        };
        let texts =
            choices.iter().map(|choice| ignored.strip(strip(choice.as_str().unwrap_or_default())));
        let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
        let letters: Vec<String> = ('A'..).take(texts.len()).map(String::from).collect();
        let mut patterns: Vec<String> = texts.iter().map(|text| escape(text)).collect();
        patterns.sort_by_key(|pattern| usize::MAX - pattern.chars().count());
        let pattern = |source: &str| Pattern::new(source).map_err(|problem| problem.to_string());
        Ok(Self {
            texts: pattern(&patterns.join("|"))?,
            letters: pattern(&format!(":[\\s]*({})", letters.join("|")))?,
            letter_of: texts.into_iter().zip(letters.iter().map(|l| format!("({l})"))).collect(),
        })
    }

    fn find(&self, text: &str, extract: &Extract, ignored: &Ignored) -> Result<Value, String> {
        let search = |pattern: &Pattern, text: &str| -> Result<String, String> {
            let found = pattern.find_all(text).map_err(|problem| problem.to_string())?;
            let text = picked(&found, extract.group).flatten();
            Ok(text.map(strip).unwrap_or_default().to_owned())
        };
        let own = search(&extract.pattern, text)?;
        if !own.is_empty() {
            return Ok(own.into());
        }
        let by_text = search(&self.texts, &ignored.strip(text)?)?;
        if !by_text.is_empty() {
            let letter = self.letter_of.iter().rev().find(|(choice, _)| *choice == by_text);
            return Ok(letter.map_or(by_text.clone(), |(_, letter)| letter.clone()).into());
        }
        let by_letter = search(&self.letters, text)?;
        let is_none = by_letter.is_empty();
        Ok(if is_none { extract.fallback.clone() } else { format!("({by_letter})").into() })
    }
}

impl Ignored {
    fn strip(&self, text: &str) -> Result<String, String> {
        let mut text = text.to_owned();
        for pattern in &self.patterns {
            text = pattern.replace(&text, "", 0).map_err(|problem| problem.to_string())?;
        }
        if self.case {
            text = lower(&text).into_owned();
        }
        if self.punctuation {
            let pattern = Pattern::new(r"\p{P}").map_err(|problem| problem.to_string())?;
            text = pattern.replace(&text, "", 0).map_err(|problem| problem.to_string())?;
        }
        Ok(text)
    }
}

/// Compiles the texts of a list.
pub(crate) fn compiled(patterns: &[Value]) -> Result<Vec<std::sync::Arc<Pattern>>, String> {
    let compile = |pattern: &Value| {
        let pattern = Pattern::new(&python::value::str(pattern));
        pattern.map(std::sync::Arc::new).map_err(|problem| problem.to_string())
    };
    patterns.iter().map(compile).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(steps: Value, responses: &[&str], expected: Value) {
        let pipeline = Pipeline::new(&json!({"name": "n", "filter": steps})).unwrap();
        let document = json!({"choices": ["Guilty", "Guilty of Romance"]});
        let document = Document::new(document.as_object().unwrap().clone());
        let responses = responses.iter().map(|&text| text.into()).collect();
        assert_eq!(pipeline.apply(responses, &document).unwrap(), expected, "{steps}");
    }

    #[test]
    fn numbers_are_read_strictly_and_leniently() {
        let strict = json!([
            {"function": "regex", "regex_pattern": "#### (\\-?[0-9\\.\\,]+)"}, {"function": "take_first"}
        ]);
        check(strict.clone(), &["x\n#### 1,000.\n#### 2"], json!("1,000."));
        check(strict, &["no"], json!("[invalid]"));
        let lenient = json!([
            {"function": "regex", "group_select": -1, "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)"},
            {"function": "take_first"}
        ]);
        check(lenient, &["from 3 to $12.50 or 7"], json!("7"));
    }

    #[test]
    fn repeats_are_voted_on() {
        let vote = json!([{"function": "majority_vote"}, {"function": "take_first"}]);
        check(vote, &["b", "a", "a", "b", "c"], json!("b"));
        check(json!([{"function": "take_first_k", "k": 2}]), &["b", "a", "c"], json!(["b", "a"]));
    }

    #[test]
    fn a_longer_choice_is_not_shadowed_by_its_beginning() {
        let steps = json!([
            {"function": "multi_choice_regex", "regex_pattern": "answer is (\\([A-Z]\\))",
             "ignore_case": true, "ignore_punctuation": true},
            {"function": "take_first"}
        ]);
        check(steps.clone(), &["It is guilty of romance."], json!("(B)"));
        check(steps.clone(), &["the answer is (C)"], json!("(C)"));
        check(steps.clone(), &["Option: A"], json!("(A)"));
        check(steps, &["?"], json!("[invalid]"));
    }
}
