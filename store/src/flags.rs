//! The flags of `sabre store`; what they mean is in [`StoreConfig`](crate::StoreConfig).

use sabre_model::time::TimeOrDuration;
use sabre_runtime::flags::{CommandSpec, FlagGroup, FlagSpec, Kind, groups};

const NO_POOL: &str = "memory is bounded by --sabre.memory-budget, there is no pool for chunks";
const NO_PAGES: &str = "the store has no web pages, /api/v1/blocks has its blocks as JSON";
const NO_PARQUET: &str = "serve the blocks themselves, they are still in the bucket";

const TIME: Kind = Kind::Checked {
    noun: "time",
    check: check_time,
};

const BLOCKS: &[FlagSpec] = &[
    FlagSpec::new(
        "data-dir",
        Kind::Text,
        "./data",
        "Directory for index-headers and metas, may be lost at any time",
    ),
    FlagSpec::new(
        "cache-index-header",
        Kind::Bool,
        "true",
        "Keep index-headers in the data directory, else in memory",
    ),
    FlagSpec::new(
        "sync-block-duration",
        Kind::DURATION,
        "15m",
        "How often the blocks of the bucket are looked up",
    ),
    FlagSpec::new(
        "block-discovery-strategy",
        Kind::Choice(&["concurrent", "recursive"]),
        "",
        "How blocks are found: by one listing of the bucket (recursive, done when the flag is not given), or by asking \
         for every block's meta.json (concurrent)",
    ),
    FlagSpec::new(
        "block-sync-concurrency",
        Kind::Int,
        "20",
        "Index-headers that are loaded at once",
    )
    .at_least(1),
    FlagSpec::new(
        "block-meta-fetch-concurrency",
        Kind::Int,
        "32",
        "Metas that are read at once",
    )
    .at_least(1),
    FlagSpec::new(
        "min-time",
        TIME,
        "0000-01-01T00:00:00Z",
        "Serve nothing older: RFC 3339, or a duration before now such as -2d",
    ),
    FlagSpec::new(
        "max-time",
        TIME,
        "9999-12-31T23:59:59Z",
        "Serve nothing newer: RFC 3339, or a duration before now such as -2d",
    ),
    FlagSpec::new(
        "selector.relabel-config",
        Kind::Content,
        "",
        "Relabel rules as YAML; blocks whose external labels they drop are not served",
    ),
    FlagSpec::new(
        "consistency-delay",
        Kind::DURATION,
        "0s",
        "Blocks that were uploaded within this time are not served yet",
    ),
    FlagSpec::new(
        "ignore-deletion-marks-delay",
        Kind::DURATION,
        "24h",
        "Blocks are served until their deletion mark is this old",
    ),
    FlagSpec::new(
        "store.index-header-posting-offsets-in-mem-sampling",
        Kind::Int,
        "32",
        "Of so many values of a label one position is kept in memory",
    )
    .at_least(1)
    .hidden(),
    FlagSpec::new(
        "store.enable-index-header-lazy-reader",
        Kind::Bool,
        "false",
        "Open index-headers when a request first needs them, else as soon as the store is ready",
    ),
    FlagSpec::new(
        "store.index-header-lazy-reader-idle-timeout",
        Kind::DURATION,
        "5m",
        "With the lazy reader, index-headers that were not used for so long are closed; 0 for never",
    )
    .hidden(),
    FlagSpec::new(
        "store.index-header-lazy-download-strategy",
        Kind::Choice(&["eager", "lazy"]),
        "eager",
        "Make index-headers when a block is found (eager), or when a request first needs them (lazy)",
    ),
    FlagSpec::new(
        "objstore-parquet.config",
        Kind::Content,
        "",
        "Second bucket, with blocks as Parquet",
    )
    .refused(NO_PARQUET),
];

