//! Cloudflare tail events in ParqueDB.
//!
//! [`TailEvents`] is one invocation of a Worker, [`decode`] turns what Tail Workers and Logpush send
//! into such rows, and [`views`] holds the views over them. The `parquedb-tail` command ingests files
//! and serves the HTTP endpoint a Tail Worker posts to.

mod database;
pub mod dead_letter;
pub mod decode;
pub mod event;
pub mod file;
pub mod http;
pub mod sink;
mod types;
pub mod views;

pub use dead_letter::DeadLetters;
pub use event::TailEvents;
pub use views::{EndpointMetrics, TailDb, WorkerErrors, WorkerLogs, WorkerRequests};
