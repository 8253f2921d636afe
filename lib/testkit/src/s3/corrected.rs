//! s3s-fs with its known faults mended.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
    time::SystemTime,
};

use parking_lot::Mutex;
use s3s::{S3, S3Request, S3Response, S3Result, dto::*, s3_error};
use s3s_fs::FileSystem;

#[derive(Debug)]
pub(super) struct Corrected {
    files: FileSystem,
    root: PathBuf,
    uploads: Mutex<BTreeMap<(String, String), Upload>>,
}

#[derive(Debug)]
struct Upload {
    bucket: String,
    begun: Timestamp,
}

impl Corrected {
    pub(super) fn new(files: FileSystem, root: &Path) -> Self {
        Self {
            files,
            root: root.to_owned(),
            uploads: Mutex::default(),
        }
    }

    /// s3s-fs takes the folders in which objects lie for objects.
    fn is_folder(&self, bucket: &str, key: &str) -> bool {
        self.root.join(bucket).join(key).is_dir()
    }

    /// A file on the way to a key makes s3s-fs fail.
    fn is_below_object(&self, bucket: &str, key: &str) -> bool {
        let bucket = self.root.join(bucket);
        let path = bucket.join(key);
        path.ancestors()
            .skip(1)
            .take_while(|above| *above != bucket)
            .any(Path::is_file)
    }

    fn forget(&self, key: &str, id: &str) {
        self.uploads.lock().remove(&(key.to_owned(), id.to_owned()));
    }
}

macro_rules! delegate {
    ($($name:ident($input:ty) -> $output:ty;)*) => {
        $(
            fn $name<'life0, 'async_trait>(
                &'life0 self,
                req: S3Request<$input>,
            ) -> std::pin::Pin<Box<dyn Future<Output = S3Result<S3Response<$output>>> + Send + 'async_trait>>
            where
                'life0: 'async_trait,
                Self: 'async_trait,
            {
                self.files.$name(req)
            }
        )*
    };
}

#[async_trait::async_trait]
impl S3 for Corrected {
    delegate! {
        copy_object(CopyObjectInput) -> CopyObjectOutput;
        create_bucket(CreateBucketInput) -> CreateBucketOutput;
        delete_bucket(DeleteBucketInput) -> DeleteBucketOutput;
        delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput;
        get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput;
        head_bucket(HeadBucketInput) -> HeadBucketOutput;
        list_buckets(ListBucketsInput) -> ListBucketsOutput;
        list_parts(ListPartsInput) -> ListPartsOutput;
        put_object(PutObjectInput) -> PutObjectOutput;
        upload_part(UploadPartInput) -> UploadPartOutput;
        upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput;
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        if self.is_folder(&req.input.bucket, &req.input.key) {
            return Err(s3_error!(NoSuchKey));
        }
        self.files.get_object(req).await
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        if self.is_folder(&req.input.bucket, &req.input.key) {
            return Err(s3_error!(NoSuchKey));
        }
        self.files.head_object(req).await
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let (bucket, key) = (&req.input.bucket, &req.input.key);
        if self.is_folder(bucket, key) || self.is_below_object(bucket, key) {
            return Ok(S3Response::new(DeleteObjectOutput::default()));
        }
        self.files.delete_object(req).await
    }

    async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let mut response = self.files.list_objects(req).await?;
        let output = &mut response.output;
        if output.encoding_type.is_some() {
            encode_keys(output.contents.as_mut(), output.common_prefixes.as_mut());
            encode(output.next_marker.as_mut());
        }
        Ok(response)
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let mut response = self.files.list_objects_v2(req).await?;
        let output = &mut response.output;
        if output.encoding_type.is_some() {
            encode_keys(output.contents.as_mut(), output.common_prefixes.as_mut());
        }
        Ok(response)
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let (bucket, key) = (req.input.bucket.clone(), req.input.key.clone());
        let response = self.files.create_multipart_upload(req).await?;
        let id = response.output.upload_id.clone().unwrap_or_default();
        #[expect(clippy::disallowed_methods, reason = "this is a server, which has a clock")]
        let begun = Timestamp::from(SystemTime::now());
        self.uploads.lock().insert((key, id), Upload { bucket, begun });
        Ok(response)
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let (key, id) = (req.input.key.clone(), req.input.upload_id.clone());
        let response = self.files.complete_multipart_upload(req).await?;
        self.forget(&key, &id);
        Ok(response)
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let (key, id) = (req.input.key.clone(), req.input.upload_id.clone());
        if !self.uploads.lock().contains_key(&(key.clone(), id.clone())) {
            return Err(s3_error!(NoSuchUpload));
        }
        let response = self.files.abort_multipart_upload(req).await?;
        self.forget(&key, &id);
        Ok(response)
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let prefix = req.input.prefix.unwrap_or_default();
        let uploads = self.uploads.lock();
        let found = uploads
            .iter()
            .filter(|((key, _), upload)| upload.bucket == req.input.bucket && key.starts_with(&prefix));
        let found = found.map(|((key, id), upload)| MultipartUpload {
            key: Some(key.clone()),
            upload_id: Some(id.clone()),
            initiated: Some(upload.begun.clone()),
            ..Default::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(found.collect()),
            is_truncated: Some(false),
            ..Default::default()
        }))
    }
}

/// s3s-fs says that it encoded keys, but does not.
fn encode_keys(contents: Option<&mut Vec<Object>>, prefixes: Option<&mut Vec<CommonPrefix>>) {
    for object in contents.into_iter().flatten() {
        encode(object.key.as_mut());
    }
    for prefix in prefixes.into_iter().flatten() {
        encode(prefix.prefix.as_mut());
    }
}

fn encode(key: Option<&mut String>) {
    let Some(key) = key else { return };
    let mut encoded = String::new();
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    *key = encoded;
}
