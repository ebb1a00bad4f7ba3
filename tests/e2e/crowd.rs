//! Many transfers at once.

use std::time::Duration;

use tidegate_tests::{sha256_of_file, write_random_file};

use crate::proxied::Proxied;

#[test]
fn heavy_a_hundred_transfers_at_once_are_all_right_within_the_memory_budget() {
    const EACH_WAY: usize = 50;
    const MIB: u64 = 1 << 20;
    let mut proxied = Proxied::start_with(&[
        ("TIDEGATE_SSH__MAX_UNAUTHENTICATED_PER_SOURCE", "256"),
        // Nobody is to be refused, however slow the machine.
        ("TIDEGATE_VFS__BUDGET_WAIT", "4m"),
    ]);
    proxied.ssh = proxied.ssh.limited_to(Duration::from_secs(240));
    let ssh = &proxied.ssh;
    // From a little less than a part to two of them.
    let len = |n: usize| 7 * MIB + (n as u64 % 10) * MIB + n as u64;
    let sums: Vec<_> =
        (0..EACH_WAY).map(|n| write_random_file(&ssh.file(&format!("f{n}")), n as u64, len(n))).collect();
    let (rclone, root) = proxied.bucket();
    rclone.run(["copy", "--transfers", "4", "--include", "f*", &ssh.folder().display().to_string(), &root]).ok();
    ssh.sftp("pwd\n").ok();

    proxied.proxy().delay_answers(Duration::from_millis(20));
    std::thread::scope(|scope| {
        for n in 0..EACH_WAY {
            scope.spawn(move || ssh.sftp(&format!("put f{n} up{n}\n")).ok());
            scope.spawn(move || ssh.sftp(&format!("get f{n} down{n}\n")).ok());
        }
    });
    proxied.proxy().delay_answers(Duration::ZERO);

    rclone.run(["copy", "--transfers", "4", "--include", "up*", &root, &ssh.folder().display().to_string()]).ok();
    for (n, sum) in sums.iter().enumerate() {
        for file in [format!("down{n}"), format!("up{n}")] {
            assert_eq!(&sha256_of_file(&ssh.file(&file)), sum, "{file}");
        }
    }
    proxied.wait_until_nothing_is_open();
    proxied.assert_memory_was_bounded();
}
