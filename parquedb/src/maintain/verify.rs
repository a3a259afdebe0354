//! Proves a view: computes it again from its sources, as they were at its cursor, and compares.

use super::cancel::cancel;
use super::freshness::{Freshness, freshness};
use super::step::{Engine, is_merged_across};
use crate::commit::snapshot::{Cursor, Snapshot};
use crate::declare::definition::ViewDefinition;
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::{memory, view};
use crate::types::Timestamp;
use arrow::array::UInt32Array;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::logical_expr::LogicalPlan;
use std::fmt;
use std::sync::Arc;

/// What verifying a view found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Verification {
    /// The view.
    pub view: String,
    /// The commit at which its sources were read: its cursor.
    pub seq: u64,
    /// Rows of the view that were compared.
    pub rows: u64,
    /// Groups that were chosen, when not all were compared.
    pub sampled: Option<u64>,
    /// Only what is from this time on was compared: of what is older, source rows have expired, or rows of the view.
    pub since: Option<Timestamp>,
    /// Rows that the definition gives and the view does not hold.
    pub missing: Vec<RecordBatch>,
    /// Rows that the view holds and the definition does not give.
    pub unexpected: Vec<RecordBatch>,
}

impl Verification {
    /// Whether the view holds what its definition gives.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty()
    }
}

/// Rows of each kind that are printed.
const ROWS_SHOWN: usize = 20;

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { view, seq, rows, sampled, since, .. } = self;
        let what = match sampled {
            Some(groups) => format!("{rows} rows of {groups} groups chosen by chance"),
            None => format!("all {rows} rows"),
        };
        let what = match since {
            Some(since) => format!("{what} from {since} on, before which rows have expired,"),
            None => what,
        };
        if self.is_exact() {
            return write!(f, "{view}: {what} are what its definition gives at commit {seq}");
        }
        write!(f, "{view}: {what} compared at commit {seq}")?;
        for (kind, batches) in [("missing", &self.missing), ("unexpected", &self.unexpected)] {
            let count = batches.iter().map(RecordBatch::num_rows).sum::<usize>();
            if count > 0 {
                let shown = first_rows(batches, ROWS_SHOWN);
                let table = pretty_format_batches(&shown).map_err(|_| fmt::Error)?;
                write!(f, "\n{count} {kind}:\n{table}")?;
            }
        }
        Ok(())
    }
}

fn first_rows(batches: &[RecordBatch], mut limit: usize) -> Vec<RecordBatch> {
    let mut first = Vec::new();
    for batch in batches {
        let rows = batch.num_rows().min(limit);
        limit -= rows;
        first.push(batch.slice(0, rows));
    }
    first
}

/// Compares a view with what its definition gives. With `sample`, only so many of its groups, of which
/// `chance` chooses the first.
pub(crate) async fn verify(
    engine: &Engine<'_>,
    snapshot: &Snapshot,
    name: &str,
    sample: Option<usize>,
    chance: u64,
) -> Result<Verification> {
    let catalog = engine.catalog;
    let definition = catalog.view(name)?;
    if let Freshness::Invalid { reason } = freshness(catalog, snapshot, name)? {
        return Err(Error::new(
            ErrorKind::InvalidView,
            format!("view `{name}` cannot be verified: {reason}. Rebuild it with `refresh()`"),
        ));
    }
    let cursor = snapshot.cursors.get(name).map(Arc::as_ref).cloned().unwrap_or_else(|| Cursor {
        definition: String::new(),
        sources: Default::default(),
        refreshed: 0,
    });
    if is_merged_across(snapshot, &cursor) {
        return Err(Error::new(
            ErrorKind::InvalidView,
            format!(
                "view `{name}` cannot be verified before it is refreshed: its source was compacted meanwhile"
            ),
        ));
    }
    let lost = engine.lost(snapshot, definition)?;
    let inputs = catalog.inputs_as_of(snapshot, definition, |member| {
        cursor.sources.get(member).map_or(0, |source| source.seq)
    })?;
    let wanted = match sample {
        Some(groups) if !view::keys(definition).is_empty() => {
            Some(choose(engine, snapshot, definition, groups, chance).await?)
        }
        _ => None,
    };
    let (held, stored) = match &wanted {
        Some(keys) => {
            let keys = memory::rows("keys", &keys.schema(), vec![keys.clone()])?;
            (
                view::states_of(definition, catalog.stored(snapshot, name)?, keys.clone())?,
                view::groups_plan(definition, &inputs, keys)?,
            )
        }
        None => (catalog.stored(snapshot, name)?, view::delta_plan(definition, &inputs)?),
    };
    let results = |stored: LogicalPlan| {
        let whole = lost.whole(catalog.results(definition, stored)?);
        whole.map_err(|error| error.context(format!("view `{name}`")))
    };
    let held = engine.collect(results(held)?, &definition.schema, name).await?;
    let expected = engine.collect(results(stored)?, &definition.schema, name).await?;
    let rows = held.iter().map(|batch| batch.num_rows() as u64).sum();
    let (unexpected, missing) = cancel(&definition.schema, held, expected)?;
    let sampled = wanted.map(|keys| keys.num_rows() as u64);
    let (view, since) = (name.to_owned(), lost.since());
    Ok(Verification { view, seq: cursor.seq(), rows, sampled, since, missing, unexpected })
}

/// The keys of some of a view's groups.
async fn choose(
    engine: &Engine<'_>,
    snapshot: &Snapshot,
    definition: &ViewDefinition,
    groups: usize,
    chance: u64,
) -> Result<RecordBatch> {
    let rows = engine.catalog.rows(snapshot, &definition.name)?;
    let count = view::keys(definition).len();
    let schema = Arc::new(definition.schema.project(&(0..count).collect::<Vec<_>>())?);
    let keys = view::key_columns_of(definition, rows)?;
    let keys = concat_batches(&schema, &engine.collect(keys, &schema, &definition.name).await?)?;
    let total = keys.num_rows();
    // Evenly spread from a place that chance gives: every group has the same chance to be chosen.
    let step = (total / groups.max(1)).max(1);
    let first = usize::try_from(chance % step as u64).unwrap_or(0);
    let chosen = (first..total).step_by(step).filter_map(|index| u32::try_from(index).ok());
    Ok(take_record_batch(&keys, &chosen.collect::<UInt32Array>())?)
}
