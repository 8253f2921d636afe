//! `tools bucket mark`: sets and removes marks.

use std::io::Write;
use std::time::Duration;

use sabre_block::mark::{self, MarkKind, Written};
use sabre_model::BlockId;
use sabre_objstore::SharedBucket;
use sabre_runtime::flags::Flags;
use sabre_tsdb::meta::{DeletionMark, NoCompactMark, NoCompactReason, NoDownsampleMark};

use crate::bucket;
use crate::error::ToolError;
use crate::verify::ids;

/// How long it may take, as with Thanos.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn run(flags: &Flags, out: &mut (dyn Write + Send), now_ms: i64) -> Result<(), ToolError> {
    let ids = ids(&flags.list("id")?)?;
    let name = flags.text("marker")?;
    let Some(kind) = MarkKind::from_file_name(name) else {
        return Err(ToolError::Unusable {
            flag: "marker",
            what: format!("there is no mark {name}"),
        });
    };
    let removes = flags.bool("remove")?;
    let details = flags.text("details")?;
    if !removes && details.is_empty() {
        return Err(ToolError::Unusable {
            flag: "details",
            what: "say why, whoever finds the mark will want to know".to_owned(),
        });
    }
    let bucket = bucket::open(flags)?;
    let work = async {
        for id in ids {
            let line = match removes {
                true => {
                    mark::remove(&*bucket, id, kind).await?;
                    format!("{id} {name} removed")
                }
                false => match set(&bucket, id, kind, details, now_ms).await? {
                    Written::New => format!("{id} {name} set"),
                    Written::Existing => format!("{id} {name} is there already and stays as it is"),
                },
            };
            writeln!(out, "{line}")?;
        }
        Ok(())
    };
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| Err(ToolError::Timeout(PATIENCE.as_secs())))
}

async fn set(
    bucket: &SharedBucket,
    id: BlockId,
    kind: MarkKind,
    details: &str,
    now_ms: i64,
) -> Result<Written, ToolError> {
    let details = details.to_owned();
    let now_s = now_ms.div_euclid(1000);
    let written = match kind {
        MarkKind::Deletion => {
            let deletion = DeletionMark {
                id,
                details,
                deletion_time_s: now_s,
            };
            mark::write(&**bucket, &deletion).await
        }
        MarkKind::NoCompact => {
            let no_compact = NoCompactMark {
                id,
                details,
                no_compact_time_s: now_s,
                reason: NoCompactReason::Manual,
            };
            mark::write(&**bucket, &no_compact).await
        }
        MarkKind::NoDownsample => {
            let no_downsample = NoDownsampleMark {
                id,
                details,
                no_downsample_time_s: now_s,
                reason: NoDownsampleMark::REASON_MANUAL.to_owned(),
            };
            mark::write(&**bucket, &no_downsample).await
        }
    };
    Ok(written?)
}
