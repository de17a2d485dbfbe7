//! The task files that neo brings, as they lie in `eval/tasks/`.

use std::path::Path;

use crate::{Error, Result};

/// Every file with its text.
pub(super) const FILES: [(&str, &str); 27] = [
    ("agieval_en.yaml", include_str!("../../tasks/agieval_en.yaml")),
    ("arc_challenge.yaml", include_str!("../../tasks/arc_challenge.yaml")),
    ("arc_easy.yaml", include_str!("../../tasks/arc_easy.yaml")),
    ("bbh.yaml", include_str!("../../tasks/bbh.yaml")),
    ("boolq.yaml", include_str!("../../tasks/boolq.yaml")),
    ("ceval.yaml", include_str!("../../tasks/ceval.yaml")),
    ("cmmlu.yaml", include_str!("../../tasks/cmmlu.yaml")),
    ("cmrc2018.yaml", include_str!("../../tasks/cmrc2018.yaml")),
    ("commonsense_qa.yaml", include_str!("../../tasks/commonsense_qa.yaml")),
    ("drop.yaml", include_str!("../../tasks/drop.yaml")),
    ("gsm8k.yaml", include_str!("../../tasks/gsm8k.yaml")),
    ("hellaswag.yaml", include_str!("../../tasks/hellaswag.yaml")),
    ("humaneval.yaml", include_str!("../../tasks/humaneval.yaml")),
    ("lambada.yaml", include_str!("../../tasks/lambada.yaml")),
    ("map_neo.yaml", include_str!("../../tasks/map_neo.yaml")),
    ("math.yaml", include_str!("../../tasks/math.yaml")),
    ("mbpp.yaml", include_str!("../../tasks/mbpp.yaml")),
    ("mmlu.yaml", include_str!("../../tasks/mmlu.yaml")),
    ("nq_open.yaml", include_str!("../../tasks/nq_open.yaml")),
    ("openbook_qa.yaml", include_str!("../../tasks/openbook_qa.yaml")),
    ("piqa.yaml", include_str!("../../tasks/piqa.yaml")),
    ("race.yaml", include_str!("../../tasks/race.yaml")),
    ("siqa.yaml", include_str!("../../tasks/siqa.yaml")),
    ("squad2.yaml", include_str!("../../tasks/squad2.yaml")),
    ("theoremqa.yaml", include_str!("../../tasks/theoremqa.yaml")),
    ("triviaqa.yaml", include_str!("../../tasks/triviaqa.yaml")),
    ("winogrande.yaml", include_str!("../../tasks/winogrande.yaml")),
];

/// The text of a file.
pub(super) fn text(path: &Path) -> Result<String> {
    let found = FILES.iter().find(|(name, _)| Path::new(name) == path);
    let missing = || Error::Setting(format!("neo brings no task file `{}`", path.display()));
    found.map(|(_, text)| (*text).to_owned()).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Definition, library::Library, yaml};

    #[test]
    fn every_file_of_the_folder_is_brought_and_valid() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tasks"));
        let mut found: Vec<String> = fs_err::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, FILES.map(|(name, _)| name.to_owned()));
        for (name, _) in FILES {
            let given = yaml::load(Path::new(name), &text).unwrap();
            if !given.contains_key("group") {
                Definition::new(given).unwrap();
            }
        }
        assert_eq!(Library::built_in().unwrap().names().count(), FILES.len());
    }
}
