//! The operations of the protocol over objects in memory.

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// An object as stored.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) bytes: Bytes,
    etag: String,
    modified: Timestamp,
    content_type: Option<String>,
    metadata: Option<Metadata>,
}

/// A multipart upload under way.
#[derive(Debug)]
struct Upload {
    bucket: String,
    key: String,
    content_type: Option<String>,
    metadata: Option<Metadata>,
    parts: BTreeMap<i32, Stored>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) buckets: BTreeMap<String, BTreeMap<String, Stored>>,
    pub(super) ignores_conditions: bool,
    uploads: BTreeMap<String, Upload>,
    next_upload: u64,
}

/// The objects of all buckets. One lock covers a condition and the write that depends on it, so
/// conditional writes are atomic.
#[derive(Debug, Clone, Default)]
pub(super) struct Objects(Arc<Mutex<State>>);

impl Objects {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bucket(&mut self, name: &str) -> S3Result<&mut BTreeMap<String, Stored>> {
        self.buckets.get_mut(name).ok_or_else(|| s3_error!(NoSuchBucket, "bucket `{name}` does not exist"))
    }

    fn object(&mut self, bucket: &str, key: &str) -> S3Result<&Stored> {
        self.bucket(bucket)?.get(key).ok_or_else(|| s3_error!(NoSuchKey, "object `{key}` does not exist"))
    }

    fn upload(&mut self, id: &str, bucket: &str, key: &str) -> S3Result<&mut Upload> {
        self.uploads
            .get_mut(id)
            .filter(|upload| upload.bucket == bucket && upload.key == key)
            .ok_or_else(|| s3_error!(NoSuchUpload, "upload `{id}` of `{key}` does not exist"))
    }
}

impl Stored {
    fn new(bytes: Bytes, content_type: Option<String>, metadata: Option<Metadata>) -> Self {
        let etag = hex(Md5::checksum(&bytes).as_ref());
        Self { bytes, etag, modified: now(), content_type, metadata }
    }

    fn etag(&self) -> ETag {
        ETag::Strong(self.etag.clone())
    }

    fn size(&self) -> i64 {
        self.bytes.len() as i64
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the server stands for another machine, with a clock of its own"
)]
fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn precondition_failed() -> S3Error {
    s3_error!(PreconditionFailed, "a precondition of the request did not hold")
}

/// The whole body of a request.
async fn collect(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(body) = body else { return Ok(Bytes::new()) };
    let bytes: BytesMut = body
        .try_collect::<Vec<Bytes>>()
        .await
        .map_err(|error| S3Error::with_message(S3ErrorCode::IncompleteBody, error.to_string()))?
        .iter()
        .flat_map(|chunk| chunk.iter().copied())
        .collect();
    Ok(bytes.freeze())
}

/// Refuses a body that is not what its checksums say.
fn verify(bytes: &Bytes, declared: &Checksum) -> S3Result<()> {
    let mut hasher = ChecksumHasher {
        crc32: declared.checksum_crc32.as_ref().map(|_| Crc32::new()),
        crc32c: declared.checksum_crc32c.as_ref().map(|_| Crc32c::new()),
        sha1: declared.checksum_sha1.as_ref().map(|_| Sha1::new()),
        sha256: declared.checksum_sha256.as_ref().map(|_| Sha256::new()),
        crc64nvme: declared.checksum_crc64nvme.as_ref().map(|_| Crc64Nvme::new()),
    };
    hasher.update(bytes);
    if hasher.finalize() == *declared {
        Ok(())
    } else {
        Err(s3_error!(BadDigest, "the body does not have the checksum that its request states"))
    }
}

/// Whether a write may replace what is there (`If-None-Match`, `If-Match`).
fn check_write(
    existing: Option<&Stored>,
    if_none_match: Option<&ETagCondition>,
    if_match: Option<&ETagCondition>,
) -> S3Result<()> {
    match (if_none_match, existing) {
        (Some(ETagCondition::Any), Some(_)) => return Err(precondition_failed()),
        (Some(ETagCondition::ETag(_)), _) => {
            return Err(s3_error!(NotImplemented, "If-None-Match of a write takes only `*`"));
        }
        _ => {}
    }
    match (if_match, existing) {
        (None, _) | (Some(ETagCondition::Any), Some(_)) => Ok(()),
        (Some(_), None) => Err(s3_error!(NoSuchKey, "If-Match of an object that does not exist")),
        (Some(ETagCondition::ETag(etag)), Some(stored)) if etag.value() == stored.etag => Ok(()),
        (Some(ETagCondition::ETag(_)), Some(_)) => Err(precondition_failed()),
    }
}

