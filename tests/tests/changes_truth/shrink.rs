//! A case that fails made smaller, as long as it still fails.

use super::history::{Batch, Case, Change, Step};
use super::run::{Checks, run};
use std::time::{Duration, Instant};

/// How long a case is made smaller: so many seconds, one minute by default.
fn time() -> Duration {
    let seconds = std::env::var("PARQUEDB_SHRINK_SECONDS").map_or(60, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

/// Runs a case in a task of its own, so that a panic is a failure like any other.
pub(super) async fn outcome(case: Case, seed: u64, checks: Checks) -> Result<(), String> {
    match tokio::spawn(run(case, seed, checks)).await {
        Ok(outcome) => outcome,
        Err(error) => Err(error.to_string()),
    }
}

/// The smallest case found, and how it fails.
pub(super) async fn shrunk(mut case: Case, seed: u64, mut failure: String) -> (Case, String) {
    let started = Instant::now();
    // When everything is compared after each step, the last step is the one that matters.
    let Err(exact) = outcome(case.clone(), seed, Checks::All).await else { return (case, failure) };
    failure = exact;
    let mut changed = true;
    while changed {
        changed = false;
        let mut position = 0;
        while let Some(smaller) = smaller(&case, position) {
            if started.elapsed() > time() {
                return (case, failure);
            }
            match outcome(smaller.clone(), seed, Checks::All).await {
                Err(error) => {
                    (case, failure, changed) = (smaller, error, true);
                }
                Ok(()) => position += 1,
            }
        }
    }
    (case, failure)
}

/// The case without one of its parts: the parts are views, steps, changes and rows, in this order.
fn smaller(case: &Case, position: usize) -> Option<Case> {
    let mut left = position;
    let mut smaller = case.clone();
    for index in (0..case.steps.len()).rev() {
        if left == 0 {
            smaller.steps.remove(index);
            return Some(smaller);
        }
        left -= 1;
    }
    for index in (0..case.views.len()).rev() {
        let name = &case.views[index].member.name;
        if case.views.iter().any(|view| view.definition.plan.members().any(|member| member == name)) {
            continue;
        }
        if left == 0 {
            smaller.views.remove(index);
            return Some(smaller);
        }
        left -= 1;
    }
    for step in &mut smaller.steps {
        let batches = match step {
            Step::Commit(batch) | Step::CommitElsewhere(batch) => std::slice::from_mut(batch),
            Step::Together(batches) => batches.as_mut_slice(),
            _ => continue,
        };
        for batch in batches {
            if without(batch, &mut left) {
                return Some(smaller);
            }
        }
    }
    None
}

/// Takes one part out of a batch, if it has so many.
fn without(batch: &mut Batch, left: &mut usize) -> bool {
    for index in 0..batch.changes.len() {
        if *left == 0 {
            batch.changes.remove(index);
            return true;
        }
        *left -= 1;
        let (Change::Insert(rows) | Change::Upsert(rows) | Change::Delete(rows)) =
            &mut batch.changes[index].1
        else {
            continue;
        };
        if rows.len() < 2 {
            continue;
        }
        if *left < rows.len() {
            rows.remove(*left);
            return true;
        }
        *left -= rows.len();
    }
    false
}
