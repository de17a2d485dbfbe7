//! Python's `re` on top of a backtracking engine: `findall`, `sub`, and the dialect.
//!
//! The dialects differ in few places that patterns of tasks use: `$` and `\Z`, `\<`, `{,n}`, and what
//! stands for itself inside brackets.

use fancy_regex::{Captures, Regex};

use crate::{Error, Result};

/// A compiled Python pattern.
#[derive(Debug)]
pub struct Pattern {
    source: String,
    regex: Regex,
}

/// What one match of `findall` yields.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// The whole match, or the only group.
    Text(String),
    /// All groups, when there are several.
    Groups(Vec<String>),
}

impl Pattern {
    /// `re.compile(source)`.
    ///
    /// # Errors
    /// A pattern that is malformed.
    pub fn new(source: &str) -> Result<Self> {
        let regex = Regex::new(&translated(source)).map_err(|problem| {
            Error::Setting(format!("regular expression `{source}` cannot be read: {problem}"))
        })?;
        Ok(Self { source: source.to_owned(), regex })
    }

    /// `re.findall(text)`.
    ///
    /// # Errors
    /// A match that backtracks without end.
    pub fn find_all(&self, text: &str) -> Result<Vec<Found>> {
        let group = |captures: &Captures<'_>, i: usize| {
            captures.get(i).map_or(String::new(), |m| m.as_str().to_owned())
        };
        let mut found = Vec::new();
        self.each(text, |captures| {
            found.push(match captures.len() {
                1 => Found::Text(group(captures, 0)),
                2 => Found::Text(group(captures, 1)),
                n => Found::Groups((1..n).map(|i| group(captures, i)).collect()),
            });
        })?;
        Ok(found)
    }

    /// `re.sub(replacement, text, count)`; a count of 0 replaces all.
    ///
    /// # Errors
    /// A match that backtracks without end.
    pub fn replace(&self, text: &str, replacement: &str, count: usize) -> Result<String> {
        let (mut out, mut end, mut n) = (String::new(), 0, 0);
        self.each(text, |captures| {
            let whole = captures.get(0).expect("group 0 is the match");
            if count == 0 || n < count {
                out.push_str(&text[end..whole.start()]);
                expand(replacement, captures, &mut out);
                end = whole.end();
                n += 1;
            }
        })?;
        out.push_str(&text[end..]);
        Ok(out)
    }

    /// Whether the pattern matches anywhere: `re.search`.
    ///
    /// # Errors
    /// A match that backtracks without end.
    pub fn is_match(&self, text: &str) -> Result<bool> {
        self.regex.is_match(text).map_err(|problem| self.gave_up(&problem))
    }

    /// Matches from left to right as `finditer` finds them: an empty one may follow a full one.
    fn each(&self, text: &str, mut visit: impl FnMut(&Captures<'_>)) -> Result<()> {
        let mut from = 0;
        while from <= text.len() {
            let captures = self.regex.captures_from_pos(text, from);
            let Some(captures) = captures.map_err(|problem| self.gave_up(&problem))? else { break };
            let whole = captures.get(0).expect("group 0 is the match");
            visit(&captures);
            from = match whole.as_str().is_empty() {
                true => whole.end() + text[whole.end()..].chars().next().map_or(1, char::len_utf8),
                false => whole.end(),
            };
        }
        Ok(())
    }

    fn gave_up(&self, problem: &fancy_regex::Error) -> Error {
        Error::Setting(format!("regular expression `{}` gave up: {problem}", self.source))
    }
}

/// `re.escape` for use inside a pattern.
pub fn escape(text: &str) -> String {
    fancy_regex::escape(text).into_owned()
}

/// Appends a replacement with its `\1`, `\g<1>`, `\g<name>` and `\n` filled in.
fn expand(replacement: &str, captures: &Captures<'_>, out: &mut String) {
    let mut rest = replacement;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let n_digits = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
        if n_digits > 0 {
            let group = rest[..n_digits].parse().ok().and_then(|i| captures.get(i));
            out.push_str(group.map_or("", |m| m.as_str()));
            rest = &rest[n_digits..];
        } else if let Some((name, after)) = rest.strip_prefix("g<").and_then(|r| r.split_once('>'))
        {
            let group = match name.parse() {
                Ok(i) => captures.get(i),
                Err(_) => captures.name(name),
            };
            out.push_str(group.map_or("", |m| m.as_str()));
            rest = after;
        } else {
            let mut chars = rest.chars();
            match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('\\') => out.push('\\'),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            }
            rest = chars.as_str();
        }
    }
    out.push_str(rest);
}

/// The pattern in the engine's dialect.
fn translated(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 8);
    let mut chars = source.chars().peekable();
    let mut class_start: Option<usize> = None;
    let multiline =
        source.starts_with("(?m") || source.starts_with("(?sm") || source.starts_with("(?im");
    while let Some(c) = chars.next() {
        match (c, class_start) {
            ('\\', _) => match chars.next() {
                Some('Z') => out.push_str("\\z"),
                Some(mark @ ('<' | '>')) => out.push(mark),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            ('[', None) => {
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                class_start = Some(out.len());
            }
            (']', Some(start)) if out.len() == start => out.push_str("\\]"),
            (']', Some(_)) => {
                out.push(']');
                class_start = None;
            }
            ('[' | '&' | '~', Some(_)) => out.extend(['\\', c]),
            ('$', None) if !multiline => out.push_str("(?=\\n?\\z)"),
            ('{', None) if chars.peek() == Some(&',') => out.push_str("{0"),
            (c, _) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sub(pattern: &str, replacement: &str, text: &str) -> String {
        Pattern::new(pattern).unwrap().replace(text, replacement, 0).unwrap()
    }

    #[test]
    fn replacements_equal_pythons() {
        assert_eq!(sub(r"\.$", "", "18.\n"), "18\n");
        assert_eq!(sub(r"\.$", "", "18.\n\n"), "18.\n\n");
        assert_eq!(sub("x*", "-", "abxd"), "-a-b--d-");
        assert_eq!(sub(r"(\w)(\w)", r"\2\g<1>|", "abcd"), "ba|dc|");
        assert_eq!(sub(r"[[&~]]", "", "a[]b"), "ab");
        assert_eq!(sub("(?s).*#### ", "", "a\nb #### 5 #### 6"), "6");
        assert_eq!(sub(r"a{,2}b", "", "aaab"), "a");
    }

    #[test]
    fn findall_yields_groups_as_python_does() {
        let find =
            |pattern: &str, text: &str| Pattern::new(pattern).unwrap().find_all(text).unwrap();
        let texts =
            |items: &[&str]| items.iter().map(|t| Found::Text((*t).into())).collect::<Vec<_>>();
        assert_eq!(find("a|b", "cab"), texts(&["a", "b"]));
        assert_eq!(find("(a)c?", "acba"), texts(&["a", "a"]));
        let groups = find("(-?[$0-9.,]{2,})|(-?[0-9]+)", "$1,000 or 7");
        let group = |a: &str, b: &str| Found::Groups(vec![a.into(), b.into()]);
        assert_eq!(groups, [group("$1,000", ""), group("", "7")]);
    }

    #[test]
    fn a_broken_pattern_is_an_error() {
        assert!(Pattern::new("(a").is_err());
    }
}
