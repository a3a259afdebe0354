//! What the tests of ParqueDB share: an S3 server on loopback, the running of workspace
//! binaries, and what the views over tail events must hold.

mod bin;
pub mod recompute;
pub mod s3;

pub use bin::cargo_bin;
pub use s3::S3Server;
