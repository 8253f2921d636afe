//! Listing: pages of either version, merged into the order of keys.

use std::borrow::Cow;

use aws_sdk_s3::types::{CommonPrefix, EncodingType, Object};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};

use super::{S3Bucket, error::At, read::ms};
use crate::{
    bucket::{ListEntry, ObjectMeta},
    error::{ErrorKind, Operation, Result},
    key,
};

/// One page, as either version of the request gives it.
struct Page {
    contents: Vec<Object>,
    prefixes: Vec<CommonPrefix>,
    is_encoded: bool,
    /// Where the next page begins; `None` at the end.
    next: Option<String>,
}

/// Where a listing stands.
enum Position {
    Start,
    After(String, Rounds),
    End,
}

/// Finds out that the pages of a listing go round in a circle, whatever its length, with one token in memory: that of
/// page 1, 2, 4, 8 and so on. A circle comes back to it before twice as many pages are read.
#[derive(Default)]
struct Rounds {
    kept: Option<String>,
    pages: u64,
}

impl Rounds {
    /// Whether `token` was there before.
    fn comes_back_to(&mut self, token: &str) -> bool {
        if self.kept.as_deref() == Some(token) {
            return true;
        }
        self.pages = self.pages.saturating_add(1);
        if self.pages.is_power_of_two() {
            self.kept = Some(token.to_owned());
        }
        false
    }
}

pub(super) fn entries(bucket: &S3Bucket, dir: String, recursive: bool) -> BoxStream<'_, Result<ListEntry>> {
    let pages = stream::try_unfold((dir, Position::Start), move |(dir, position)| async move {
        let (after, mut rounds) = match position {
            Position::Start => (None, Rounds::default()),
            Position::After(token, rounds) => (Some(token), rounds),
            Position::End => return Ok(None),
        };
        let at = bucket.at(Operation::Iter, &dir);
        let page = match bucket.shared.lists_by_v1 {
            true => v1(bucket, at, after, recursive).await?,
            false => v2(bucket, at, after, recursive).await?,
        };
        let position = match page.next.clone() {
            None => Position::End,
            Some(next) if rounds.comes_back_to(&next) => {
                return Err(at.fail(
                    ErrorKind::Invalid,
                    "the server gives the same page of the listing again",
                ));
            }
            Some(next) => Position::After(next, rounds),
        };
        let entries = page.entries(&dir);
        Ok(Some((stream::iter(entries.into_iter().map(Ok)), (dir, position))))
    });
    pages
        .flat_map(|page| match page {
            Ok(page) => page.boxed(),
            Err(error) => stream::once(futures::future::ready(Err(error))).boxed(),
        })
        .boxed()
}

fn delimiter(recursive: bool) -> Option<String> {
    (!recursive).then(|| "/".to_owned())
}

async fn v2(bucket: &S3Bucket, at: At<'_>, token: Option<String>, recursive: bool) -> Result<Page> {
    let request = bucket
        .client()
        .await
        .list_objects_v2()
        .bucket(at.bucket)
        .prefix(at.key);
    let request = request
        .set_delimiter(delimiter(recursive))
        .set_continuation_token(token);
    let answer = request
        .encoding_type(EncodingType::Url)
        .send()
        .await
        .map_err(|e| at.error(&e))?;
    let next = answer.next_continuation_token.filter(|token| !token.is_empty());
    if answer.is_truncated == Some(true) && next.is_none() {
        return Err(at.fail(
            ErrorKind::Invalid,
            "the server says there is more, but not where: try list_objects_version: v1",
        ));
    }
    Ok(Page {
        contents: answer.contents.unwrap_or_default(),
        prefixes: answer.common_prefixes.unwrap_or_default(),
        is_encoded: answer.encoding_type == Some(EncodingType::Url),
        next: next.filter(|_| answer.is_truncated != Some(false)),
    })
}

async fn v1(bucket: &S3Bucket, at: At<'_>, marker: Option<String>, recursive: bool) -> Result<Page> {
    let request = bucket
        .client()
        .await
        .list_objects()
        .bucket(at.bucket)
        .prefix(at.key);
    let request = request.set_delimiter(delimiter(recursive)).set_marker(marker);
    let answer = request
        .encoding_type(EncodingType::Url)
        .send()
        .await
        .map_err(|e| at.error(&e))?;
    let is_encoded = answer.encoding_type == Some(EncodingType::Url);
    let contents = answer.contents.unwrap_or_default();
    let prefixes = answer.common_prefixes.unwrap_or_default();
    let mut next = None;
    if answer.is_truncated == Some(true) {
        // The marker comes only with a delimiter; else it is the last key.
        let last = contents.iter().filter_map(|object| object.key.as_deref());
        let last = last
            .chain(prefixes.iter().filter_map(|prefix| prefix.prefix.as_deref()))
            .max();
        let marker = answer
            .next_marker
            .as_deref()
            .filter(|marker| !marker.is_empty())
            .or(last);
        next = marker.map(|marker| decode(marker, is_encoded).into_owned());
    }
    Ok(Page {
        contents,
        prefixes,
        is_encoded,
        next,
    })
}

