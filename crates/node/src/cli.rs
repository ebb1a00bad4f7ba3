//! The command line.

mod hostkey;
mod tenant;
mod user;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tidegate_store::TenantName;

use crate::import::ImportArgs;

pub use hostkey::{HostkeyAction, HostkeyArgs, KeyStep, KeyType};
pub use tenant::{TenantAction, TenantArgs};
pub use user::{KeyArgs, UserAction, UserArgs, UserKeyAction, UserKeyArgs};

/// SFTP server for AWS S3: stateless nodes, files in S3, users in DynamoDB, host keys sealed by KMS.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node on this machine with stores of its own: no AWS account, no other server
    Dev(DevArgs),
    /// Run the S3 and DynamoDB stores of `dev` alone, for tests and other tools
    DevStore(DevStoreArgs),
    /// Run a node
    Serve(ConfigArgs),
    /// Check the configuration and print what is in force
    CheckConfig(CheckConfigArgs),
    /// Create the DynamoDB table, for clusters that are not set up by Terraform
    Init(AdminArgs),
    /// The cluster's host keys
    Hostkey(HostkeyArgs),
    /// Tenants: whose files lie where
    Tenant(TenantArgs),
    /// Users: who may log in
    User(UserArgs),
    /// Add users and keys of another server
    Import(ImportArgs),
    /// Uploads that run or wait to be resumed
    Uploads(UploadsArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Where the settings are.
#[derive(Args, Clone, Debug)]
pub struct ConfigArgs {
    /// The configuration file; TIDEGATE_* variables of the environment override what is in it
    #[arg(long, env = "TIDEGATE_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

/// What every administrative command takes.
#[derive(Args, Clone, Debug)]
pub struct AdminArgs {
    /// Where the settings are.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Output::Text, global = true)]
    pub output: Output,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// The shells that completions can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

/// `tidegate dev`
#[derive(Args, Clone, Debug)]
pub struct DevArgs {
    /// Where everything is kept; made if it is missing
    #[arg(long, value_name = "DIR", default_value = "./tidegate-data")]
    pub data: PathBuf,
    /// The port for SFTP on 127.0.0.1; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 10022)]
    pub sftp_port: u16,
    /// The port for health and metrics on 127.0.0.1; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 8022)]
    pub admin_port: u16,
    /// The ports of the stores
    #[command(flatten)]
    pub stores: StorePorts,
    /// Write addresses and credentials to this file, as JSON, once the node serves
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// `tidegate dev-store`
#[derive(Args, Clone, Debug)]
pub struct DevStoreArgs {
    /// Where everything is kept; made if it is missing
    #[arg(long, value_name = "DIR", default_value = "./tidegate-data")]
    pub data: PathBuf,
    /// The ports of the stores
    #[command(flatten)]
    pub stores: StorePorts,
    /// Write addresses and credentials to this file, as JSON, once the stores serve
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// The ports of the stores.
#[derive(Args, Clone, Copy, Debug)]
pub struct StorePorts {
    /// The port of the S3 store on 127.0.0.1; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub s3_port: u16,
    /// The port of the DynamoDB store on 127.0.0.1; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub dynamodb_port: u16,
}

/// `tidegate check-config`
#[derive(Args, Clone, Debug)]
pub struct CheckConfigArgs {
    /// Configuration and output.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Also try what a node needs: identity, bucket, conditional writes, table, host keys, the key that
    /// seals them, and the tenants' role. Writes and removes small objects in the bucket
    #[arg(long)]
    pub probe: bool,
}

/// `tidegate uploads`
#[derive(Args, Clone, Debug)]
pub struct UploadsArgs {
    /// Configuration and output.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// What to do with uploads.
    #[command(subcommand)]
    pub action: UploadsAction,
}

/// What to do with uploads.
#[derive(Clone, Debug, Subcommand)]
pub enum UploadsAction {
    /// List uploads that run, once they have a part or have been open for a second or two, and all that were cut
    /// and can be resumed
    List {
        /// Only this tenant's
        #[arg(long)]
        tenant: Option<TenantName>,
    },
    /// Remove an upload: it can't be resumed any more, and who works on it gets an error
    Abort {
        /// Whose it is
        #[arg(long)]
        tenant: TenantName,
        /// The file, as `uploads list` shows it
        path: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use tidegate_store::Permission;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_manual_tells_of_every_command_and_option() {
        fn walk(command: &clap::Command, path: &str, manual: &str) {
            for argument in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(manual.contains(&format!("--{argument}")), "{path} --{argument} is missing");
            }
            for inner in command.get_subcommands() {
                let path = format!("{path} {}", inner.get_name());
                if inner.has_subcommands() {
                    walk(inner, &path, manual);
                } else {
                    assert!(manual.contains(&format!("| `{path}` |")), "{path} is missing");
                    walk(inner, &path, manual);
                }
            }
        }
        let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/CLI.md");
        walk(&Cli::command(), "tidegate", &std::fs::read_to_string(manual).unwrap());
    }

    #[test]
    fn configuration_and_output_may_stand_behind_any_command() {
        for line in [
            "tidegate user --config a --output json key list bob",
            "tidegate user key list bob --config a --output json",
            "tidegate user key --config a list bob --output json",
        ] {
            let Command::User(user) = parse(line).unwrap().command else { panic!("{line}") };
            assert_eq!(user.admin.config.config, Some(PathBuf::from("a")));
            assert_eq!(user.admin.output, Output::Json);
        }
    }

    #[test]
    fn several_keys_and_a_list_of_permissions_are_taken() {
        let line = "tidegate user add bob --tenant acme --key a --key - --permissions list,read --permission /a=all";
        let Command::User(user) = parse(line).unwrap().command else { panic!("not user") };
        let UserAction::Add { keys, access, .. } = user.action else { panic!("not add") };
        assert_eq!(keys.sources, ["a", "-"]);
        assert_eq!(access.permissions.map(|list| list.0), Some([Permission::List, Permission::Read].into()));
        assert_eq!((access.rules.len(), access.home), (1, None));
    }

    #[test]
    fn wrong_names_are_refused_with_the_rule() {
        for (line, rule) in [
            ("tidegate tenant add Acme --bucket b", "a-z, 0-9"),
            ("tidegate tenant add acme --bucket b --prefix x", "end in"),
            ("tidegate tenant add acme --bucket b --max-bandwidth-in 1KiB", "at least 65536"),
            ("tidegate tenant set acme", "--max-sessions"),
            ("tidegate tenant set acme --max-sessions no", "invalid"),
            ("tidegate tenant set acme --quota-bytes much", "10GiB"),
            ("tidegate user show b", "3 to 100"),
            ("tidegate user add bob --tenant acme --permissions fly", "set-attributes"),
            ("tidegate user set bob", "--permission"),
            ("tidegate user set bob --permission /in", "/inbox=list,write"),
            ("tidegate user set bob --permission in=list", "begin with"),
            ("tidegate user key add bob --key a --key-expires soon", "RFC 3339"),
            ("tidegate hostkey add --announce-for soon", "--announce-for"),
            ("tidegate hostkey add --algorithm dsa", "ed25519"),
            ("tidegate hostkey activate", "FINGERPRINT"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(rule), "{line}: {error}");
        }
    }
}
