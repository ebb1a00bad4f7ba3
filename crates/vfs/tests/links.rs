//! Symbolic links: as s3fs keeps them, followed below the user's root, and free of charge where there are none.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod harness;

use std::time::Duration;

use bytes::Bytes;
use harness::*;
use tidegate_store::Permission;
use tidegate_store::faulty::{Call, FaultPlan};
use tidegate_vfs::{
    Config, FileKind, FsErrorKind, ListingAttributes, OpenOptions, Replace, SetAttributes, VirtualPath,
};

/// A link as older and newer versions of s3fs write it.
const S3FS: [(&str, &str); 6] =
    [("atime", "1.5"), ("ctime", "1.5"), ("gid", "7"), ("mode", "41471"), ("mtime", "1.5"), ("uid", "7")];

impl Env {
    async fn link(&self, key: &str, target: &'static str) {
        self.put(key, target.as_bytes(), &S3FS).await;
    }

    async fn read(&self, name: &str) -> Result<Bytes, FsErrorKind> {
        match open_reader(&self.mount, name).await {
            Ok(reader) => Ok(read_all(&reader, 1_000).await.unwrap()),
            Err(error) => Err(error.kind()),
        }
    }

    async fn kind(&self, name: &str) -> Result<FileKind, FsErrorKind> {
        self.mount.stat(&path(name)).await.map(|shown| shown.kind).map_err(|error| error.kind())
    }

    async fn real(&self, name: &str) -> String {
        self.mount.real_path(&path(name)).await.unwrap().as_str().to_owned()
    }
}

#[tokio::test]
async fn a_link_is_what_s3fs_writes() {
    let env = env().await;
    env.mount.make_link("sub/fi le".as_bytes(), &path("/link")).await.unwrap();
    let meta = tidegate_store::ObjectStore::head(&env.store, &key_of("link")).await.unwrap();
    assert_eq!(env.object("link").await.unwrap(), "sub/fi le");
    assert_eq!(meta.attributes.content_type.as_deref(), Some("application/octet-stream"));
    let names: Vec<&str> = meta.attributes.metadata.keys().map(String::as_str).collect();
    assert_eq!(names, ["atime", "ctime", "gid", "mode", "mtime", "uid"]);
    assert_eq!(meta.attributes.metadata["mode"], "41471", "S_IFLNK, 0777");
    let shown = env.mount.lstat(&path("/link")).await.unwrap();
    assert_eq!((shown.kind, shown.mode, shown.size), (FileKind::Symlink, 0o120_777, 9));
    assert_eq!(&*env.mount.read_link(&path("/link")).await.unwrap(), "sub/fi le");
}

#[tokio::test]
async fn links_of_s3fs_are_read_with_white_space_around_them_and_without() {
    let env = env().await;
    env.put("file", b"content", &[]).await;
    for (key, body, mode) in [
        ("a", &b"file"[..], "41471"),
        ("b", b" file\r\n", "41471"),
        // s3fs of 2010 wrote the type alone.
        ("c", b"\tfile ", "40960"),
    ] {
        env.put(key, body, &[("mode", mode)]).await;
        assert_eq!(&*env.mount.read_link(&path(&format!("/{key}"))).await.unwrap(), "file");
        assert_eq!(env.read(&format!("/{key}")).await.unwrap(), "content");
    }
    // What can't be a link is none, and a link that says nothing is damaged.
    env.put("empty", b"", &[("mode", "41471")]).await;
    env.put("blank", b"  \n", &[("mode", "41471")]).await;
    env.put("noise", b"\xff\xfe", &[("mode", "41471")]).await;
    env.put_large("large", &pattern(8_000), &[("mode", "41471")]).await;
    assert_eq!(env.read("/empty").await.unwrap(), "");
    assert_eq!(env.read("/large").await.unwrap(), pattern(8_000));
    assert_eq!(env.mount.stat(&path("/large")).await.unwrap().size, 8_000);
    for damaged in ["/blank", "/noise"] {
        assert_eq!(env.read(damaged).await, Err(FsErrorKind::InvalidName));
        assert_eq!(kind(env.mount.read_link(&path(damaged)).await), Some(FsErrorKind::InvalidName));
        assert_eq!(env.mount.lstat(&path(damaged)).await.unwrap().kind, FileKind::Symlink);
    }
    env.mount.remove(&path("/blank")).await.unwrap();
}

