//! States that take rows away, in views whose aggregates keep no more than the best values of each group: whether
//! enough of them are left is looked up before the states are stored.

use super::locate::{Located, Take};
use super::step::{Engine, TableChange, distinct, without_added};
use crate::commit::snapshot::Snapshot;
use crate::declare::definition::ViewDefinition;
use crate::error::Result;
use crate::evaluate::memory::{self, union};
use crate::evaluate::view;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use std::sync::Arc;

impl Engine<'_> {
    /// How a view's table changes by these states, of which those in the groups of `gone` may take rows away.
    ///
    /// They are added, but for groups where that could hide the best value from readers: the states of these are
    /// merged with those stored, and put in their place. Where even that does not tell the best value, the group
    /// is computed again from the snapshot.
    pub(crate) async fn take_back(
        &self,
        snapshot: &Snapshot,
        view: &ViewDefinition,
        states: Vec<RecordBatch>,
        gone: &[RecordBatch],
    ) -> Result<TableChange> {
        let added = |plus| TableChange { plus, ..TableChange::default() };
        let inputs = self.catalog.no_inputs(view)?;
        if !view::keeps_candidates(view, &inputs)? || gone.iter().all(|batch| batch.num_rows() == 0) {
            return Ok(added(states));
        }
        let schema = self.catalog.stored_schema(&view.name)?;
        let keys = Arc::new(schema.project(&(0..view::keys(view).len()).collect::<Vec<_>>())?);
        let wanted = gone.iter().map(|batch| batch.project(&(0..keys.fields().len()).collect::<Vec<_>>()));
        let wanted = distinct(&keys, &wanted.collect::<std::result::Result<Vec<_>, _>>()?)?;
        let of = |batches: &[RecordBatch]| memory::rows("states", schema, batches.to_vec());
        let among = |states: LogicalPlan, groups: &[RecordBatch]| match keys.fields().is_empty() {
            true => Ok(states),
            false => view::states_of(view, states, memory::rows("keys", &keys, groups.to_vec())?),
        };

        let stored = self.states_of_groups(snapshot, view, &keys, &wanted).await?;
        let stored = stored.map(|located| without_added(&located.rows)).transpose()?;
        let stored = stored.map_or_else(Vec::new, |rows| vec![rows]);
        let Some(all) = union([of(&stored)?, among(of(&states)?, std::slice::from_ref(&wanted))?])? else {
            return Ok(added(states));
        };
        let outlooks = view::outlook_plan(view, &inputs, all)?;
        let outlooks = self.collect(outlooks, &with_outlook(&keys), &view.name).await?;
        let (to_merge, run_out) = view::by_outlook(&outlooks)?;
        if to_merge.is_empty() && run_out.is_empty() {
            return Ok(added(states));
        }

        let count = |groups: &[RecordBatch]| groups.iter().map(RecordBatch::num_rows).sum::<usize>();
        tracing::debug!(
            view = view.name,
            merged = count(&to_merge),
            computed_again = count(&run_out),
            "groups that keep too few values"
        );
        let touched = distinct(&keys, &[to_merge.as_slice(), &run_out].concat())?;
        let mut plans = Vec::new();
        if !keys.fields().is_empty() {
            let touched = memory::rows("keys", &keys, vec![touched.clone()])?;
            plans.push(view::states_of_others(view, of(&states)?, touched)?);
        }
        if !to_merge.is_empty()
            && let Some(all) = union([of(&stored)?, of(&states)?])?
        {
            plans.push(view::merge_plan(view, &inputs, among(all, &to_merge)?)?);
        }
        if !run_out.is_empty() {
            let lost = self.lost(snapshot, view)?;
            run_out.iter().try_for_each(|groups| lost.check_groups(view, groups))?;
            let inputs = self.catalog.inputs(view, |name| self.catalog.rows(snapshot, name))?;
            plans.push(match keys.fields().is_empty() {
                true => view::delta_plan(view, &inputs)?,
                false => view::groups_plan(view, &inputs, memory::rows("keys", &keys, run_out)?)?,
            });
        }
        let mut plus = Vec::new();
        for plan in plans {
            plus.extend(self.stored(view, plan).await?);
        }
        let minus = self.states_of_groups(snapshot, view, &keys, &touched).await?;
        Ok(TableChange { plus, minus, replace: false })
    }

    /// What is stored of groups with these keys; all of it in a view without keys.
    async fn states_of_groups(
        &self,
        snapshot: &Snapshot,
        view: &ViewDefinition,
        keys: &SchemaRef,
        wanted: &RecordBatch,
    ) -> Result<Option<Located>> {
        if keys.fields().is_empty() {
            return self.everything(snapshot, &view.name).await;
        }
        let by = keys.fields().iter().map(|key| key.name().clone()).collect::<Vec<_>>();
        Ok(Some(self.locate(snapshot, &view.name, &by, wanted, Take::All).await?))
    }
}

/// The columns of [`view::outlook_plan`].
fn with_outlook(keys: &Schema) -> SchemaRef {
    let outlook = Arc::new(Field::new(view::OUTLOOK_COLUMN, DataType::Int8, true));
    Arc::new(Schema::new(keys.fields().iter().cloned().chain([outlook]).collect::<Vec<_>>()))
}
