//! A bucket in which chosen requests go wrong.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    future::{self, Either},
    stream::{self, BoxStream},
};
use parking_lot::Mutex;
use sabre_objstore::{
    Bucket, Error, ErrorKind, GetBody, ListEntry, ObjectMeta, Operation, PendingUpload, RangeBody, Result,
    SharedBucket, UploadSource,
};
use tokio::sync::watch;

/// How a request goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails and has no effect.
    Error(ErrorKind),
    /// It takes effect, but its answer is lost and it fails.
    LostAnswer(ErrorKind),
    /// It has no effect and never ends.
    Hang,
    /// Half of a body or of a listing comes, and then [`ErrorKind::Truncated`]; other requests fail with that.
    Truncate,
    /// One bit of the body is wrong: the one of this number, counted from the body's start and round its end.
    BitFlip(u64),
    /// The process dies before the request: it never ends, and every later one fails.
    Crash,
    /// The process dies after the request took effect.
    CrashAfter,
    /// The process dies in the middle of an upload in parts, which stays behind, begun and not finished; anywhere else
    /// it dies before the request.
    CrashMidway,
}

/// Wraps a bucket, writes down its requests, and lets chosen ones go wrong. Clones share everything.
#[derive(Clone, Debug)]
pub struct FaultBucket {
    inner: SharedBucket,
    state: Arc<Mutex<State>>,
    crashed: watch::Sender<bool>,
    /// Uploads that [`Fault::CrashMidway`] left behind; a bucket keeps them whatever becomes of the process.
    left: Arc<Mutex<Vec<PendingUpload>>>,
}

#[derive(Debug, Default)]
struct State {
    requests: Vec<Request>,
    rules: Vec<Rule>,
    latency: Duration,
    triggered: usize,
    now_ms: i64,
}

/// One request that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it was.
    pub operation: Operation,
    /// The key or the listed prefix.
    pub key: String,
}

/// Which requests go wrong: of those that match, `skip` do not and the next `times` do.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Only this operation.
    pub operation: Option<Operation>,
    /// Only keys that contain this.
    pub key_part: String,
    /// How many matching requests go well first.
    pub skip: usize,
    /// How many then go wrong.
    pub times: usize,
    /// How they do.
    pub fault: Fault,
}

impl Rule {
    /// The request number `n` of all, from 0.
    pub fn nth(n: usize, fault: Fault) -> Self {
        Self {
            operation: None,
            key_part: String::new(),
            skip: n,
            times: 1,
            fault,
        }
    }

    /// The next request of `operation`.
    pub fn next(operation: Operation, fault: Fault) -> Self {
        Self {
            operation: Some(operation),
            ..Self::nth(0, fault)
        }
    }

    /// Only for keys that contain `key_part`.
    #[must_use]
    pub fn on(self, key_part: &str) -> Self {
        Self {
            key_part: key_part.to_owned(),
            ..self
        }
    }

    /// For this many requests in a row.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    fn applies(&mut self, request: &Request) -> bool {
        let is_other = self
            .operation
            .is_some_and(|operation| operation != request.operation);
        if is_other || !request.key.contains(&self.key_part) || self.times == 0 {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

impl FaultBucket {
    /// A bucket in which nothing goes wrong yet.
    pub fn new(inner: SharedBucket) -> Self {
        Self {
            inner,
            state: Arc::default(),
            crashed: watch::Sender::new(false),
            left: Arc::default(),
        }
    }

    /// Adds a rule; the first that applies to a request decides.
    pub fn add(&self, rule: Rule) {
        self.state.lock().rules.push(rule);
    }

    /// Lets every request take this long, in the time of tokio, which a test may pause.
    pub fn set_latency(&self, latency: Duration) {
        self.state.lock().latency = latency;
    }

    /// The time at which uploads that are left behind were begun, in milliseconds since the epoch.
    pub fn set_now_ms(&self, now_ms: i64) {
        self.state.lock().now_ms = now_ms;
    }

    /// Ends all faults and forgets the requests, as if the process had been started anew.
    pub fn heal(&self) {
        *self.state.lock() = State::default();
        self.crashed.send_replace(false);
    }

    /// The requests made so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().requests.clone()
    }

    /// How many requests of `operation` were made so far.
    pub fn count(&self, operation: Operation) -> usize {
        self.state
            .lock()
            .requests
            .iter()
            .filter(|request| request.operation == operation)
            .count()
    }

    /// How many uploads [`Fault::CrashMidway`] left behind that nobody aborted yet.
    pub fn left_behind(&self) -> usize {
        self.left.lock().len()
    }

    /// How many requests went wrong so far: a test of "every request" ends when there is none.
    pub fn triggered(&self) -> usize {
        self.state.lock().triggered
    }

    /// Runs `work` until it ends or the process "dies", in which case it is dropped where it stands.
    pub async fn until_crash<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut crashed = self.crashed.subscribe();
        let death = crashed.wait_for(|crashed| *crashed);
        match future::select(Box::pin(work), Box::pin(death)).await {
            Either::Left((result, _)) => Some(result),
            Either::Right(_) => None,
        }
    }

