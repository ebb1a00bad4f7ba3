//! A file system in memory that is plainly right.

use std::collections::BTreeMap;
use std::fmt;

use tidegate_vfs::FsErrorKind;

use crate::operation::{Access, Answer, Content, Operation};

/// Everything below `/`, by its path.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree(pub(crate) BTreeMap<String, Entry>);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Directory,
    File(File),
    /// A symbolic link, and what it says.
    Link(String),
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) content: Vec<u8>,
    pub(crate) mode: u32,
}

/// Of a file whose client has set none.
pub(crate) const MODE: u32 = 0o644;

/// How many links a path may lead through.
const LINKS_MAX: usize = 40;

type Outcome<T> = Result<T, FsErrorKind>;

impl Tree {
    pub(crate) fn apply(&mut self, operation: &Operation) -> Answer {
        match self.outcome(operation) {
            Ok(answer) => answer,
            Err(kind) => Answer::Failed(kind),
        }
    }

    fn outcome(&mut self, operation: &Operation) -> Outcome<Answer> {
        match &self.real_operation(operation)? {
            Operation::Change { path, access, at, content } => self.change(path, *access, *at, *content),
            Operation::Link { target, path } => {
                self.require_parent(path)?;
                if self.entry(path).is_some() {
                    return Err(FsErrorKind::AlreadyExists);
                }
                self.0.insert(path.clone(), Entry::Link(target.clone()));
                Ok(Answer::Done)
            }
            Operation::List(path) => match self.entry(path) {
                None => Err(FsErrorKind::NotFound),
                Some(Entry::File(_) | Entry::Link(_)) => Err(FsErrorKind::NotADirectory),
                Some(Entry::Directory) => Ok(Answer::Names(self.children(path))),
            },
            Operation::MakeDirectory(path) => {
                self.require_parent(path)?;
                if self.entry(path).is_some() {
                    return Err(FsErrorKind::AlreadyExists);
                }
                self.0.insert(path.clone(), Entry::Directory);
                Ok(Answer::Done)
            }
            Operation::Put { path, content, exclusive } => {
                self.require_parent(path)?;
                match self.entry(path) {
                    Some(Entry::Directory) => return Err(FsErrorKind::IsADirectory),
                    Some(_) if *exclusive => return Err(FsErrorKind::AlreadyExists),
                    _ => {}
                }
                self.0.insert(path.clone(), Entry::File(File { content: content.bytes(), mode: MODE }));
                Ok(Answer::Done)
            }
            Operation::Read(path) => Ok(Answer::Content(self.file(path)?.content.clone())),
            Operation::Remove(path) => match self.entry(path) {
                None => Err(FsErrorKind::NotFound),
                Some(Entry::Directory) => Err(FsErrorKind::IsADirectory),
                Some(Entry::File(_) | Entry::Link(_)) => {
                    self.0.remove(path);
                    Ok(Answer::Done)
                }
            },
            Operation::RemoveDirectory(path) => match self.entry(path) {
                None => Err(FsErrorKind::NotFound),
                Some(Entry::File(_) | Entry::Link(_)) => Err(FsErrorKind::NotADirectory),
                Some(Entry::Directory) if !self.children(path).is_empty() => Err(FsErrorKind::DirectoryNotEmpty),
                Some(Entry::Directory) => {
                    self.0.remove(path);
                    Ok(Answer::Done)
                }
            },
            Operation::Rename { from, to, replace } => self.rename(from, to, *replace),
            Operation::Resize(path, size) => match self.0.get_mut(path) {
                None | Some(Entry::Link(_)) => Err(FsErrorKind::NotFound),
                Some(Entry::Directory) => Err(FsErrorKind::IsADirectory),
                Some(Entry::File(file)) => {
                    file.content.resize(*size, 0);
                    Ok(Answer::Done)
                }
            },
            Operation::SetMode(path, mode) => match self.0.get_mut(path) {
                None | Some(Entry::Link(_)) => Err(FsErrorKind::NotFound),
                Some(Entry::Directory) => Ok(Answer::Done),
                Some(Entry::File(file)) => {
                    file.mode = *mode;
                    Ok(Answer::Done)
                }
            },
            Operation::Stat(path) => match self.entry(path) {
                None | Some(Entry::Link(_)) => Err(FsErrorKind::NotFound),
                Some(Entry::Directory) => Ok(Answer::Status(true, None)),
                Some(Entry::File(file)) => Ok(Answer::Status(false, Some((file.content.len() as u64, file.mode)))),
            },
        }
    }

