//! Reading objects, and believing no answer that does not fit the question.

use aws_sdk_s3::{
    operation::{get_object::GetObjectOutput, head_object::HeadObjectOutput},
    primitives::{ByteStream, DateTime},
};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};

use super::{S3Bucket, connector::READ_BUFFER_BYTES, error::At};
use crate::{
    bucket::{GetBody, ObjectMeta, RangeBody},
    error::{Error, ErrorKind, Operation, Result},
    memory::range_error,
};

/// What `Content-Range: bytes 0-99/1000` says.
#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    first: u64,
    last: u64,
    total: u64,
}

pub(super) async fn get(bucket: &S3Bucket, at: At<'_>) -> Result<GetBody> {
    let (algorithm, key, md5) = bucket.shared.encryption.customer();
    let request = bucket.client().await.get_object().bucket(at.bucket).key(at.key);
    let request = request
        .set_sse_customer_algorithm(algorithm)
        .set_sse_customer_key(key)
        .set_sse_customer_key_md5(md5);
    let answer = request.send().await.map_err(|e| at.error(&e))?;
    let size_bytes = content_length(at, answer.content_length)?;
    let reading = Reading {
        body: answer.body,
        bucket: at.bucket.to_owned(),
        key: at.key.to_owned(),
        size_bytes,
        arrived: 0,
    };
    let stream = stream::try_unfold(reading, |mut reading| async move {
        Ok(reading.next().await?.map(|bytes| (bytes, reading)))
    });
    Ok(GetBody {
        size_bytes,
        stream: stream.boxed(),
    })
}

/// A body that is being read, with what its errors have to say.
struct Reading {
    body: ByteStream,
    bucket: String,
    key: String,
    size_bytes: u64,
    arrived: u64,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let at = At {
            operation: Operation::Get,
            bucket: &self.bucket,
            key: &self.key,
        };
        let Some(bytes) = self.body.next().await.transpose().map_err(|e| at.body(&e))? else {
            return match self.arrived == self.size_bytes {
                true => Ok(None),
                false => Err(truncated(at, self.arrived, self.size_bytes)),
            };
        };
        self.arrived += bytes.len() as u64;
        if self.arrived > self.size_bytes {
            return Err(truncated(at, self.arrived, self.size_bytes));
        }
        Ok(Some(own(bytes)))
    }
}

/// A piece that holds no more memory than its bytes take: they are part of the buffer of a connection.
fn own(piece: Bytes) -> Bytes {
    match piece.len() < READ_BUFFER_BYTES / 2 {
        true => Bytes::copy_from_slice(&piece),
        false => piece,
    }
}

pub(super) async fn get_range(bucket: &S3Bucket, at: At<'_>, offset: u64, len: u64) -> Result<RangeBody> {
    let last = offset.saturating_add(len.saturating_sub(1));
    if len == 0 || offset == u64::MAX {
        // There is no way to ask for no bytes.
        return nothing_of(bucket, at, offset, None).await;
    }
    let (algorithm, key, md5) = bucket.shared.encryption.customer();
    let request = bucket.client().await.get_object().bucket(at.bucket).key(at.key);
    let request = request
        .set_sse_customer_algorithm(algorithm)
        .set_sse_customer_key(key)
        .set_sse_customer_key_md5(md5);
    let request = match last {
        // Servers may not take a last byte beyond i64.
        last if last >= 1 << 62 => request.range(format!("bytes={offset}-")),
        last => request.range(format!("bytes={offset}-{last}")),
    };
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => {
            let response = error.raw_response();
            if response.is_some_and(|response| response.status().as_u16() == 416) {
                let header = response.and_then(|response| response.headers().get("content-range"));
                return nothing_of(bucket, at, offset, header.and_then(unsatisfied_total)).await;
            }
            return Err(at.error(&error));
        }
    };
    let (expected, object_size_bytes) = expectation(at, &answer, offset, len)?;
    let bytes = collect(at, answer.body, expected).await?;
    Ok(RangeBody {
        bytes,
        object_size_bytes,
    })
}

/// The answer to a range that holds nothing, which is an error if it begins beyond the end.
async fn nothing_of(bucket: &S3Bucket, at: At<'_>, offset: u64, size: Option<u64>) -> Result<RangeBody> {
    let object_size_bytes = match size {
        Some(size) => size,
        None => head(bucket, at).await?.size_bytes,
    };
    match offset > object_size_bytes {
        true => Err(range_error(at.bucket, at.key, offset, object_size_bytes)),
        false => Ok(RangeBody {
            bytes: Bytes::new(),
            object_size_bytes,
        }),
    }
}

/// How many bytes are to come and how many the object has; an answer to another question is refused.
fn expectation(at: At<'_>, answer: &GetObjectOutput, offset: u64, len: u64) -> Result<(u64, u64)> {
    let length = content_length(at, answer.content_length)?;
    let Some(header) = answer.content_range.as_deref() else {
        // A server may answer with the whole object if that is what was asked for.
        if offset == 0 && length <= len {
            return Ok((length, length));
        }
        return Err(at.fail(
            ErrorKind::Invalid,
            "the server ignored the range and sent the whole object",
        ));
    };
    let mismatch = |what: &str| {
        let what =
            format!("{len} bytes at offset {offset} were asked for, but {what}: content-range {header:?}");
        Err(at.fail(ErrorKind::Truncated, what))
    };
    let Some(range) = content_range(header) else {
        return mismatch("the answer does not say what it is");
    };
    let expected = len.min(range.total.saturating_sub(offset));
    if range.first != offset || range.last - range.first + 1 != expected {
        return mismatch("other ones came");
    }
    if length != expected {
        return mismatch(&format!("the body has {length}"));
    }
    Ok((expected, range.total))
}