    /// Lets the process "die" right now, for a reason that is none of the bucket's.
    pub fn kill(&self) {
        self.crashed.send_replace(true);
    }

    /// Whether the process is "dead".
    pub fn is_dead(&self) -> bool {
        *self.crashed.borrow()
    }

    fn error(&self, kind: ErrorKind, operation: Operation, key: &str) -> Error {
        Error::new(kind, operation, self.inner.name(), key, "injected fault")
    }

    /// Writes the request down and says what is to go wrong.
    fn choose(&self, operation: Operation, key: &str) -> (Option<Fault>, Duration) {
        let mut state = self.state.lock();
        let request = Request {
            operation,
            key: key.to_owned(),
        };
        let fault = state
            .rules
            .iter_mut()
            .find_map(|rule| rule.applies(&request).then_some(rule.fault));
        state.requests.push(request);
        state.triggered += usize::from(fault.is_some());
        (fault, state.latency)
    }

    fn leave_behind(&self, key: &str) {
        let mut left = self.left.lock();
        let id = format!("left-{}", left.len());
        left.push(PendingUpload {
            key: key.to_owned(),
            id,
            started_ms: self.state.lock().now_ms,
        });
    }

    async fn crash<T>(&self) -> T {
        self.crashed.send_replace(true);
        future::pending().await
    }

    /// Begins a request: what goes wrong before it takes effect, does so here.
    async fn begin(&self, operation: Operation, key: &str) -> Result<Option<Fault>> {
        if *self.crashed.borrow() {
            return Err(self
                .error(ErrorKind::Other, operation, key)
                .with_note("the process is dead"));
        }
        let (fault, latency) = self.choose(operation, key);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        match fault {
            Some(Fault::Error(kind)) => Err(self.error(kind, operation, key)),
            Some(Fault::Hang) => future::pending().await,
            Some(Fault::Crash) => self.crash().await,
            Some(Fault::CrashMidway) if operation != Operation::Upload => self.crash().await,
            fault => Ok(fault),
        }
    }

    /// Runs a request that has no body to be damaged.
    async fn run<T>(
        &self,
        operation: Operation,
        key: &str,
        request: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let fault = self.begin(operation, key).await?;
        match fault {
            Some(Fault::Truncate) => return Err(self.error(ErrorKind::Truncated, operation, key)),
            Some(Fault::CrashMidway) => return self.crash().await,
            _ => {}
        }
        let answer = request.await?;
        self.end(fault, operation, key).await?;
        Ok(answer)
    }

    /// What goes wrong after a request took effect.
    async fn end(&self, fault: Option<Fault>, operation: Operation, key: &str) -> Result<()> {
        match fault {
            Some(Fault::LostAnswer(kind)) => Err(self.error(kind, operation, key)),
            Some(Fault::CrashAfter) => self.crash().await,
            _ => Ok(()),
        }
    }

