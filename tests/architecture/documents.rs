//! What the documents claim.

use std::collections::BTreeSet;
use std::process::Command;

use tidegate_tests::repository_root;

use crate::sources::rust_files;

/// The tests that docs/SEMANTICS.md names behind its sentences, as `[test: name]`.
fn named_tests(text: &str) -> BTreeSet<String> {
    text.split("[test: ")
        .skip(1)
        .map(|rest| rest.split(']').next().expect("a split gives one piece at least"))
        .flat_map(|names| names.split(','))
        .map(|name| name.split_whitespace().collect())
        .collect()
}

/// The names of all test functions, as `crate_folder::function`: `vfs::a_name`, `e2e::a_name`.
fn existing_tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for path in rust_files(&["crates", "tests"]) {
        let relative = path.strip_prefix(repository_root()).expect("below the root").to_owned();
        let owner = relative.iter().nth(1).expect("a folder below crates or tests").to_string_lossy().into_owned();
        let mut is_test = false;
        for line in std::fs::read_to_string(&path).expect("UTF-8").lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some(rest) = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn ")) {
                // The functions inside `proptest!` carry #[test], too.
                if is_test {
                    tests.insert(format!("{owner}::{}", rest.split(['(', '<']).next().unwrap_or_default()));
                }
                is_test = false;
            }
        }
    }
    tests
}

#[test]
fn every_sentence_of_the_semantics_names_a_test_that_exists() {
    let text = std::fs::read_to_string(repository_root().join("docs/SEMANTICS.md")).expect("docs/SEMANTICS.md");
    let (kept, later) = text.split_once("\n## Not yet").expect("a section of what is not yet there");
    let sentences: Vec<_> = kept.lines().filter(|line| line.starts_with("- ")).collect();
    assert!(sentences.len() > 20, "the contract has its sentences");
    for sentence in sentences {
        assert!(sentence.contains("[test: "), "no test is named: {sentence}");
    }
    assert!(!later.contains("[test: "), "what is not there has no test");

    let existing = existing_tests();
    let missing: Vec<_> = named_tests(kept).into_iter().filter(|name| !existing.contains(name)).collect();
    assert!(missing.is_empty(), "docs/SEMANTICS.md names tests that do not exist: {missing:#?}");
}

#[test]
fn the_security_model_names_tests_that_exist() {
    let root = repository_root();
    let text = std::fs::read_to_string(root.join("docs/SECURITY-MODEL.md")).expect("docs/SECURITY-MODEL.md");
    // The first section explains the two marks.
    let (_, text) = text.split_once("\n## ").expect("sections");
    let (named, existing) = (named_tests(text), existing_tests());
    assert!(named.len() > 40, "the search finds the tests");
    let missing: Vec<_> = named.into_iter().filter(|name| !existing.contains(name)).collect();
    assert!(missing.is_empty(), "docs/SECURITY-MODEL.md names tests that do not exist: {missing:#?}");

    let mut runs = String::new();
    for entry in std::fs::read_dir(root.join("deploy/terraform/tests")).expect("a folder of tests") {
        let path = entry.expect("a folder can be listed").path();
        if path.is_file() {
            runs.push_str(&std::fs::read_to_string(path).expect("UTF-8"));
        }
    }
    let named = text.split("[terraform: ").skip(1).filter_map(|rest| rest.split(']').next());
    for name in named.flat_map(|names| names.split(',')).map(str::trim) {
        assert!(runs.contains(&format!("run \"{name}\" {{")), "there is no run {name} in deploy/terraform/tests");
    }
}

#[test]
fn the_manuals_sum_is_what_the_calculator_says() {
    let output = Command::new("python3").arg("docs/cost.py").current_dir(repository_root()).output().expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let manual = std::fs::read_to_string(repository_root().join("docs/OPERATIONS.md")).expect("docs/OPERATIONS.md");
    assert!(manual.contains(&*String::from_utf8_lossy(&output.stdout)), "docs/cost.py prints another table");
}

#[test]
fn every_decision_is_in_the_index() {
    let folder = repository_root().join("docs/adr");
    let index = std::fs::read_to_string(folder.join("README.md")).expect("docs/adr/README.md");
    for entry in std::fs::read_dir(folder).expect("docs/adr") {
        let name = entry.expect("a folder can be listed").file_name().to_string_lossy().into_owned();
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            assert!(index.contains(&format!("({name})")), "docs/adr/README.md does not list {name}");
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = repository_root();
    let mut documents = Vec::new();
    for folder in ["", "benches", "docs", "docs/adr", "deploy", "ami"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("a folder of documents") {
            let path = entry.expect("a folder can be listed").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                documents.push(path);
            }
        }
    }
    assert!(documents.len() > 10, "the search finds the documents");
    for document in documents {
        let text = std::fs::read_to_string(&document).expect("UTF-8");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let target = document.parent().expect("a file lies in a folder").join(file);
            assert!(target.exists(), "{}: the link to {link} leads nowhere", document.display());
        }
    }
}

#[test]
fn the_changelog_has_a_place_for_the_next_change() {
    let text = std::fs::read_to_string(repository_root().join("CHANGELOG.md")).expect("CHANGELOG.md");
    assert!(text.contains("\n## [Unreleased]\n"), "Keep a Changelog: changes gather under [Unreleased]");
}

#[test]
fn the_lifecycle_rule_leaves_uploads_alone_for_longer_than_they_may_take() {
    let read = |path: &str| std::fs::read_to_string(repository_root().join(path)).expect("UTF-8");
    let days = |text: &str, before: &str| -> u32 {
        let (_, rest) = text.split_once(before).expect("it is named");
        let digits: String =
            rest.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        digits.parse().expect("a number")
    };
    let variables = read("deploy/terraform/variables.tf");
    let (_, variable) = variables.split_once("variable \"abort_multipart_days\"").expect("the variable");
    let defaults = read("crates/node/src/config/defaults.toml");
    assert!(days(variable, "default ") > days(&defaults, "upload_age_max = "));
    assert!(defaults.contains("upload_age_max = \"7d\""), "in days");
}
