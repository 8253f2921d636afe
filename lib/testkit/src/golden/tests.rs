use super::*;

#[test]
fn an_archive_is_unpacked_once_and_copied_into_a_bucket() {
    let Some(golden) = golden() else { return };
    let blocks = golden.block_dirs("raw/raw2h-a").expect("unpack");
    assert_eq!(blocks.len(), 13);
    let again = golden.block_dirs("raw/raw2h-a").expect("cached");
    assert_eq!(again, blocks);
    let bucket = golden.copy(&["thanos/plain", "thanos/long"]).expect("copy");
    let count = fs::read_dir(bucket.path()).expect("list").count();
    let expected = golden.block_dirs("thanos/plain").expect("unpack").len()
        + golden.block_dirs("thanos/long").expect("unpack").len();
    assert_eq!(count, expected);
}

#[test]
fn lines_are_read_and_what_is_missing_is_named() {
    let Some(golden) = golden() else { return };
    assert_eq!(golden.lines("storeapi.jsonl.zst").expect("read").len(), 32);
    let error = format!("{:#}", golden.lines("nothing.zst").expect_err("missing"));
    assert!(error.contains("nothing.zst"), "{error}");
    let error = format!("{:#}", golden.blocks("raw/nothing").expect_err("missing"));
    assert!(error.contains("raw.tar.zst has no folder raw/nothing"), "{error}");
}

#[test]
fn two_processes_may_unpack_at_once() {
    let cache = tempfile::tempdir().expect("temp dir");
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    builder
        .append_data(&mut header, "raw/file", &b"abc"[..])
        .expect("append");
    let packed = zstd::encode_all(&*builder.into_inner().expect("tar"), 1).expect("compress");
    let target = cache.path().join("raw-1");
    unpack(&packed, cache.path(), &target).expect("first");
    unpack(&packed, cache.path(), &target).expect("second finds it done");
    assert_eq!(fs::read(target.join("raw/file")).expect("read"), b"abc");
    assert_eq!(fs::read_dir(cache.path()).expect("list").count(), 1);
}