    fn damage_body(&self, fault: Option<Fault>, key: &str, body: GetBody) -> GetBody {
        let GetBody { size_bytes, stream } = body;
        let stream = match fault {
            Some(Fault::Truncate) => {
                let error = self.error(ErrorKind::Truncated, Operation::Get, key);
                cut(stream, size_bytes / 2)
                    .chain(stream::once(future::ready(Err(error))))
                    .boxed()
            }
            Some(Fault::BitFlip(bit)) if size_bytes > 0 => flip_in(stream, bit % (size_bytes * 8)),
            _ => stream,
        };
        GetBody { size_bytes, stream }
    }
}

/// The first `len` bytes of a stream.
fn cut(stream: BoxStream<'static, Result<Bytes>>, len: u64) -> BoxStream<'static, Result<Bytes>> {
    let pieces = stream.scan(len, |left, item| {
        if *left == 0 {
            return future::ready(None);
        }
        let item = item.map(|mut bytes| {
            let keep = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            *left -= keep as u64;
            bytes.split_to(keep)
        });
        future::ready(Some(item))
    });
    pieces.boxed()
}

fn flip_in(stream: BoxStream<'static, Result<Bytes>>, bit: u64) -> BoxStream<'static, Result<Bytes>> {
    let mut begun = 0;
    let pieces = stream.map_ok(move |bytes| {
        let end = begun + bytes.len() as u64 * 8;
        let bytes = if (begun..end).contains(&bit) {
            flip(&bytes, bit - begun)
        } else {
            bytes
        };
        begun = end;
        bytes
    });
    pieces.boxed()
}

fn flip(bytes: &Bytes, bit: u64) -> Bytes {
    let mut bytes = bytes.to_vec();
    let at = usize::try_from(bit / 8).unwrap_or(usize::MAX);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << (bit % 8);
    }
    Bytes::from(bytes)
}

#[async_trait]
impl Bucket for FaultBucket {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn list(&self, prefix: &str, recursive: bool) -> Result<BoxStream<'_, Result<ListEntry>>> {
        let fault = self.begin(Operation::Iter, prefix).await?;
        let listing = self.inner.list(prefix, recursive).await?;
        self.end(fault, Operation::Iter, prefix).await?;
        if fault != Some(Fault::Truncate) {
            return Ok(listing);
        }
        let entries: Vec<ListEntry> = listing.try_collect().await?;
        let half = entries.len() / 2;
        let error = self.error(ErrorKind::Truncated, Operation::Iter, prefix);
        Ok(stream::iter(entries.into_iter().take(half).map(Ok).chain([Err(error)])).boxed())
    }

    async fn get(&self, key: &str) -> Result<GetBody> {
        let fault = self.begin(Operation::Get, key).await?;
        let body = self.inner.get(key).await?;
        self.end(fault, Operation::Get, key).await?;
        Ok(self.damage_body(fault, key, body))
    }

    async fn get_range(&self, key: &str, offset: u64, len: u64) -> Result<RangeBody> {
        let fault = self.begin(Operation::GetRange, key).await?;
        let mut body = self.inner.get_range(key, offset, len).await?;
        self.end(fault, Operation::GetRange, key).await?;
        match fault {
            Some(Fault::Truncate) => return Err(self.error(ErrorKind::Truncated, Operation::GetRange, key)),
            Some(Fault::BitFlip(bit)) if !body.bytes.is_empty() => {
                body.bytes = flip(&body.bytes, bit % (body.bytes.len() as u64 * 8));
            }
            _ => {}
        }
        Ok(body)
    }

    async fn attributes(&self, key: &str) -> Result<ObjectMeta> {
        self.run(Operation::Attributes, key, self.inner.attributes(key))
            .await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.run(Operation::Upload, key, self.inner.put(key, bytes)).await
    }

    async fn upload(&self, key: &str, source: UploadSource) -> Result<()> {
        let fault = self.begin(Operation::Upload, key).await?;
        match fault {
            Some(Fault::Truncate) => return Err(self.error(ErrorKind::Truncated, Operation::Upload, key)),
            Some(Fault::CrashMidway) => {
                self.leave_behind(key);
                return self.crash().await;
            }
            _ => {}
        }
        self.inner.upload(key, source).await?;
        self.end(fault, Operation::Upload, key).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.run(Operation::Delete, key, self.inner.delete(key)).await
    }

    async fn exists(&self, key: &str) -> Result<bool> {
        self.run(Operation::Exists, key, self.inner.exists(key)).await
    }

    async fn get_if_present(&self, key: &str) -> Result<Option<GetBody>> {
        let fault = self.begin(Operation::Get, key).await?;
        let body = self.inner.get_if_present(key).await?;
        self.end(fault, Operation::Get, key).await?;
        Ok(body.map(|body| self.damage_body(fault, key, body)))
    }

    async fn pending_uploads(&self, prefix: &str) -> Result<Vec<PendingUpload>> {
        let listing = self.inner.pending_uploads(prefix);
        let mut pending = self.run(Operation::Iter, prefix, listing).await?;
        let left = self.left.lock();
        pending.extend(
            left.iter()
                .filter(|upload| upload.key.starts_with(prefix))
                .cloned(),
        );
        Ok(pending)
    }

    async fn abort_upload(&self, upload: &PendingUpload) -> Result<()> {
        let abort = async {
            let known = {
                let mut left = self.left.lock();
                let before = left.len();
                left.retain(|other| other.id != upload.id);
                left.len() < before
            };
            match known {
                true => Ok(()),
                false => self.inner.abort_upload(upload).await,
            }
        };
        self.run(Operation::Delete, &upload.key, abort).await
    }
}

