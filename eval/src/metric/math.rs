//! Final answers of mathematics: read out of a text, brought to one form, compared.
//!
//! The form is Minerva's (Lewkowycz et al. 2022, appendix D) with lm-evaluation-harness's repairs.
//! There, answers that differ in form are also compared by a computer algebra system; here only
//! numbers and simple fractions are, so marks can be lower, never higher.

use neo_data::python::strip;

use crate::Result;
use crate::python::regex::Pattern;

/// Texts replaced in this order.
const SUBSTITUTIONS: [(&str, &str); 10] = [
    ("an ", ""),
    ("a ", ""),
    (".$", "$"),
    ("\\$", ""),
    ("\\ ", ""),
    (" ", ""),
    ("mbox", "text"),
    (",\\text{and}", ","),
    ("\\text{and}", ","),
    ("\\text{m}", "\\text{}"),
];

/// Units and filling words.
const WORDS: [&str; 26] = [
    "square",
    "ways",
    "integers",
    "dollars",
    "mph",
    "inches",
    "ft",
    "hours",
    "km",
    "units",
    "sue",
    "points",
    "feet",
    "minutes",
    "digits",
    "cents",
    "degrees",
    "cm",
    "gm",
    "pounds",
    "meters",
    "meals",
    "edges",
    "students",
    "childrentickets",
    "multiples",
];

/// Marks that mean nothing in an answer.
const MARKS: [&str; 16] = [
    "\\ldots",
    "\\text{s}",
    "\\text{.}",
    "\\text{\ns}",
    "\\text{}^2",
    "\\text{}^3",
    "\\text{\n}",
    "\\text{}",
    "\\mathrm{th}",
    "^\\circ",
    "^{\\circ}",
    "\\;",
    ",\\!",
    "{,}",
    "\"",
    "\\dots",
];

/// Whether the final answer of `answer` is the one of `gold`.
///
/// # Errors
/// A text on which a pattern backtracks without end.
pub fn is_equal(gold: &str, answer: &str) -> Result<bool> {
    let gold = normalized(&final_answer(gold)?)?;
    let answer = normalized(&final_answer(answer)?)?;
    Ok(gold == answer
        || matches!((number(&gold), number(&answer)), (Some(a), Some(b)) if close(a, b)))
}

/// What stands after "the final answer is", else in the last box, else the whole text.
fn final_answer(text: &str) -> Result<String> {
    let said = Pattern::new(r"Final Answer: The final answer is(.*?)\. I hope it is correct\.")?;
    let closed = format!("{text}. I hope it is correct.");
    if let Some(crate::python::regex::Found::Text(found)) = said.find_all(&closed)?.first() {
        return Ok(strip(found).to_owned());
    }
    Ok(last_box(text).unwrap_or_else(|| strip(text)).to_owned())
}

/// The content of the last `\boxed{..}` or `\fbox{..}`.
fn last_box(text: &str) -> Option<&str> {
    if let Some((_, rest)) = text.rsplit_once("\\boxed ") {
        return rest.split('$').next();
    }
    let start = text.rfind("\\boxed").or_else(|| text.rfind("\\fbox"))?;
    let mut open = 0;
    let mut inside = None;
    for (at, c) in text[start..].char_indices() {
        match c {
            '{' => {
                open += 1;
                inside.get_or_insert(start + at + 1);
            }
            '}' => {
                open -= 1;
                if open == 0 {
                    return Some(&text[inside?..start + at]);
                }
            }
            _ => {}
        }
    }
    None
}

