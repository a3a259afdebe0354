//! How time passes: every wait of the crate goes through here. A test may put simulated time in the
//! place of the machine's, in which hours pass at once and a run is the same each time.
//!
//! This is not where dates come from: see [`crate::clock`].

pub(crate) use tokio::time::Instant;

#[cfg(not(test))]
pub(crate) use machine::{now, sleep, timeout};
#[cfg(test)]
pub(crate) use simulated::{now, simulate, sleep, timeout};

#[cfg(test)]
mod simulated;

/// The time of the machine.
#[cfg(not(test))]
mod machine {
    use super::Instant;
    pub(crate) use tokio::time::{sleep, timeout};

    /// The present moment.
    pub(crate) fn now() -> Instant {
        Instant::now()
    }
}
