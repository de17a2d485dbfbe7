//! The first prompt of every task file that neo brings and has data for is the one that the file
//! pins, so that no prompt changes unseen.

#![expect(clippy::print_stdout, reason = "a test says why it is skipped")]

use std::path::{Path, PathBuf};

use neo_eval::task::library::Library;
use neo_eval::task::prompt_sha256;

#[test]
fn conformance_first_prompts_are_those_that_the_files_pin() {
    let set = std::env::var_os("NEO_DATA").map(PathBuf::from);
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = set.unwrap_or(default).join("eval");
    let library = Library::built_in().unwrap();
    let (mut n, mut wrong) = (0, Vec::new());
    for name in library.names().filter(|name| *name != "map_neo") {
        let selected = library.select(&[name.to_owned()], &folder, None);
        let selection = match selected {
            Ok(selection) => selection,
            Err(problem) => {
                println!("skipped `{name}`: {problem}");
                continue;
            }
        };
        let task = &selection.tasks[0];
        let found = prompt_sha256(&task.requests(Some(1)).unwrap());
        n += 1;
        if task.definition.own.prompt_sha256.as_deref() != Some(&found) {
            wrong.push(format!("{name}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "prompts that no file pins:\n{}", wrong.join("\n"));
    println!("{n} prompts equal");
}