#[tokio::test]
async fn requests_follow_links_or_take_the_link_itself_as_posix_says() {
    let env = env().await;
    env.put("dir/file", b"content", &[("mode", "33188")]).await;
    env.link("link", "dir/file").await;
    env.link("to-dir", "dir").await;
    env.link("dangling", "dir/new").await;
    let link = path("/link");
    assert_eq!(env.mount.lstat(&link).await.unwrap().kind, FileKind::Symlink);
    assert_eq!(env.mount.stat(&link).await.unwrap().size, 7);
    assert_eq!(env.kind("/to-dir").await, Ok(FileKind::Directory));
    assert_eq!(env.kind("/dangling").await, Err(FsErrorKind::NotFound));
    assert_eq!(env.read("/link").await.unwrap(), "content");
    assert_eq!(env.read("/to-dir").await, Err(FsErrorKind::IsADirectory));
    assert_eq!(names(&env.mount, "/to-dir").await, ["file"]);
    assert_eq!(kind(env.mount.open_directory(&link).await), Some(FsErrorKind::NotADirectory));
    assert_eq!(kind(env.mount.open_directory(&path("/dangling")).await), Some(FsErrorKind::NotFound));

    env.mount.set_attributes(&link, mode(0o600)).await.unwrap();
    assert_eq!(env.mount.stat(&path("/dir/file")).await.unwrap().mode, 0o100_600);
    assert_eq!(env.mount.lstat(&link).await.unwrap().mode, 0o120_777, "as it was");
    env.mount.set_link_attributes(&link, times(3, 4)).await.unwrap();
    assert_eq!(env.mount.lstat(&link).await.unwrap().mtime, 4);
    assert_ne!(env.mount.stat(&link).await.unwrap().mtime, 4);
    env.mount.set_link_attributes(&path("/dir/file"), times(5, 6)).await.unwrap();
    assert_eq!(env.mount.stat(&link).await.unwrap().mtime, 6, "no link: as SETSTAT");
    let size = SetAttributes { size: Some(0), ..SetAttributes::default() };
    assert_eq!(kind(env.mount.set_link_attributes(&link, size).await), Some(FsErrorKind::InvalidName));

    assert_eq!(kind(env.mount.read_link(&path("/dir/file")).await), Some(FsErrorKind::InvalidName));
    assert_eq!(kind(env.mount.read_link(&path("/dir")).await), Some(FsErrorKind::InvalidName));
    assert_eq!(kind(env.mount.read_link(&path("/missing")).await), Some(FsErrorKind::NotFound));
    for taken in ["/link", "/dangling", "/dir", "/dir/file", "/"] {
        assert_eq!(kind(env.mount.make_link(b"x", &path(taken)).await), Some(FsErrorKind::AlreadyExists), "{taken}");
        assert_eq!(
            kind(env.mount.make_directory(&path(taken), SetAttributes::default()).await),
            Some(FsErrorKind::AlreadyExists)
        );
    }
    assert_eq!(kind(env.mount.make_link(b"x", &path("/nowhere/link")).await), Some(FsErrorKind::NotFound));
    assert_eq!(kind(env.mount.remove_directory(&path("/to-dir")).await), Some(FsErrorKind::NotADirectory));

    env.mount.rename(&link, &path("/dir/renamed"), Replace::Never).await.unwrap();
    assert_eq!(&*env.mount.read_link(&path("/dir/renamed")).await.unwrap(), "dir/file");
    assert_eq!(env.kind("/dir/renamed").await, Err(FsErrorKind::NotFound), "it leads elsewhere from there");
    env.put("other", b"other", &[]).await;
    env.mount.rename(&path("/other"), &path("/to-dir"), Replace::Existing).await.unwrap();
    assert_eq!(env.read("/to-dir").await.unwrap(), "other", "the link was replaced");
    env.mount.remove(&path("/dangling")).await.unwrap();
    env.mount.remove(&path("/dir/renamed")).await.unwrap();
    assert_eq!(env.keys().await, ["dir/file", "to-dir"]);
}

