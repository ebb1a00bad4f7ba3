//! `scp -t`: takes files.

use tidegate_vfs::{FileKind, FsError, FsErrorKind, SetAttributes, VirtualPath};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{DEPTH_MAX, End, Message, OK};
use crate::commands::{Stop, Upload};
use crate::session::audit;

/// What a file's mode loses unless `-p` asks for all of it: the usual umask.
const UMASK: u32 = 0o022;

/// A directory that the client sends.
struct Level {
    path: VirtualPath,
    /// What it gets when all that is in it has come.
    set: SetAttributes,
}

/// Where what comes next goes.
struct Target {
    path: VirtualPath,
    is_directory: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> End<'_, S> {
    /// Takes what the client sends until it has sent all.
    pub(super) async fn take(&mut self, target: &[u8]) -> Result<(), Stop> {
        let shown = String::from_utf8_lossy(target).into_owned();
        let mount = self.files.context.mount.clone();
        let found = match VirtualPath::resolve(mount.home(), target) {
            Ok(path) => mount.stat(&path).await.map(|attributes| attributes.kind).map_err(|error| (Some(path), error)),
            Err(error) => Err((None, error)),
        };
        let path = VirtualPath::resolve(mount.home(), target).unwrap_or_else(|_| mount.home().clone());
        let target = match found {
            Ok(kind) => Target { path, is_directory: kind == FileKind::Directory },
            Err((Some(path), error)) if error.kind() == FsErrorKind::NotFound => Target { path, is_directory: false },
            Err((_, error)) => return self.fail(&format!("{shown}: {error}")).await,
        };
        if self.options.into_directory && !target.is_directory {
            return self.fail(&format!("{shown}: not a directory")).await;
        }
        self.pipe.write(OK).await?;
        let mut levels: Vec<Level> = Vec::new();
        let mut times = None;
        while let Some(first) = self.pipe.byte_between_files().await? {
            let rest = self.pipe.line().await?;
            if first == 1 || first == 2 {
                // What the client could not send.
                self.errors += 1;
                if first == 2 {
                    return Err(Stop::Fatal(format!("scp: the client ended: {}", rest.escape_ascii())));
                }
                continue;
            }
            let message = match Message::parse(&[&[first], rest.as_slice()].concat()) {
                Ok(message) => message,
                Err(error) => return self.fail(&error.to_string()).await,
            };
            match message {
                Message::Times { mtime, atime } => {
                    times = Some((atime, mtime));
                    self.pipe.write(OK).await?;
                }
                Message::End => {
                    let Some(level) = levels.pop() else {
                        return self.fail("protocol error: a directory ends that did not begin").await;
                    };
                    self.end_directory(level).await?;
                }
                Message::Directory { mode, name } => {
                    if !self.options.recursive {
                        return self.fail("protocol error: received directory without -r").await;
                    }
                    if levels.len() >= DEPTH_MAX {
                        return self.fail("the directories are nested too deep for scp; use sftp").await;
                    }
                    let path = match place(&target, &levels, &name) {
                        Ok(path) => path,
                        Err(error) => return self.fail(&format!("{name}: {error}")).await,
                    };
                    let level = self.begin_directory(path, mode, times.take()).await?;
                    levels.push(level);
                }
                Message::File { mode, size, name } => {
                    let set = SetAttributes {
                        size: Some(size),
                        mode: Some(self.mode(mode)),
                        times: times.take(),
                        owner: None,
                    };
                    match place(&target, &levels, &name) {
                        Ok(path) => self.take_file(&path, set, size).await?,
                        Err(error) => self.warn(&name, &error).await?,
                    }
                }
            }
        }
        if levels.is_empty() { Ok(()) } else { Err(Stop::Io(std::io::ErrorKind::UnexpectedEof.into())) }
    }

    fn mode(&self, mode: u32) -> u32 {
        if self.options.preserve { mode } else { mode & 0o777 & !UMASK }
    }

