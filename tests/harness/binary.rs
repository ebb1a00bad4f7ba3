//! Where the programs under test and the emulators lie.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

static BINARY: LazyLock<PathBuf> = LazyLock::new(find_or_build);

/// The folder of the repository.
pub fn repository_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie below the root")
}

/// The `tidegate` binary of this build: `TIDEGATE_BIN`, else what cargo builds.
///
/// # Panics
/// If it can't be built.
pub fn tidegate_path() -> &'static Path {
    &BINARY
}

/// A command of the `tidegate` binary in an environment of its own: nothing that the developer's
/// shell has set reaches it, and no instance metadata is asked for credentials.
pub fn tidegate(home: &Path) -> Command {
    let mut command = Command::new(tidegate_path());
    command
        .env_clear()
        .env("HOME", home)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("RUST_BACKTRACE", "1")
        .current_dir(home);
    command
}

/// A program of the virtual environment that `tests/setup` makes.
///
/// # Panics
/// If it is not there.
pub fn python(program: &str) -> Command {
    let path = repository_root().join("target/test-venv/bin").join(program);
    assert!(path.exists(), "{} is missing: run tests/setup", path.display());
    Command::new(path)
}

fn find_or_build() -> PathBuf {
    if let Some(path) = std::env::var_os("TIDEGATE_BIN") {
        let path = PathBuf::from(path);
        assert!(path.exists(), "TIDEGATE_BIN names {}, which does not exist", path.display());
        return path;
    }
    let built = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--quiet", "--package", "tidegate-node", "--bin", "tidegate"])
        .current_dir(repository_root())
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the tidegate binary can't be built");
    // A test's own binary lies in target/PROFILE/deps.
    let test = std::env::current_exe().expect("a test knows its own path");
    let path = test.parent().and_then(Path::parent).expect("deps lies in the profile's folder").join("tidegate");
    assert!(path.exists(), "cargo built no {}", path.display());
    path
}
