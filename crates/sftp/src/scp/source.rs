//! `scp -f`: sends files.

use std::vec;

use tidegate_vfs::{DirectoryEntry, FileAttributes, FileKind, FsError, FsErrorKind, VirtualPath};
use tokio::io::{AsyncRead, AsyncWrite};

use super::pattern::{Pattern, Source};
use super::{Answer, DEPTH_MAX, End, Message, OK};
use crate::commands::{Listing, Stop};
use crate::session::audit;

/// Names that one pattern may stand for.
const MATCHES_MAX: usize = 10_000;

/// Entries that the directories being sent may hold at once, besides the page that each fetches.
const ENTRIES_MAX: usize = 20_000;

/// A directory that is being sent.
struct Level {
    path: VirtualPath,
    listing: Listing,
    page: vec::IntoIter<DirectoryEntry>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> End<'_, S> {
    /// Sends every source, and warns of those that can't be sent.
    pub(super) async fn send(&mut self, sources: Vec<Source>) -> Result<(), Stop> {
        // The other end says that it is ready.
        self.answer().await?;
        for source in sources {
            let name = String::from_utf8_lossy(&source.path).into_owned();
            let path = match VirtualPath::resolve(self.files.context.mount.home(), &source.path) {
                Ok(path) => path,
                Err(error) => {
                    self.warn(&name, &error).await?;
                    continue;
                }
            };
            let names = match &source.pattern {
                Some(pattern) => self.matching(&path, pattern).await,
                None => Ok(vec![path]),
            };
            match names {
                Ok(paths) => {
                    for path in paths {
                        self.send_path(path, source.pattern.is_none().then_some(name.as_str())).await?;
                    }
                }
                Err(error) => self.warn(&name, &error).await?,
            }
        }
        Ok(())
    }

    /// The paths that a pattern stands for; the pattern itself as a name if there is none, as in `sh`.
    async fn matching(&mut self, path: &VirtualPath, pattern: &Pattern) -> Result<Vec<VirtualPath>, FsError> {
        let parent = path.parent().unwrap_or_else(VirtualPath::root);
        let mut listing = self.files.list(&parent).await?;
        let mut found = Vec::new();
        while let Some(page) = listing.next_page().await? {
            for entry in page.into_iter().filter(|entry| pattern.matches(&entry.name)) {
                found.push(below(&parent, &entry.name)?);
                if found.len() > MATCHES_MAX {
                    let message = "the pattern stands for more than 10,000 names; use a narrower one, or sftp";
                    return Err(FsError::new(FsErrorKind::TooLarge, message));
                }
            }
        }
        Ok(if found.is_empty() { vec![path.clone()] } else { found })
    }

    async fn send_path(&mut self, path: VirtualPath, given: Option<&str>) -> Result<(), Stop> {
        let shown = given.unwrap_or(path.as_str()).to_owned();
        let attributes = match self.files.context.mount.stat(&path).await {
            Ok(attributes) => attributes,
            Err(error) => {
                audit::failed("scp-from", &path, &error);
                return self.warn(&shown, &error).await;
            }
        };
        match attributes.kind {
            FileKind::Directory if self.options.recursive => self.send_tree(path, &attributes).await,
            FileKind::Directory => self.warn(&shown, &"not a regular file").await,
            _ => self.send_file(&path).await,
        }
    }

