//! The odd rules of the filters, one by one.

use sabre_model::{Labels, time::TimeOrDuration};
use sabre_tsdb::meta::{Downsample, ThanosMeta, UploadTime};

use super::*;

const MINUTE_MS: i64 = 60_000;

fn id(time_ms: i64, n: u8) -> BlockId {
    BlockId::from_parts(time_ms as u64, [n; 10])
}

fn meta(ulid: BlockId, labels: &[(&str, &str)]) -> BlockMeta {
    let labels = Labels::from_pairs(labels.iter().copied()).unwrap();
    let thanos = ThanosMeta {
        labels: Some(labels),
        source: "sidecar".to_owned(),
        ..ThanosMeta::default()
    };
    let mut meta = BlockMeta {
        ulid,
        thanos: Some(thanos),
        ..BlockMeta::default()
    };
    meta.compaction.sources = vec![ulid];
    meta
}

fn with_sources(ulid: BlockId, sources: &[BlockId]) -> BlockMeta {
    let mut meta = meta(ulid, &[("a", "1")]);
    meta.compaction.sources = sources.to_vec();
    meta
}

fn thanos(meta: &mut BlockMeta) -> &mut ThanosMeta {
    meta.thanos.as_mut().unwrap()
}

fn found_duplicates(metas: Vec<BlockMeta>) -> Vec<BlockId> {
    let metas: Vec<_> = metas.into_iter().map(Arc::new).collect();
    let mut found: Vec<_> = duplicates(&metas).into_iter().collect();
    found.sort();
    found
}

mod time_partition {
    use super::*;

    #[test]
    fn the_end_of_a_block_counts_though_it_is_exclusive_elsewhere() {
        let block = BlockMeta {
            min_time: 100,
            max_time: 200,
            ..BlockMeta::default()
        };
        assert!(time::overlaps(&block, 200, 300), "max_time == min");
        assert!(!time::overlaps(&block, 201, 300));
        assert!(time::overlaps(&block, 0, 100), "min_time == max");
        assert!(!time::overlaps(&block, 0, 99));
        assert!(time::overlaps(&block, i64::MIN, i64::MAX));
    }

    #[test]
    fn durations_count_from_now() {
        let partition = TimePartition {
            min_time: "-2h".parse().unwrap(),
            max_time: "1970-01-01T05:00:00Z".parse::<TimeOrDuration>().unwrap(),
        };
        let now_ms = 4 * 60 * MINUTE_MS;
        assert_eq!(
            partition.resolve(now_ms),
            (2 * 60 * MINUTE_MS, 5 * 60 * MINUTE_MS)
        );
    }
}

mod shard_ {
    use super::*;

    fn configs(yaml: &str) -> Vec<RelabelConfig> {
        sabre_runtime::yaml::from_str_strict("selector.relabel-config", yaml).unwrap()
    }

    #[test]
    fn external_labels_decide() {
        let keep = configs("- {action: keep, source_labels: [cluster], regex: eu.*}");
        assert!(is_of_shard(&meta(id(1, 1), &[("cluster", "eu1")]), &keep));
        assert!(!is_of_shard(&meta(id(1, 1), &[("cluster", "us1")]), &keep));
        assert!(!is_of_shard(&BlockMeta::default(), &keep));
    }

    #[test]
    fn the_block_id_is_a_label() {
        let ulid = id(1, 1);
        let yaml = format!("- {{action: drop, source_labels: [__block_id], regex: {ulid}}}");
        assert!(!is_of_shard(&meta(ulid, &[]), &configs(&yaml)));
        assert!(is_of_shard(&meta(id(1, 2), &[]), &configs(&yaml)));
    }

    #[test]
    fn hashmod_splits_the_blocks() {
        let shard = |n: u32| {
            configs(&format!(
                "- {{action: hashmod, source_labels: [__block_id], target_label: shard, modulus: 2}}\n\
                 - {{action: keep, source_labels: [shard], regex: {n}}}"
            ))
        };
        for n in 0..50 {
            let block = meta(id(1, n), &[]);
            assert!(
                is_of_shard(&block, &shard(0)) != is_of_shard(&block, &shard(1)),
                "{n}"
            );
        }
    }
}

