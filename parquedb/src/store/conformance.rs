//! Whether a store keeps the promises that the log is built on.
//!
//! A database needs little of its store, but all of it: an object is created only where there is none,
//! appears whole, and is seen by whoever looks afterwards. Some stores that speak the S3 protocol
//! ignore the condition of a put without a word, some caches remember that an object was missing, some
//! file systems show half of a file. [`check`] tries each promise on a store, many at once and many
//! times; [`examine`] does the same and reports also what is broken.
//!
//! ```
//! use parquedb::Store;
//! use parquedb::store::conformance::{self, Options};
//!
//! # #[tokio::main] async fn main() -> parquedb::Result<()> {
//! let store = Store::open("memory:///")?;
//! let report = conformance::check(&store, &Options::default()).await?;
//! println!("{report}");
//! assert!(report.is_kept());
//! # Ok(()) }
//! ```
//!
//! It works in a folder of its own, `_probe/<UUID>`, and removes what it wrote there. It may run beside
//! a database in use. With the default options it makes about 8,000 requests on small objects, some
//! seconds on a local disk and some minutes on a bucket far away.
//!
//! What is tried and holds was not proved. A store that lets two writers win one race in `n` passes
//! `r` races with the probability `(1 − 1/n)^r`: of the default 700 races, one store in a thousand that
//! fails once in a hundred races. Raise [`Options::rounds`] to see less.

mod probe;
mod races;
#[cfg(test)]
mod tests;
mod visibility;

use super::failure::explain;
use super::{Requests, Store};
use crate::error::{Error, Result};
use crate::time;
use probe::Probe;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How much is tried.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many create the same object at once; at least two.
    pub racers: usize,
    /// How many such races are run, each for another object.
    pub rounds: usize,
    /// How many races of two are run besides: they find a store that fails rarely at less cost.
    pub pairs: usize,
    /// How many objects are put into one folder and listed. Stores list 1,000 in one answer.
    pub objects: usize,
    /// How often every other promise is tried.
    pub repeats: usize,
    /// The size, in bytes, of objects that are read while they are written.
    pub object_bytes: usize,
    /// How far the time of modification of a later write may lie before that of an earlier one.
    /// Garbage collection tells by these times how old an object is.
    pub clock_skew: Duration,
    /// How long a request may take.
    pub request_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            racers: 16,
            rounds: 200,
            pairs: 500,
            objects: 1_100,
            repeats: 50,
            object_bytes: 256 << 10,
            clock_skew: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
        }
    }
}

/// A promise that a store must keep.
#[derive(serde::Serialize, Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Property {
    /// Of many who create one object at once, exactly one is told that it did.
    OneWinner,
    /// Afterwards the object is that one's, whole.
    WinnersObject,
    /// All others are told that the object exists, and nothing else. A store that throttles them must
    /// say so when they ask again.
    LosersAreTold,
    /// Who reads while an object is created finds nothing, or all of it.
    AtomicCreate,
    /// Who reads while an object is overwritten finds one version of it, whole.
    AtomicOverwrite,
    /// A read that begins after an overwrite was acknowledged finds that version or a later one.
    ReadAfterOverwrite,
    /// An object can be read once its creation was acknowledged, also by who found nothing before.
    ReadAfterCreate,
    /// It is then in every listing, with its size.
    ListAfterCreate,
    /// Once its deletion was acknowledged, an object is neither found nor listed.
    ReadAfterDelete,
    /// The name of a deleted object can be created again: stores forget deleted names. The log
    /// depends on knowing this, not on its being so.
    CreateAfterDelete,
    /// Listings name every object of a folder once, and none of another, however many there are; those
    /// with an offset name exactly the ones after it.
    CompleteListings,
    /// A ranged read gives these bytes and no others.
    RangedReads,
    /// Times of modification do not go back, but for [`Options::clock_skew`].
    ModificationTimes,
    /// Every name of the layout can be written, read, listed as it was written, and deleted.
    Names,
}