/// Reads `text` as any header that is read here.
pub(super) fn read_headers(text: &str) {
    let _ = (content_range(text), unsatisfied_total(text));
}

fn content_range(header: &str) -> Option<ContentRange> {
    let (range, total) = header.strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = ContentRange {
        first: number(first)?,
        last: number(last)?,
        total: number(total)?,
    };
    (range.first <= range.last && range.last < range.total).then_some(range)
}

/// `bytes */1000` beside status 416.
fn unsatisfied_total(header: &str) -> Option<u64> {
    header
        .strip_prefix("bytes")?
        .trim_start()
        .strip_prefix("*/")?
        .trim()
        .parse()
        .ok()
}

/// Reads a body that has `expected` bytes, no more than were asked for, into memory of its own: the buffers of the
/// connection are free again at once.
async fn collect(at: At<'_>, mut body: ByteStream, expected: u64) -> Result<Bytes> {
    let expected_len = usize::try_from(expected).map_err(|_| {
        at.fail(
            ErrorKind::TooLarge,
            format!("{expected} bytes do not fit into memory"),
        )
    })?;
    let mut all = BytesMut::new();
    while let Some(bytes) = body.next().await.transpose().map_err(|e| at.body(&e))? {
        if all.is_empty() {
            // Not before the first bytes are here: an answer that only promises much gets no memory.
            all.reserve(expected_len);
        }
        if all.len().saturating_add(bytes.len()) > expected_len {
            return Err(truncated(
                at,
                all.len().saturating_add(bytes.len()) as u64,
                expected,
            ));
        }
        all.extend_from_slice(&bytes);
    }
    match all.len() == expected_len {
        true => Ok(all.freeze()),
        false => Err(truncated(at, all.len() as u64, expected)),
    }
}

pub(super) async fn head(bucket: &S3Bucket, at: At<'_>) -> Result<ObjectMeta> {
    let (algorithm, key, md5) = bucket.shared.encryption.customer();
    let request = bucket.client().await.head_object().bucket(at.bucket).key(at.key);
    let request = request
        .set_sse_customer_algorithm(algorithm)
        .set_sse_customer_key(key)
        .set_sse_customer_key_md5(md5);
    let answer: HeadObjectOutput = match request.send().await {
        Ok(answer) => answer,
        // There is no body to say of what, but it is the only answer for a missing object.
        Err(error)
            if error
                .raw_response()
                .is_some_and(|response| response.status().as_u16() == 404) =>
        {
            return Err(Error::not_found(at.operation, at.bucket, at.key));
        }
        Err(error) => return Err(at.error(&error)),
    };
    Ok(ObjectMeta {
        key: at.key.to_owned(),
        size_bytes: content_length(at, answer.content_length)?,
        last_modified_ms: ms(answer.last_modified.as_ref()),
    })
}

fn content_length(at: At<'_>, length: Option<i64>) -> Result<u64> {
    length
        .and_then(|length| u64::try_from(length).ok())
        .ok_or_else(|| {
            at.fail(
                ErrorKind::Invalid,
                "the server does not say how large the object is",
            )
        })
}

pub(super) fn ms(time: Option<&DateTime>) -> i64 {
    time.and_then(|time| time.to_millis().ok()).unwrap_or(0)
}

fn truncated(at: At<'_>, arrived: u64, expected: u64) -> Error {
    at.fail(
        ErrorKind::Truncated,
        format!("{arrived} bytes arrived, {expected} were promised"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: At<'static> = At {
        operation: Operation::GetRange,
        bucket: "b",
        key: "k",
    };

    #[tokio::test]
    async fn a_collected_range_holds_no_buffer_of_a_connection() {
        let buffer = Bytes::from(vec![7; READ_BUFFER_BYTES]);
        for piece in [buffer.slice(..100), buffer.clone()] {
            let expected = piece.len() as u64;
            let all = collect(AT, ByteStream::from(piece.clone()), expected)
                .await
                .unwrap();
            assert_eq!(all, piece);
            assert!(!buffer.as_ptr_range().contains(&all.as_ptr()));
        }
        let short = collect(AT, ByteStream::from(buffer.slice(..100)), 101)
            .await
            .unwrap_err();
        assert_eq!(short.kind(), ErrorKind::Truncated);
        let long = collect(AT, ByteStream::from(buffer.slice(..100)), 99)
            .await
            .unwrap_err();
        assert_eq!(long.kind(), ErrorKind::Truncated);
    }

    #[test]
    fn a_small_piece_of_a_body_is_copied_out_of_the_buffer_of_its_connection() {
        let buffer = Bytes::from(vec![7; READ_BUFFER_BYTES]);
        let small = own(buffer.slice(..1000));
        assert_eq!(small, buffer.slice(..1000));
        assert!(!buffer.as_ptr_range().contains(&small.as_ptr()));
        assert_eq!(own(buffer.clone()).as_ptr(), buffer.as_ptr());
    }

    #[test]
    fn content_ranges() {
        let range = |first, last, total| Some(ContentRange { first, last, total });
        assert_eq!(content_range("bytes 0-99/1000"), range(0, 99, 1000));
        assert_eq!(content_range("bytes 999-999/1000"), range(999, 999, 1000));
        for nonsense in [
            "",
            "bytes",
            "bytes 0-99/*",
            "bytes 0-99",
            "bytes 99-0/1000",
            "bytes 0-1000/1000",
            "items 0-99/1000",
            "bytes -1-5/10",
            "bytes 0-99999999999999999999/1",
        ] {
            assert_eq!(content_range(nonsense), None, "{nonsense}");
        }
        assert_eq!(unsatisfied_total("bytes */1000"), Some(1000));
        assert_eq!(unsatisfied_total("bytes 0-1/1000"), None);
    }
}