    async fn begin_directory(
        &mut self,
        path: VirtualPath,
        mode: u32,
        times: Option<(u32, u32)>,
    ) -> Result<Level, Stop> {
        let mount = self.files.context.mount.clone();
        // The client fills it whatever its mode will be.
        let made = SetAttributes { mode: Some(self.mode(mode) | 0o700), ..SetAttributes::default() };
        let begun = std::time::Instant::now();
        let is_new = match mount.make_directory(&path, made).await {
            Ok(()) => {
                audit::changed("MKDIR", &path, None, begun.elapsed());
                true
            }
            Err(error) => match mount.stat(&path).await {
                Ok(there) if there.kind == FileKind::Directory => false,
                _ => {
                    audit::failed("mkdir", &path, &error);
                    return self.fail(&format!("{path}: {error}")).await;
                }
            },
        };
        let lacks = is_new && self.mode(mode) & 0o700 != 0o700;
        let mode = (self.options.preserve || lacks).then(|| self.mode(mode));
        let set = SetAttributes { mode: mode.filter(|_| lacks || !is_new), times, ..SetAttributes::default() };
        self.pipe.write(OK).await?;
        Ok(Level { path, set })
    }

    async fn end_directory(&mut self, level: Level) -> Result<(), Stop> {
        if !level.set.is_empty()
            && let Err(error) = self.files.context.mount.set_attributes(&level.path, level.set).await
        {
            audit::failed("setstat", &level.path, &error);
            return self.warn(level.path.as_str(), &error).await;
        }
        self.pipe.write(OK).await
    }

    /// Takes one file. It is published when all of it has come and the client says that it is good.
    async fn take_file(&mut self, path: &VirtualPath, set: SetAttributes, size: u64) -> Result<(), Stop> {
        let mut file = match self.files.create(path, set).await {
            Ok(file) => file,
            Err(error) => {
                audit::failed("scp-to", path, &error);
                return self.warn(path.as_str(), &error).await;
            }
        };
        self.pipe.write(OK).await?;
        let written = match self.take_bytes(&mut file, size).await {
            Ok(written) => written,
            Err(stop) => {
                file.abandon().await;
                return Err(stop);
            }
        };
        let result = match written {
            Ok(()) => self.files.publish(file).await,
            Err(Failure::Client) => {
                file.abandon().await;
                // The client has told its user already.
                return self.pipe.write(OK).await;
            }
            Err(Failure::Store(error)) => {
                file.abandon().await;
                Err(error)
            }
        };
        match result {
            Ok(()) => self.pipe.write(OK).await,
            Err(error) => {
                audit::failed("scp-to", path, &error);
                self.warn(path.as_str(), &error).await
            }
        }
    }

    /// Takes the bytes of a file and what the client says of them. What can't be written is read all
    /// the same: the next line is behind it.
    async fn take_bytes(&mut self, file: &mut Upload, size: u64) -> Result<Result<(), Failure>, Stop> {
        let mut written = Ok(());
        let mut left = size;
        while left > 0 {
            let block = self.pipe.block(left).await?;
            left = left.saturating_sub(block.len() as u64);
            if written.is_ok() {
                written = self.files.write(file, block).await.map_err(Failure::Store);
            } else {
                self.files.pass_in(block.len()).await;
            }
        }
        match self.answer().await? {
            super::Answer::Ok => Ok(written),
            super::Answer::Refused => Ok(Err(Failure::Client)),
        }
    }
}

/// Why a file is not published.
enum Failure {
    /// The client could not read it to its end.
    Client,
    Store(FsError),
}

/// Where something of this name goes.
fn place(target: &Target, levels: &[Level], name: &str) -> Result<VirtualPath, FsError> {
    match levels.last() {
        Some(level) => VirtualPath::resolve(&level.path, name.as_bytes()),
        None if target.is_directory => VirtualPath::resolve(&target.path, name.as_bytes()),
        None => Ok(target.path.clone()),
    }
}
