//! The one error type of the crate.

use std::fmt;
use std::sync::Arc;

/// What went wrong, by what the caller should do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input, the definition or the call is wrong: correct it. Nothing was written.
    Invalid,
    /// The named collection, view, folder or bucket does not exist: create or correct it.
    NotFound,
    /// Another writer got there first and the change cannot be rebased: read again, then retry.
    Conflict,
    /// The database was closed or this writer was fenced off: open it again.
    Closed,
    /// The store did not answer or refused: retry later. Nothing was written.
    Unavailable,
    /// A commit was sent and may or may not have landed: reopen, then look before writing it again,
    /// or send it again with the same batch id.
    OutcomeUnknown,
    /// Stored bytes are not what was written: restore them. Nothing is skipped over.
    Corrupt,
    /// The view cannot be read or refreshed as it is: rebuild it with `refresh()`.
    InvalidView,
}

/// An error: its kind, a message that names what and where, and its cause.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`. The message names what and where, and what to do where that is known.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), source: None }))
    }

    /// An error of `kind` with its cause.
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), source: Some(source.into()) }))
    }

    /// An error of kind [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// An error of kind [`ErrorKind::Corrupt`].
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// What went wrong, by what the caller should do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later without any change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::Conflict)
    }

    /// The same error with the place where it happened before its message.
    #[must_use]
    pub fn context(self, place: impl fmt::Display) -> Self {
        let kind = self.0.kind;
        let message = format!("{place}: {}", self.0.message);
        Self(Arc::new(Inner { kind, message, source: Some(Box::new(self)) }))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

impl From<datafusion::error::DataFusionError> for Error {
    /// The kind by what DataFusion reports; an error of ours that went through DataFusion comes out
    /// as it went in.
    fn from(error: datafusion::error::DataFusionError) -> Self {
        use datafusion::error::DataFusionError as D;
        match error {
            D::External(inner) => match inner.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(other) => Error::new(ErrorKind::Unavailable, other.to_string()),
            },
            D::Context(place, inner) => Error::from(*inner).context(place),
            D::Shared(inner) => Error::with_source(shared_kind(&inner), inner.to_string(), inner),
            D::ArrowError(inner, _) => Error::from(*inner),
            D::Plan(message) => Error::invalid(message),
            D::Execution(message) => Error::invalid(message),
            other => Error::with_source(shared_kind(&other), other.strip_backtrace(), other),
        }
    }
}

fn shared_kind(error: &datafusion::error::DataFusionError) -> ErrorKind {
    use datafusion::error::DataFusionError as D;
    match error {
        D::ObjectStore(_) | D::IoError(_) | D::ResourcesExhausted(_) => ErrorKind::Unavailable,
        D::ParquetError(_) => ErrorKind::Corrupt,
        _ => ErrorKind::Invalid,
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        use arrow::error::ArrowError as A;
        match error {
            A::ExternalError(inner) => match inner.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(other) => Error::invalid(other.to_string()),
            },
            A::IoError(message, cause) => Error::with_source(ErrorKind::Unavailable, message, cause),
            other => Error::with_source(ErrorKind::Invalid, other.to_string(), other),
        }
    }
}

impl From<Error> for datafusion::error::DataFusionError {
    fn from(error: Error) -> Self {
        datafusion::error::DataFusionError::External(Box::new(error))
    }
}