#[tokio::test]
async fn links_are_listed_as_links() {
    let env = env().await;
    env.put("d/file", b"content", &[]).await;
    env.link("d/link", "file").await;
    let entries = list(&env.mount, "/d").await.unwrap();
    assert_eq!((entries[1].name.as_str(), entries[1].attributes.mode), ("link", 0o120_777));
    assert_eq!(entries[1].attributes, env.mount.lstat(&path("/d/link")).await.unwrap());
}

#[tokio::test]
async fn links_lead_through_directories_and_chains() {
    let env = env().await;
    env.put("real/sub/file", b"content", &[]).await;
    env.link("a", "/b").await;
    env.link("b", "real").await;
    env.link("real/up", "../c").await;
    env.link("c", "./real//sub/../sub").await;
    env.link("f", "a/up/file").await;
    for name in ["/f", "/a/sub/file", "/a/up/file", "/b/up/file", "/real/up/file", "/c/file"] {
        assert_eq!(env.read(name).await.unwrap(), "content", "{name}");
        assert_eq!(env.mount.stat(&path(name)).await.unwrap().size, 7, "{name}");
        assert_eq!(env.real(name).await, "/real/sub/file", "{name}");
    }
    assert_eq!(names(&env.mount, "/a/up").await, ["file"]);
    assert_eq!(env.real("/a/up").await, "/real/sub");
    assert_eq!(env.real("/a/missing/x").await, "/real/missing/x", "as far as it exists");
    assert_eq!(env.kind("/a/missing").await, Err(FsErrorKind::NotFound));
    assert_eq!(env.kind("/f/x").await, Err(FsErrorKind::NotFound));

    // Everything else works through them too.
    upload(&env.mount, "/a/up/new", &Bytes::from_static(b"new")).await.unwrap();
    env.mount.make_directory(&path("/a/dir"), SetAttributes::default()).await.unwrap();
    env.mount.rename(&path("/a/up/new"), &path("/b/dir/moved"), Replace::Never).await.unwrap();
    env.mount.make_link(b"../sub/file", &path("/a/dir/link")).await.unwrap();
    assert_eq!(env.read("/b/dir/link").await.unwrap(), "content");
    env.mount.set_attributes(&path("/a/up/file"), mode(0o400)).await.unwrap();
    assert_eq!(env.metadata("real/sub/file", "mode").await.unwrap(), "33024");
    env.mount.remove(&path("/a/dir/link")).await.unwrap();
    env.mount.remove(&path("/a/dir/moved")).await.unwrap();
    env.mount.remove_directory(&path("/b/dir")).await.unwrap();
    env.mount.rename(&path("/a/sub"), &path("/b/other"), Replace::Never).await.unwrap();
    let keys = env.keys().await;
    assert_eq!(keys, ["a", "b", "c", "f", "real/other/", "real/other/file", "real/up"]);
}

