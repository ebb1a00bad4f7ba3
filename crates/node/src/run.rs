//! From the command line to the exit code, in strict order: parse, load the configuration, start
//! the log, raise the limit of open files, build the runtime, compose, serve.

use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use thiserror::Error;
use tokio::runtime::Runtime;
use tracing::info;

use crate::cli::{AdminArgs, Cli, Command, ConfigArgs};
use crate::commands::{self, CommandError, Failure};
use crate::compose::{ComposeError, compose};
use crate::config::{Config, Environment, LoadError, Loaded};
use crate::dev::{self, DevError};
use crate::file_limit;
use crate::shutdown::{self, Ending, next_signal};
use crate::telemetry::{self, Destination, Log, TelemetryError};

/// How long work on blocking threads may go on when all else has ended.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Why the process ends without having done what it was asked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// An administrative command failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The node could not be put together.
    #[error("the node can't serve")]
    Compose(#[from] ComposeError),
    /// The configuration is missing or wrong.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// `dev` or `dev-store` failed.
    #[error(transparent)]
    Dev(#[from] DevError),
    /// The SFTP server stopped by itself.
    #[error("the SFTP server has stopped without being told to")]
    Ended,
    /// No configuration was named.
    #[error(
        "no configuration is given: use --config FILE or set TIDEGATE_CONFIG (if every setting comes from TIDEGATE_* \
         variables, /dev/null will do)"
    )]
    NoConfig,
    /// The async runtime.
    #[error("the runtime can't be built")]
    Runtime(#[source] io::Error),
    /// Signal handlers.
    #[error("the signal handlers can't be installed")]
    Signals(#[source] io::Error),
    /// The log.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
}

impl RunError {
    /// 2 for a wrong use of the command line, as clap has it, else 1.
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoConfig => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Runs the program with the arguments and the environment of the process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli, &Environment::of_process()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(RunError::Command(error)) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidegate: {}", Failure(&error));
            error.exit_code()
        }
    }
}

fn run(cli: Cli, environment: &Environment) -> Result<(), RunError> {
    // Not locked: the log of `serve` goes there too, from other threads.
    let out = &mut io::stdout();
    match cli.command {
        Command::Completions { shell } => Ok(commands::completions(shell, out)?),
        Command::Serve(args) => {
            let loaded = load(&args, environment)?;
            let _log = telemetry::init(&loaded.config.log, Destination::Stdout)?;
            file_limit::raise(loaded.config.ssh.max_connections);
            block_on(serve(loaded.config))
        }
        Command::Dev(args) => {
            let config = dev::base_config(environment)?;
            let _log = telemetry::init(&config.log, Destination::Stderr)?;
            file_limit::raise(config.ssh.max_connections);
            block_on(async { Ok(dev::dev(&args, config, &mut signals()?).await?) })
        }
        Command::DevStore(args) => {
            let config = dev::base_config(environment)?;
            let _log = telemetry::init(&config.log, Destination::Stderr)?;
            block_on(async { Ok(dev::dev_store(&args, &mut signals()?).await?) })
        }
        Command::CheckConfig(args) => {
            let (loaded, _log) = load_quietly(&args.admin, environment)?;
            block_on(async { Ok(commands::check_config(&args, &loaded, out).await?) })
        }
        Command::Init(args) => {
            let (loaded, _log) = load_quietly(&args, environment)?;
            block_on(async { Ok(commands::init(&loaded, args.output, out).await?) })
        }
        Command::Hostkey(args) => {
            let (loaded, _log) = load_quietly(&args.admin, environment)?;
            block_on(async { Ok(commands::hostkey(&args, &loaded, out).await?) })
        }
        Command::Import(args) => {
            let (loaded, _log) = load_quietly(&args.admin, environment)?;
            block_on(async { Ok(commands::import(&args, &loaded, out).await?) })
        }
        Command::Tenant(args) => {
            let (loaded, _log) = load_quietly(&args.admin, environment)?;
            block_on(async { Ok(commands::tenant(&args, &loaded, out).await?) })
        }
        Command::Uploads(args) => {
            let (loaded, _log) = load_quietly(&args.admin, environment)?;
            block_on(async { Ok(commands::uploads(&args, &loaded, out).await?) })
        }
        Command::User(args) => {
            let (loaded, _log) = load_quietly(&args.admin, environment)?;
            block_on(async { Ok(commands::user(&args, &loaded, out).await?) })
        }
    }
}

/// Serves until a signal. A signal that comes while the node is being put together ends it too.
async fn serve(config: Config) -> Result<(), RunError> {
    let mut signals = signals()?;
    let node = tokio::select! {
        node = compose(&config) => node?,
        name = next_signal(&mut signals) => {
            info!(signal = name, "ended before serving");
            return Ok(());
        }
    };
    match node.start().run(&mut signals).await {
        Ending::Drained | Ending::Cut => Ok(()),
        Ending::Unasked => Err(RunError::Ended),
    }
}

fn signals() -> Result<futures::stream::BoxStream<'static, &'static str>, RunError> {
    shutdown::signals().map_err(RunError::Signals)
}

fn load(args: &ConfigArgs, environment: &Environment) -> Result<Loaded, RunError> {
    let path = args.config.as_deref().ok_or(RunError::NoConfig)?;
    Ok(Config::load(path, environment)?)
}

/// For administrative commands: what they have to say is their result, so only warnings are logged
/// unless the level was set.
fn load_quietly(args: &AdminArgs, environment: &Environment) -> Result<(Loaded, Log), RunError> {
    let loaded = load(&args.config, environment)?;
    let mut log = telemetry::Config { format: telemetry::Format::Text, ..loaded.config.log.clone() };
    if log.level == telemetry::Config::default().level {
        log.level = "warn".to_owned();
    }
    let log = telemetry::init(&log, Destination::Stderr)?;
    Ok((loaded, log))
}

fn block_on<T>(work: impl Future<Output = Result<T, RunError>>) -> Result<T, RunError> {
    let runtime: Runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(RunError::Runtime)?;
    let result = runtime.block_on(work);
    // What still runs on a blocking thread, such as a name lookup, must not hold the process.
    runtime.shutdown_timeout(LAST_WAIT);
    result
}
