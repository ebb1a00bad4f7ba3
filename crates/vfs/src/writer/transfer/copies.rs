//! Parts that the store makes of a version.

use std::ops::Range;

use tidegate_store::{CopySource, PartNumber, Upload};

use super::landings::Landed;
use super::{COPIES_AT_ONCE, Target, interrupted, publish_error};
use crate::error::FsError;

impl Target {
    /// Copies ranges of a version; where none is given, of the one that is to be replaced, from wherever it
    /// lies.
    pub(super) async fn copy_parts(
        &self,
        upload: &Upload,
        source: Option<CopySource>,
        parts: Vec<(PartNumber, Range<u64>)>,
    ) -> Result<Vec<Landed>, FsError> {
        let is_own = source.is_none();
        let mut source = match source {
            Some(source) => source,
            None => self.destination.settled().await.ok_or_else(interrupted)?,
        };
        loop {
            let copied = self.copier.copy_parts(upload, &source, parts.clone(), COPIES_AT_ONCE).await;
            let error = match copied {
                Ok(copied) => {
                    let landed = copied.into_iter().map(|part| {
                        let checksum = part.checksum;
                        (part, checksum)
                    });
                    return Ok(landed.collect());
                }
                Err(error) => error,
            };
            // A RENAME of this very file may have moved it meanwhile.
            match self.destination.settled().await.filter(|moved| is_own && *moved != source) {
                Some(moved) => source = moved,
                None => return Err(publish_error(&self.destination.now().1, error)),
            }
        }
    }
}
