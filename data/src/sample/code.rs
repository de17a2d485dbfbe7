//! Small programs: a nested literal, a function, and calls of it with the results in comments.
//!
//! Brackets close in the order in which they opened, names are used as they were introduced, and
//! the results come from running the function.

use super::choice::Chooser;

const FUNCTIONS: [&str; 16] = [
    "measure", "combine", "reduce", "balance", "adjust", "collect", "estimate", "weigh", "settle",
    "merge", "resolve", "charge", "shift", "trim", "encode", "blend",
];

const PARAMETERS: [&str; 12] = [
    "width", "height", "depth", "price", "count", "speed", "first", "second", "left", "right",
    "low", "high",
];

const LOCALS: [&str; 8] =
    ["total", "result", "value", "answer", "amount", "state", "score", "output"];

const TABLES: [&str; 8] =
    ["table", "tree", "shape", "layout", "pattern", "nested", "items", "groups"];

const BRACKETS: [(char, char); 3] = [('(', ')'), ('[', ']'), ('{', '}')];

#[derive(Clone, Copy)]
enum Operand {
    Parameter(usize),
    Number(i64),
}

#[derive(Clone, Copy)]
enum Statement {
    Add(Operand),
    Subtract(Operand),
    /// Subtract the second from the local when it exceeds the first.
    Cap(i64, Operand),
    /// Add the items of a literal list.
    Sum([i64; 3]),
}

struct Function {
    name: &'static str,
    parameters: [&'static str; 2],
    local: &'static str,
    body: Vec<Statement>,
}

/// One program of about 200 to 500 characters.
pub(super) fn document(chooser: &mut Chooser) -> String {
    let table = chooser.pick(&TABLES);
    let mut text = format!("{table} = ");
    write_nested(&mut text, 0, chooser);
    let function = Function::new(chooser);
    text += &format!("\n\n{}\n", function.source());
    for n_calls in 1.. {
        let arguments = [(); 2].map(|()| 1 + chooser.below(9) as i64);
        let [x, y] = arguments;
        let result = function.call(arguments);
        text += &format!("print({}({x}, {y}))  # {result}\n", function.name);
        if n_calls == 5 || !chooser.chance(0.6) {
            break;
        }
    }
    text + &format!("print({table})\n# end of {}", function.name)
}

/// A bracketed list of digits and of further lists, at most three deep.
fn write_nested(text: &mut String, depth: usize, chooser: &mut Chooser) {
    let (open, close) = chooser.pick(&BRACKETS);
    text.push(open);
    for n_items in 1.. {
        if depth < 2 && chooser.chance(0.4) {
            write_nested(text, depth + 1, chooser);
        } else {
            text.push_str(&(1 + chooser.below(9)).to_string());
        }
        if n_items == 4 || !chooser.chance(0.6) {
            break;
        }
        text.push_str(", ");
    }
    text.push(close);
}

impl Function {
    fn new(chooser: &mut Chooser) -> Self {
        let name = chooser.pick(&FUNCTIONS);
        let first = chooser.pick(&PARAMETERS);
        let parameters = [first, chooser.pick_other(&PARAMETERS, first)];
        let local = chooser.pick(&LOCALS);
        let mut body = vec![statement(chooser)];
        while body.len() < 4 && chooser.chance(0.6) {
            body.push(statement(chooser));
        }
        Self { name, parameters, local, body }
    }

    fn source(&self) -> String {
        let Self { name, parameters: [first, second], local, body } = self;
        let mut text =
            format!("def {name}({first}, {second}):\n    {local} = {first} + {second}\n");
        for statement in body {
            text += &match *statement {
                Statement::Add(operand) => {
                    format!("    {local} = {local} + {}\n", self.spelled(operand))
                }
                Statement::Subtract(operand) => {
                    format!("    {local} = {local} - {}\n", self.spelled(operand))
                }
                Statement::Cap(bound, operand) => format!(
                    "    if {local} > {bound}:\n        {local} = {local} - {}\n",
                    self.spelled(operand)
                ),
                Statement::Sum(items) => {
                    format!("    for item in {items:?}:\n        {local} = {local} + item\n")
                }
            };
        }
        text + &format!("    return {local}\n")
    }

    fn spelled(&self, operand: Operand) -> String {
        match operand {
            Operand::Parameter(idx) => self.parameters[idx].to_owned(),
            Operand::Number(number) => number.to_string(),
        }
    }

    fn call(&self, arguments: [i64; 2]) -> i64 {
        let worth = |operand| match operand {
            Operand::Parameter(idx) => arguments[idx],
            Operand::Number(number) => number,
        };
        let mut local = arguments[0] + arguments[1];
        for statement in &self.body {
            local += match *statement {
                Statement::Add(operand) => worth(operand),
                Statement::Subtract(operand) => -worth(operand),
                Statement::Cap(bound, operand) if local > bound => -worth(operand),
                Statement::Cap(..) => 0,
                Statement::Sum(items) => items.iter().sum(),
            };
        }
        local
    }
}

fn statement(chooser: &mut Chooser) -> Statement {
    match chooser.below(4) {
        0 => Statement::Add(operand(chooser)),
        1 => Statement::Subtract(operand(chooser)),
        2 => Statement::Cap(3 + chooser.below(9) as i64, operand(chooser)),
        _ => Statement::Sum([(); 3].map(|()| 1 + chooser.below(5) as i64)),
    }
}

fn operand(chooser: &mut Chooser) -> Operand {
    if chooser.chance(0.5) {
        Operand::Parameter(chooser.below(2))
    } else {
        Operand::Number(1 + chooser.below(9) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_close_in_order() {
        for idx in 0..200 {
            let text = document(&mut Chooser::new(4, "code", idx));
            let mut open = Vec::new();
            for letter in text.chars() {
                if let Some((_, close)) = BRACKETS.iter().find(|(first, _)| *first == letter) {
                    open.push(*close);
                } else if BRACKETS.iter().any(|(_, close)| *close == letter) {
                    assert_eq!(open.pop(), Some(letter), "{text}");
                }
            }
            assert!(open.is_empty(), "{text}");
        }
    }

    #[test]
    fn calls_run_the_body() {
        let check = |body: &[Statement], expected| {
            let function =
                Function { name: "f", parameters: ["x", "y"], local: "total", body: body.to_vec() };
            assert_eq!(function.call([4, 3]), expected);
        };
        check(&[], 7);
        check(&[Statement::Add(Operand::Parameter(1))], 10);
        check(&[Statement::Cap(6, Operand::Number(5))], 2);
        check(&[Statement::Cap(7, Operand::Number(5))], 7);
        check(&[Statement::Sum([1, 2, 3]), Statement::Subtract(Operand::Parameter(0))], 9);
    }
}