impl Page {
    /// What of a page is an object or a directory below `dir`, in order.
    ///
    /// Left out are the directory's own marker, markers of directories in general, and keys that no bucket of ours
    /// has: whoever could not ask for them need not know of them.
    fn entries(self, dir: &str) -> Vec<ListEntry> {
        let is_encoded = self.is_encoded;
        let mut entries = Vec::with_capacity(self.contents.len() + self.prefixes.len());
        for object in self.contents {
            let key = decode(object.key.as_deref().unwrap_or_default(), is_encoded).into_owned();
            if !key.starts_with(dir) || key::why_invalid(&key).is_some() {
                continue;
            }
            let size_bytes = object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
            let last_modified_ms = ms(object.last_modified.as_ref());
            entries.push(ListEntry::Object(ObjectMeta {
                key,
                size_bytes,
                last_modified_ms,
            }));
        }
        for prefix in self.prefixes {
            let prefix = decode(prefix.prefix.as_deref().unwrap_or_default(), is_encoded).into_owned();
            let is_key = prefix
                .strip_suffix('/')
                .is_some_and(|key| key::why_invalid(key).is_none());
            if is_key && prefix.len() > dir.len() && prefix.starts_with(dir) {
                entries.push(ListEntry::Dir(prefix));
            }
        }
        entries.sort_by(|a, b| a.key().cmp(b.key()));
        entries
    }
}

/// Undoes the encoding of keys that was asked for, in which a space is `+`.
pub(super) fn decode(text: &str, is_encoded: bool) -> Cow<'_, str> {
    if !is_encoded || !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    match percent_encoding::percent_decode_str(&spaced).decode_utf8() {
        Ok(decoded) => Cow::Owned(decoded.into_owned()),
        Err(_) => Cow::Owned(spaced),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str) -> Object {
        Object::builder().key(key).size(3).build()
    }

    fn prefix(prefix: &str) -> CommonPrefix {
        CommonPrefix::builder().prefix(prefix).build()
    }

    fn keys(contents: Vec<Object>, prefixes: Vec<CommonPrefix>, dir: &str) -> Vec<String> {
        let page = Page {
            contents,
            prefixes,
            is_encoded: true,
            next: None,
        };
        page.entries(dir)
            .iter()
            .map(|entry| entry.key().to_owned())
            .collect()
    }

    #[test]
    fn objects_and_directories_are_merged_in_order() {
        let found = keys(
            vec![object("d/a"), object("d/c")],
            vec![prefix("d/b/"), prefix("d/d/")],
            "d/",
        );
        assert_eq!(found, ["d/a", "d/b/", "d/c", "d/d/"]);
    }

    #[test]
    fn markers_of_directories_and_strange_keys_are_left_out() {
        let contents = ["d/", "d/sub/", "d//x", "d/../x", "d/a%0Ab", "e/x", "d/ok"]
            .map(object)
            .to_vec();
        let prefixes = ["d/", "d//", "d/../", "e/", "d/ok/"].map(prefix).to_vec();
        assert_eq!(keys(contents, prefixes, "d/"), ["d/ok", "d/ok/"]);
    }

    #[test]
    fn a_circle_of_pages_is_noticed_wherever_it_begins_and_however_long_it_is() {
        for (lead, circle) in [(0, 1), (0, 2), (1, 2), (5, 3), (7, 100), (1000, 1)] {
            let mut rounds = Rounds::default();
            let tokens = (0..lead).chain((0..circle).cycle().map(|n| lead + n));
            let noticed = tokens
                .take(10_000)
                .position(|token| rounds.comes_back_to(&token.to_string()));
            assert!(
                noticed.is_some_and(|pages| pages <= 4 * (lead + circle)),
                "{lead}, {circle}: {noticed:?}"
            );
        }
        let mut rounds = Rounds::default();
        assert!((0..10_000).all(|token| !rounds.comes_back_to(&token.to_string())));
    }

    #[test]
    fn keys_are_decoded_if_the_server_encoded_them() {
        assert_eq!(decode("a+b%2Bc%C3%BC", true), "a b+cü");
        assert_eq!(decode("a+b%2Bc", false), "a+b%2Bc");
        assert_eq!(decode("100%", true), "100%");
    }
}