mod consistency_delay {
    use super::*;

    const DELAY_MS: i64 = 30 * MINUTE_MS;

    #[test]
    fn a_block_counts_as_soon_as_it_is_exactly_as_old() {
        let block = meta(id(1_000, 1), &[]);
        assert!(is_too_fresh(&block, DELAY_MS, 1_000 + DELAY_MS - 1));
        assert!(!is_too_fresh(&block, DELAY_MS, 1_000 + DELAY_MS));
    }

    #[test]
    fn the_end_of_the_upload_counts_and_not_the_id() {
        let mut block = meta(id(1_000, 1), &[]);
        thanos(&mut block).upload_time = UploadTime::from_unix_ms(50_000);
        assert!(is_too_fresh(&block, DELAY_MS, 1_000 + DELAY_MS));
        assert!(!is_too_fresh(&block, DELAY_MS, 50_000 + DELAY_MS));
    }

    #[test]
    fn blocks_of_compactor_and_repair_count_at_once_but_not_those_of_rewrite_and_upload() {
        let mut block = meta(id(1_000, 1), &[]);
        for (source, fresh) in [
            ("compactor", false),
            ("compactor.repair", false),
            ("bucket.repair", false),
            ("bucket.rewrite", true),
            ("bucket.upload", true),
            ("receive", true),
            ("", true),
        ] {
            thanos(&mut block).source = source.to_owned();
            assert_eq!(is_too_fresh(&block, DELAY_MS, 1_001), fresh, "{source:?}");
        }
    }

    #[test]
    fn no_delay_means_none_even_with_a_clock_that_is_behind() {
        assert!(!is_too_fresh(&meta(id(1_000, 1), &[]), 0, 0));
    }
}

mod deletion_marks {
    use super::*;

    #[test]
    fn a_block_is_left_out_when_its_mark_is_older_but_not_when_it_is_as_old() {
        let mark = DeletionMark {
            id: id(1, 1),
            details: String::new(),
            deletion_time_s: 100,
        };
        let delay_ms = 24 * 60 * MINUTE_MS;
        assert!(!is_expired(&mark, delay_ms, 100_000 + delay_ms));
        assert!(is_expired(&mark, delay_ms, 100_000 + delay_ms + 1_000));
    }

    #[test]
    fn the_time_of_a_mark_is_in_seconds_and_may_be_anything() {
        let mark = |deletion_time_s| DeletionMark {
            id: id(1, 1),
            details: String::new(),
            deletion_time_s,
        };
        assert!(!is_expired(&mark(i64::MAX), 0, 5));
        assert!(is_expired(&mark(i64::MIN), 0, 5));
        assert!(is_expired(&mark(4), 0, 5_000));
    }
}

mod duplicate_blocks {
    use super::*;

    #[test]
    fn a_block_within_a_larger_one_is_dropped() {
        let sources: Vec<_> = (1..=4).map(|n| id(n, 0)).collect();
        let (all, two, other) = (id(10, 0), id(11, 0), id(12, 0));
        let metas = vec![
            with_sources(two, &sources[..2]),
            with_sources(all, &sources[..3]),
            with_sources(other, &sources[2..]),
            with_sources(sources[0], &sources[..1]),
        ];
        assert_eq!(
            found_duplicates(metas),
            [sources[0], two],
            "half of `other` is nowhere else"
        );
    }

    #[test]
    fn of_two_with_the_same_sources_the_older_id_stays() {
        let sources = [id(1, 0), id(2, 0)];
        let (older, newer) = (id(10, 0), id(11, 0));
        let metas = || vec![with_sources(newer, &sources), with_sources(older, &sources)];
        assert_eq!(found_duplicates(metas()), [newer]);
        let reversed: Vec<_> = sources.iter().rev().copied().collect();
        let metas = vec![with_sources(older, &reversed), with_sources(newer, &sources)];
        assert_eq!(
            found_duplicates(metas),
            [newer],
            "the order of the sources does not matter"
        );
    }

