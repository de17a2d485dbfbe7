//! Tasks and groups by name: those that neo brings, and those of a user's folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::definition::Definition;
use super::source::{Data, Splits};
use super::{Task, built_in, yaml};
use crate::python::value;
use crate::{Error, Result};

/// A metric that a group aggregates.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupMetric {
    /// Name of the metric.
    pub metric: String,
    /// Filters behind which it is taken; all when not said.
    pub filters: Option<Vec<String>>,
    /// Whether larger tasks count more.
    pub weight_by_size: bool,
}

/// Tasks and groups under one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// How it is shown.
    pub alias: String,
    /// What is aggregated over its tasks.
    pub metrics: Vec<GroupMetric>,
    /// Names of its tasks and groups.
    pub children: Vec<String>,
}

/// What was asked for, ready to run.
#[derive(Debug, Default)]
pub struct Selection {
    /// Tasks in the order of their names' appearance.
    pub tasks: Vec<Task>,
    /// Groups, inner ones first.
    pub groups: Vec<Group>,
}

/// Task files by name.
#[derive(Debug, Default)]
pub struct Library {
    entries: BTreeMap<String, Entry>,
}

/// Settings of a task or of a group, and the folder that their data names start from, if any.
#[derive(Clone, Debug)]
struct Entry {
    given: Map<String, Value>,
    folder: Option<PathBuf>,
}

impl Library {
    /// The tasks that neo brings.
    ///
    /// # Errors
    /// A file of neo's own that is broken.
    pub fn built_in() -> Result<Self> {
        let mut library = Self::default();
        let read = |path: &Path| built_in::text(path);
        for (name, _) in built_in::FILES.iter().filter(|(name, _)| !name.starts_with('_')) {
            let given = yaml::load(Path::new(name), &read)?;
            library.insert(given, None);
        }
        Ok(library)
    }

    /// Adds the task files of a folder, or one file and its neighbours. Broken neighbours are left
    /// out; the named file must be whole.
    ///
    /// # Errors
    /// A path that leads nowhere or a named file that is broken.
    pub fn add(&mut self, path: &Path) -> Result<Option<String>> {
        let read = |path: &Path| -> Result<String> {
            fs_err::read_to_string(path).map_err(|error| neo_data::Error::io(path)(error).into())
        };
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let entries = fs_err::read_dir(folder).map_err(neo_data::Error::io(folder))?;
        let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        files.sort();
        let is_task = |file: &&PathBuf| file.extension().is_some_and(|e| e == "yaml" || e == "yml");
        for file in files.iter().filter(is_task) {
            match yaml::load(file, &read) {
                Ok(given) => drop(self.insert(given, Some(folder.to_owned()))),
                Err(problem) => tracing::debug!(file = %file.display(), %problem, "left out"),
            }
        }
        if path.is_dir() {
            return Ok(None);
        }
        let name = self.insert(yaml::load(path, &read)?, Some(folder.to_owned()));
        let unnamed =
            || Error::Setting(format!("`{}` has neither `task` nor `group`", path.display()));
        name.map(Some).ok_or_else(unnamed)
    }

    fn insert(&mut self, given: Map<String, Value>, folder: Option<PathBuf>) -> Option<String> {
        let key = if given.contains_key("group") { "group" } else { "task" };
        let name = given.get(key).and_then(Value::as_str)?.to_owned();
        self.entries.insert(name.clone(), Entry { given, folder });
        Some(name)
    }

    /// Names of all tasks and groups.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Reads the named tasks and groups with their data.
    ///
    /// # Errors
    /// An unknown name, or what makes a task unusable.
    pub fn select(&self, names: &[String], data: &Path, shots: Option<usize>) -> Result<Selection> {
        let mut choosing = Choosing {
            library: self,
            shots,
            data: BTreeMap::new(),
            folder: data,
            selection: Selection::default(),
        };
        for name in names {
            choosing.choose(name)?;
        }
        Ok(choosing.selection)
    }