    /// Sends a directory and all below it.
    async fn send_tree(&mut self, path: VirtualPath, attributes: &FileAttributes) -> Result<(), Stop> {
        let mut levels: Vec<Level> = Vec::new();
        self.begin(path, attributes, &mut levels).await?;
        while let Some(level) = levels.last_mut() {
            let Some(entry) = level.page.next() else {
                let page = level.listing.next_page().await;
                let path = level.path.clone();
                match page {
                    Ok(Some(page)) => {
                        let held = levels.iter().map(|level| level.page.len()).sum::<usize>();
                        if held + page.len() > ENTRIES_MAX {
                            return self.fail("the tree is too large for scp; use sftp").await;
                        }
                        if let Some(level) = levels.last_mut() {
                            level.page = page.into_iter();
                        }
                    }
                    ended => {
                        if let Err(error) = ended {
                            audit::failed("scp-from", &path, &error);
                            self.warn(path.as_str(), &error).await?;
                        }
                        levels.pop();
                        self.pipe.write(&Message::End.encode()).await?;
                        self.answer().await?;
                    }
                }
                continue;
            };
            let path = match below(&level.path, &entry.name) {
                Ok(path) => path,
                Err(error) => {
                    self.warn(&entry.name, &error).await?;
                    continue;
                }
            };
            let attributes = match entry.attributes.kind {
                FileKind::Symlink => match self.files.context.mount.stat(&path).await {
                    Ok(attributes) => attributes,
                    Err(error) => {
                        self.warn(path.as_str(), &error).await?;
                        continue;
                    }
                },
                _ => entry.attributes,
            };
            if attributes.kind == FileKind::Directory {
                self.begin(path, &attributes, &mut levels).await?;
            } else {
                self.send_file(&path).await?;
            }
        }
        Ok(())
    }

    /// Opens a directory and announces it.
    async fn begin(
        &mut self,
        path: VirtualPath,
        attributes: &FileAttributes,
        levels: &mut Vec<Level>,
    ) -> Result<(), Stop> {
        if levels.len() >= DEPTH_MAX {
            return self.warn(path.as_str(), &"the directories are nested too deep for scp; use sftp").await;
        }
        let listing = match self.files.list(&path).await {
            Ok(listing) => listing,
            Err(error) => {
                audit::failed("scp-from", &path, &error);
                return self.warn(path.as_str(), &error).await;
            }
        };
        let name = path.name().unwrap_or("/").to_owned();
        // A client's root has no name of its own, and `.` is none that the other end may take.
        let name = if name == "/" { "root".to_owned() } else { name };
        let directory = Message::Directory { mode: attributes.mode & 0o7777, name };
        if self.announce(attributes, &directory).await? == Answer::Ok {
            levels.push(Level { path, listing, page: Vec::new().into_iter() });
        }
        Ok(())
    }

    /// Sends a line about a file or directory, its times in front if they are wanted.
    async fn announce(&mut self, attributes: &FileAttributes, message: &Message) -> Result<Answer, Stop> {
        if self.options.preserve {
            self.pipe.write(&Message::times(attributes).encode()).await?;
            if self.answer().await? == Answer::Refused {
                return Ok(Answer::Refused);
            }
        }
        self.pipe.write(&message.encode()).await?;
        self.answer().await
    }

    async fn send_file(&mut self, path: &VirtualPath) -> Result<(), Stop> {
        let mut file = match self.files.open(path).await {
            Ok(file) => file,
            Err(error) => {
                audit::failed("scp-from", path, &error);
                return self.warn(path.as_str(), &error).await;
            }
        };
        let name = path.name().unwrap_or_default();
        if name.contains('\n') {
            return self
                .warn(path.as_str(), &"a name with the end of a line in it can't be sent by scp; use sftp")
                .await;
        }
        let (attributes, size) = (file.attributes(), file.size());
        let message = Message::File { mode: attributes.mode & 0o7777, size, name: name.to_owned() };
        if self.announce(&attributes, &message).await? == Answer::Refused {
            return Ok(());
        }
        let mut left = size;
        while left > 0 {
            let chunks = match self.files.read(&mut file).await {
                Ok(chunks) if !chunks.is_empty() => chunks,
                failed => {
                    // As many bytes as were announced have to come, and these don't exist: the other
                    // end must not take the file for a whole one.
                    let why = failed.err().map_or_else(|| "the file ended early".to_owned(), |error| error.to_string());
                    return Err(Stop::Fatal(format!("scp: {}: {why}", path.as_str().escape_debug())));
                }
            };
            for chunk in chunks {
                left = left.saturating_sub(chunk.len() as u64);
                self.pipe.write(&chunk).await?;
            }
        }
        file.close();
        self.pipe.write(OK).await?;
        self.answer().await.map(|_| ())
    }
}

fn below(parent: &VirtualPath, name: &str) -> Result<VirtualPath, FsError> {
    VirtualPath::resolve(parent, name.as_bytes())
}
