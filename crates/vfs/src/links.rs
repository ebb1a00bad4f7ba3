//! Symbolic links, kept as s3fs keeps them: an object whose mode says so and whose body is the target.
//!
//! Nobody pays for links where there are none. A request is made of the path as it stands; only when
//! nothing is there is it looked for a link among the directories above. A link leads to a path below
//! the user's root, as a client would have sent it: one that begins with `/` begins there.

use std::future::Future;
use std::sync::Arc;

use bytes::BytesMut;
use futures::TryStreamExt;
use tidegate_store::{Body, ByteRange, Condition, ObjectAttributes, ObjectMeta, StoreErrorKind};

use crate::attributes::{FileAttributes, FileKind, link_attributes, unix_now};
use crate::error::{FsError, FsErrorKind};
use crate::known_directories::Child;
use crate::path::VirtualPath;
use crate::vfs::Files;

/// How many links one path may lead through; Linux's MAXSYMLINKS.
const LINKS_MAX: u32 = 40;

/// The longest target, in bytes; Linux's PATH_MAX.
const TARGET_MAX: usize = VirtualPath::INPUT_MAX;

/// The largest object that is taken for a link: a target, and white space that editors put behind it.
const LINK_MAX: u64 = TARGET_MAX as u64 + 16;

/// As many directories above a missing path are looked at at once; of more, the right one is searched for.
const ANCESTORS_AT_ONCE: usize = 8;

/// What s3fs takes off both ends of a target (`trim`, `SPACES`).
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// What a request has found at a path.
#[derive(Debug)]
pub(crate) enum Found<T> {
    /// What was asked for.
    Here(T),
    /// A symbolic link, which the request is to follow.
    Link,
}

impl<T> Found<T> {
    pub(crate) fn map<U>(self, to: impl FnOnce(T) -> U) -> Found<U> {
        match self {
            Self::Here(value) => Found::Here(to(value)),
            Self::Link => Found::Link,
        }
    }
}

/// Whether an object of this size can be a link.
pub(crate) fn may_be_link(size: u64) -> bool {
    (1..=LINK_MAX).contains(&size)
}

/// Whether an object is a link.
pub(crate) fn is_link(meta: &ObjectMeta) -> bool {
    may_be_link(meta.size) && FileAttributes::of_file(meta).kind == FileKind::Symlink
}

impl Files {
    /// Makes a request of a path, and of those that it leads to by links.
    ///
    /// # Errors
    /// Those of the request; `LinkLoop`; `InvalidName` for a link whose target is no path.
    pub(crate) async fn follow<T, F, Made>(&self, path: &VirtualPath, request: F) -> Result<T, FsError>
    where
        F: Fn(VirtualPath) -> Made,
        Made: Future<Output = Result<Found<T>, FsError>>,
    {
        let mut path = path.clone();
        for _ in 0..=LINKS_MAX {
            path = match request(path.clone()).await {
                Ok(Found::Here(value)) => return Ok(value),
                Ok(Found::Link) => {
                    self.forget_none(&path);
                    self.step(&path).await?.unwrap_or(path)
                }
                Err(error) if error.kind() == FsErrorKind::NotFound => self.around(&path).await?.ok_or(error)?,
                Err(error) => return Err(error),
            };
        }
        Err(link_loop())
    }

    /// The same for a request of two paths whose last names are not followed.
    pub(crate) async fn follow_two<T, F, Made>(
        &self,
        one: &VirtualPath,
        two: &VirtualPath,
        request: F,
    ) -> Result<T, FsError>
    where
        F: Fn(VirtualPath, VirtualPath) -> Made,
        Made: Future<Output = Result<T, FsError>>,
    {
        let (mut one, mut two) = (one.clone(), two.clone());
        for _ in 0..=LINKS_MAX {
            match request(one.clone(), two.clone()).await {
                Err(error) if error.kind() == FsErrorKind::NotFound => {
                    match futures::try_join!(self.around(&one), self.around(&two))? {
                        (None, None) => return Err(error),
                        (first, second) => (one, two) = (first.unwrap_or(one), second.unwrap_or(two)),
                    }
                }
                other => return other,
            }
        }
        Err(link_loop())
    }

