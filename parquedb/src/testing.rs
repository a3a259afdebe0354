//! Stores that fail, for tests of this workspace. Not part of the public interface.

mod body;
mod clocked;
mod fault;
mod random;
mod script;

#[cfg(test)]
pub(crate) use body::damaged;
pub use clocked::ClockedStore;
pub use fault::FaultStore;
pub use random::Random;
#[cfg(test)]
pub(crate) use random::seeds;
pub use script::{Fault, Request};