/// The answer in one form.
///
/// # Errors
/// A text on which a pattern backtracks without end.
pub fn normalized(answer: &str) -> Result<String> {
    let sub = |pattern: &str, replacement: &str, text: &str| {
        Pattern::new(pattern)?.replace(text, replacement, 0)
    };
    let mut text = answer.rsplit('=').next().unwrap_or_default().to_owned();
    for word in WORDS {
        text = sub(&format!(r"(?<!\\)\b{word}\b"), "", &text)?;
    }
    for (before, after) in SUBSTITUTIONS {
        text = text.replace(before, after);
    }
    for word in WORDS {
        text = without_word(&text, word);
    }
    for mark in MARKS {
        text = text.replace(mark, "");
    }
    for (pattern, replacement) in [
        (r"(.*?)(\$)(.*?)(\$)(.*)", r"$\3$"),
        (r"(\\text\{)(.*?)(\})", r"\2"),
        (r"(\\textbf\{)(.*?)(\})", r"\2"),
        (r"(\\overline\{)(.*?)(\})", r"\2"),
        (r"(\\boxed\{)(.*)(\})", r"\2"),
        (r"(frac)([^{])(.)", r"frac{\2}{\3}"),
        (r"(sqrt)(\[[^\]]*\])(\w)", r"\1\2{\3}"),
        (r"(sqrt)(?!\[)([^{])", r"sqrt{\2}"),
    ] {
        text = sub(pattern, replacement, &text)?;
    }
    text = text.replace('$', "");
    let has_groups = Pattern::new(r"^-?\d{1,3}(,\d{3})+\Z")?.is_match(&text)?;
    Ok(if has_groups { text.replace(',', "") } else { text })
}

/// The text without a word that stands outside LaTeX's commands.
fn without_word(text: &str, word: &str) -> String {
    let mut out = String::new();
    for (i, part) in text.split('\\').enumerate() {
        if i == 0 {
            out.push_str(&part.replace(word, ""));
            continue;
        }
        let end = part.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(part.len());
        out.push('\\');
        out.push_str(&part[..end]);
        out.push_str(&part[end..].replace(word, ""));
    }
    out
}

/// A number or a fraction of two.
fn number(text: &str) -> Option<f64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text),
    };
    let fraction = text.strip_prefix("\\frac{").or_else(|| text.strip_prefix("\\dfrac{"));
    let parts = match fraction {
        Some(inner) => inner.strip_suffix('}')?.split_once("}{"),
        None => text.split_once('/'),
    };
    match parts {
        Some((over, under)) => Some(sign * over.parse::<f64>().ok()? / under.parse::<f64>().ok()?),
        None => text.parse::<f64>().ok().map(|x| sign * x),
    }
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

/// Whether the last number of `answer` is the one of `gold` within 1 %, or for words their equality
/// without case: how TheoremQA's answers are read.
pub fn is_number_equal(gold: &str, answer: &str) -> bool {
    let answer = answer.rsplit("answer is").next().unwrap_or_default();
    let answer = strip(answer).trim_end_matches('.').trim_matches(['(', ')', ' ', '$']);
    if gold.eq_ignore_ascii_case(answer) {
        return true;
    }
    let last = answer
        .split(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | ',' | 'e' | '/')))
        .map(|word| word.trim_matches(['.', ',']).replace(',', ""))
        .filter_map(|word| number(&word))
        .next_back();
    match (number(gold), last) {
        (Some(0.0), Some(found)) => found.abs() < 0.01,
        (Some(gold), Some(found)) => (gold - found).abs() <= 0.01 * gold.abs(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_brought_to_one_form() {
        let check = |answer, expected: &str| assert_eq!(normalized(answer).unwrap(), expected);
        check("x = $\\frac12$", "\\frac{1}{2}");
        check("12,000 dollars", "12000");
        check("\\text{even}", "even");
        check("\\sqrt3 cm", "\\sqrt{3}");
        check("0,1", "0,1");
        check("\\left(2,3\\right)", "\\left(2,3\\right)");
        check("30^\\circ", "30");
    }

    #[test]
    fn equal_answers_are_found_in_texts() {
        let check = |gold, answer, expected| {
            assert_eq!(is_equal(gold, answer).unwrap(), expected, "{gold} {answer}");
        };
        check("\\frac{3}{4}", "so it is $\\boxed{0.75}$.", true);
        check("24", "Final Answer: The final answer is $24$. I hope it is correct.", true);
        check("24", "it is $\\boxed{25}$", false);
        check("\\boxed{\\frac{1}{2}}", "\\boxed{\\tfrac{1}{2}}", false);
        assert!(is_number_equal("3.14", "the answer is 3.141"));
        assert!(is_number_equal("True", "The answer is true."));
        assert!(!is_number_equal("3.14", "the answer is 3.2"));
    }
}
