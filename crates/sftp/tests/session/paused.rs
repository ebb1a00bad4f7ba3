//! A client that stops in the middle of an upload, for minutes.

use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use russh_sftp::protocol::{OpenFlags, Packet};
use tidegate_store::TenantLimits;
use tidegate_store::memory::MemoryObjectStores;
use tidegate_vfs::Config;

use crate::client::{NEW, Node};

const MIB: usize = 1 << 20;

#[tokio::test(start_paused = true)]
async fn an_upload_that_stops_for_minutes_goes_on_and_has_held_one_part_of_the_memory() {
    let config = Config { memory_budget: Some(ByteSize::mib(128)), ..Config::default() };
    let (part, overhead) = (config.part_size.as_u64(), config.transfer_overhead.as_u64());
    let node = Node::with(Arc::new(MemoryObjectStores::new()), config);
    let data: Vec<u8> = (0..24 * MIB).map(|n| (n / 7) as u8).collect();
    let (first, rest) = data.split_at(20 * MIB + 100);

    let mut stopped = node.session_of("slow", TenantLimits::default()).await;
    let handle = stopped.open("/stopped", NEW).await;
    for (n, chunk) in first.chunks(32_768).enumerate() {
        stopped.send_write(&handle, n as u64 * 32_768, chunk).await;
        stopped.ok().await;
    }
    tokio::time::sleep(Duration::from_secs(14 * 60)).await;
    let held = node.metric("tidegate_vfs_memory_used_bytes", "write");
    assert!(held > 0.0 && held <= (part + overhead) as f64, "{held} bytes");

    for tenant in ["other", "another"] {
        let mut client = node.session_of(tenant, TenantLimits::default()).await;
        for n in 0..10 {
            client.put(&format!("/{n}"), &data[..9 * MIB]).await;
            assert_eq!(client.size_of(&format!("/{n}")).await, Ok(9 * MIB as u64));
        }
        client.end().await;
    }

    for (n, chunk) in rest.chunks(32_768).enumerate() {
        stopped.send_write(&handle, (first.len() + n * 32_768) as u64, chunk).await;
        stopped.ok().await;
    }
    stopped.send_close(&handle).await;
    stopped.ok().await;
    let handle = stopped.open("/stopped", OpenFlags::READ).await;
    for offset in (0..data.len()).step_by(MIB / 4) {
        stopped.send_read(&handle, offset as u64, (MIB / 4 - 1024) as u32).await;
        let expected = &data[offset..offset + MIB / 4 - 1024];
        assert!(matches!(stopped.receive().await, Packet::Data(read) if read.data == expected), "from {offset} on");
    }
    stopped.end().await;
}