    /// As [`Library::select`], where paths of task files and of folders of such may stand for names.
    ///
    /// # Errors
    /// As [`Library::select`], and a path that holds no task.
    pub fn select_with_paths(
        mut self,
        names: &[String],
        data: &Path,
        shots: Option<usize>,
    ) -> Result<Selection> {
        let mut wanted = Vec::new();
        for name in names {
            let path = Path::new(name);
            let is_file = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
            if is_file || path.is_dir() {
                wanted.extend(self.add(path)?);
            } else {
                wanted.push(name.clone());
            }
        }
        self.select(&wanted, data, shots)
    }

    fn unknown(&self, name: &str) -> Error {
        let near = self.names().min_by_key(|known| distance(known, name));
        let hint =
            near.map(|near| format!("did you mean `{near}`? `neo eval --tasks list` shows all"));
        Error::Task {
            task: name.to_owned(),
            problem: "there is no such task or group".into(),
            hint,
        }
    }
}

/// A selection in the making.
struct Choosing<'a> {
    library: &'a Library,
    shots: Option<usize>,
    data: BTreeMap<PathBuf, Data>,
    folder: &'a Path,
    selection: Selection,
}

impl Choosing<'_> {
    /// Takes a task or a group; returns the names that stand for it.
    fn choose(&mut self, name: &str) -> Result<()> {
        if self.is_chosen(name) {
            return Ok(());
        }
        if let Some(entry) = self.library.entries.get(name).cloned() {
            return self.take(entry);
        }
        let tagged = self.tagged(name);
        if !tagged.is_empty() {
            return tagged.iter().try_for_each(|name| self.choose(name));
        }
        // One part of a task that is split by a field.
        let whole = self.library.entries.iter().find(|(whole, entry)| {
            name.strip_prefix(whole.as_str()).is_some_and(|rest| rest.starts_with('_'))
                && split_field(&entry.given).is_some()
        });
        let entry =
            whole.map(|(_, entry)| entry.clone()).ok_or_else(|| self.library.unknown(name))?;
        let parts = self.parts(&entry)?;
        let part = parts.into_iter().find(|(part, _)| part.task == name);
        let (definition, splits) = part.ok_or_else(|| self.library.unknown(name))?;
        self.push(definition, &splits)
    }

    fn is_chosen(&self, name: &str) -> bool {
        self.selection.tasks.iter().any(|task| task.definition.task == name)
            || self.selection.groups.iter().any(|group| group.name == name)
    }

    fn tagged(&self, tag: &str) -> Vec<String> {
        let has = |given: &Map<String, Value>| match given.get("tag") {
            Some(Value::String(one)) => one == tag,
            Some(Value::Array(several)) => several.iter().any(|one| one == tag),
            _ => false,
        };
        let entries = self.library.entries.iter();
        entries.filter(|(_, entry)| has(&entry.given)).map(|(name, _)| name.clone()).collect()
    }

    fn take(&mut self, entry: Entry) -> Result<()> {
        if entry.given.contains_key("group") {
            return self.take_group(entry);
        }
        if split_field(&entry.given).is_none() {
            let definition = Definition::new(entry.given.clone())?;
            let splits = self.data(&entry)?.splits(&definition)?;
            return self.push(definition, &splits);
        }
        let parts = self.parts(&entry)?;
        let whole = Definition::new(entry.given)?;
        let mut children = Vec::new();
        for (definition, splits) in parts {
            children.push(definition.task.clone());
            self.push(definition, &splits)?;
        }
        let metric = |metric: &crate::metric::Metric| GroupMetric {
            metric: metric.name.clone(),
            filters: None,
            weight_by_size: true,
        };
        let metrics = whole.metrics.iter().map(metric).collect();
        self.selection.groups.push(Group {
            name: whole.task,
            alias: whole.alias,
            metrics,
            children,
        });
        Ok(())
    }

    fn push(&mut self, definition: Definition, splits: &Splits) -> Result<()> {
        if !self.is_chosen(&definition.task) {
            self.selection.tasks.push(Task::new(definition, splits, self.shots)?);
        }
        Ok(())
    }

    /// One definition for each value of the field that a task is split by, in the order of names.
    fn parts(&mut self, entry: &Entry) -> Result<Vec<(Definition, Splits)>> {
        let whole = Definition::new(entry.given.clone())?;
        let field = split_field(&entry.given).unwrap_or_default();
        let splits = self.data(entry)?.splits(&whole)?;
        let asked =
            whole.eval_split().and_then(|split| splits.get(split)).cloned().unwrap_or_default();
        let mut names: Vec<String> = Vec::new();
        for document in asked.iter() {
            let name = document.fields.get(&field).map(value::str).ok_or_else(|| {
                whole.error(format!("`split_by` names the field `{field}`, which documents lack"))
            })?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.sort();
        let first = names.first().cloned();
        let part = |name: String| {
            let mut given = entry.given.clone();
            if first.as_ref() != Some(&name) {
                forget_prompt(&mut given);
            }
            given.insert("task".into(), format!("{}_{}", whole.task, slug(&name)).into());
            given.shift_remove("task_alias");
            let of_part = |documents: &Arc<Vec<super::Document>>| {
                let has = |d: &&super::Document| {
                    d.fields.get(&field).map(value::str) == Some(name.clone())
                };
                Arc::new(documents.iter().filter(has).cloned().collect::<Vec<_>>())
            };
            let splits =
                splits.iter().map(|(split, docs)| (split.clone(), of_part(docs))).collect();
            Ok((Definition::new(given)?, splits))
        };
        names.into_iter().map(part).collect()
    }

    fn take_group(&mut self, entry: Entry) -> Result<()> {
        let text = |key: &str| entry.given.get(key).and_then(Value::as_str).map(str::to_owned);
        let name = text("group").unwrap_or_default();
        let members = match entry.given.get("task") {
            Some(Value::Array(several)) => several.clone(),
            Some(one) => vec![one.clone()],
            None => Vec::new(),
        };
        let mut children = Vec::new();
        for member in members {
            children.extend(self.take_member(&name, member, &entry)?);
        }
        let metrics = group_metrics(&name, entry.given.get("aggregate_metric_list"))?;
        let alias = text("group_alias").unwrap_or_else(|| name.clone());
        self.selection.groups.push(Group { name, alias, metrics, children });
        Ok(())
    }

    /// A member is a name, or settings: a group of its own, or a task with overrides.
    fn take_member(&mut self, group: &str, member: Value, entry: &Entry) -> Result<Vec<String>> {
        let wrong = |problem: &str| Error::Task {
            task: group.to_owned(),
            problem: problem.to_owned(),
            hint: None,
        };
        match member {
            Value::String(name) => {
                let tagged = self.tagged(&name);
                let is_tag = !self.library.entries.contains_key(&name) && !tagged.is_empty();
                self.choose(&name)?;
                Ok(if is_tag { tagged } else { vec![name] })
            }
            Value::Object(own) => {
                let key = if own.contains_key("group") { "group" } else { "task" };
                let name = own.get(key).and_then(Value::as_str).map(str::to_owned);
                let name = name.ok_or_else(|| wrong("a member has neither `task` nor `group`"))?;
                let base = self.library.entries.get(&name).filter(|_| key == "task");
                let mut given = base.map(|base| base.given.clone()).unwrap_or_default();
                given.extend(own);
                let folder = base.map_or(entry.folder.clone(), |base| base.folder.clone());
                self.take(Entry { given, folder })?;
                Ok(vec![name])
            }
            _ => Err(wrong("a member is a name or a mapping")),
        }
    }

    /// Data files start from the given folder; those of a user's file also from that file's.
    fn data(&mut self, entry: &Entry) -> Result<&mut Data> {
        let own = entry.folder.as_ref().filter(|folder| {
            let files =
                entry.given.get("dataset_kwargs").and_then(|kwargs| kwargs.get("data_files"));
            let first = files.and_then(first_text);
            first.is_some_and(|first| folder.join(first).exists())
        });
        let folder = own.cloned().unwrap_or_else(|| self.folder.to_owned());
        Ok(self.data.entry(folder.clone()).or_insert_with(|| Data::new(folder)))
    }
}