    #[test]
    fn two_halves_do_not_make_a_whole() {
        let sources: Vec<_> = (1..=4).map(|n| id(n, 0)).collect();
        let metas = vec![
            with_sources(id(10, 0), &sources[..3]),
            with_sources(id(11, 0), &sources[1..]),
            with_sources(id(12, 0), &[sources[0], sources[3]]),
        ];
        assert_eq!(found_duplicates(metas), []);
    }

    #[test]
    fn other_labels_and_other_resolutions_are_other_groups() {
        let sources = [id(1, 0)];
        let mut downsampled = with_sources(id(11, 0), &sources);
        thanos(&mut downsampled).downsample = Downsample {
            resolution: 300_000,
            ..Downsample::default()
        };
        let mut relabelled = with_sources(id(12, 0), &sources);
        thanos(&mut relabelled).labels = Some(Labels::from_pairs([("a", "2")]).unwrap());
        let metas = vec![with_sources(id(10, 0), &sources), downsampled, relabelled];
        assert_eq!(found_duplicates(metas), []);
    }

    /// For Thanos it is superfluous wherever there is another one. Its data is nowhere else.
    #[test]
    fn a_block_that_names_no_sources_is_its_own_source() {
        let (empty, other) = (id(1, 0), id(2, 0));
        let nameless = || with_sources(empty, &[]);
        assert_eq!(found_duplicates(vec![nameless()]), []);
        assert_eq!(
            found_duplicates(vec![nameless(), with_sources(other, &[other])]),
            []
        );
        assert_eq!(
            found_duplicates(vec![nameless(), with_sources(other, &[])]),
            [],
            "nor are two of them the same"
        );
        let made_of_it = with_sources(id(3, 0), &[empty, other]);
        assert_eq!(found_duplicates(vec![nameless(), made_of_it]), [empty]);
        let copy = with_sources(id(3, 0), &[empty]);
        assert_eq!(found_duplicates(vec![nameless(), copy]), [id(3, 0)]);
    }

    /// The rule, word by word, in quadratic time.
    fn by_the_letter(metas: &[BlockMeta]) -> Vec<BlockId> {
        let mut metas: Vec<_> = metas.iter().collect();
        metas.sort_by_key(|meta| (usize::MAX - sources_of(meta).len(), meta.ulid));
        let mut kept: Vec<&BlockMeta> = Vec::new();
        let mut dropped = Vec::new();
        for meta in metas {
            let sources = sources_of(meta);
            let covers = |other: &&BlockMeta| sources.iter().all(|s| sources_of(other).contains(s));
            if kept.iter().any(covers) {
                dropped.push(meta.ulid);
            } else {
                kept.push(meta);
            }
        }
        dropped.sort();
        dropped
    }

    proptest::proptest! {
        #[test]
        fn any_sources_are_judged_by_the_letter(
            sources in proptest::collection::vec(proptest::collection::vec(0u8..8, 0..5), 0..12)
        ) {
            let source_ids = |of: &Vec<u8>| of.iter().map(|n| id(1, *n)).collect::<Vec<_>>();
            let metas: Vec<_> = sources
                .iter()
                .enumerate()
                .map(|(n, of)| with_sources(id(100 + n as i64, 0), &source_ids(of)))
                .collect();
            proptest::prop_assert_eq!(by_the_letter(&metas), found_duplicates(metas));
        }
    }
}

mod chain {
    use super::*;