    fn change(&mut self, path: &str, access: Access, at: usize, content: Content) -> Outcome<Answer> {
        self.require_parent(path)?;
        let is_append = access == Access::Append;
        if is_append && self.entry(path).is_none() {
            self.0.insert(path.to_owned(), Entry::File(File { content: Vec::new(), mode: MODE }));
        }
        let file = match self.0.get_mut(path) {
            None | Some(Entry::Link(_)) => return Err(FsErrorKind::NotFound),
            Some(Entry::Directory) => return Err(FsErrorKind::IsADirectory),
            Some(Entry::File(file)) => &mut file.content,
        };
        let bytes = content.bytes();
        let at = if is_append { file.len() } else { at };
        if !bytes.is_empty() {
            file.resize(file.len().max(at + bytes.len()), 0);
            file[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(if access == Access::ReadWrite { Answer::Content(bytes) } else { Answer::Done })
    }

    fn rename(&mut self, from: &str, to: &str, replace: bool) -> Outcome<Answer> {
        let source = self.entry(from).cloned().ok_or(FsErrorKind::NotFound)?;
        if from == to {
            return Ok(Answer::Done);
        }
        self.require_parent(to)?;
        if matches!(source, Entry::Directory) {
            return self.rename_directory(from, to, replace);
        }
        match self.entry(to) {
            Some(_) if !replace => return Err(FsErrorKind::AlreadyExists),
            Some(Entry::Directory) => return Err(FsErrorKind::IsADirectory),
            _ => {}
        }
        self.0.remove(from);
        self.0.insert(to.to_owned(), source);
        Ok(Answer::Done)
    }

    fn rename_directory(&mut self, from: &str, to: &str, replace: bool) -> Outcome<Answer> {
        if to.starts_with(&format!("{from}/")) {
            return Err(FsErrorKind::InvalidName);
        }
        match self.entry(to) {
            Some(_) if !replace => return Err(FsErrorKind::AlreadyExists),
            Some(Entry::File(_) | Entry::Link(_)) => return Err(FsErrorKind::NotADirectory),
            Some(Entry::Directory) if !self.children(to).is_empty() => return Err(FsErrorKind::DirectoryNotEmpty),
            _ => {}
        }
        let moved: Vec<String> = self.0.keys().filter(|path| is_below(path, from)).cloned().collect();
        for path in moved {
            if let Some(entry) = self.0.remove(&path) {
                self.0.insert(path.replacen(from, to, 1), entry);
            }
        }
        Ok(Answer::Done)
    }

    /// The same operation of paths without links, but for the last name where that is not followed.
    pub(crate) fn real_operation(&self, operation: &Operation) -> Outcome<Operation> {
        use Operation::{
            Change, Link, List, MakeDirectory, Put, Read, Remove, RemoveDirectory, Rename, Resize, SetMode, Stat,
        };
        let mut real = operation.clone();
        match &mut real {
            Change { path, .. } | List(path) | Read(path) | Resize(path, _) | SetMode(path, _) | Stat(path) => {
                *path = self.real_path(path, true)?;
            }
            Put { path, exclusive, .. } => *path = self.real_path(path, !*exclusive)?,
            Link { path, .. } | MakeDirectory(path) | Remove(path) | RemoveDirectory(path) => {
                *path = self.real_path(path, false)?;
            }
            Rename { from, to, .. } => {
                (*from, *to) = (self.real_path(from, false)?, self.real_path(to, false)?);
            }
        }
        Ok(real)
    }

    fn real_path(&self, path: &str, follow_last: bool) -> Outcome<String> {
        let mut path = path.to_owned();
        for _ in 0..=LINKS_MAX {
            let ends = path.match_indices('/').map(|(at, _)| at).skip(1);
            let ends: Vec<usize> = ends.chain(follow_last.then_some(path.len())).collect();
            let link = ends.into_iter().find_map(|end| match self.entry(&path[..end]) {
                Some(Entry::Link(target)) => Some((end, target)),
                _ => None,
            });
            let Some((end, target)) = link else { return Ok(path) };
            let parent = path[..end].rsplit_once('/').map_or("", |(parent, _)| parent);
            let from = if target.starts_with('/') { "" } else { parent };
            let mut names: Vec<&str> = Vec::new();
            for name in from.split('/').chain(target.split('/')).chain(path[end..].split('/')) {
                match name {
                    "" => {}
                    ".." => drop(names.pop()),
                    name => names.push(name),
                }
            }
            path = names.iter().map(|name| format!("/{name}")).collect();
        }
        Err(FsErrorKind::LinkLoop)
    }

    /// Whether this is the rename of a directory, which the store can do only piece by piece.
    pub(crate) fn is_long(&self, operation: &Operation) -> bool {
        let is_directory = |path: &String| matches!(self.entry(path), Some(Entry::Directory));
        matches!(self.real_operation(operation), Ok(Operation::Rename { from, .. }) if is_directory(&from))
    }

    /// Fails unless `found` is this tree with some of what lies in the one directory in the other, or in
    /// both.
    fn assert_moving(&self, from: &str, to: &str, found: &Self, context: &dyn Fn() -> String) {
        let is_apart = |path: &str| !is_below(path, from) && !is_below(path, to);
        let apart = |tree: &Self| -> BTreeMap<String, Entry> {
            tree.0
                .iter()
                .filter(|(path, _)| is_apart(path))
                .map(|(path, entry)| (path.clone(), entry.clone()))
                .collect()
        };
        assert!(apart(self) == apart(found), "{}\nbefore {self:#?}\nfound {found:#?}", context());
        for (path, entry) in self.0.iter().filter(|(path, _)| is_below(path, from)) {
            let places = [path.clone(), path.replacen(from, to, 1)];
            let there: Vec<&Entry> = places.iter().filter_map(|place| found.entry(place)).collect();
            assert!(
                !there.is_empty() && there.iter().all(|there| *there == entry),
                "{path} is lost; {}\nbefore {self:#?}\nfound {found:#?}",
                context()
            );
        }
    }

    /// Fails unless `found` is what `operation` may have left of this tree when it was cut short.
    pub(crate) fn assert_half_done(&self, operation: &Operation, found: &Self, context: &dyn Fn() -> String) {
        let mut done = self.clone();
        done.apply(operation);
        if found == self || *found == done {
            return;
        }
        let real = self.real_operation(operation);
        if let Ok(Operation::Rename { from, to, .. }) = &real
            && self.is_long(operation)
            && done != *self
        {
            return self.assert_moving(from, to, found, context);
        }
        if let Ok(Operation::Rename { from, to, .. }) = &real {
            // Copied, and not yet removed: both names have it, and the rename can be asked for again.
            let mut both = self.clone();
            if let Some(source) = self.0.get(from) {
                both.0.insert(to.clone(), source.clone());
            }
            if *found == both {
                return;
            }
        }
        panic!("{}\nbefore {self:#?}\nfound {found:#?}", context());
    }

    fn entry(&self, path: &str) -> Option<&Entry> {
        self.0.get(path)
    }

    fn file(&self, path: &str) -> Outcome<&File> {
        match self.entry(path) {
            None | Some(Entry::Link(_)) => Err(FsErrorKind::NotFound),
            Some(Entry::Directory) => Err(FsErrorKind::IsADirectory),
            Some(Entry::File(file)) => Ok(file),
        }
    }

    fn require_parent(&self, path: &str) -> Outcome<()> {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if parent.is_empty() || matches!(self.entry(parent), Some(Entry::Directory)) {
            return Ok(());
        }
        Err(FsErrorKind::NotFound)
    }

    fn children(&self, path: &str) -> Vec<(String, bool)> {
        let below = format!("{path}/");
        let names = self.0.iter().filter_map(|(child, entry)| {
            let name = child.strip_prefix(&below).filter(|name| !name.contains('/'))?;
            Some((name.to_owned(), matches!(entry, Entry::Directory)))
        });
        names.collect()
    }
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |entry: &Entry| match entry {
            Entry::Directory => "directory".to_owned(),
            Entry::Link(target) => format!("link to {target}"),
            Entry::File(file) => {
                format!("{} bytes {:?}…, mode {:o}", file.content.len(), file.content.get(..2), file.mode)
            }
        };
        f.debug_map().entries(self.0.iter().map(|(path, entry)| (path, shown(entry)))).finish()
    }
}