fn first_text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(items) => items.first().and_then(first_text),
        Value::Object(entries) => entries.values().next().and_then(first_text),
        _ => None,
    }
}

/// The field that a task is split by, read before the rest is validated.
fn split_field(given: &Map<String, Value>) -> Option<String> {
    let own = given.get("metadata")?.get("neo")?;
    own.get("split_by")?.as_str().map(str::to_owned)
}

/// The pinned prompt is the first part's.
fn forget_prompt(given: &mut Map<String, Value>) {
    let own = given.get_mut("metadata").and_then(|metadata| metadata.get_mut("neo"));
    if let Some(Value::Object(own)) = own {
        own.shift_remove("prompt_sha256");
    }
}

fn slug(name: &str) -> String {
    name.chars().map(|c| if c == ' ' { '_' } else { c }).collect()
}

fn group_metrics(group: &str, given: Option<&Value>) -> Result<Vec<GroupMetric>> {
    let entries = match given {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(several)) => several.clone(),
        Some(one) => vec![one.clone()],
    };
    let wrong = |problem: String| Error::Task { task: group.to_owned(), problem, hint: None };
    let read = |entry: &Value| {
        let metric = entry.get("metric").and_then(Value::as_str);
        let metric = metric.ok_or_else(|| wrong("an aggregate has no `metric`".into()))?.to_owned();
        match entry.get("aggregation").and_then(Value::as_str) {
            None | Some("mean") => {}
            Some(other) => return Err(wrong(format!("aggregation `{other}`, expected `mean`"))),
        }
        let filters = match entry.get("filter_list") {
            Some(Value::String(one)) => Some(vec![one.clone()]),
            Some(Value::Array(several)) => Some(several.iter().map(value::str).collect()),
            _ => None,
        };
        let weight_by_size = entry.get("weight_by_size").and_then(Value::as_bool).unwrap_or(true);
        Ok(GroupMetric { metric, filters, weight_by_size })
    };
    entries.iter().map(read).collect()
}

