//! Every aggregate against a plain computation, and the laws of its states: in whatever order and
//! grouping they are merged the result is the same, bit for bit, and a removal is exact.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod candidates;
mod floats;
mod golden;
mod harness;
mod numbers;
mod picks;
mod values;
