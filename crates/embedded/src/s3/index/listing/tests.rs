use rusqlite::Connection;

use super::*;
use crate::s3::headers::ObjectHeaders;
use crate::s3::index::{self, Content, NewUpload, Upload};

const KEYS: [&str; 16] = [
    "a",
    "a/",
    "a/b",
    "a/b/c",
    "a/bc",
    "a//",
    "a//b",
    "aa",
    "b/x",
    "b/y",
    "b0",
    "ключ/é",
    "ключ/ё",
    "ключ\u{10ffff}",
    "z\u{0}",
    "z\n",
];

fn index() -> (tempfile::TempDir, Connection, BucketId) {
    let folder = tempfile::TempDir::new().unwrap();
    let connection = index::open(&folder.path().join("index.sqlite")).unwrap();
    index::create_bucket(&connection, "bucket").unwrap();
    let bucket = index::bucket(&connection, "bucket").unwrap();
    (folder, connection, bucket)
}

fn with_objects(keys: &[&str]) -> (tempfile::TempDir, Connection, BucketId) {
    let (folder, connection, bucket) = index();
    let content = Content { size: 0, crc64: 0, etag: "tag".to_owned(), parts: None, sum: None };
    for key in keys {
        let id = index::insert_content(&connection, &content, &[]).unwrap();
        index::publish(&connection, bucket, key, id, &ObjectHeaders::default(), &mut Vec::new()).unwrap();
    }
    (folder, connection, bucket)
}

/// All names of a listing, page by page.
fn names(connection: &Connection, bucket: BucketId, query: &ObjectsQuery) -> Vec<String> {
    let mut query = query.clone();
    let mut names = Vec::new();
    loop {
        let page = list_objects(connection, bucket, &query).unwrap();
        assert!(page.entries.len() <= query.limit);
        names.extend(page.entries.iter().map(|entry| match entry {
            Listed::Entry(object) => object.key.clone(),
            Listed::CommonPrefix(prefix) => format!("{prefix}*"),
        }));
        if !page.truncated {
            return names;
        }
        assert_eq!(page.entries.len(), query.limit, "a page that is not the last is full");
        query.after = page.last().map(str::to_owned);
    }
}

/// What S3's documents say, in the plainest way.
fn expected(query: &ObjectsQuery) -> Vec<String> {
    let mut keys = KEYS.to_vec();
    keys.sort_unstable_by_key(|key| key.as_bytes());
    let mut names: Vec<String> = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(&query.prefix)) {
        let below = &key[query.prefix.len()..];
        let name = match query.delimiter.as_deref().and_then(|delimiter| Some((below.find(delimiter)?, delimiter))) {
            Some((at, delimiter)) => format!("{}*", &key[..query.prefix.len() + at + delimiter.len()]),
            None => (*key).to_owned(),
        };
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    names
}

#[test]
fn pages_of_any_size_add_up_to_the_listing() {
    let (_folder, connection, bucket) = with_objects(&KEYS);
    for prefix in ["", "a", "a/", "a//", "b", "ключ", "ключ/", "z", "none"] {
        for delimiter in [None, Some("/"), Some("b"), Some("é"), Some("//")] {
            for limit in [1, 2, 3, 1000] {
                let query =
                    ObjectsQuery { prefix: prefix.into(), delimiter: delimiter.map(Into::into), after: None, limit };
                assert_eq!(names(&connection, bucket, &query), expected(&query), "{query:?}");
            }
        }
    }
}

#[test]
fn a_listing_begins_behind_its_marker() {
    let (_folder, connection, bucket) = with_objects(&KEYS);
    let from = |after: &str, prefix: &str, delimiter: Option<&str>| {
        let (prefix, delimiter) = (prefix.to_owned(), delimiter.map(str::to_owned));
        names(&connection, bucket, &ObjectsQuery { prefix, delimiter, after: Some(after.to_owned()), limit: 3 })
    };
    assert_eq!(from("a/bc", "", None)[..2], ["aa", "b/x"]);
    assert_eq!(from("a/b0 is no key", "", None)[0], "a/bc");
    assert_eq!(from("0 before all", "b", None), ["b/x", "b/y", "b0"]);
    assert_eq!(from("c behind all", "b", None), [""; 0]);
    assert_eq!(from("a/b", "", Some("/"))[0], "aa", "a marker inside a rolled-up prefix skips the prefix");
}

#[test]
fn a_page_of_nothing_is_the_last() {
    let (_folder, connection, bucket) = with_objects(&KEYS);
    let page = list_objects(&connection, bucket, &ObjectsQuery::default()).unwrap();
    assert!(page.entries.is_empty() && !page.truncated);
}

#[test]
fn another_bucket_shows_nothing() {
    let (_folder, connection, _) = with_objects(&KEYS);
    index::create_bucket(&connection, "other").unwrap();
    let other = index::bucket(&connection, "other").unwrap();
    let all = ObjectsQuery { limit: 1000, ..ObjectsQuery::default() };
    assert_eq!(names(&connection, other, &all), [""; 0]);
}

#[test]
fn uploads_are_listed_by_key_and_then_by_their_beginning() {
    let (_folder, connection, bucket) = index();
    let upload = Upload { headers: ObjectHeaders::default(), sum: None };
    let all = [("a/x", "3"), ("a/x", "4"), ("a/y/z", "1"), ("b", "0"), ("b", "2"), ("c", "5")];
    for (key, id) in [all[5], all[1], all[3], all[0], all[4], all[2]] {
        index::begin_upload(&connection, &NewUpload { bucket, key, id, upload: &upload }).unwrap();
    }
    for limit in [1, 2, 4, 6, 7] {
        let mut query = UploadsQuery { limit, ..UploadsQuery::default() };
        let mut found = Vec::new();
        loop {
            let page = list_uploads(&connection, bucket, &query).unwrap();
            for entry in &page.entries {
                let Listed::Entry(upload) = entry else { panic!("no delimiter was given: {entry:?}") };
                found.push((upload.key.clone(), upload.id.clone()));
            }
            (query.key_marker, query.id_marker) = found.last().cloned().unzip();
            if !page.truncated {
                break;
            }
        }
        let expected: Vec<_> = all.iter().map(|(key, id)| ((*key).to_owned(), (*id).to_owned())).collect();
        assert_eq!(found, expected, "in pages of {limit}");
    }

    let query = UploadsQuery {
        prefix: "a/".to_owned(),
        delimiter: Some("/".to_owned()),
        key_marker: Some("a/x".to_owned()),
        id_marker: Some("3".to_owned()),
        limit: 10,
    };
    let page = list_uploads(&connection, bucket, &query).unwrap();
    let second = ListedUpload { key: "a/x".to_owned(), id: "4".to_owned(), initiated: 0 };
    assert!(
        matches!(&page.entries[0], Listed::Entry(upload) if (&upload.key, &upload.id) == (&second.key, &second.id))
    );
    assert_eq!(page.entries[1..], [Listed::CommonPrefix("a/y/".to_owned())]);
    let query = UploadsQuery { id_marker: None, delimiter: None, ..query };
    let page = list_uploads(&connection, bucket, &query).unwrap();
    assert_eq!(page.entries.len(), 1, "without an upload, the marker's whole key is passed: {page:?}");
}