#[cfg(test)]
mod tests {
    use sabre_objstore::{BucketExt, MemoryBucket, RetryPolicy, Retrying};

    use super::*;

    async fn bucket() -> FaultBucket {
        let memory = MemoryBucket::new("b");
        memory.put("a", Bytes::from(vec![0; 100_000])).await.unwrap();
        memory.put("b", Bytes::from_static(b"bb")).await.unwrap();
        FaultBucket::new(Arc::new(memory))
    }

    #[tokio::test]
    async fn requests_are_counted_and_the_chosen_one_fails() {
        let bucket = bucket().await;
        bucket.add(Rule::nth(1, Fault::Error(ErrorKind::Throttled)));
        bucket.add(Rule::next(Operation::GetRange, Fault::Truncate).on("b").times(2));
        assert!(bucket.exists("a").await.unwrap());
        assert_eq!(bucket.get("a").await.unwrap_err().kind(), ErrorKind::Throttled);
        bucket.get_range("a", 0, 1).await.unwrap();
        assert_eq!(
            bucket.get_range("b", 0, 1).await.unwrap_err().kind(),
            ErrorKind::Truncated
        );
        assert_eq!(
            bucket.get_range("b", 0, 1).await.unwrap_err().kind(),
            ErrorKind::Truncated
        );
        bucket.get_range("b", 0, 1).await.unwrap();
        assert_eq!(bucket.count(Operation::GetRange), 4);
        assert_eq!(bucket.triggered(), 3);
        assert_eq!(
            bucket.requests()[1],
            Request {
                operation: Operation::Get,
                key: "a".to_owned()
            }
        );
    }

    #[tokio::test]
    async fn bodies_are_cut_and_flipped() {
        let bucket = bucket().await;
        bucket.add(Rule::nth(0, Fault::Truncate));
        bucket.add(Rule::nth(0, Fault::BitFlip(8 * 70_000 + 1)));
        bucket.add(Rule::nth(0, Fault::BitFlip(17)));
        assert_eq!(
            bucket.get_all("a", 1 << 20).await.unwrap_err().kind(),
            ErrorKind::Truncated
        );
        let all = bucket.get_all("a", 1 << 20).await.unwrap();
        assert_eq!(all[70_000], 2);
        assert_eq!(all.iter().filter(|byte| **byte != 0).count(), 1);
        assert_eq!(bucket.get_range_exact("b", 0, 2).await.unwrap(), "`b");
        assert_eq!(bucket.get_range_exact("b", 0, 2).await.unwrap(), "bb");
    }

