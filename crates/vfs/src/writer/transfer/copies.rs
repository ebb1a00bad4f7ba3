//! Parts that the store makes of what it has.

use std::ops::Range;

use tidegate_store::{CopySource, PartNumber, Upload};

use super::landings::Landed;
use super::{COPIES_AT_ONCE, Target, interrupted, publish_error};
use crate::assembly::of_zeros;
use crate::error::FsError;
use crate::zeros::Zeros;

/// What parts are copied from.
#[derive(Clone, Debug)]
pub(crate) enum CopyFrom {
    /// The version that is to be replaced, wherever it lies.
    Own,
    Version(CopySource),
    Zeros(Zeros),
}

impl Target {
    /// Copies ranges of a version.
    pub(super) async fn copy_parts(
        &self,
        upload: &Upload,
        from: CopyFrom,
        parts: Vec<(PartNumber, Range<u64>)>,
    ) -> Result<Vec<Landed>, FsError> {
        let (is_own, is_zeros) = (matches!(from, CopyFrom::Own), matches!(from, CopyFrom::Zeros(_)));
        let mut source = match from {
            CopyFrom::Own => self.destination.settled().await.ok_or_else(interrupted)?,
            CopyFrom::Version(source) => source,
            CopyFrom::Zeros(zeros) => zeros.source,
        };
        loop {
            let copied = self.copier.copy_parts(upload, &source, parts.clone(), COPIES_AT_ONCE).await;
            let error = match copied {
                Ok(copied) => {
                    let landed = copied.into_iter().map(|part| {
                        let checksum = if is_zeros { Some(of_zeros(part.size)) } else { part.checksum };
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
