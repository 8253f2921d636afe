use super::*;
use sabre_objstore::{BucketExt, MemoryBucket};
use sabre_tsdb::chunk::decode_samples;
use sabre_tsdb::index::{IndexReader, SeriesEntry};
use sabre_tsdb::segment::{ChunkRef, read_record};

/// Reads all series of a block with their floats.
fn read(block: &Block) -> BTreeMap<Labels, Vec<(i64, f64)>> {
    let index = IndexReader::open(block.file("index").expect("index").clone()).expect("open");
    let mut entry = SeriesEntry::default();
    let mut all = BTreeMap::new();
    for series_ref in index.all_postings().expect("postings") {
        index.series(series_ref, &mut entry).expect("series");
        let mut samples = Vec::new();
        for chunk in &entry.chunks {
            let place = ChunkRef(chunk.chunk_ref);
            let segment = block
                .file(&format!("chunks/{}", segment_name(place.segment())))
                .expect("segment");
            let offset = place.offset() as usize;
            let record = read_record(&segment[offset..], offset as u64).expect("record");
            let encoding = record.encoding.try_into().expect("known");
            let decoded = decode_samples(encoding, record.data).expect("samples");
            assert_eq!(
                (decoded[0].t, decoded[decoded.len() - 1].t),
                (chunk.mint, chunk.maxt)
            );
            samples.extend(decoded.into_iter().map(|sample| match sample.value {
                Value::Float(value) => (sample.t, value),
                other => panic!("{other:?}"),
            }));
        }
        all.insert(index.labels(series_ref, &entry).expect("labels"), samples);
    }
    all
}

#[test]
fn what_went_in_is_read_again() {
    let samples: Vec<_> = (0..300)
        .map(|index| (1000 + index * 15_000, (index * index) as f64))
        .collect();
    let block = BlockBuilder::new(7)
        .floats(&[("job", "b"), ("__name__", "up")], [(5, 1.0)])
        .floats(&[("__name__", "x")], samples.clone())
        .segment_bytes(300)
        .build()
        .expect("build");
    let all = read(&block);
    assert_eq!(all.len(), 2);
    assert_eq!(all[&label_set(&[("__name__", "x")])], samples);
    assert_eq!(all[&label_set(&[("__name__", "up"), ("job", "b")])], [(5, 1.0)]);
    assert!(block.file("chunks/000002").is_some(), "segments are cut");
    let stats = &block.meta.stats;
    assert_eq!(
        (stats.num_series, stats.num_samples, stats.num_chunks),
        (2, 301, 4)
    );
    assert_eq!(
        (block.meta.min_time, block.meta.max_time),
        (5, 1000 + 299 * 15_000 + 1)
    );
    assert!(block.meta.thanos.is_none());
    assert!(block.file("tombstones").is_some());
}

#[tokio::test]
async fn a_block_of_a_bucket_lists_its_files() {
    let block = BlockBuilder::new(8)
        .ext_labels(&[("cluster", "eu1")])
        .time_range(0..7_200_000)
        .counters(3, 0..7_200_000, 60_000)
        .build()
        .expect("build");
    let thanos = block.meta.thanos.as_ref().expect("thanos");
    let paths: Vec<_> = thanos.files.iter().map(|file| file.rel_path.as_str()).collect();
    assert_eq!(paths, ["chunks/000001", "index", "meta.json"]);
    assert_eq!(thanos.segment_files, ["000001"]);
    assert_eq!(block.meta.stats.num_samples, 360);
    assert_eq!(read(&block).len(), 3);

    let bucket = MemoryBucket::new("test");
    block.put_into(&bucket).await.expect("put");
    let key = format!("{}/meta.json", block.meta.ulid);
    let text = bucket.get_all(&key, 1 << 20).await.expect("get");
    assert_eq!(BlockMeta::parse(&text).expect("parse"), block.meta);

    let dir = tempfile::tempdir().expect("temp dir");
    let written = block.write_to(dir.path()).expect("write");
    assert_eq!(fs::read(written.join("meta.json")).expect("read"), text);
    assert!(!written.join("tombstones").exists());
}

#[test]
fn equal_input_makes_equal_blocks() {
    let build = || {
        BlockBuilder::new(1)
            .counters(2, 0..100_000, 1000)
            .build()
            .expect("build")
    };
    assert_eq!(build().files, build().files);
    assert!(BlockBuilder::new(2).build().expect("empty").meta.ulid > build().meta.ulid);
}
