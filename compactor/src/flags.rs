//! The flags of `sabre compact`; what they mean is in [`CompactSettings`](crate::config::CompactSettings).

use sabre_runtime::flags::{CommandSpec, FlagGroup, FlagSpec, Kind, groups};

const STREAMED: &str = "blocks are streamed, nothing is downloaded or uploaded file by file";
const NO_VIEWER: &str = "there is no block viewer, the status page follows the compactor itself";
const NO_ADMIN: &str = "the status page changes nothing";

const WHEN: &[FlagSpec] = &[
    FlagSpec::new(
        "wait",
        Kind::Bool,
        "false",
        "Do not end, but look again and again",
    )
    .short('w'),
    FlagSpec::new(
        "wait-interval",
        Kind::DURATION,
        "5m",
        "Pause between two iterations with --wait",
    ),
    FlagSpec::new(
        "dry-run",
        Kind::Bool,
        "false",
        "Print what would be done, and why, as a table, and write nothing",
    ),
    FlagSpec::new(
        "compact.cleanup-interval",
        Kind::DURATION,
        "5m",
        "How often retention and cleaning run beside compaction with --wait, 0 for never",
    ),
    FlagSpec::new(
        "compact.progress-interval",
        Kind::DURATION,
        "5m",
        "How often what is left to do is counted with --wait, 0 for never",
    ),
];

const BLOCKS: &[FlagSpec] = &[
    FlagSpec::new(
        "data-dir",
        Kind::Text,
        "./data",
        "Directory for indexes that are being written and for metas, may be lost at any time",
    ),
    FlagSpec::new(
        "consistency-delay",
        Kind::DURATION,
        "30m",
        "Blocks of sidecars that were uploaded within this time are not looked at yet",
    ),
    FlagSpec::new(
        "block-discovery-strategy",
        Kind::Choice(&["concurrent", "recursive"]),
        "",
        "How blocks are found: by one listing of the bucket (recursive, done when the flag is not given), or by asking \
         for every block's meta.json (concurrent)",
    ),
    FlagSpec::new(
        "block-meta-fetch-concurrency",
        Kind::Int,
        "32",
        "Metas that are read at once",
    )
    .at_least(1),
    FlagSpec::new(
        "min-time",
        Kind::Time,
        "0000-01-01T00:00:00Z",
        "Work on no older blocks: RFC 3339, or a duration before now such as -2d",
    ),
    FlagSpec::new(
        "max-time",
        Kind::Time,
        "9999-12-31T23:59:59Z",
        "Work on no newer blocks: RFC 3339, or a duration before now such as -2d",
    ),
    FlagSpec::new(
        "selector.relabel-config",
        Kind::Content,
        "",
        "Relabel rules as YAML; blocks whose external labels they drop are left to other compactors",
    ),
    FlagSpec::new(
        "block-files-concurrency",
        Kind::Int,
        "1",
        "Files of a block at once",
    )
    .ignored(STREAMED),
    FlagSpec::new(
        "compact.blocks-fetch-concurrency",
        Kind::Int,
        "1",
        "Blocks at once",
    )
    .ignored(STREAMED),
];

const COMPACTION: &[FlagSpec] = &[
    FlagSpec::new(
        "compact.concurrency",
        Kind::Int,
        "1",
        "Groups that are compacted at once",
    )
    .at_least(1),
    FlagSpec::new(
        "deduplication.replica-label",
        Kind::Text,
        "",
        "External label that tells replicas apart: their blocks are merged, which cannot be undone",
    )
    .comma_lists(),
    FlagSpec::new(
        "deduplication.func",
        Kind::Choice(&["", "penalty"]),
        "",
        "How samples of replicas are merged: each timestamp once, or by penalty for replicas that scrape on their own",
    ),
    FlagSpec::new(
        "compact.enable-vertical-compaction",
        Kind::Bool,
        "false",
        "Merge blocks that overlap",
    )
    .hidden(),
    FlagSpec::new(
        "compact.block-max-index-size",
        Kind::Size,
        "64GB",
        "Blocks are kept out of compaction when the index of the result could pass this",
    )
    .hidden(),
    FlagSpec::new(
        "compact.skip-block-with-out-of-order-chunks",
        Kind::Bool,
        "false",
        "Mark blocks with chunks out of order no-compact in the bucket",
    )
    .hidden(),
    FlagSpec::new(
        "hash-func",
        Kind::Choice(&["", "SHA256"]),
        "",
        "Hash of files that meta.json shall name",
    ),
    FlagSpec::new(
        "debug.halt-on-error",
        Kind::Bool,
        "true",
        "When given as true, stop at the first broken block as Thanos does; else such blocks are left alone and the rest \
         goes on",
    )
    .hidden(),
    FlagSpec::new(
        "debug.accept-malformed-index",
        Kind::Bool,
        "false",
        "Accept series whose label names are not in order",
    )
    .hidden(),
    FlagSpec::new(
        "debug.max-compaction-level",
        Kind::Int,
        "4",
        "The longest range of results: 1 for 2h, 2 for 8h, 3 for 48h, 4 for 336h, 0 for no compaction",
    )
    .at_least(0)
    .hidden(),
];

