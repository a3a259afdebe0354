//! The rows of a table at a snapshot as logical plans, without those that are removed.

mod masked;
mod runs;
#[cfg(test)]
mod tests;

use super::lower::column;
use crate::commit::RemovedRows;
use crate::commit::snapshot::{DataFile, InlineRun, SEQ_COLUMN, Table};
use crate::error::Result;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, col, lit};
use roaring::RoaringBitmap;
use runs::{FileRun, Runs, Told};
use std::collections::HashMap;
use std::sync::Arc;

/// The `Int64` column with a row's position in its file.
pub(crate) const POSITION_COLUMN: &str = "__position";

/// All rows of a table, which is empty when the snapshot has none of that name.
pub(crate) fn all_rows(name: &str, schema: &SchemaRef, table: Option<&Table>) -> Result<LogicalPlan> {
    let (files, inline) = runs_of(table);
    plan(name, schema, Told::default(), files, inline)
}

/// All rows of a table, each with the commit that it came in as the column [`SEQ_COLUMN`]. States that were
/// merged came in the last one of their commits.
pub(crate) fn rows_with_commits(
    name: &str,
    schema: &SchemaRef,
    table: Option<&Table>,
) -> Result<LogicalPlan> {
    let (files, inline) = runs_of(table);
    plan(name, schema, TOLD_COMMITS, files, inline)
}

/// The rows of some files of a table.
pub(crate) fn rows_of(name: &str, schema: &SchemaRef, files: Vec<Arc<DataFile>>) -> Result<LogicalPlan> {
    plan(name, schema, Told::default(), files, Vec::new())
}

/// The rows of one file at some positions, or at all of them, also those that are removed. Each with its
/// commit, and its position as the column [`POSITION_COLUMN`].
pub(crate) fn rows_at(
    name: &str,
    schema: &SchemaRef,
    file: &Arc<DataFile>,
    positions: Option<&RoaringBitmap>,
) -> Result<LogicalPlan> {
    let run = match positions {
        Some(positions) => FileRun::at(file, positions),
        None => FileRun { file: Arc::clone(file), left_out: RemovedRows::default() },
    };
    let told = Told { commit: true, position: true };
    scan(name, Runs::new(schema, told, vec![run], Vec::new()))
}

/// The rows that came in commits after `seq`; with the commit of each as the column [`SEQ_COLUMN`] if that is wanted.
pub(crate) fn rows_after(
    name: &str,
    schema: &SchemaRef,
    table: &Table,
    seq: u64,
    commits: bool,
) -> Result<LogicalPlan> {
    let live = table.files.iter().cloned().map(FileRun::live);
    part(name, schema, table, live, |run| run > seq, col(SEQ_COLUMN).gt(lit(seq)), commits)
}

/// The rows that came in commits up to `seq`, in the same way.
pub(crate) fn rows_until(
    name: &str,
    schema: &SchemaRef,
    table: &Table,
    seq: u64,
    commits: bool,
) -> Result<LogicalPlan> {
    let live = table.files.iter().cloned().map(FileRun::live);
    part(name, schema, table, live, |run| run <= seq, col(SEQ_COLUMN).lt_eq(lit(seq)), commits)
}

/// The same, but of the rows in files only those at some positions, by the files' paths: also those that are
/// removed.
pub(crate) fn rows_until_at(
    name: &str,
    schema: &SchemaRef,
    table: &Table,
    seq: u64,
    positions: &HashMap<String, RoaringBitmap>,
) -> Result<LogicalPlan> {
    let runs = table.files.iter().filter_map(|file| {
        let positions = positions.get(&file.path).filter(|positions| !positions.is_empty())?;
        Some(FileRun::at(file, positions))
    });
    part(name, schema, table, runs, |run| run <= seq, col(SEQ_COLUMN).lt_eq(lit(seq)), false)
}

/// The commits after `seq` whose rows a file holds, with the number of rows of each. The file is not one of
/// merged states, whose commits are not known any more.
pub(crate) fn commits_of(name: &str, file: &Arc<DataFile>, seq: u64) -> Result<LogicalPlan> {
    let none = Arc::new(Schema::empty());
    let rows = plan(name, &none, TOLD_COMMITS, vec![Arc::clone(file)], Vec::new())?;
    let rows = LogicalPlanBuilder::from(rows).filter(col(SEQ_COLUMN).gt(lit(seq)))?;
    Ok(rows.aggregate(vec![col(SEQ_COLUMN)], vec![count(lit(1_i64))])?.build()?)
}

const TOLD_COMMITS: Told = Told { commit: true, position: false };

/// The rows whose commit is among the wanted ones.
fn part(
    name: &str,
    schema: &SchemaRef,
    table: &Table,
    files: impl Iterator<Item = FileRun>,
    is_wanted: impl Fn(u64) -> bool,
    filter: Expr,
    commits: bool,
) -> Result<LogicalPlan> {
    let inline = table.inline.iter().filter(|run| is_wanted(run.seq)).cloned().collect();
    let (mut whole, mut cut) = (Vec::new(), Vec::new());
    for run in files {
        let file = &run.file;
        // States that were merged came in their last commit.
        let first = if file.merged { file.last_seq } else { file.first_seq };
        match (is_wanted(first), is_wanted(file.last_seq)) {
            (true, true) => whole.push(run),
            (false, false) => {}
            _ => cut.push(run),
        }
    }
    let told = if commits { TOLD_COMMITS } else { Told::default() };
    let whole = scan(name, Runs::new(schema, told, whole, inline))?;
    if cut.is_empty() {
        return Ok(whole);
    }
    let cut = scan(name, Runs::new(schema, TOLD_COMMITS, cut, Vec::new()))?;
    let mut columns = schema.fields().iter().map(|field| column(field.name())).collect::<Vec<_>>();
    columns.extend(commits.then(|| col(SEQ_COLUMN)));
    let cut = LogicalPlanBuilder::from(cut).filter(filter)?.project(columns.clone())?;
    Ok(cut.union(LogicalPlanBuilder::from(whole).project(columns)?.build()?)?.build()?)
}

fn runs_of(table: Option<&Table>) -> (Vec<Arc<DataFile>>, Vec<Arc<InlineRun>>) {
    match table {
        Some(table) => (table.files.to_vec(), table.inline.clone()),
        None => (Vec::new(), Vec::new()),
    }
}

/// The live rows of runs.
fn plan(
    name: &str,
    schema: &SchemaRef,
    told: Told,
    files: Vec<Arc<DataFile>>,
    inline: Vec<Arc<InlineRun>>,
) -> Result<LogicalPlan> {
    let files = files.into_iter().map(FileRun::live).collect();
    scan(name, Runs::new(schema, told, files, inline))
}

fn scan(name: &str, runs: Runs) -> Result<LogicalPlan> {
    Ok(LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(runs)), None)?.build()?)
}