impl Property {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Property; 14] = [
        Property::OneWinner,
        Property::WinnersObject,
        Property::LosersAreTold,
        Property::AtomicCreate,
        Property::AtomicOverwrite,
        Property::ReadAfterOverwrite,
        Property::ReadAfterCreate,
        Property::ListAfterCreate,
        Property::ReadAfterDelete,
        Property::CreateAfterDelete,
        Property::CompleteListings,
        Property::RangedReads,
        Property::ModificationTimes,
        Property::Names,
    ];

    /// The promise in a few words.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Property::OneWinner => "one of many creators wins",
            Property::WinnersObject => "the object is the winner's, whole",
            Property::LosersAreTold => "the others are told that it exists",
            Property::AtomicCreate => "no part of a new object is seen",
            Property::AtomicOverwrite => "no mix of two versions is seen",
            Property::ReadAfterOverwrite => "a read sees the overwrite before it",
            Property::ReadAfterCreate => "a read sees the create before it",
            Property::ListAfterCreate => "a listing sees the create before it",
            Property::ReadAfterDelete => "what was deleted is gone",
            Property::CreateAfterDelete => "a deleted name can be created again",
            Property::CompleteListings => "listings are complete",
            Property::RangedReads => "ranged reads are exact",
            Property::ModificationTimes => "times of modification do not go back",
            Property::Names => "the names of the layout can be used",
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

/// What became of a promise.
#[derive(serde::Serialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "snake_case", tag = "outcome")]
#[non_exhaustive]
pub enum Outcome {
    /// It was kept each time.
    Kept,
    /// It was not kept.
    Broken {
        /// How often.
        times: u64,
        /// What happened the first time.
        first: String,
    },
    /// The store gave an error, so that nothing can be said.
    Failed {
        /// The error.
        error: String,
    },
    /// It was not tried, since the store had given an error before.
    NotTried,
}

/// One promise and what became of it.
#[derive(serde::Serialize, Debug, Clone)]
#[non_exhaustive]
pub struct Checked {
    /// The promise.
    pub property: Property,
    /// How often it was tried.
    pub tries: u64,
    /// How long that took. Promises tried together have the same time. Serialized in seconds.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub elapsed: Duration,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    #[serde(skip)]
    error: Option<Error>,
}

/// What was tried on a store and what came of it. Displays as a table.
#[derive(serde::Serialize, Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// The store's URL, without credentials.
    pub store: String,
    /// Every promise, in the order of [`Property::ALL`].
    pub checks: Vec<Checked>,
    /// How long all of it took. Serialized in seconds.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub elapsed: Duration,
    /// The requests made, also by others through the same [`Store`] meanwhile.
    pub requests: Requests,
    /// Requests that were sent again because the store answered neither yes nor no: throttling,
    /// broken connections.
    pub repeated: u64,
    /// Why objects were left behind, if they were; the message names their folder.
    pub left_behind: Option<String>,
}

fn seconds<S: serde::Serializer>(elapsed: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(elapsed.as_secs_f64())
}

impl Report {
    /// Whether every promise was tried and kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.checks.iter().all(|checked| checked.outcome == Outcome::Kept)
    }

    /// What became of one promise.
    #[must_use]
    pub fn outcome(&self, property: Property) -> &Outcome {
        let found = self.checks.iter().find(|checked| checked.property == property);
        found.map_or(&Outcome::NotTried, |checked| &checked.outcome)
    }

    /// The report, if every promise was kept.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when a promise was broken, with each broken one and how it was, and the
    /// store's own error when it gave one.
    pub fn into_result(self) -> Result<Report> {
        let broken: Vec<String> = self
            .checks
            .iter()
            .filter_map(|checked| match &checked.outcome {
                Outcome::Broken { times, first } => {
                    Some(format!("`{}` in {times} of {}: {first}", checked.property, checked.tries))
                }
                _ => None,
            })
            .collect();
        if !broken.is_empty() {
            return Err(Error::invalid(format!(
                "{} breaks promises that a database depends on; use another store: {}",
                self.store,
                broken.join("; ")
            )));
        }
        match self.checks.iter().find_map(|checked| Some((checked.property, checked.error.clone()?))) {
            Some((property, error)) => Err(error.context(format_args!("trying whether {property}"))),
            None => Ok(self),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = &self.requests;
        writeln!(
            f,
            "{}: {} puts, {} reads, {} listings and {} deletions in {:.1} s",
            self.store,
            requests.put,
            requests.get + requests.head,
            requests.list,
            requests.delete,
            self.elapsed.as_secs_f64()
        )?;
        writeln!(f, "{:<40} {:>7} {:>9}  outcome", "promise", "tries", "seconds")?;
        for checked in &self.checks {
            let Checked { property, tries, elapsed, outcome, .. } = checked;
            // `pad` of a str honours the width; Display of an enum that uses `write_str` does not.
            write!(f, "{:<40} {tries:>7} {:>9.3}  ", property.description(), elapsed.as_secs_f64())?;
            match outcome {
                Outcome::Kept => writeln!(f, "kept")?,
                Outcome::Broken { times, first } => writeln!(f, "BROKEN {times} times, first: {first}")?,
                Outcome::Failed { error } => writeln!(f, "FAILED: {error}")?,
                Outcome::NotTried => writeln!(f, "not tried")?,
            }
        }
        if self.repeated > 0 {
            writeln!(f, "{} requests were sent again for want of an answer", self.repeated)?;
        }
        if let Some(left) = &self.left_behind {
            writeln!(f, "objects were left behind: {left}")?;
        }
        Ok(())
    }
}