    #[test]
    fn the_filters_come_in_order_and_each_names_its_state() {
        let now_ms = 100 * MINUTE_MS;
        let block = |time_ms: i64, n: u8| {
            let mut meta = meta(id(time_ms, n), &[("cluster", "eu1")]);
            (meta.min_time, meta.max_time) = (50 * MINUTE_MS, 60 * MINUTE_MS);
            meta.compaction.sources = vec![id(1, 200), id(1, n)];
            meta
        };
        let (mut outside, mut foreign) = (block(1, 1), block(1, 2));
        outside.max_time = 10 * MINUTE_MS;
        outside.min_time = 0;
        thanos(&mut foreign).labels = Some(Labels::from_pairs([("cluster", "us1")]).unwrap());
        let (fresh, marked, kept) = (block(now_ms, 3), block(1, 4), block(1, 5));
        let mut duplicate = block(2, 6);
        duplicate.compaction.sources = vec![id(1, 5)];
        let mut freshly_marked = block(1, 7);
        freshly_marked.compaction.sources = vec![id(1, 7)];
        let mark = |block: &BlockMeta, deletion_time_s| DeletionMark {
            id: block.ulid,
            details: String::new(),
            deletion_time_s,
        };
        let marks = BTreeMap::from([
            (marked.ulid, mark(&marked, 0)),
            (outside.ulid, mark(&outside, 0)),
            (freshly_marked.ulid, mark(&freshly_marked, now_ms / 1000)),
        ]);
        let yaml = "- {action: keep, source_labels: [cluster], regex: eu1}";
        let chain = FilterChain {
            time_partition: Some(TimePartition {
                min_time: "-80m".parse().unwrap(),
                max_time: "0s".parse().unwrap(),
            }),
            shard: sabre_runtime::yaml::from_str_strict("relabel", yaml).unwrap(),
            consistency_delay_ms: 30 * MINUTE_MS,
            ignore_deletion_marks_delay_ms: Some(20 * MINUTE_MS),
            drop_duplicates: true,
            ..FilterChain::default()
        };
        let all = [
            &outside,
            &foreign,
            &fresh,
            &marked,
            &kept,
            &duplicate,
            &freshly_marked,
        ];
        let metas = all.into_iter().cloned().map(Arc::new).collect();
        let Filtered {
            kept: left,
            dropped,
            duplicates,
        } = chain.apply(metas, &marks, now_ms);
        let left: Vec<_> = left.iter().map(|meta| meta.ulid).collect();
        assert_eq!(left, [kept.ulid, freshly_marked.ulid]);
        let expected = BTreeMap::from([
            (outside.ulid, State::TimeExcluded),
            (foreign.ulid, State::LabelExcluded),
            (fresh.ulid, State::TooFresh),
            (marked.ulid, State::MarkedForDeletion),
            (duplicate.ulid, State::Duplicate),
        ]);
        assert_eq!(dropped, expected);
        let duplicates: Vec<_> = duplicates.iter().map(|meta| meta.ulid).collect();
        assert_eq!(duplicates, [duplicate.ulid]);
    }

    #[test]
    fn a_block_that_is_left_out_covers_no_other() {
        let sources = [id(1, 0), id(2, 0)];
        let (large, small) = (
            with_sources(id(10, 0), &sources),
            with_sources(sources[0], &sources[..1]),
        );
        let mark = DeletionMark {
            id: large.ulid,
            details: String::new(),
            deletion_time_s: 0,
        };
        let chain = FilterChain {
            ignore_deletion_marks_delay_ms: Some(0),
            drop_duplicates: true,
            ..FilterChain::default()
        };
        let metas = vec![Arc::new(small), Arc::new(large)];
        let filtered = chain.apply(metas, &BTreeMap::from([(mark.id, mark)]), MINUTE_MS);
        assert_eq!(filtered.kept.len(), 1);
        assert_eq!(filtered.kept[0].ulid, sources[0]);
    }

    #[test]
    fn without_filters_all_is_kept() {
        let metas = vec![Arc::new(BlockMeta::default()), Arc::new(BlockMeta::default())];
        let filtered = FilterChain::default().apply(metas, &BTreeMap::new(), i64::MIN);
        assert_eq!((filtered.kept.len(), filtered.dropped.len()), (2, 0));
    }
}