#[tokio::test]
async fn links_in_a_circle_are_an_error_and_not_too_many_requests() {
    let env = env().await;
    for (key, target) in [("a", "b"), ("b", "a"), ("self", "self"), ("d", "d/x"), ("e", "/f/g"), ("f", "/e")] {
        env.link(key, target).await;
    }
    for name in ["/a", "/self", "/d", "/e", "/a/x", "/self/x/y"] {
        assert_eq!(env.kind(name).await, Err(FsErrorKind::LinkLoop), "{name}");
        assert_eq!(env.read(name).await, Err(FsErrorKind::LinkLoop), "{name}");
        let written = open_writer(&env.mount, name, create()).await;
        assert_eq!(kind(written), Some(FsErrorKind::LinkLoop), "{name}");
        let before = env.requests();
        assert_eq!(kind(env.mount.real_path(&path(name)).await), Some(FsErrorKind::LinkLoop), "{name}");
        assert!(env.requests() - before <= 41, "{name}: {}", env.requests() - before);
    }
    assert_eq!(env.mount.lstat(&path("/a")).await.unwrap().kind, FileKind::Symlink);
    env.mount.remove(&path("/self")).await.unwrap();

    for n in 0..40 {
        env.put_large(&format!("chain{n}"), &format!("chain{}", n + 1).into(), &S3FS).await;
    }
    env.put("chain40", b"end", &[]).await;
    assert_eq!(env.read("/chain0").await.unwrap(), "end", "forty links");
    env.link("chain", "chain0").await;
    assert_eq!(env.read("/chain").await, Err(FsErrorKind::LinkLoop));
}

#[tokio::test]
async fn a_link_above_a_deep_path_is_found_with_few_requests() {
    let env = env().await;
    let deep = "d/".repeat(200);
    env.put(&format!("real/{deep}file"), b"content", &[]).await;
    env.link(&format!("{deep}link"), "/real").await;
    for (name, found) in [
        (format!("/{deep}link/{deep}file"), true),
        (format!("/{deep}link/{deep}missing"), false),
        (format!("/{deep}{deep}file"), false),
        (format!("/{}x", "y/".repeat(400)), false),
    ] {
        let before = env.requests();
        assert_eq!(env.mount.stat(&path(&name)).await.is_ok(), found, "{name}");
        assert!(env.requests() - before <= 16, "{}", env.requests() - before);
    }
}

#[tokio::test]
async fn no_link_leads_out_of_the_root() {
    let env = env().await;
    let outside = tidegate_store::ObjectKey::new("tenants/other/secret").unwrap();
    let body = tidegate_store::Body::from(&b"secret"[..]);
    let (sum, attributes) = (body.checksum(), tidegate_store::ObjectAttributes::default());
    let always = tidegate_store::Condition::Always;
    tidegate_store::ObjectStore::put(&env.store, &outside, body, sum, &attributes, &always).await.unwrap();
    env.put("secret", b"mine", &[]).await;
    for (key, target, leads) in [
        ("a", "../../other/secret", "/other/secret"),
        ("b", "/tenants/other/secret", "/tenants/other/secret"),
        ("c", "../../../../secret", "/secret"),
        ("d/e/f", "../../../secret", "/secret"),
        ("g", "..", "/"),
    ] {
        env.link(key, target).await;
        assert_eq!(env.real(&format!("/{key}")).await, leads);
    }
    assert_eq!(env.read("/a").await, Err(FsErrorKind::NotFound));
    assert_eq!(env.read("/b").await, Err(FsErrorKind::NotFound));
    assert_eq!(env.read("/c").await.unwrap(), "mine");
    assert_eq!(env.read("/g/secret").await.unwrap(), "mine");
    assert_eq!(env.kind("/g").await, Ok(FileKind::Directory));
}

