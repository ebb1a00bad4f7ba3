//! Which commands of clients are run: the few that [`tidegate_sftp::Command`] knows.

use tidegate_sftp::{Command, Refusal};

/// What a client is told that wants a shell, or any other command.
pub(crate) const SFTP_ONLY: &[u8] = b"This service allows SFTP connections only.\r\n";

/// The command of an exec request; where commands are off, there is none. Both places that look at
/// such a request, where it arrives and on its channel, decide by this.
///
/// # Errors
/// What the client is told on standard error.
pub(crate) fn command(line: &[u8], are_on: bool) -> Result<Command, Vec<u8>> {
    match Command::parse(line) {
        Ok(command) if are_on => Ok(command),
        Err(error @ Refusal::Malformed(_)) if are_on => Err(format!("{error}\r\n").into_bytes()),
        _ => Err(SFTP_ONLY.to_vec()),
    }
}
