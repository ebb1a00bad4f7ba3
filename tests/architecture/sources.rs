//! The shape of the source files.

use std::path::PathBuf;

use tidegate_tests::repository_root;

/// Every Rust file of the project below these folders of the root.
pub(crate) fn rust_files(folders: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open: Vec<_> = folders.iter().map(|folder| repository_root().join(folder)).collect();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a folder can be listed").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

#[test]
fn files_fit_in_a_head() {
    const LINES: usize = 500;
    let files = rust_files(&["crates", "tests", "fuzz/fuzz_targets"]);
    assert!(files.len() > 50, "the search finds the project's files");
    let long: Vec<_> = files
        .into_iter()
        .map(|path| (std::fs::read_to_string(&path).expect("UTF-8").lines().count(), path))
        .filter(|(lines, _)| *lines > LINES)
        .collect();
    assert!(long.is_empty(), "more than {LINES} lines, split by reason to change: {long:?}");
}

#[test]
fn modules_are_named_for_what_they_hold() {
    const SAY_NOTHING: [&str; 6] = ["common", "helper", "helpers", "misc", "util", "utils"];
    for path in rust_files(&["crates", "tests"]) {
        let relative = path.strip_prefix(repository_root()).expect("below the root").with_extension("");
        let vague = relative.iter().find(|part| SAY_NOTHING.iter().any(|word| part.eq_ignore_ascii_case(word)));
        assert!(vague.is_none(), "{}: name it for what it holds", path.display());
    }
}