#[tokio::test]
async fn targets_that_no_link_can_have_are_refused() {
    let env = env().await;
    for bad in [&b""[..], b"\xff", b"a\0b", b" a", b"a\n", &[b'x'; 5_000]] {
        assert_eq!(kind(env.mount.make_link(bad, &path("/link")).await), Some(FsErrorKind::InvalidName));
    }
    assert!(env.keys().await.is_empty());
    // They may lead anywhere, also where nothing can be.
    env.mount.make_link("x".repeat(4_096).as_bytes(), &path("/long")).await.unwrap();
    assert_eq!(env.kind("/long").await, Err(FsErrorKind::InvalidName));
    assert_eq!(env.mount.read_link(&path("/long")).await.unwrap().len(), 4_096);
    let reader = env.mount_with(&[Permission::Read, Permission::List]).await;
    assert_eq!(kind(reader.make_link(b"x", &path("/other")).await), Some(FsErrorKind::PermissionDenied));
    assert_eq!(reader.read_link(&path("/long")).await.unwrap().len(), 4_096);
}

#[tokio::test]
async fn writing_to_a_link_writes_what_it_leads_to() {
    let env = env().await;
    env.put("dir/file", b"old", &[]).await;
    env.link("link", "dir/file").await;
    env.link("dangling", "dir/new").await;
    env.link("nowhere", "missing/new").await;
    let data = pattern(3 * PART);
    // A small file and one of parts, in a session that has never seen the links and in one that has.
    for content in [Bytes::from_static(b"small"), data] {
        for name in ["/link", "/dangling"] {
            let fresh = env.mount_with(&Permission::ALL).await;
            upload(&fresh, name, &content).await.unwrap();
            assert_eq!(env.read(name).await.unwrap(), content);
            upload(&fresh, name, &content).await.unwrap();
        }
        assert_eq!(env.object("link").await.unwrap(), "dir/file");
        assert_eq!(env.object("dangling").await.unwrap(), "dir/new");
        assert_eq!(env.object("dir/file").await.unwrap(), content);
        assert_eq!(env.object("dir/new").await.unwrap(), content);
    }
    let exclusive = OpenOptions { exclusive: true, ..create() };
    assert_eq!(kind(open_writer(&env.mount, "/dangling", exclusive).await), Some(FsErrorKind::AlreadyExists));
    assert_eq!(kind(upload(&env.mount, "/nowhere", &Bytes::new()).await), Some(FsErrorKind::NotFound));
    let existing = OpenOptions { write: true, truncate: true, ..OpenOptions::default() };
    open_writer(&env.mount, "/link", existing).await.unwrap().finish().await.unwrap();
    assert_eq!(env.object("dir/file").await.unwrap(), "");
}

#[tokio::test]
async fn a_link_made_or_moved_by_the_session_is_written_through_at_once() {
    let env = env().await;
    env.put("file", b"old", &[]).await;
    upload(&env.mount, "/other", &Bytes::from_static(b"x")).await.unwrap();
    env.mount.make_link(b"file", &path("/link")).await.unwrap();
    upload(&env.mount, "/link", &Bytes::from_static(b"one")).await.unwrap();
    env.mount.rename(&path("/link"), &path("/moved"), Replace::Never).await.unwrap();
    upload(&env.mount, "/moved", &Bytes::from_static(b"two")).await.unwrap();
    upload(&env.mount, "/link", &Bytes::from_static(b"plain")).await.unwrap();
    assert_eq!(
        (env.object("file").await.unwrap().as_ref(), env.object("link").await.unwrap().as_ref()),
        (&b"two"[..], &b"plain"[..])
    );
    assert_eq!(env.object("moved").await.unwrap(), "file");
}

#[tokio::test]
async fn uploads_cost_no_look_where_there_are_no_links() {
    let env = env().await;
    for n in 0..300 {
        env.put(&format!("dir/old{n}"), b"small enough for a link", &[]).await;
    }
    // New files beside old ones, again and again, and large ones over large ones.
    for round in 0..3 {
        let session = env.mount_with(&Permission::ALL).await;
        for n in 0..20 {
            upload(&session, &format!("/dir/new{n}"), &Bytes::from_static(b"x")).await.unwrap();
        }
        upload(&session, "/dir/large", &pattern(5 * PART)).await.unwrap();
        assert_eq!((env.calls.calls(Call::Head), env.calls.calls(Call::List)), (0, round + 1));
    }
    // An old one that nobody here has stored is looked at once.
    let session = env.mount_with(&Permission::ALL).await;
    for _ in 0..3 {
        upload(&session, "/dir/old7", &Bytes::from_static(b"y")).await.unwrap();
    }
    upload(&env.mount_with(&Permission::ALL).await, "/dir/old7", &Bytes::from_static(b"z")).await.unwrap();
    assert_eq!(env.calls.calls(Call::Head), 1);
    assert_eq!(env.calls.calls(Call::Get), 0);
}

