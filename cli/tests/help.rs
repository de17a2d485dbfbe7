//! What can be typed is frozen: settings belong into recipes, and scripts rely on every option.
//!
//! A change of `options.txt` is a change for users: it comes with a line in CHANGELOG.md.

use std::path::Path;
use std::process::Command;

fn help(verbs: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_neo"))
        .args(verbs)
        .arg("--help")
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "neo {} --help fails", verbs.join(" "));
    String::from_utf8(output.stdout).expect("help is UTF-8")
}

/// The lines under a heading, up to the next empty line that ends the section.
fn section<'a>(help: &'a str, heading: &str) -> Vec<&'a str> {
    help.lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| line.is_empty() || line.starts_with(' '))
        .collect()
}

/// Verbs that a help text lists.
fn verbs(help: &str) -> Vec<&str> {
    section(help, "Commands:")
        .into_iter()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

/// `neo VERB <ARGUMENT> --option VALUE`, one line for the verb and each verb below it.
fn list(path: &[&str], lines: &mut Vec<String>) {
    let help = help(path);
    let below = verbs(&help);
    let options: Vec<String> =
        section(&help, "Options:").iter().filter_map(|line| option(line)).collect();
    if below.is_empty() || !options.is_empty() {
        let mut words = vec!["neo".to_owned()];
        words.extend(path.iter().map(|word| (*word).to_owned()));
        let arguments = section(&help, "Arguments:");
        let names =
            arguments.iter().filter(|line| line.starts_with("  ") && line.contains(['<', '[']));
        words.extend(
            names
                .filter_map(|line| line.split_whitespace().next())
                .filter(|word| word.starts_with(['<', '[']))
                .map(str::to_owned),
        );
        words.extend(options);
        lines.push(words.join(" "));
    }
    for verb in below {
        let mut path = path.to_vec();
        path.push(verb);
        list(&path, lines);
    }
}

/// `--option <VALUE>` of a help line that introduces one.
fn option(line: &str) -> Option<String> {
    let line = line.trim_start();
    let from = if line.starts_with("--") { 0 } else { line.strip_prefix('-')?.find("--")? + 1 };
    let words: Vec<&str> = line[from..].split_whitespace().take(2).collect();
    match words.as_slice() {
        ["--help" | "--version", ..] => None,
        [name, value] if value.starts_with('<') => Some(format!("{name} {value}")),
        [name, ..] => Some((*name).to_owned()),
        [] => None,
    }
}

#[test]
fn the_list_of_options_is_frozen() {
    let mut lines = Vec::new();
    list(&[], &mut lines);
    let found = format!("{}\n", lines.join("\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/options.txt");
    let frozen = fs_err::read_to_string(path).expect("the frozen list is there");
    assert!(found == frozen, "options.txt says\n{frozen}\nbut the program has\n{found}");
}

#[test]
fn every_verb_says_what_it_does() {
    let help = help(&[]);
    // Deeper lines continue the one above.
    let lines = section(&help, "Commands:").into_iter();
    for line in lines.filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
        assert!(line.split_whitespace().count() > 2, "no words for `{}`", line.trim());
    }
    for code in ["0 done", "1 failed", "2 wrong usage or input", "75 interrupted but saved"] {
        assert!(help.contains(code), "the exit code `{code}` is not told");
    }
}
