//! All integration tests in one binary: each binary links the whole query engine.

mod s3_protocol;
mod view_truth;