    /// The path without links, as far as it exists. One that is known to be plain costs no request.
    pub(crate) async fn real_path(&self, path: &VirtualPath) -> Result<VirtualPath, FsError> {
        let mut path = path.clone();
        for _ in 0..=LINKS_MAX {
            if self.is_plain(&path) {
                return Ok(path);
            }
            let next = match self.step(&path).await? {
                Some(next) => Some(next),
                None => self.around(&path).await?,
            };
            match next {
                Some(next) => path = next,
                None => return Ok(path),
            }
        }
        Err(link_loop())
    }

    /// Whether a path is known to lead through no link.
    pub(crate) fn is_plain(&self, path: &VirtualPath) -> bool {
        self.keys.mounted().is_fixed(path) || self.known.is_known(path)
    }

    /// What a link says: its target as it was written.
    pub(crate) async fn read_link(&self, path: &VirtualPath) -> Result<Arc<str>, FsError> {
        if let Some(target) = self.link_at(path).await? {
            return Ok(target);
        }
        self.stat(path).await?;
        Err(FsError::new(FsErrorKind::InvalidName, "this is not a symbolic link"))
    }

    /// Makes a link at `path` that says `target`; whether anything is there is not asked.
    pub(crate) async fn make_link(&self, target: &[u8], path: &VirtualPath) -> Result<(), FsError> {
        let target = target_text(target)?;
        if self.keys.mounted().is_fixed(path) {
            return Err(FsError::already_exists());
        }
        let key = self.keys.object(path)?;
        if self.is_directory_in_its_parent(path).await? {
            return Err(FsError::already_exists());
        }
        let mut attributes = ObjectAttributes::default();
        link_attributes(&mut attributes, unix_now());
        let body = Body::from(bytes::Bytes::copy_from_slice(target.as_bytes()));
        let checksum = body.checksum();
        match self.store.put(&key, body, checksum, &attributes, &Condition::IfAbsent).await {
            Err(error) if error.kind() == StoreErrorKind::PreconditionFailed => {
                Err(FsError::already_exists().with_source(error))
            }
            made => {
                // However it ended, it may be there.
                self.known.linked(path);
                made?;
                Ok(())
            }
        }
    }

    /// There is a link now, whatever was seen before.
    fn forget_none(&self, path: &VirtualPath) {
        if let Ok(key) = self.keys.object(path)
            && self.vfs.links.get(&self.bucket, &key) == Some(None)
        {
            self.vfs.links.forget(&self.bucket, &key);
        }
    }

