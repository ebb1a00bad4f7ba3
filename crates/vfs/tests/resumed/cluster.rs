//! Several nodes over one store and one journal, and how their uploads end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_store::faulty::FaultPlan;
use tidegate_store::memory::{MemoryJournal, MemoryObjectStore};
use tidegate_store::{Journal, JournalEntry, TenantName};
use tidegate_vfs::{Config, FsError, Mount, OpenOptions, Writer};

use crate::harness::*;
use crate::scripted::ScriptedJournal;

/// Several nodes over one store and one journal.
pub(crate) struct Cluster {
    pub(crate) store: MemoryObjectStore,
    pub(crate) journal: MemoryJournal,
}

/// As clients open what they resume.
pub(crate) const RESUME: OpenOptions = OpenOptions { create: true, ..WRITE };
pub(crate) const APPEND: OpenOptions = OpenOptions { append: true, ..RESUME };

impl Cluster {
    pub(crate) fn new() -> Self {
        let store = MemoryObjectStore::new().with_part_min(PART as u64);
        Self { store, journal: MemoryJournal::new() }
    }

    pub(crate) async fn node(&self) -> Env {
        env_over(self.store.clone(), Some(Arc::new(self.journal.clone())), config(), FaultPlan::none()).await
    }

    /// One that has this journal and these settings.
    pub(crate) async fn node_with(&self, journal: ScriptedJournal, config: Config) -> Env {
        env_over(self.store.clone(), Some(Arc::new(journal)), config, FaultPlan::none()).await
    }

    pub(crate) async fn entries(&self) -> Vec<JournalEntry> {
        self.journal.list(&tenant(), "", None).await.unwrap().entries
    }

    /// Nothing is left of any upload.
    pub(crate) async fn is_clean(&self, node: &Env) {
        within(async {
            while !self.entries().await.is_empty()
                || node.uploads().await > 0
                || node.keys().await.iter().any(|key| key.starts_with(".tidegate/"))
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

pub(crate) fn tenant() -> TenantName {
    "demo".parse().unwrap()
}

/// A node dies: nothing of it runs or is cleared up, and what was on its way has landed.
pub(crate) async fn kill(node: Env, writer: Writer) {
    landed(&node).await;
    std::mem::forget(writer);
    std::mem::forget(node);
}

pub(crate) async fn landed(node: &Env) {
    within(async {
        while node.metric("tidegate_vfs_parts_in_flight", "") > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

pub(crate) async fn begin(mount: &Mount, name: &str, data: &Bytes) -> Writer {
    let mut writer = open_writer(mount, name, create()).await.unwrap();
    write_all(&mut writer, data, 10_000).await.unwrap();
    writer
}

pub(crate) async fn shown(mount: &Mount, name: &str) -> Option<usize> {
    mount.stat(&path(name)).await.ok().map(|attributes| attributes.size as usize)
}

/// Goes on where STAT says, as clients do, up to `end`.
pub(crate) async fn go_on(mount: &Mount, name: &str, data: &Bytes, end: usize, options: OpenOptions) -> Writer {
    let begin = shown(mount, name).await.unwrap_or(0);
    let mut writer = open_writer(mount, name, options).await.unwrap();
    assert_eq!(writer.attributes().size as usize, begin, "FSTAT shows what STAT did");
    for offset in (begin..end).step_by(10_000) {
        write(&mut writer, offset, data.slice(offset..end.min(offset + 10_000))).await.unwrap();
    }
    writer
}

pub(crate) async fn write_all_from(writer: &mut Writer, data: &Bytes, begin: usize) -> Result<(), FsError> {
    for offset in (begin..data.len()).step_by(10_000) {
        write(writer, offset, data.slice(offset..data.len().min(offset + 10_000))).await?;
    }
    Ok(())
}