#[tokio::test]
async fn paths_without_links_cost_no_more_than_before() {
    let env = env().await;
    env.put("dir/sub/file", b"content", &[]).await;
    let cost = async |request: &str, name: &str| {
        let before = env.requests();
        let name = path(name);
        match request {
            "stat" => drop(env.mount.stat(&name).await),
            "real" => drop(env.mount.real_path(&name).await),
            "open" => drop(open_reader(&env.mount, name.as_str()).await),
            _ => panic!("{request}"),
        }
        env.requests() - before
    };
    assert_eq!(cost("stat", "/dir/sub/file").await, 1);
    assert_eq!(cost("open", "/dir/sub/file").await, 1);
    assert_eq!(cost("real", "/").await, 0);
    assert!(env.mount.is_real_path(&path("/")) && env.mount.is_real_path(env.mount.home()));
    assert_eq!(cost("real", "/dir/sub").await, 2, "is it a link, and is there a directory above it");
    assert_eq!(cost("stat", "/dir/missing").await, 2, "the directory is known by now");
    assert_eq!(cost("real", "/dir").await, 0);
    assert!(env.mount.is_real_path(&path("/dir")));
    assert_eq!(cost("stat", "/dir/sub/missing").await, 3);
    assert_eq!(cost("stat", "/dir/sub/missing2").await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_was_seen_is_followed_without_another_look_and_forgotten_when_it_changes() {
    let env = env().await;
    env.put("one/file", b"1", &[]).await;
    env.put("two/file", b"2", &[]).await;
    env.link("link", "one").await;
    assert_eq!(env.read("/link/file").await.unwrap(), "1");
    let before = env.requests();
    assert_eq!(env.mount.stat(&path("/link/file")).await.unwrap().size, 1);
    // The path as it stands, twice, and where it leads.
    assert!(env.requests() - before <= 3, "{}", env.requests() - before);

    let other = env.mount_with(&Permission::ALL).await;
    other.remove(&path("/link")).await.unwrap();
    assert_eq!(env.read("/link/file").await, Err(FsErrorKind::NotFound));
    other.make_link(b"two", &path("/link")).await.unwrap();
    assert_eq!(env.read("/link/file").await.unwrap(), "2");
    // Another node's change is seen after a few seconds.
    env.link("link", "one").await;
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(env.read("/link/file").await.unwrap(), "1");
}

#[tokio::test]
async fn a_fast_listing_does_not_know_links_but_requests_do() {
    let env = env_with(Config { listing_attributes: ListingAttributes::Fast, ..config() }, FaultPlan::none()).await;
    env.put("d/file", b"content", &[]).await;
    env.link("d/link", "file").await;
    assert_eq!(list(&env.mount, "/d").await.unwrap()[1].attributes.kind, FileKind::File);
    assert_eq!(env.read("/d/link").await.unwrap(), "content");
}

#[tokio::test]
async fn a_home_behind_a_link_is_entered_through_it() {
    let env = env().await;
    env.put("real/file", b"content", &[]).await;
    env.link("home", "real").await;
    let home = VirtualPath::resolve(&path("/home"), b"file").unwrap();
    assert_eq!(env.read(home.as_str()).await.unwrap(), "content");
    assert_eq!(env.real("/home").await, "/real");
}
