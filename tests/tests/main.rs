//! All integration tests in one binary: each binary links the whole query engine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod aggregates;
mod as_of_ingest;
mod bad_input;
mod candidates;
mod changes_truth;
mod commands;
mod corpus;
mod cost;
mod decoders;
mod end_to_end;
mod expand;
mod expand_many;
mod expiry;
mod interrupted_ingest;
mod join_traps;
mod joins;
mod keyed;
mod killed_writers;
mod known_losses;
mod live_joins;
mod maintenance;
mod metrics;
mod refresh_crash;
mod s3_protocol;
mod semantics_cases;
mod several_writers;
mod store_conformance;
mod unnest;
mod verify;
mod view_cases;
mod view_truth;