/// How often a promise was tried and broken.
#[derive(Debug, Default)]
struct Tally {
    tries: u64,
    broken: u64,
    first: Option<String>,
}

impl Tally {
    fn note(&mut self, result: Result<(), String>) {
        self.tries += 1;
        if let Err(how) = result {
            self.broken += 1;
            self.first.get_or_insert(how);
        }
    }

    fn add(&mut self, other: Tally) {
        self.tries += other.tries;
        self.broken += other.broken;
        if self.first.is_none() {
            self.first = other.first;
        }
    }
}

/// Tries every promise, and reports what is broken as an error.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] when the store breaks a promise or `options` ask for less than two racers;
/// the message says which promise and how. The store's own error when it gives one.
pub async fn check(store: &Store, options: &Options) -> Result<Report> {
    if options.racers < 2 {
        return Err(Error::invalid(format!(
            "`racers` of the store's check is {}; a race takes at least two",
            options.racers
        )));
    }
    examine(store, options).await.into_result()
}

/// Tries every promise and reports what came of each. After an error of the store nothing more is tried.
///
/// Dropping the future leaves objects behind, in a folder of `_probe`.
pub async fn examine(store: &Store, options: &Options) -> Report {
    let (started, before) = (time::now(), store.requests());
    let probe = Arc::new(Probe::new(store, options));
    let mut checks = Vec::with_capacity(Property::ALL.len());
    {
        use Property as P;
        let (p, to) = (&probe, &mut checks);
        run(to, p, [P::OneWinner, P::WinnersObject, P::LosersAreTold], races::one_winner(p)).await;
        run(to, p, [P::AtomicCreate], races::atomic_create(p)).await;
        run(to, p, [P::AtomicOverwrite, P::ReadAfterOverwrite], races::atomic_overwrite(p)).await;
        let visible = [P::ReadAfterCreate, P::ListAfterCreate, P::ReadAfterDelete, P::CreateAfterDelete];
        run(to, p, visible, visibility::creates_and_deletes(p)).await;
        run(to, p, [P::CompleteListings], visibility::complete_listings(p)).await;
        run(to, p, [P::RangedReads], visibility::ranged_reads(p)).await;
        run(to, p, [P::ModificationTimes], visibility::modification_times(p)).await;
        run(to, p, [P::Names], visibility::names(p)).await;
    }
    let cleaned = probe.clean_up().await;
    let left_behind = cleaned.err().map(|error| {
        explain(error, "remove what the check wrote under", probe.root(), store.url()).to_string()
    });
    Report {
        store: store.url().to_owned(),
        checks,
        elapsed: started.elapsed(),
        requests: store.requests() - before,
        repeated: probe.repeated(),
        left_behind,
    }
}

/// Tries some promises together, unless the store has failed before.
async fn run<const N: usize>(
    checks: &mut Vec<Checked>,
    probe: &Probe,
    properties: [Property; N],
    trial: impl Future<Output = object_store::Result<[Tally; N]>>,
) {
    let has_failed = checks.iter().any(|checked| checked.error.is_some());
    let (started, mut error) = (time::now(), None);
    let tallies = if has_failed {
        None
    } else {
        let result = trial.await;
        let explained = |cause| explain(cause, "try the promises of a store in", probe.root(), probe.url());
        result.map_err(|cause| error = Some(explained(cause))).ok()
    };
    let elapsed = started.elapsed();
    let mut tallies = tallies.map(IntoIterator::into_iter);
    for property in properties {
        let (tries, outcome) = match (tallies.as_mut().and_then(Iterator::next), &error) {
            (Some(Tally { tries, broken, first }), _) => match first {
                Some(first) => (tries, Outcome::Broken { times: broken, first }),
                None => (tries, Outcome::Kept),
            },
            (None, Some(error)) => (0, Outcome::Failed { error: error.to_string() }),
            (None, None) => (0, Outcome::NotTried),
        };
        checks.push(Checked { property, tries, elapsed, outcome, error: error.clone() });
    }
}