/// Whether a read is wanted (`If-None-Match`, `If-Match`).
fn check_read(
    stored: &Stored,
    if_none_match: Option<&ETagCondition>,
    if_match: Option<&ETagCondition>,
) -> S3Result<()> {
    let meets = |condition: &ETagCondition| match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.value() == stored.etag,
    };
    if if_match.is_some_and(|condition| !meets(condition)) {
        return Err(precondition_failed());
    }
    if if_none_match.is_some_and(meets) {
        return Err(s3_error!(NotModified, "the object has the given ETag"));
    }
    Ok(())
}

#[async_trait::async_trait]
impl S3 for Objects {
    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        self.lock().buckets.entry(request.input.bucket).or_default();
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.lock().bucket(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let bytes = collect(input.body).await?;
        let declared = Checksum {
            checksum_crc32: input.checksum_crc32,
            checksum_crc32c: input.checksum_crc32c,
            checksum_crc64nvme: input.checksum_crc64nvme,
            checksum_sha1: input.checksum_sha1,
            checksum_sha256: input.checksum_sha256,
            checksum_type: None,
        };
        verify(&bytes, &declared)?;
        let stored = Stored::new(bytes, input.content_type, input.metadata);
        let e_tag = Some(stored.etag());

        let mut state = self.lock();
        let is_checked = !state.ignores_conditions;
        let bucket = state.bucket(&input.bucket)?;
        if is_checked {
            check_write(bucket.get(&input.key), input.if_none_match.as_ref(), input.if_match.as_ref())?;
        }
        bucket.insert(input.key, stored);
        Ok(S3Response::new(PutObjectOutput { e_tag, ..Default::default() }))
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = request.input;
        let CopySource::Bucket { bucket, key, version_id: None } = input.copy_source else {
            return Err(s3_error!(NotImplemented, "a copy's source is a bucket and a key"));
        };
        let mut state = self.lock();
        let source = state.object(&bucket, &key)?.clone();
        let copy = Stored { modified: now(), ..source };
        let copy_object_result = Some(CopyObjectResult {
            e_tag: Some(copy.etag()),
            last_modified: Some(copy.modified.clone()),
            ..Default::default()
        });
        state.bucket(&input.bucket)?.insert(input.key, copy);
        Ok(S3Response::new(CopyObjectOutput { copy_object_result, ..Default::default() }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        if input.if_modified_since.is_some() || input.if_unmodified_since.is_some() {
            return Err(s3_error!(NotImplemented, "conditions on times"));
        }
        let stored = self.lock().object(&input.bucket, &input.key)?.clone();
        check_read(&stored, input.if_none_match.as_ref(), input.if_match.as_ref())?;

        let total = stored.bytes.len();
        let (bytes, content_range) = match input.range {
            None => (stored.bytes.clone(), None),
            Some(range) => {
                let range = range
                    .check(total as u64)
                    .map_err(|error| s3_error!(InvalidRange, "{error} of {total}"))?;
                let text = format!("bytes {}-{}/{total}", range.start, range.end.saturating_sub(1));
                (stored.bytes.slice(range.start as usize..range.end as usize), Some(text))
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(bytes.len() as i64),
            content_range,
            body: Some(StreamingBlob::from(s3s::Body::from(bytes))),
            e_tag: Some(stored.etag()),
            last_modified: Some(stored.modified),
            content_type: stored.content_type,
            metadata: stored.metadata,
            ..Default::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        let stored = self.lock().object(&input.bucket, &input.key)?.clone();
        check_read(&stored, input.if_none_match.as_ref(), input.if_match.as_ref())?;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(stored.size()),
            e_tag: Some(stored.etag()),
            last_modified: Some(stored.modified),
            content_type: stored.content_type,
            metadata: stored.metadata,
            ..Default::default()
        }))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.lock().bucket(&request.input.bucket)?.remove(&request.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let mut state = self.lock();
        let bucket = state.bucket(&request.input.bucket)?;
        let mut deleted = Vec::new();
        for object in request.input.delete.objects {
            bucket.remove(&object.key);
            deleted.push(DeletedObject { key: Some(object.key), ..Default::default() });
        }
        let deleted = (request.input.delete.quiet != Some(true)).then_some(deleted);
        Ok(S3Response::new(DeleteObjectsOutput { deleted, ..Default::default() }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let limit = input.max_keys.unwrap_or(1000).clamp(0, 1000) as usize;
        let page = {
            let mut state = self.lock();
            let bucket = state.bucket(&input.bucket)?;
            list(
                bucket,
                input.prefix.as_deref().unwrap_or_default(),
                input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()),
                input.start_after.as_deref(),
                input.continuation_token.as_deref(),
                limit,
            )
        };
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            start_after: input.start_after,
            continuation_token: input.continuation_token,
            max_keys: Some(limit as i32),
            key_count: Some((page.contents.len() + page.prefixes.len()) as i32),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next,
            contents: Some(page.contents),
            common_prefixes: Some(page.prefixes),
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        let mut state = self.lock();
        state.bucket(&input.bucket)?;
        state.next_upload += 1;
        let id = format!("upload-{}", state.next_upload);
        let upload = Upload {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            content_type: input.content_type,
            metadata: input.metadata,
            parts: BTreeMap::new(),
        };
        state.uploads.insert(id.clone(), upload);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let bytes = collect(input.body).await?;
        let declared = Checksum {
            checksum_crc32: input.checksum_crc32,
            checksum_crc32c: input.checksum_crc32c,
            checksum_crc64nvme: input.checksum_crc64nvme,
            checksum_sha1: input.checksum_sha1,
            checksum_sha256: input.checksum_sha256.clone(),
            checksum_type: None,
        };
        verify(&bytes, &declared)?;
        let part = Stored::new(bytes, None, None);
        let e_tag = Some(part.etag());
        let mut state = self.lock();
        state.bucket(&input.bucket)?;
        state.upload(&input.upload_id, &input.bucket, &input.key)?.parts.insert(input.part_number, part);
        Ok(S3Response::new(UploadPartOutput {
            e_tag,
            checksum_sha256: input.checksum_sha256,
            ..Default::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let mut state = self.lock();
        check_write(
            state.bucket(&input.bucket)?.get(&input.key),
            input.if_none_match.as_ref(),
            input.if_match.as_ref(),
        )?;
        let upload = state.upload(&input.upload_id, &input.bucket, &input.key)?;
        let wanted = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let mut bytes = BytesMut::new();
        let mut digests = Vec::new();
        let mut last = 0;
        for part in &wanted {
            let number = part.part_number.unwrap_or_default();
            if number <= last {
                return Err(s3_error!(InvalidPartOrder, "part {number} follows part {last}"));
            }
            last = number;
            let stored = upload
                .parts
                .get(&number)
                .filter(|stored| part.e_tag.as_ref().is_none_or(|etag| etag.value() == stored.etag))
                .ok_or_else(|| s3_error!(InvalidPart, "part {number} was not uploaded"))?;
            bytes.extend_from_slice(&stored.bytes);
            digests.extend_from_slice(Md5::checksum(&stored.bytes).as_ref());
        }
        let mut stored = Stored::new(bytes.freeze(), upload.content_type.take(), upload.metadata.take());
        stored.etag = format!("{}-{}", hex(Md5::checksum(&digests).as_ref()), wanted.len());
        let e_tag = Some(stored.etag());
        state.uploads.remove(&input.upload_id);
        state.bucket(&input.bucket)?.insert(input.key.clone(), stored);
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag,
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        let mut state = self.lock();
        state.upload(&input.upload_id, &input.bucket, &input.key)?;
        state.uploads.remove(&input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

struct Page {
    contents: Vec<Object>,
    prefixes: Vec<CommonPrefix>,
    next: Option<String>,
}

/// One page of a listing. A token is the last thing listed: `k` and a key, or `p` and a prefix that
/// stands for all keys below it.
fn list(
    bucket: &BTreeMap<String, Stored>,
    prefix: &str,
    delimiter: Option<&str>,
    start_after: Option<&str>,
    token: Option<&str>,
    limit: usize,
) -> Page {
    let mut page = Page { contents: Vec::new(), prefixes: Vec::new(), next: None };
    let done_key =
        token.and_then(|token| token.strip_prefix('k')).or(start_after.filter(|_| token.is_none()));
    let mut done_prefix = token.and_then(|token| token.strip_prefix('p')).map(str::to_owned);
    let lower = match done_key.or(done_prefix.as_deref()) {
        Some(key) if key >= prefix => Bound::Excluded(key.to_owned()),
        _ => Bound::Included(prefix.to_owned()),
    };
    let mut last = String::new();
    for (key, stored) in bucket.range((lower, Bound::Unbounded)) {
        let Some(rest) = key.strip_prefix(prefix) else { break };
        if done_prefix.as_ref().is_some_and(|done| key.starts_with(done.as_str())) {
            continue;
        }
        if page.contents.len() + page.prefixes.len() == limit {
            page.next = (limit > 0).then_some(last);
            break;
        }
        match delimiter.and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len())) {
            Some(length) => {
                let common = key[..prefix.len() + length].to_owned();
                page.prefixes.push(CommonPrefix { prefix: Some(common.clone()) });
                last = format!("p{common}");
                done_prefix = Some(common);
            }
            None => {
                page.contents.push(Object {
                    key: Some(key.clone()),
                    size: Some(stored.size()),
                    e_tag: Some(stored.etag()),
                    last_modified: Some(stored.modified.clone()),
                    ..Default::default()
                });
                last = format!("k{key}");
            }
        }
    }
    page
}