const REQUESTS: &[FlagSpec] = &[
    FlagSpec::new(
        "store.limits.request-series",
        Kind::Int,
        "0",
        "Most series a request may touch, 0 for no limit",
    )
    .at_least(0),
    FlagSpec::new(
        "store.limits.request-samples",
        Kind::Int,
        "0",
        "Most samples a request may touch, at 120 a chunk, 0 for no limit",
    )
    .at_least(0),
    FlagSpec::new(
        "store.grpc.touched-series-limit",
        Kind::Int,
        "0",
        "Old name of --store.limits.request-series",
    )
    .at_least(0),
    FlagSpec::new(
        "store.grpc.series-sample-limit",
        Kind::Int,
        "0",
        "Old name of --store.limits.request-samples",
    )
    .at_least(0),
    FlagSpec::new(
        "store.grpc.downloaded-bytes-limit",
        Kind::Size,
        "0",
        "Most bytes a request may read from the bucket, 0 for no limit",
    ),
    FlagSpec::new(
        "store.grpc.series-max-concurrency",
        Kind::Int,
        "20",
        "Series calls that run at once, the others wait",
    )
    .at_least(0),
    FlagSpec::new(
        "sabre.hedge-quantile",
        Kind::Float,
        "0",
        "Ask the bucket again for what takes longer than this share of the last reads of its size did, such as 0.9; \
         at most one read in twenty, and none for a while after an error; 0 for never",
    ),
    FlagSpec::new(
        "debug.estimated-max-series-size",
        Kind::Size,
        "64KB",
        "Most bytes read for a series whose length is not known; more than 64KB count as 64KB",
    )
    .hidden(),
    FlagSpec::new(
        "debug.estimated-max-chunk-size",
        Kind::Size,
        "16000",
        "Most bytes read for a chunk whose length is not known",
    )
    .hidden(),
    FlagSpec::new("debug.series-batch-size", Kind::Int, "10000", "Series in a batch")
        .hidden()
        .ignored("batches are as large as the memory of a request allows"),
    FlagSpec::new(
        "chunk-pool-size",
        Kind::Size,
        "2GB",
        "Most bytes of chunks in memory",
    )
    .ignored(NO_POOL),
    FlagSpec::new(
        "store.enable-lazy-expanded-postings",
        Kind::Bool,
        "false",
        "Leave out postings lists that have more bytes than the series they would save; their matchers are tried on the \
         series instead",
    ),
    FlagSpec::new(
        "store.posting-group-max-key-series-ratio",
        Kind::Float,
        "100",
        "With lazy postings, leave out the lists of labels with so many values for each series that is selected without \
         them; 0 for no such limit",
    )
    .hidden(),
    FlagSpec::new(
        "matcher-cache-size",
        Kind::Int,
        "0",
        "Compiled expressions that are kept",
    )
    .ignored("expressions compile in microseconds"),
];

const CACHES: &[FlagSpec] = &[
    FlagSpec::new(
        "index-cache-size",
        Kind::Size,
        "250MB",
        "Size of the index cache in memory, at most an eighth of the memory budget; has no effect with \
         --index-cache.config",
    ),
    FlagSpec::new(
        "index-cache.config",
        Kind::Content,
        "",
        "Index cache as YAML: type IN-MEMORY, MEMCACHED or REDIS",
    ),
    FlagSpec::new(
        "store.caching-bucket.config",
        Kind::Content,
        "",
        "Cache of bucket reads as YAML: type IN-MEMORY, MEMCACHED or REDIS",
    )
    .hidden(),
    FlagSpec::new(
        "sabre.index-cache-zstd",
        Kind::Bool,
        "false",
        "In a shared index cache keep postings under zstd, which is smaller; under keys of their own, because Thanos \
         cannot read them",
    ),
];

const PAGES: &[FlagSpec] = &[
    FlagSpec::new("web.disable", Kind::Bool, "false", "Do not serve /api/v1/blocks"),
    FlagSpec::new("web.external-prefix", Kind::Text, "", "Prefix of links").ignored(NO_PAGES),
    FlagSpec::new(
        "web.prefix-header",
        Kind::Text,
        "",
        "Header with the prefix of links",
    )
    .ignored(NO_PAGES),
    FlagSpec::new("web.disable-cors", Kind::Bool, "false", "Send no CORS headers"),
    FlagSpec::new(
        "bucket-web-label",
        Kind::Text,
        "",
        "Label by which a viewer of /api/v1/blocks groups blocks",
    ),
    FlagSpec::new(
        "disable-admin-operations",
        Kind::Bool,
        "false",
        "Forbid marking blocks",
    )
    .ignored("the store never marks blocks"),
];

/// Flags that Thanos dropped, and that still stand in manifests.
const OLD: &[FlagSpec] = &[
    FlagSpec::new(
        "debug.advertise-compatibility-label",
        Kind::Bool,
        "true",
        "Advertise a label to queriers of old",
    )
    .hidden()
    .ignored("queriers that needed it are older than Thanos 0.8"),
    FlagSpec::new(
        "experimental.enable-index-header",
        Kind::Bool,
        "false",
        "Use index-headers",
    )
    .hidden()
    .ignored("they are always used"),
    FlagSpec::new(
        "experimental.enable-index-cache-postings-compression",
        Kind::Bool,
        "false",
        "Compress cached postings",
    )
    .hidden()
    .ignored("they are always compressed"),
];

/// The command, for the table of the binary.
pub fn command() -> CommandSpec {
    CommandSpec::new("store", "Serve the blocks of a bucket to queriers")
        .group(groups::objstore_required())
        .group(FlagGroup::new("Blocks", BLOCKS))
        .group(FlagGroup::new("Requests", REQUESTS))
        .group(FlagGroup::new("Caches", CACHES))
        .group(FlagGroup::new("Web pages", PAGES))
        .group(FlagGroup::new("Old flags", OLD))
        .group(groups::request_logging())
        .group(groups::http())
        .group(groups::grpc_server())
        .example(
            "Serve a bucket",
            "sabre store --data-dir=/var/sabre/store --objstore.config-file=bucket.yaml",
        )
        .example(
            "Serve only what is older than two weeks",
            "sabre store --objstore.config-file=bucket.yaml --max-time=-2w",
        )
}

fn check_time(text: &str) -> Result<(), String> {
    TimeOrDuration::parse(text)
        .map(|_| ())
        .map_err(|error| error.to_string())
}
