//! `md5sum`, `sha1sum` and `sha256sum`, as rclone and people run them.
//!
//! A file that did not come whole with OPEN is asked for what the store keeps with it, and is read where
//! that is another checksum.

use tidegate_vfs::{FsError, VirtualPath};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::{Files, Pipe, Refusal, Stop, Word};
use crate::digest::{Algorithm, Digest, hex, kept};
use crate::session::audit;

/// What is said on standard error at most, in bytes.
const STDERR_MAX: usize = 8 << 10;

/// Prints the checksums of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksums {
    algorithm: Algorithm,
    /// As the client named them; `-` is standard input.
    paths: Vec<Vec<u8>>,
}

/// The algorithm of the program of this name.
pub(super) fn algorithm(program: &[u8]) -> Option<Algorithm> {
    Some(match program {
        b"md5sum" => Algorithm::Md5,
        b"sha1sum" => Algorithm::Sha1,
        b"sha256sum" => Algorithm::Sha256,
        _ => return None,
    })
}

impl Checksums {
    pub(super) fn parse(algorithm: Algorithm, arguments: Vec<Word>) -> Result<Self, Refusal> {
        let mut paths = Vec::new();
        let mut options = true;
        for word in arguments {
            match word.bytes.as_slice() {
                b"--" if options => options = false,
                // Text and binary are the same here, as they are on Linux.
                b"-b" | b"-t" | b"--binary" | b"--text" if options => {}
                [b'-', _, ..] if options => return Err(Refusal::Malformed("this option is not known here")),
                bytes if (0..bytes.len()).any(|at| word.is_special(at) && bytes.get(at) != Some(&b'~')) => {
                    return Err(Refusal::Malformed("name each file: patterns are not supported here"));
                }
                _ => paths.push(word.bytes),
            }
        }
        if paths.is_empty() {
            paths.push(b"-".to_vec());
        }
        Ok(Self { algorithm, paths })
    }

    /// Whether there was a checksum of everything.
    pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        pipe: &mut Pipe<S>,
        files: &mut Files,
        stderr: &mut String,
        gone: &CancellationToken,
    ) -> Result<bool, Stop> {
        let mut is_whole = true;
        for name in &self.paths {
            let sum = if name == b"-" {
                self.of_input(pipe, files).await?
            } else {
                // Nothing comes from or goes to the client meanwhile; its connection is not idle.
                let _busy = files.context.throttled.hold();
                let summed = tokio::select! {
                    summed = self.of_file(name, files) => summed,
                    () = gone.cancelled() => return Err(Stop::Io(std::io::ErrorKind::BrokenPipe.into())),
                };
                match summed {
                    Ok(sum) => sum,
                    Err(error) => {
                        is_whole = false;
                        let line = format!("{}: {error}\n", name.escape_ascii());
                        if stderr.len() + line.len() <= STDERR_MAX {
                            stderr.push_str(&line);
                        }
                        continue;
                    }
                }
            };
            pipe.write(&line(&hex(&sum), name)).await?;
        }
        Ok(is_whole)
    }

    async fn of_file(&self, name: &[u8], files: &mut Files) -> Result<Vec<u8>, FsError> {
        let path = VirtualPath::resolve(files.context.mount.home(), name)?;
        let logged = |error| {
            audit::failed("checksums", &path, &error);
            error
        };
        let mut file = files.open(&path).await.map_err(logged)?;
        if let Some(kept) = kept(self.algorithm, &files.context.mount.view(file.reader())).await {
            file.close();
            return Ok(kept);
        }
        let mut digest = Digest::new(self.algorithm);
        loop {
            let chunks = files.read(&mut file).await.map_err(logged)?;
            if chunks.is_empty() {
                file.close();
                return Ok(digest.finish());
            }
            chunks.iter().for_each(|chunk| digest.update(chunk));
            // A file that is in memory already must not keep the thread to itself.
            tokio::task::yield_now().await;
        }
    }

    async fn of_input<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        pipe: &mut Pipe<S>,
        files: &mut Files,
    ) -> Result<Vec<u8>, Stop> {
        let mut digest = Digest::new(self.algorithm);
        loop {
            let bytes = pipe.some().await?;
            if bytes.is_empty() {
                return Ok(digest.finish());
            }
            files.pass_in(bytes.len()).await;
            digest.update(&bytes);
        }
    }
}

/// A line as coreutils print it: a name with a backslash or the end of a line in it is escaped, and a
/// backslash in front tells so.
fn line(sum: &str, name: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'\\' => escaped.extend(b"\\\\"),
            b'\n' => escaped.extend(b"\\n"),
            b'\r' => escaped.extend(b"\\r"),
            other => escaped.push(*other),
        }
    }
    let mark: &[u8] = if escaped == name { b"" } else { b"\\" };
    [mark, sum.as_bytes(), b"  ", &escaped, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_coreutils() {
        assert_eq!(line("00", b"a b"), b"00  a b\n");
        assert_eq!(line("00", b"a\\b\nc"), b"\\00  a\\\\b\\nc\n");
    }
}
