//! The account as a table for spreadsheets: a line for every source, stage and rule.

use std::fmt::Write;

use neo_data::pipeline::{Account, StageAccount, Tally};

use super::stage::limits;

/// The table. Rules in brackets are totals of the stage; `share` is of the documents that came into the stage, `keeps`
/// says what a rule keeps. Personal data that was masked has rows `(masked KIND)`, whose `found` is how often.
pub(super) fn of(account: &Account) -> String {
    let mut table = "stage,source,rule,documents,bytes,chars,share,keeps,found\n".to_owned();
    for source in &account.sources {
        for stage in &source.stages {
            add_stage(&mut table, &source.name, stage);
        }
    }
    table
}

fn add_stage(table: &mut String, source: &str, stage: &StageAccount) {
    let totals = [("(input)", stage.input), ("(kept)", stage.kept), ("(dropped)", stage.dropped)];
    let rules = stage.rules.iter().map(|(rule, &tally)| (rule.as_str(), tally));
    for (rule, tally) in totals.into_iter().chain(rules) {
        let Tally { documents, bytes, chars } = tally;
        let share = documents as f64 / stage.input.documents.max(1) as f64;
        let keeps = limits(&stage.settings, rule);
        let [stage, source, rule, keeps] = [&stage.stage, source, rule, &keeps].map(quoted);
        // Writing into a String cannot fail.
        let _ =
            writeln!(table, "{stage},{source},{rule},{documents},{bytes},{chars},{share},{keeps},");
    }
    for (kind, count) in &stage.masked {
        let [stage, source] = [&stage.stage, source].map(quoted);
        let _ = writeln!(table, "{stage},{source},(masked {kind}),,,,,,{count}");
    }
}

/// A field as RFC 4180 wants it.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", field.replace('"', "\"\""));
    }
    field.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let check = |field: &str, expected: &str| assert_eq!(quoted(field), expected);
        check("E1", "E1");
        check("a,\"b\"", "\"a,\"\"b\"\"\"");
    }
}
