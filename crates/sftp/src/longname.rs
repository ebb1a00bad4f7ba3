//! The line that `ls -l` would print, which FileZilla and others read the file's type from.

use tidegate_vfs::FileAttributes;
use time::OffsetDateTime;

/// Half a year in seconds: older files show their year in place of the time of day, as `ls` does.
const RECENT: u64 = 182 * 24 * 60 * 60;

/// The name of an owner or a group: files that nobody has given to anybody else (uid and gid 0, as
/// objects without such attributes show) are the user's own. `None` for all other numbers.
pub(crate) fn name_of_id(id: u32, user: &str) -> Option<&str> {
    (id == 0).then_some(user)
}

/// Formats one entry as OpenSSH's server does (`ls_file`), times in UTC; `user` is whose session it is.
pub(crate) fn longname(name: &str, attributes: &FileAttributes, user: &str, now: u64) -> String {
    let named = |id: u32| name_of_id(id, user).map_or_else(|| id.to_string(), str::to_owned);
    format!(
        "{} {:3} {:<8} {:<8} {:>8} {} {}",
        mode_string(attributes.mode),
        1,
        named(attributes.uid),
        named(attributes.gid),
        attributes.size,
        date(attributes.mtime, now),
        name
    )
}

fn mode_string(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        _ => '-',
    };
    let mut text = String::with_capacity(10);
    text.push(kind);
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => unset,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

fn date(mtime: u64, now: u64) -> String {
    let time = i64::try_from(mtime)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let month = time.month().to_string();
    let month = month.get(..3).unwrap_or("???");
    if mtime <= now && now - mtime < RECENT {
        format!("{month} {:>2} {:02}:{:02}", time.day(), time.hour(), time.minute())
    } else {
        format!("{month} {:>2}  {}", time.day(), time.year())
    }
}

#[cfg(test)]
mod tests {
    use tidegate_vfs::FileKind;

    use super::*;

    fn file(mode: u32, mtime: u64) -> FileAttributes {
        FileAttributes { kind: FileKind::File, size: 1234, uid: 0, gid: 0, mode, atime: mtime, mtime }
    }

    #[test]
    fn looks_like_openssh() {
        // 2023-11-14 22:13:20 UTC.
        let mtime = 1_700_000_000;
        assert_eq!(
            longname("a b", &file(0o100_644, mtime), "alice", mtime + 60),
            "-rw-r--r--   1 alice    alice        1234 Nov 14 22:13 a b"
        );
        assert_eq!(
            longname("d", &file(0o041_777, mtime), "alice", mtime + RECENT),
            "drwxrwxrwt   1 alice    alice        1234 Nov 14  2023 d"
        );
    }

    #[test]
    fn future_times_show_their_year() {
        assert!(longname("f", &file(0o104_711, 4_102_444_800), "alice", 1_700_000_000).contains("Jan  1  2100"));
        assert!(longname("f", &file(0o104_711, 0), "alice", 0).starts_with("-rws--x--x"));
        assert!(longname("f", &file(0o104_611, u64::MAX), "alice", 0).starts_with("-rwS--x--x"));
    }
}
