//! `ast.literal_eval`: how lm-evaluation-harness reads lists that a template has printed.

use serde_json::{Map, Number, Value};

/// The value of a Python literal; tuples and sets come out as lists. `None` where Python raises.
pub fn literal_eval(text: &str) -> Option<Value> {
    let mut parser = Parser { rest: text.trim_start_matches([' ', '\t']) };
    let value = parser.tuple_or_value()?;
    parser.skip_space();
    parser.rest.is_empty().then_some(value)
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A value, or several with commas between them, which are a tuple without its parentheses.
    fn tuple_or_value(&mut self) -> Option<Value> {
        let first = self.value()?;
        if !self.eat(",") {
            return Some(first);
        }
        let mut items = vec![first];
        self.skip_space();
        while !self.rest.is_empty() {
            items.push(self.value()?);
            if !self.eat(",") {
                break;
            }
            self.skip_space();
        }
        Some(Value::Array(items))
    }

    fn value(&mut self) -> Option<Value> {
        self.skip_space();
        match self.rest.chars().next()? {
            '[' => self.sequence("[", "]").map(|(items, _)| Value::Array(items)),
            '(' => {
                let (mut items, comma) = self.sequence("(", ")")?;
                let is_group = items.len() == 1 && !comma;
                Some(if is_group { items.remove(0) } else { Value::Array(items) })
            }
            '{' => self.braces(),
            _ => match self.string() {
                Some(first) => self.joined(first),
                None => self.word(),
            },
        }
    }

    /// Items up to the closing mark, and whether a comma stood before it.
    fn sequence(&mut self, open: &str, close: &str) -> Option<(Vec<Value>, bool)> {
        self.eat(open);
        let (mut items, mut comma) = (Vec::new(), false);
        while !self.eat(close) {
            if !items.is_empty() && !comma {
                return None;
            }
            items.push(self.value()?);
            comma = self.eat(",");
        }
        Some((items, comma))
    }

    fn braces(&mut self) -> Option<Value> {
        self.eat("{");
        let (mut entries, mut items) = (Map::new(), Vec::new());
        while !self.eat("}") {
            let key = self.value()?;
            if self.eat(":") {
                entries.insert(super::value::str(&key), self.value()?);
            } else {
                items.push(key);
            }
            if !self.eat(",") && !self.rest.starts_with('}') {
                return None;
            }
        }
        match (items.is_empty(), entries.is_empty()) {
            (true, _) => Some(Value::Object(entries)),
            (false, true) => Some(Value::Array(items)),
            (false, false) => None,
        }
    }

    /// Literals that stand side by side are one string.
    fn joined(&mut self, mut text: String) -> Option<Value> {
        self.skip_space();
        while let Some(more) = self.string() {
            text.push_str(&more);
            self.skip_space();
        }
        Some(Value::String(text))
    }

    /// A string literal, if one begins here and ends properly.
    fn string(&mut self) -> Option<String> {
        let raw = self.rest.starts_with(['r', 'R']);
        let body = if raw { &self.rest[1..] } else { self.rest };
        let body = body.strip_prefix(['u', 'U']).unwrap_or(body);
        let quote =
            ["'''", "\"\"\"", "'", "\""].into_iter().find(|quote| body.starts_with(quote))?;
        let mut rest = &body[quote.len()..];
        let mut text = String::new();
        loop {
            if let Some(after) = rest.strip_prefix(quote) {
                self.rest = after;
                return Some(text);
            }
            let c = rest.chars().next()?;
            rest = &rest[c.len_utf8()..];
            match c {
                '\n' if quote.len() == 1 => return None,
                '\\' if raw => {
                    let next = rest.chars().next()?;
                    rest = &rest[next.len_utf8()..];
                    text.extend(['\\', next]);
                }
                '\\' => rest = unescape(rest, &mut text)?,
                c => text.push(c),
            }
        }
    }

    /// A number or one of the three names.
    fn word(&mut self) -> Option<Value> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "None" => Some(Value::Null),
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            number => self::number(number),
        }
    }
}

fn number(word: &str) -> Option<Value> {
    let digits = word.trim_start_matches(['+', '-']);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') || digits.ends_with('_') {
        return None;
    }
    let plain = word.replace('_', "");
    let plain = plain.strip_prefix('+').unwrap_or(&plain);
    if digits.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        let leading_zero =
            digits.len() > 1 && digits.starts_with('0') && digits.bytes().any(|b| b > b'0');
        return if leading_zero { None } else { plain.parse::<i64>().ok().map(Value::from) };
    }
    Number::from_f64(plain.parse().ok()?).map(Value::Number)
}

/// Appends the character that an escape stands for; returns what follows it.
fn unescape<'a>(rest: &'a str, text: &mut String) -> Option<&'a str> {
    let c = rest.chars().next()?;
    let after = &rest[c.len_utf8()..];
    let simple = match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'v' => '\x0b',
        '\\' | '\'' | '"' => c,
        '\n' => return Some(after),
        'x' => return hexadecimal(after, 2, text),
        'u' => return hexadecimal(after, 4, text),
        'U' => return hexadecimal(after, 8, text),
        '0'..='7' => {
            let n = rest.bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
            text.push(char::from_u32(u32::from_str_radix(&rest[..n], 8).ok()?)?);
            return Some(&rest[n..]);
        }
        other => {
            text.push('\\');
            other
        }
    };
    text.push(simple);
    Some(after)
}

fn hexadecimal<'a>(rest: &'a str, n: usize, text: &mut String) -> Option<&'a str> {
    let digits = rest.get(..n)?;
    text.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
    Some(&rest[n..])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn literals_are_read_as_python_reads_them() {
        let check =
            |text, expected: Value| assert_eq!(literal_eval(text), Some(expected), "{text}");
        check("[1, 'a', \"b\\n\", 2.5, None, True]", json!([1, "a", "b\n", 2.5, null, true]));
        check("('x',)", json!(["x"]));
        check("(3)", json!(3));
        check("1, 2", json!([1, 2]));
        check("{'a': [-1], 'b': {}}", json!({"a": [-1], "b": {}}));
        check("['it\\'s' ' joined', r'\\d', '\\u4e2d']", json!(["it's joined", "\\d", "中"]));
        check("12", json!(12));
    }

    #[test]
    fn what_python_refuses_is_refused() {
        for text in ["", "[1", "[1 2]", "a", "007", "'a\nb'", "[a]", "1 +", "{'a': 1, 2}"] {
            assert_eq!(literal_eval(text), None, "{text}");
        }
    }
}
