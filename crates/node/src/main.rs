//! The binary `tidegate`.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// The system's gives large blocks back to the kernel each time they are freed, and takes them anew
/// page by page: a tenth of a transfer's CPU time (docs/PERFORMANCE.md).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    tidegate_node::main()
}
