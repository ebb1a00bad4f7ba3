//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand};

use crate::rows::Row;
use crate::server::ServerKind;

/// Measures a Tidegate node beside rclone, OpenSSH with s3fs, and OpenSSH on tmpfs.
#[derive(Debug, Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    /// Instead of measuring.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// What to measure.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Instead of measuring.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put the results of several runs of the same work together
    Merge(MergeArgs),
    /// Run the counting and delaying HTTP proxy alone; it is told what to do on its standard input
    #[command(hide = true)]
    Proxy(ProxyArgs),
    /// Write the Markdown report and charts of an earlier run
    Render(RenderArgs),
}

/// `bench merge`
#[derive(Args, Debug)]
pub(crate) struct MergeArgs {
    /// The results of earlier runs, of the same commit on the same machine
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Where to write the results of all
    #[arg(long, value_name = "FILE")]
    pub(crate) json: PathBuf,
    /// Where to write a report as well
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

/// `bench proxy`
#[derive(Args, Debug)]
pub(crate) struct ProxyArgs {
    /// The object store
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) upstream: SocketAddr,
}

/// `bench render`
#[derive(Args, Debug)]
pub(crate) struct RenderArgs {
    /// The results of an earlier run
    #[arg(long, value_name = "FILE")]
    pub(crate) json: PathBuf,
    /// Where to write the report; charts and numbers go to the folder beside it that has its name
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: PathBuf,
}

/// What to measure.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// The rows to measure, all of them unless told
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ROW,…")]
    pub(crate) rows: Vec<Row>,
    /// Less work (128 MiB, 200 files, 2,000 entries, 64 logins, 100 sessions) and two runs: to see whether things work
    #[arg(long)]
    pub(crate) quick: bool,
    /// How often each row is measured: 3 unless told, 2 with --quick
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) runs: Option<u32>,
    /// Bytes of the file of the stream rows: 1GiB unless told
    #[arg(long, value_name = "SIZE")]
    pub(crate) size: Option<ByteSize>,
    /// Delay of each of the store's answers, besides none, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) delay: u64,
    /// Leave out a server; may be given several times
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SERVER")]
    pub(crate) without: Vec<ServerKind>,
    /// Write the results to this file, after each row
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a report to this file, and charts and numbers to the folder beside it that has its name
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Where the store and the clients keep their files. It should be memory, or the disk is measured
    #[arg(long, value_name = "DIR", default_value = "/dev/shm")]
    pub(crate) work_dir: PathBuf,
    /// The program under test; unless told, the one beside this program
    #[arg(long, value_name = "FILE")]
    pub(crate) tidegate: Option<PathBuf>,
    /// Print the rows and servers
    #[arg(long)]
    pub(crate) list: bool,
}

/// How much work the rows are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    /// How often each row is measured.
    pub(crate) runs: u32,
    /// Bytes of one stream.
    pub(crate) stream: u64,
    /// Small files.
    pub(crate) small_files: u64,
    /// Entries of the directory that is listed.
    pub(crate) entries: u64,
    /// Logins.
    pub(crate) logins: u64,
    /// Idle sessions.
    pub(crate) sessions: u64,
    /// The store's delay in milliseconds.
    pub(crate) delay: u64,
}

impl RunArgs {
    /// The work that was asked for.
    pub(crate) fn workload(&self) -> Workload {
        let full = Workload {
            runs: 3,
            stream: 1 << 30,
            small_files: 1000,
            entries: 10_000,
            logins: 320,
            sessions: 1000,
            delay: self.delay,
        };
        let quick =
            Workload { runs: 2, stream: 128 << 20, small_files: 200, entries: 2000, logins: 64, sessions: 100, ..full };
        let chosen = if self.quick { quick } else { full };
        Workload {
            runs: self.runs.unwrap_or(chosen.runs),
            stream: self.size.map_or(chosen.stream, |size| size.as_u64()).max(1 << 20),
            ..chosen
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn quick_is_less_work_and_options_win_over_it() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).unwrap().run;
        let (full, quick) = (parse("bench").workload(), parse("bench --quick --size 64MiB --runs 7").workload());
        assert!(quick.small_files < full.small_files && quick.sessions < full.sessions);
        assert_eq!((full.stream, quick.stream, quick.runs), (1 << 30, 64 << 20, 7));
        let rows = parse("bench --rows stream,logins --without s3fs").rows;
        assert_eq!(rows, [Row::Stream, Row::Logins]);
    }
}
