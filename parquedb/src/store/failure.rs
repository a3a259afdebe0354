//! What a store's error means: whether anything may have been written, and what to tell the user.

use super::local::NotApplied;
use crate::error::{Error, ErrorKind};
use object_store::Error as StoreError;
use object_store::path::Path;
use std::error::Error as StdError;

/// What the failure of a conditional put says about the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutFailure {
    /// The store says there is an object. It may be ours, and after a 409 there may be none.
    Occupied,
    /// The store refused: this request did not write.
    Refused,
    /// Nobody knows; it may even land later.
    Unknown,
}

/// Sorts the failure of a put with [`object_store::PutMode::Create`].
pub(crate) fn classify(error: &StoreError) -> PutFailure {
    match error {
        // Azure's 412 comes as a failed precondition.
        StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } => PutFailure::Occupied,
        StoreError::PermissionDenied { .. }
        | StoreError::Unauthenticated { .. }
        | StoreError::NotFound { .. }
        | StoreError::InvalidPath { .. }
        | StoreError::NotSupported { .. }
        | StoreError::NotImplemented { .. }
        | StoreError::UnknownConfigurationKey { .. } => PutFailure::Refused,
        other if caused_by_not_applied(other) => PutFailure::Refused,
        _ => PutFailure::Unknown,
    }
}

fn caused_by_not_applied(error: &StoreError) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<NotApplied>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether an object is missing, as opposed to the bucket it should be in.
pub(crate) fn is_missing_object(error: &StoreError) -> bool {
    matches!(error, StoreError::NotFound { .. }) && !mentions(error, "NoSuchBucket")
}

fn mentions(error: &StoreError, code: &str) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains(code) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The error to give to the user: what failed, where, and what to do about it.
pub(crate) fn explain(error: StoreError, action: &str, path: &Path, url: &str) -> Error {
    let place = if path.as_ref().is_empty() { url.to_owned() } else { format!("{path} in {url}") };
    let (kind, reason) = match &error {
        _ if mentions(&error, "NoSuchBucket") => {
            (ErrorKind::NotFound, "the bucket does not exist; create it or correct the URL".to_owned())
        }
        _ if mentions(&error, "InvalidAccessKeyId") || mentions(&error, "SignatureDoesNotMatch") => (
            ErrorKind::Invalid,
            "the store does not accept the credentials; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                .to_owned(),
        ),
        StoreError::NotFound { .. } => (ErrorKind::NotFound, "it does not exist".to_owned()),
        StoreError::PermissionDenied { .. } => (
            ErrorKind::Invalid,
            "permission denied; give this user, or these credentials, the right to read and write there"
                .to_owned(),
        ),
        StoreError::Unauthenticated { .. } => (
            ErrorKind::Invalid,
            "the store does not accept the credentials; check the AWS_* environment variables".to_owned(),
        ),
        StoreError::NotSupported { .. } | StoreError::NotImplemented { .. } => {
            (ErrorKind::Invalid, format!("the store cannot do this: {}", innermost(&error)))
        }
        StoreError::InvalidPath { .. } => (ErrorKind::Invalid, innermost(&error)),
        _ => (ErrorKind::Unavailable, innermost(&error)),
    };
    Error::with_source(kind, format!("cannot {action} {place}: {reason}"), error)
}

fn innermost(error: &StoreError) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        message = inner.to_string();
        cause = inner.source();
    }
    message
}
