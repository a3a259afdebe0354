//! What the tests of ParqueDB share: an S3 server on loopback and the running of workspace binaries.

mod bin;
pub mod s3;

pub use bin::cargo_bin;
pub use s3::S3Server;
