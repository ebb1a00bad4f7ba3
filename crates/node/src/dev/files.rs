//! The files that `dev` keeps beside its stores, and what it says on standard output.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf, absolute};

use super::demo;
use crate::atomic_file::{self, PRIVATE, PUBLIC};

/// The files below the data folder.
pub(super) struct DataFiles<'a>(&'a Path);

impl<'a> DataFiles<'a> {
    pub(super) fn new(data: &'a Path) -> Self {
        // As people would write it: `./x` is `x`.
        Self(data.strip_prefix(".").ok().filter(|rest| !rest.as_os_str().is_empty()).unwrap_or(data))
    }

    /// The root key that seals the host keys.
    pub(super) fn root_key(&self) -> io::Result<PathBuf> {
        absolute(self.0.join("root.key"))
    }

    /// The demo user's private key.
    pub(super) fn identity_file(&self) -> io::Result<PathBuf> {
        absolute(self.client_key())
    }

    fn client_key(&self) -> PathBuf {
        self.0.join("demo_ed25519")
    }

    /// The demo user's public key.
    pub(super) fn client_public_key(&self) -> PathBuf {
        self.0.join("demo_ed25519.pub")
    }

    fn known_hosts(&self) -> PathBuf {
        self.0.join("known_hosts")
    }

    fn config(&self) -> PathBuf {
        self.0.join("dev.toml")
    }

    /// The public line, if both halves of the key are there.
    pub(super) fn read_client_key(&self) -> io::Result<Option<String>> {
        if !self.client_key().try_exists()? {
            return Ok(None);
        }
        match fs::read_to_string(self.client_public_key()) {
            Ok(line) => Ok(Some(line)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes both halves, the private one last: with it the key counts as made.
    pub(super) fn write_client_key(&self, private: &str, public: &str) -> io::Result<()> {
        atomic_file::write(&self.client_public_key(), format!("{}\n", public.trim_end()).as_bytes(), PUBLIC)?;
        atomic_file::write(&self.client_key(), private.as_bytes(), PRIVATE)
    }

    /// Writes the host keys so that no client has to ask.
    pub(super) fn write_known_hosts(&self, port: u16, public_keys: &[String]) -> io::Result<()> {
        let hosts = match port {
            22 => "127.0.0.1,localhost".to_owned(),
            port => format!("[127.0.0.1]:{port},[localhost]:{port}"),
        };
        let lines: String = public_keys.iter().map(|key| format!("{hosts} {key}\n")).collect();
        atomic_file::write(&self.known_hosts(), lines.as_bytes(), PUBLIC)
    }

    /// Writes the configuration for administrative commands.
    pub(super) fn write_config(&self, settings: &str) -> io::Result<()> {
        let text = format!(
            "# Written by `tidegate dev` at each start, valid while it runs: for administrative commands,\n\
             # and for `tidegate serve`, which runs another node on the same stores.\n{settings}"
        );
        atomic_file::write(&self.config(), text.as_bytes(), PRIVATE)
    }

    /// What a person needs to go on, and two lines for scripts.
    pub(super) fn welcome(&self, sftp: SocketAddr, admin: SocketAddr) -> String {
        let program = std::env::args().next().unwrap_or_else(|| "tidegate".to_owned());
        let known_hosts = ssh_option_path(&self.known_hosts());
        let connect = [
            "sftp -P",
            &sftp.port().to_string(),
            "-i",
            &shell_word(&self.client_key().to_string_lossy()),
            "-o",
            &shell_word(&format!("UserKnownHostsFile={known_hosts}")),
            "-o IdentitiesOnly=yes",
            &format!("{}@{}", demo::USER, sftp.ip()),
        ]
        .join(" ");
        let config = shell_word(&self.config().to_string_lossy());
        format!(
            "sftp={sftp}\nadmin=http://{admin}\n\n\
             Tidegate serves; everything is kept in {data}. Connect with\n\n  {connect}\n\n\
             Metrics: http://{admin}/metrics\n\n\
             Add a user with\n\n  {program} user add alice --tenant demo --key ~/.ssh/id_ed25519.pub --config {config}\n\n\
             End with Ctrl-C.\n",
            data = self.0.display(),
            program = shell_word(&program),
        )
    }
}

/// Removes a file that may not be there.
pub(super) fn remove(path: Option<&Path>) -> io::Result<()> {
    match path.map(fs::remove_file) {
        Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A path in an option of OpenSSH: `%` begins a token, and blanks separate paths (ssh_config(5)).
fn ssh_option_path(path: &Path) -> String {
    let text = path.to_string_lossy().replace('%', "%%");
    if text.contains(char::is_whitespace) { format!("\"{text}\"") } else { text }
}

/// One word of a POSIX shell.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_to_paste_is_short_and_exact() {
        let files = DataFiles::new(Path::new("./tidegate-data"));
        let text = files.welcome("127.0.0.1:10022".parse().unwrap(), "127.0.0.1:8022".parse().unwrap());
        let command = "\n  sftp -P 10022 -i tidegate-data/demo_ed25519 -o UserKnownHostsFile=tidegate-data/known_hosts \
                       -o IdentitiesOnly=yes demo@127.0.0.1\n";
        assert!(text.contains(command), "{text}");
        assert!(text.starts_with("sftp=127.0.0.1:10022\nadmin=http://127.0.0.1:8022\n"), "{text}");
        assert!(text.contains("--config tidegate-data/dev.toml\n"), "{text}");
    }

    #[test]
    fn paths_survive_the_shell_and_ssh() {
        let files = DataFiles::new(Path::new("/tmp/it's 5%"));
        let text = files.welcome("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        assert!(text.contains(r#"-i '/tmp/it'\''s 5%/demo_ed25519'"#), "{text}");
        assert!(text.contains(r#"-o 'UserKnownHostsFile="/tmp/it'\''s 5%%/known_hosts"'"#), "{text}");
    }
}