    /// Where the link at this very path leads; `None` if there is no link.
    async fn step(&self, path: &VirtualPath) -> Result<Option<VirtualPath>, FsError> {
        match self.link_at(path).await? {
            Some(target) => {
                VirtualPath::resolve(&path.parent().unwrap_or_else(VirtualPath::root), target.as_bytes()).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Where nothing was found at a path: the path with the first link among the directories above it
    /// followed; `None` if there is none.
    async fn around(&self, path: &VirtualPath) -> Result<Option<VirtualPath>, FsError> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else { return Ok(None) };
        if parent.is_root() || self.known.child(&parent, name, path) != Child::ParentUnknown {
            return Ok(None);
        }
        let mut above: Vec<VirtualPath> = std::iter::successors(Some(parent), VirtualPath::parent).collect();
        above.pop();
        above.reverse();
        let known = above.iter().position(|directory| self.is_known_link(directory));
        let suspects = match known {
            Some(index) => above.get(index..=index).unwrap_or_default(),
            None => {
                match self.is_directory_in_its_parent(path).await {
                    // There are no links above a directory that is one itself.
                    Ok(_) => return Ok(None),
                    Err(error) if error.kind() == FsErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
                self.suspects(&above).await?
            }
        };
        let found = futures::future::try_join_all(suspects.iter().map(|directory| self.step(directory))).await?;
        let first = suspects.iter().zip(found).find_map(|(directory, to)| Some((directory, to?)));
        first.map(|(directory, to)| VirtualPath::resolve(&to, path.below(directory).as_bytes())).transpose()
    }

    /// Which of these directories, each of which holds the next, may be the first link: all of them, or
    /// of many the one below the last that is there.
    async fn suspects<'a>(&self, directories: &'a [VirtualPath]) -> Result<&'a [VirtualPath], FsError> {
        if directories.len() <= ANCESTORS_AT_ONCE {
            return Ok(directories);
        }
        let (mut there, mut gone) = (0, directories.len());
        while there < gone {
            let middle = there + (gone - there) / 2;
            match directories.get(middle) {
                Some(directory) if self.has_entries(directory).await? => there = middle + 1,
                _ => gone = middle,
            }
        }
        Ok(directories.get(there..directories.len().min(there + 1)).unwrap_or_default())
    }

    fn is_known_link(&self, path: &VirtualPath) -> bool {
        let known = self.keys.object(path).ok().and_then(|key| self.vfs.links.get(&self.bucket, &key));
        matches!(known, Some(Some(_)))
    }

    /// What the link at this very path says; `None` if there is no link. One request, unless it was seen
    /// lately.
    async fn link_at(&self, path: &VirtualPath) -> Result<Option<Arc<str>>, FsError> {
        let Ok(key) = self.keys.object(path) else { return Ok(None) };
        if let Some(known) = self.vfs.links.get(&self.bucket, &key) {
            return Ok(known);
        }
        let asked = self.vfs.links.ask(&self.bucket, &key);
        let target = match self.store.get(&key, Some(ByteRange::new(0, LINK_MAX)), None).await {
            Ok(object) if is_link(&object.meta) => {
                let body = object.body.try_fold(BytesMut::new(), |mut body, chunk| async move {
                    body.extend_from_slice(&chunk);
                    Ok(body)
                });
                Some(Arc::from(kept_text(&body.await?)?))
            }
            Ok(_) => None,
            // An empty object has no range.
            Err(error) if matches!(error.kind(), StoreErrorKind::NotFound | StoreErrorKind::RangeNotSatisfiable) => {
                None
            }
            Err(error) => return Err(error.into()),
        };
        self.vfs.links.note(asked, target.clone());
        Ok(target)
    }
}

/// A target as a client sent it, as it can be kept.
fn target_text(target: &[u8]) -> Result<&str, FsError> {
    let invalid = |message: &'static str| FsError::new(FsErrorKind::InvalidName, message);
    if target.is_empty() || target.len() > TARGET_MAX {
        return Err(invalid("the target of a symbolic link takes 1 to 4096 bytes"));
    }
    let text = std::str::from_utf8(target).map_err(|_| invalid("the target of a symbolic link must be UTF-8"))?;
    if text.contains('\0') || text.trim_matches(SPACES) != text {
        return Err(invalid("the target of a symbolic link can't hold a NUL byte, or begin or end with white space"));
    }
    Ok(text)
}

/// What a link's body says.
fn kept_text(body: &[u8]) -> Result<&str, FsError> {
    let text = std::str::from_utf8(body).map(|text| text.trim_matches(SPACES)).unwrap_or_default();
    if text.is_empty() {
        return Err(FsError::new(FsErrorKind::InvalidName, "this symbolic link is damaged: its target is no path"));
    }
    Ok(text)
}

fn link_loop() -> FsError {
    FsError::new(FsErrorKind::LinkLoop, "the path leads through more than 40 symbolic links, or round in a circle")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_kept_as_they_are_or_refused() {
        for good in ["a", "../x/y z", "/", "ü", &"x".repeat(4096)] {
            assert_eq!(target_text(good.as_bytes()).unwrap(), good);
            assert_eq!(kept_text(good.as_bytes()).unwrap(), good);
        }
        for bad in [&b""[..], b"\xff", b"a\0", b" a", b"a\n", &[b'x'; 4097]] {
            assert_eq!(target_text(bad).unwrap_err().kind(), FsErrorKind::InvalidName);
        }
        assert_eq!(kept_text(b" \ta b\r\n").unwrap(), "a b");
        assert_eq!(kept_text(b" \n").unwrap_err().kind(), FsErrorKind::InvalidName);
        assert_eq!(kept_text(b"\xff").unwrap_err().kind(), FsErrorKind::InvalidName);
    }
}
