//! Buckets.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::failure::Failure;

pub(crate) type BucketId = i64;

#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) name: String,
    pub(crate) created: i64,
}

pub(crate) fn bucket(connection: &Connection, name: &str) -> Result<BucketId, Failure> {
    connection
        .prepare_cached("SELECT id FROM buckets WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?
        .ok_or(Failure::NoSuchBucket)
}

/// Succeeds if it exists, as in us-east-1.
pub(crate) fn create_bucket(connection: &Connection, name: &str) -> Result<(), Failure> {
    connection
        .prepare_cached("INSERT INTO buckets (name, created) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING")?
        .execute(params![name, super::now()])?;
    Ok(())
}

/// The uploads in it must be dropped before.
pub(crate) fn delete_bucket(connection: &Connection, bucket: BucketId) -> Result<(), Failure> {
    let holds_objects: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM objects WHERE bucket = ?1)")?
        .query_row([bucket], |row| row.get(0))?;
    if holds_objects {
        return Err(Failure::BucketNotEmpty);
    }
    connection.prepare_cached("DELETE FROM buckets WHERE id = ?1")?.execute([bucket])?;
    Ok(())
}

pub(crate) fn list_buckets(connection: &Connection) -> Result<Vec<Bucket>, Failure> {
    let mut statement = connection.prepare_cached("SELECT name, created FROM buckets ORDER BY name")?;
    let rows = statement.query_map([], |row| Ok(Bucket { name: row.get(0)?, created: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
