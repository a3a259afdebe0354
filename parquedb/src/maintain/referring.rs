//! What a changed member means for a view: the rows that refer to it.
//!
//! Reading all rows to find those few that refer to something changed costs as much as the view. So they are
//! found by an index of the reference, which is kept in memory like those by which rows are removed.

use super::locate::{Places, places};
use super::step::{Engine, distinct};
use crate::commit::snapshot::Snapshot;
use crate::declare::definition::Definition;
use crate::declare::node::Node;
use crate::declare::plan::Join;
use crate::error::Result;
use crate::evaluate::difference::Difference;
use crate::evaluate::memory;
use crate::evaluate::{scan, view};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use std::sync::Arc;

/// An index is used for keys of which a source has at least so many times more rows.
const ROWS_FOR_A_KEY: u64 = 8;

/// Rows are read by their positions where those are at most one of so many: then little of the rest is read.
const ROWS_FOR_A_POSITION: u64 = 20;

/// What has changed in a joined member.
pub(super) struct ChangedMember {
    /// The keys of the rows that came or went, each once.
    pub(super) keys: RecordBatch,
    /// The rows with those keys as they are, and as they were; nothing where several rows may have one key.
    pub(super) rows: Option<(LogicalPlan, LogicalPlan)>,
}

impl ChangedMember {
    /// The keys as rows.
    pub(super) fn among(&self) -> Result<LogicalPlan> {
        memory::rows("keys", self.keys.schema_ref(), vec![self.keys.clone()])
    }
}

impl Engine<'_> {
    /// How a joined member has changed since a commit.
    pub(super) async fn changed_member(
        &self,
        snapshot: &Snapshot,
        join: &Join,
        seq: u64,
    ) -> Result<ChangedMember> {
        let Join { member, key, .. } = join;
        let definition = self.catalog.get(member)?;
        let schema = definition.schema();
        let Difference { plus, minus } = self.catalog.difference(snapshot, member, seq)?;
        let plus = self.collect(plus, schema, member).await?;
        let minus = match minus {
            Some(minus) => self.collect(minus, schema, member).await?,
            None => Vec::new(),
        };
        let at = schema.index_of(key)?;
        let keys = plus.iter().chain(&minus).map(|batch| Ok(batch.project(&[at])?));
        let keys = distinct(&Arc::new(schema.project(&[at])?), &keys.collect::<Result<Vec<_>>>()?)?;
        let has_one_row_each = match definition {
            Definition::Collection(collection) => collection.key == [key.as_str()],
            Definition::View(_) => false,
        };
        let rows = match has_one_row_each {
            true => Some((memory::rows(member, schema, plus)?, memory::rows(member, schema, minus)?)),
            false => None,
        };
        Ok(ChangedMember { keys, rows })
    }

    /// The rows of a source that have not changed since commit `seq`, all that refer to one of the keys among
    /// them.
    pub(super) async fn referring(
        &self,
        snapshot: &Snapshot,
        source: &str,
        seq: u64,
        join: &Join,
        keys: &RecordBatch,
    ) -> Result<LogicalPlan> {
        let all = || self.catalog.unchanged(snapshot, source, seq);
        let is_stored = match self.catalog.get(source)? {
            Definition::Collection(_) => true,
            Definition::View(view) => !view::groups(view),
        };
        let (Some(table), Some(column), true) = (snapshot.tables.get(source), column_of(join), is_stored)
        else {
            return all();
        };
        if table.rows / ROWS_FOR_A_KEY < keys.num_rows() as u64 {
            return all();
        }
        let schema = self.catalog.stored_schema(source)?;
        let field = Field::new(column, keys.column(0).data_type().clone(), true);
        let probes =
            RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::clone(keys.column(0))])?;
        let by = [column.to_owned()];
        let most = table.rows / ROWS_FOR_A_POSITION;
        let found = places(self.located, self.session, source, schema, table, &by, &probes, most).await?;
        match found {
            Places::Few(positions) => {
                memory::read_once(source, scan::rows_until_at(source, schema, table, seq, &positions)?)
            }
            Places::TooMany => all(),
        }
    }
}

/// The column of a source that holds a reference; nothing where that is inside of something else, or one of a list.
fn column_of(join: &Join) -> Option<&str> {
    match &join.reference {
        Node::Field(of, name) if **of == Node::Row && !join.after_unnest && !join.many => Some(name),
        _ => None,
    }
}
