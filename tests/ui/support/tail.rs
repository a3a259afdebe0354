//! A stream like the tail worker's, for the tests beside it.
#![allow(dead_code, unused_imports)]
pub use parquedb::{Collection, Timestamp, database, views};
use std::collections::BTreeMap;

#[derive(Collection)]
pub struct TailEvents {
    pub script_name: Option<String>,
    pub outcome: String,
    pub event_timestamp: Timestamp,
    pub event: Option<FetchEvent>,
    pub logs: Vec<LogLine>,
    pub tags: BTreeMap<String, String>,
    pub wall_time: f64,
    pub retries: u16,
}

#[derive(Debug, Clone, PartialEq, Collection)]
pub struct FetchEvent {
    pub url: String,
    pub status: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Collection)]
pub struct LogLine {
    pub level: String,
    pub message: String,
}