/// Edits from one name to another.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, c) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, d) in b.iter().enumerate() {
            let cost = (diagonal + usize::from(c != *d)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs_err::write(folder.path().join(name), text).unwrap();
        let row = |s: &str, g: u8| format!("{{\"q\": \"{s}?\", \"g\": {g}, \"part\": \"{s}\"}}\n");
        write("x.jsonl", &(row("b b", 0) + &row("a", 1) + &row("a", 0)));
        write(
            "base.yaml",
            "dataset_path: json\noutput_type: multiple_choice\ntest_split: test\n\
              dataset_kwargs: {data_files: {test: x.jsonl}}\ndoc_to_text: '{{q}}'\n\
              doc_to_choice: ['x', 'y']\ndoc_to_target: g\n",
        );
        write("one.yaml", "include: base.yaml\ntask: one\ntag: [mine]\n");
        write("two.yaml", "include: base.yaml\ntask: two\nmetadata: {neo: {split_by: part}}\n");
        write(
            "all.yaml",
            "group: all\ntask: [one, {group: inner, task: [{task: one, task_alias: a}]}, two]\n\
              aggregate_metric_list: {metric: acc, weight_by_size: no}\n",
        );
        folder
    }

    #[test]
    fn names_stand_for_tasks_groups_tags_and_parts() {
        let folder = folder();
        let mut library = Library::default();
        library.add(folder.path()).unwrap();
        let check = |name: &str, tasks: &[&str], groups: &[&str]| {
            let found = library.select(&[name.to_owned()], folder.path(), None).unwrap();
            let names: Vec<&str> = found.tasks.iter().map(|t| t.definition.task.as_str()).collect();
            assert_eq!(names, tasks, "{name}");
            let names: Vec<&str> = found.groups.iter().map(|g| g.name.as_str()).collect();
            assert_eq!(names, groups, "{name}");
        };
        check("one", &["one"], &[]);
        check("mine", &["one"], &[]);
        check("two", &["two_a", "two_b_b"], &["two"]);
        check("two_a", &["two_a"], &[]);
        check("all", &["one", "two_a", "two_b_b"], &["inner", "two", "all"]);
    }

    #[test]
    fn unknown_names_have_a_hint() {
        let mut library = Library::default();
        let folder = folder();
        assert_eq!(library.add(&folder.path().join("one.yaml")).unwrap().as_deref(), Some("one"));
        let error = library.select(&["onne".to_owned()], folder.path(), None).unwrap_err();
        assert!(error.hint().unwrap().contains("`one`"));
        let error = library.select(&["one".to_owned()], folder.path(), Some(4)).unwrap_err();
        assert!(error.to_string().contains("4 shots need 4 documents, 3"), "{error}");
    }
}
