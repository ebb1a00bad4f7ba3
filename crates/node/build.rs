//! Hands the compiler's version to the crate, for `/version`, `--version` and the build metric.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=TIDEGATE_COMMIT");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned());
    // Not called TIDEGATE_…: cargo hands it on to what it runs, where such names are settings.
    println!("cargo:rustc-env=BUILD_RUSTC_VERSION={version}");
}
