//! How the proxy is told what to do: one line of text per command, one line per answer.
//!
//! | command | answer |
//! |---|---|
//! | – (at start) | the address it listens on |
//! | `delay MILLISECONDS` | `ok` |
//! | `counts` | [`Counts`](super::Counts) as JSON |

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;

use super::forward::State;

/// Answers commands until `input` ends.
pub(super) fn serve(address: SocketAddr, state: &State, input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    writeln!(output, "{address}")?;
    output.flush()?;
    for line in input.lines() {
        writeln!(output, "{}", obey(&line?, state)?)?;
        output.flush()?;
    }
    Ok(())
}

fn obey(line: &str, state: &State) -> io::Result<String> {
    if line == "counts" {
        return Ok(serde_json::to_string(&state.counts())?);
    }
    let delay = line.strip_prefix("delay ").and_then(|text| text.parse().ok());
    let delay = delay.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("no command: {line}")))?;
    state.set_delay(delay);
    Ok("ok".to_owned())
}
