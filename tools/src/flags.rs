//! The flags of `sabre tools`.

use sabre_runtime::flags::{CommandSpec, FlagGroup, FlagSpec, Kind, groups};

const TIMES: &[FlagSpec] = &[
    FlagSpec::new(
        "min-time",
        Kind::Time,
        "0000-01-01T00:00:00Z",
        "No older blocks: RFC 3339, or a duration before now such as -2d",
    ),
    FlagSpec::new(
        "max-time",
        Kind::Time,
        "9999-12-31T23:59:59Z",
        "No newer blocks: RFC 3339, or a duration before now such as -2d",
    ),
];

const SELECTOR: &[FlagSpec] = &[FlagSpec::new(
    "selector.relabel-config",
    Kind::Content,
    "",
    "Relabel rules as YAML; blocks whose external labels they drop are left out",
)];

const TIMEOUT: &[FlagSpec] = &[FlagSpec::new(
    "timeout",
    Kind::DURATION,
    "5m",
    "How long it may take",
)];

const LS: &[FlagSpec] = &[
    FlagSpec::new(
        "output",
        Kind::Text,
        "",
        "Nothing for names only, wide, json, or a template such as '{{.ULID}} {{.MinTime}}'",
    )
    .short('o'),
    FlagSpec::new(
        "exclude-delete",
        Kind::Bool,
        "false",
        "Leave out blocks that are marked for deletion",
    ),
];

const INSPECT: &[FlagSpec] = &[
    FlagSpec::new(
        "selector",
        Kind::Text,
        "",
        "Only blocks with this external label, such as name=\"value\"",
    )
    .short('l')
    .repeated(),
    FlagSpec::new("sort-by", Kind::Text, "FROM,UNTIL", "Columns to sort by").comma_lists(),
    FlagSpec::new(
        "output",
        Kind::Choice(&["table", "csv", "tsv"]),
        "table",
        "Form of the answer",
    ),
];

const IDS: &[FlagSpec] = &[FlagSpec::new("id", Kind::Text, "", "Only this block").repeated()];

const VERIFY: &[FlagSpec] = &[
    FlagSpec::new(
        "issues",
        Kind::Text,
        "index_known_issues,overlapped_blocks",
        "What is looked for: index_known_issues, overlapped_blocks, duplicated_compaction",
    )
    .short('i')
    .comma_lists(),
    FlagSpec::new("repair", Kind::Bool, "false", "Mend what can be")
        .short('r')
        .refused(
            "chunks that begin at the end of a block are left out by compaction; mark what else is broken by \
             'sabre tools bucket mark', and restore it from a backup",
        ),
    FlagSpec::new(
        "objstore-backup.config",
        Kind::Content,
        "",
        "Bucket for blocks that are mended",
    )
    .ignored("nothing is mended"),
    FlagSpec::new(
        "delete-delay",
        Kind::DURATION,
        "0s",
        "Delay of deletions after mending",
    )
    .ignored("nothing is mended"),
];

const MARK: &[FlagSpec] = &[
    FlagSpec::new("id", Kind::Text, "", "The block")
        .repeated()
        .required(),
    FlagSpec::new(
        "marker",
        Kind::Choice(&[
            "deletion-mark.json",
            "no-compact-mark.json",
            "no-downsample-mark.json",
        ]),
        "",
        "The mark",
    )
    .required(),
    FlagSpec::new(
        "details",
        Kind::Text,
        "",
        "Why, for people; needed unless a mark is removed",
    ),
    FlagSpec::new("remove", Kind::Bool, "false", "Remove the mark"),
];

const CLEANUP: &[FlagSpec] = &[
    FlagSpec::new(
        "delete-delay",
        Kind::DURATION,
        "48h",
        "Age of the deletion mark at which a block is deleted",
    ),
    FlagSpec::new(
        "consistency-delay",
        Kind::DURATION,
        "30m",
        "Blocks of sidecars that were uploaded within this time are not looked at",
    ),
    FlagSpec::new(
        "block-sync-concurrency",
        Kind::Int,
        "20",
        "Metas that are read at once",
    )
    .at_least(1),
    FlagSpec::new(
        "dry-run",
        Kind::Bool,
        "false",
        "Print what would be deleted, and delete nothing",
    ),
];

/// The command, for the table of the binary.
pub fn command() -> CommandSpec {
    let ls = CommandSpec::new("ls", "List the blocks of a bucket")
        .group(FlagGroup::new("List", LS))
        .group(FlagGroup::new("Blocks", TIMES))
        .group(FlagGroup::new("Selection", SELECTOR))
        .group(FlagGroup::new("Time", TIMEOUT))
        .example(
            "The blocks with their ranges",
            "sabre tools bucket ls -o wide --objstore.config-file=bucket.yaml",
        );
    let inspect = CommandSpec::new("inspect", "Show the blocks of a bucket as a table")
        .group(FlagGroup::new("Table", INSPECT))
        .group(FlagGroup::new("Time", TIMEOUT));
    let verify = CommandSpec::new(
        "verify",
        "Read blocks to the last sample and look for blocks that overlap",
    )
    .group(FlagGroup::new("Verify", VERIFY))
    .group(FlagGroup::new("Blocks", IDS));
    let mark = CommandSpec::new("mark", "Mark blocks, or remove their marks")
        .group(FlagGroup::new("Mark", MARK))
        .example(
            "Keep a block out of compaction",
            "sabre tools bucket mark --id=01J... --marker=no-compact-mark.json --details='too large' \
             --objstore.config-file=bucket.yaml",
        );
    let cleanup = CommandSpec::new("cleanup", "Delete marked blocks and uploads that were given up")
        .group(FlagGroup::new("Clean", CLEANUP))
        .group(FlagGroup::new("Selection", SELECTOR));
    let bucket = CommandSpec::new("bucket", "Look at the blocks of a bucket, and mend them")
        .group(groups::objstore_required())
        .command(ls)
        .command(inspect)
        .command(verify)
        .command(mark)
        .command(cleanup);
    CommandSpec::new("tools", "Tools for operators").command(bucket)
}