    #[tokio::test]
    async fn after_a_crash_nothing_works_until_the_process_is_started_again() {
        let bucket = bucket().await;
        bucket.add(Rule::next(Operation::Upload, Fault::CrashAfter));
        assert!(bucket.until_crash(bucket.put("c", Bytes::new())).await.is_none());
        assert!(bucket.get("a").await.unwrap_err().to_string().contains("dead"));
        bucket.heal();
        assert!(bucket.exists("c").await.unwrap());
        bucket.add(Rule::next(Operation::Delete, Fault::Crash));
        assert!(bucket.until_crash(bucket.delete("c")).await.is_none());
        bucket.heal();
        assert!(bucket.exists("c").await.unwrap());
        assert_eq!(bucket.until_crash(async { 7 }).await, Some(7));
    }

    #[tokio::test]
    async fn a_crash_midway_leaves_an_upload_behind() {
        let bucket = bucket().await;
        bucket.set_now_ms(7);
        bucket.add(Rule::next(Operation::Upload, Fault::CrashMidway));
        let upload = bucket.upload("dir/c", UploadSource::bytes(Bytes::from_static(b"c")));
        assert!(bucket.until_crash(upload).await.is_none());
        bucket.heal();
        assert!(!bucket.exists("dir/c").await.unwrap());
        assert!(bucket.pending_uploads("other/").await.unwrap().is_empty());
        let pending = bucket.pending_uploads("dir/").await.unwrap();
        assert_eq!((pending.len(), pending[0].started_ms), (1, 7));
        bucket.abort_upload(&pending[0]).await.unwrap();
        assert_eq!(bucket.left_behind(), 0);
        assert!(bucket.pending_uploads("").await.unwrap().is_empty());
        bucket.add(Rule::next(Operation::Upload, Fault::CrashMidway));
        assert!(bucket.until_crash(bucket.put("d", Bytes::new())).await.is_none());
        assert_eq!(bucket.left_behind(), 0, "a small object is one request");
    }

    #[tokio::test(start_paused = true)]
    async fn latency_is_in_the_time_of_tokio() {
        let bucket = bucket().await;
        bucket.set_latency(Duration::from_secs(3600));
        let begun = tokio::time::Instant::now();
        bucket.get_range("a", 0, 1).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::from_secs(3600));
    }

    #[tokio::test(start_paused = true)]
    async fn retries_hide_what_passes() {
        let faulty = bucket().await;
        let bucket = Retrying::new(faulty.clone(), RetryPolicy::default());
        for (rule, expected) in [
            (Rule::next(Operation::Get, Fault::Truncate), 2),
            (
                Rule::next(Operation::Get, Fault::Error(ErrorKind::Unavailable)).times(3),
                4,
            ),
        ] {
            faulty.heal();
            faulty.add(rule);
            assert_eq!(bucket.get_all("a", 1 << 20).await.unwrap().len(), 100_000);
            assert_eq!(faulty.count(Operation::Get), expected);
        }
        faulty.heal();
        faulty.add(Rule::next(Operation::Iter, Fault::Truncate).times(2));
        let entries = bucket.list_all("", true, 10).await.unwrap();
        assert_eq!(entries.iter().map(ListEntry::key).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(faulty.count(Operation::Iter), 3);
        faulty.heal();
        faulty.add(Rule::next(Operation::Get, Fault::Error(ErrorKind::AccessDenied)));
        assert!(bucket.get_all("a", 1 << 20).await.unwrap_err().is_access_denied());
        assert_eq!(faulty.count(Operation::Get), 1);
    }

    #[tokio::test]
    async fn a_large_body_that_breaks_off_is_resumed_by_ranges() {
        let memory = MemoryBucket::new("b");
        let content: Bytes = (0..3_000_000_u32)
            .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
            .collect();
        memory.put("a", content.clone()).await.unwrap();
        let faulty = FaultBucket::new(Arc::new(memory));
        let bucket = Retrying::new(faulty.clone(), RetryPolicy::default());
        faulty.add(Rule::next(Operation::Get, Fault::Truncate));
        assert_eq!(bucket.get_all("a", 1 << 30).await.unwrap(), content);
        assert_eq!(faulty.count(Operation::Get), 1);
        assert_eq!(faulty.count(Operation::GetRange), 1);
    }
}