const DOWNSAMPLING: &[FlagSpec] = &[
    FlagSpec::new("downsampling.disable", Kind::Bool, "false", "Do not downsample"),
    FlagSpec::new(
        "downsample.concurrency",
        Kind::Int,
        "1",
        "Blocks that are downsampled at once",
    )
    .at_least(1),
];

const RETENTION: &[FlagSpec] = &[
    FlagSpec::new(
        "retention.resolution-raw",
        Kind::DURATION,
        "0d",
        "How long raw data is kept, 0d for ever",
    ),
    FlagSpec::new(
        "retention.resolution-5m",
        Kind::DURATION,
        "0d",
        "How long data of 5 minutes is kept, 0d for ever",
    ),
    FlagSpec::new(
        "retention.resolution-1h",
        Kind::DURATION,
        "0d",
        "How long data of 1 hour is kept, 0d for ever",
    ),
    FlagSpec::new(
        "delete-delay",
        Kind::DURATION,
        "48h",
        "Age of the deletion mark at which a block is deleted; 0 deletes at once, under the eyes of stores",
    ),
];

const PAGES: &[FlagSpec] = &[
    FlagSpec::new("web.disable", Kind::Bool, "false", "Serve no status page"),
    FlagSpec::new(
        "web.route-prefix",
        Kind::Text,
        "",
        "Prefix of the paths of the status page",
    ),
    FlagSpec::new("web.external-prefix", Kind::Text, "", "Prefix of links")
        .ignored("the status page has no absolute links"),
    FlagSpec::new(
        "web.prefix-header",
        Kind::Text,
        "",
        "Header with the prefix of links",
    )
    .ignored("the status page has no absolute links"),
    FlagSpec::new("web.disable-cors", Kind::Bool, "false", "Send no CORS headers")
        .ignored("no CORS headers are sent"),
    FlagSpec::new(
        "bucket-web-label",
        Kind::Text,
        "",
        "Label that titles the block viewer",
    )
    .ignored(NO_VIEWER),
    FlagSpec::new(
        "block-viewer.global.sync-block-interval",
        Kind::DURATION,
        "1m",
        "How often the block viewer looks",
    )
    .ignored(NO_VIEWER),
    FlagSpec::new(
        "block-viewer.global.sync-block-timeout",
        Kind::DURATION,
        "5m",
        "How long it may look",
    )
    .ignored(NO_VIEWER),
    FlagSpec::new(
        "disable-admin-operations",
        Kind::Bool,
        "false",
        "Forbid marking blocks",
    )
    .ignored(NO_ADMIN),
];

/// Flags that Thanos dropped, and that still stand in manifests.
const OLD: &[FlagSpec] = &[
    FlagSpec::new(
        "index.generate-missing-cache-file",
        Kind::Bool,
        "false",
        "Make caches of indices",
    )
    .hidden()
    .ignored("stores make their index-headers themselves"),
    FlagSpec::new(
        "block-sync-concurrency",
        Kind::Int,
        "20",
        "Metas that are read at once",
    )
    .hidden()
    .ignored("--block-meta-fetch-concurrency has taken its place"),
];

/// The command, for the table of the binary.
pub fn command() -> CommandSpec {
    CommandSpec::new(
        "compact",
        "Compact, deduplicate, downsample and retain the blocks of a bucket",
    )
    .group(groups::objstore_required())
    .group(FlagGroup::new("When", WHEN))
    .group(FlagGroup::new("Blocks", BLOCKS))
    .group(FlagGroup::new("Compaction", COMPACTION))
    .group(FlagGroup::new("Downsampling", DOWNSAMPLING))
    .group(FlagGroup::new("Retention", RETENTION))
    .group(FlagGroup::new("Web pages", PAGES))
    .group(FlagGroup::new("Old flags", OLD))
    .group(groups::http())
    .example(
        "See what would be done",
        "sabre compact --dry-run --objstore.config-file=bucket.yaml",
    )
    .example(
        "Run for ever, one per bucket",
        "sabre compact --wait --data-dir=/var/sabre/compact --objstore.config-file=bucket.yaml",
    )
    .example(
        "Merge the replicas of Prometheus pairs",
        "sabre compact --wait --objstore.config-file=bucket.yaml --deduplication.replica-label=replica \
             --deduplication.func=penalty",
    )
}
