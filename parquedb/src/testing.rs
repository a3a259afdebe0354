//! Stores for tests of this workspace. Not part of the public interface.

mod fault;

pub use fault::{Fault, FaultStore, Request};
