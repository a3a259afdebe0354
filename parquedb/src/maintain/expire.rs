//! Which rows have expired: those from before a time, by a column of theirs, that every view over them has
//! absorbed.

use super::freshness::{Freshness, freshness};
use super::locate::keys::column as column_of;
use super::locate::{Side, side_of};
use super::step::Engine;
use crate::commit::snapshot::{DataFile, SEQ_COLUMN, Snapshot, Table};
use crate::commit::{RunId, RunRemoval, TableExpiry, TableRemoval};
use crate::declare::definition::{Definition, Ttl};
use crate::error::{Error, Result};
use crate::evaluate::catalog::Catalog;
use crate::evaluate::lower::column;
use crate::evaluate::scan::{self, POSITION_COLUMN};
use crate::evaluate::view;
use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, FieldRef, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType, UInt64Type,
};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::LogicalPlanBuilder;
use futures::{StreamExt, stream};
use roaring::RoaringBitmap;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files whose statistics are read at once, where they are not in memory.
const FOOTERS_AT_ONCE: usize = 16;

/// The least time of the rows that are left in files, in microseconds since 1970: what the statistics in a footer do
/// not know any more. A file never gets another row, so it stays true.
#[derive(Debug, Default)]
pub(crate) struct LeastTimes(Mutex<HashMap<(String, String), i64>>);

/// Of so many files it is kept.
const MOST_FILES: usize = 1 << 16;

impl LeastTimes {
    fn kept(&self) -> MutexGuard<'_, HashMap<(String, String), i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_from(&self, file: &DataFile, column: &str, horizon: i64) -> bool {
        let least = self.kept().get(&(file.path.clone(), column.to_owned())).copied();
        least.is_some_and(|least| least >= horizon)
    }

    fn keep(&self, file: &DataFile, column: &str, least: i64) {
        let mut kept = self.kept();
        if kept.len() >= MOST_FILES {
            kept.clear();
        }
        kept.insert((file.path.clone(), column.to_owned()), least);
    }
}

/// What has expired at a time.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// What can go.
    pub(crate) expiries: Vec<TableExpiry>,
    /// The tables with rows that have expired and of which not all can go: some view has not absorbed them.
    pub(crate) held_back: BTreeSet<String>,
}

/// An error if rows of some member cannot expire as it says.
pub(crate) fn check_all_ttls(catalog: &Catalog) -> Result<()> {
    for (name, definition) in catalog.definitions().iter() {
        if let Some(ttl) = definition.ttl() {
            check_ttl(name, definition, ttl)?;
        }
    }
    for view in catalog.views() {
        for join in &view.plan.joins {
            if catalog.get(&join.member)?.ttl().is_some() {
                return Err(Error::invalid(format!(
                    "view `{}` looks rows of `{}` up, by `{}`, and rows of `{}` expire: what they had been counted \
                     with could not be taken back any more. Leave out its `ttl`, or do not refer to it in the view",
                    view.name, join.member, join.name, join.member
                )));
            }
        }
    }
    Ok(())
}

fn check_ttl(name: &str, definition: &Definition, ttl: &Ttl) -> Result<()> {
    let Ttl { after, on } = ttl;
    if *after <= 0 {
        return Err(Error::invalid(format!("`{name}`: rows must stay for some time before they expire")));
    }
    let is_time = |kind: &DataType| matches!(kind, DataType::Timestamp(TimeUnit::Microsecond, _));
    match definition.schema().field_with_name(on) {
        Ok(field) if is_time(field.data_type()) => {}
        Ok(field) => {
            return Err(Error::invalid(format!(
                "`{name}`: rows expire by a timestamp, and `{on}` is {}",
                field.data_type()
            )));
        }
        Err(_) => {
            return Err(Error::invalid(format!(
                "`{name}`: rows are to expire by `{on}`, which it does not have"
            )));
        }
    }
    match definition {
        Definition::View(view)
            if view::groups(view) && !view::keys(view).iter().any(|key| &key.name == on) =>
        {
            Err(Error::invalid(format!(
                "view `{name}`: groups expire by one of their keys, and `{on}` is none"
            )))
        }
        _ => Ok(()),
    }
}

/// The views over a member that hold, or are to hold, something of it.
pub(crate) fn views_over<'a>(catalog: &'a Catalog, member: &'a str) -> impl Iterator<Item = &'a str> {
    let over = catalog.views().filter(move |view| view.plan.sources.iter().any(|source| source == member));
    over.map(|view| view.name.as_str())
}

impl Engine<'_> {
    /// What has expired at `now`, in microseconds since 1970.
    pub(crate) async fn due(&self, snapshot: &Snapshot, now: i64, known: &LeastTimes) -> Result<Due> {
        let mut due = Due::default();
        for (name, definition) in self.catalog.definitions().iter() {
            let (Some(ttl), Some(table)) = (definition.ttl(), snapshot.tables.get(name)) else { continue };
            let search = Search {
                engine: self,
                known,
                name,
                bound: bound(definition, ttl, ttl.horizon(now))?,
                horizon: ttl.horizon(now),
                absorbed: self.absorbed_by_all(snapshot, name)?,
            };
            let Old { runs, held_back } =
                search.all(table).await.map_err(|error| error.context(format!("`{name}`")))?;
            if held_back {
                due.held_back.insert(name.clone());
            }
            let whole_groups = matches!(definition, Definition::View(view) if view::groups(view));
            // Of a group either all states go or none.
            let must_wait = whole_groups && held_back;
            if !runs.is_empty() && !must_wait {
                let rows = TableRemoval { table: name.clone(), runs };
                let expiry = TableExpiry { rows, on: ttl.on.clone(), before: search.horizon, whole_groups };
                due.expiries.push(expiry);
            }
        }
        Ok(due)
    }

    /// The commit up to which every view over a member has absorbed it. One that must be built anew holds
    /// nothing that could be lost.
    fn absorbed_by_all(&self, snapshot: &Snapshot, member: &str) -> Result<u64> {
        let mut least = u64::MAX;
        for view in views_over(self.catalog, member) {
            if let Freshness::Invalid { .. } = freshness(self.catalog, snapshot, view)? {
                continue;
            }
            let seen = snapshot.cursors.get(view).and_then(|cursor| cursor.sources.get(member));
            // A cursor without this source was made when the source had no table.
            least = least.min(seen.map_or(0, |seen| seen.seq));
        }
        Ok(least)
    }
}

/// A row with the time before which rows have expired.
fn bound(definition: &Definition, ttl: &Ttl, horizon: i64) -> Result<RecordBatch> {
    let schema = definition.schema();
    let index = schema.index_of(&ttl.on)?;
    let field = Arc::clone(&schema.fields()[index]);
    let values = TimestampMicrosecondArray::from_value(horizon, 1).with_data_type(field.data_type().clone());
    Ok(RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(values)])?)
}

/// The rows of a table that have expired.
#[derive(Debug, Default)]
struct Old {
    runs: Vec<RunRemoval>,
    /// There are more that have not been absorbed.
    held_back: bool,
}

struct Search<'a> {
    engine: &'a Engine<'a>,
    known: &'a LeastTimes,
    name: &'a str,
    bound: RecordBatch,
    horizon: i64,
    /// Rows of later commits have to stay.
    absorbed: u64,
}

impl Search<'_> {
    fn schema(&self) -> &SchemaRef {
        self.bound.schema_ref()
    }

    fn field(&self) -> &FieldRef {
        &self.schema().fields()[0]
    }

    async fn all(&self, table: &Table) -> Result<Old> {
        let mut old = Old::default();
        for run in &table.inline {
            let mut rows = RoaringBitmap::new();
            let mut start = 0_u32;
            for batch in &run.batches {
                let times = self.times(&column_of(batch, self.field())?)?;
                let is_old = |at: &u32| {
                    let index = *at as usize;
                    !times.is_null(index) && times.value(index) < self.horizon
                };
                let count = u32::try_from(batch.num_rows()).map_err(|_| too_many(self.name))?;
                let positions = (0..count).filter(is_old).map(|at| start + at);
                rows.extend(positions.filter(|at| !run.removed.contains(*at)));
                start = start.checked_add(count).ok_or_else(|| too_many(self.name))?;
            }
            old.add(RunId::Inline(run.seq), rows, run.seq <= self.absorbed);
        }
        let Engine { located, session, .. } = *self.engine;
        let mut sides = Vec::with_capacity(table.files.len());
        for file in table.files.iter() {
            sides.push(side_of(located, session, self.name, &self.bound, file));
        }
        let mut sides = stream::iter(sides).buffered(FOOTERS_AT_ONCE);
        for file in table.files.iter() {
            let side = sides.next().await.unwrap_or(Ok(Side::Across))?;
            self.in_file(file, side, &mut old).await?;
        }
        Ok(old)
    }

    async fn in_file(&self, file: &Arc<DataFile>, side: Side, old: &mut Old) -> Result<()> {
        let session = self.engine.session;
        let time = self.field().name();
        let run = RunId::File(file.path.clone());
        let is_absorbed = file.last_seq <= self.absorbed;
        match side {
            Side::From => return Ok(()),
            // Statistics leave nulls out, and rows without a time do not expire.
            Side::Before if is_absorbed && !self.field().is_nullable() => {
                let mut rows = RoaringBitmap::new();
                rows.insert_range(0..u32::try_from(file.rows).map_err(|_| too_many(self.name))?);
                rows -= file.removed.iter().collect::<RoaringBitmap>();
                old.add(run, rows, true);
                return Ok(());
            }
            Side::Before | Side::Across if self.known.all_from(file, time, self.horizon) => return Ok(()),
            Side::Before | Side::Across => {}
        }
        let rows = scan::rows_at(self.name, self.schema(), file, None)?;
        let columns = [column(POSITION_COLUMN), column(SEQ_COLUMN), column(time)];
        let plan = LogicalPlanBuilder::from(rows).project(columns)?.build()?;
        let (mut ready, mut later, mut least) = (RoaringBitmap::new(), RoaringBitmap::new(), i64::MAX);
        let mut batches = session.execute_logical_plan(plan).await?.execute_stream().await?;
        while let Some(batch) = batches.next().await.transpose()? {
            let positions = batch.column(0).as_primitive::<Int64Type>();
            let commits = batch.column(1).as_primitive::<UInt64Type>();
            let times = self.times(batch.column(2))?;
            for index in 0..batch.num_rows() {
                let position = u32::try_from(positions.value(index)).map_err(|_| too_many(self.name))?;
                if times.is_null(index) || file.removed.contains(position) {
                    continue;
                }
                let is_old = times.value(index) < self.horizon;
                if is_old && commits.value(index) <= self.absorbed {
                    ready.insert(position);
                    continue;
                }
                least = least.min(times.value(index));
                if is_old {
                    later.insert(position);
                }
            }
        }
        // Should these not go after all, they are what the next search must find.
        if ready.is_empty() {
            self.known.keep(file, time, least);
        }
        old.add(run.clone(), ready, true);
        old.add(run, later, false);
        Ok(())
    }

    fn times(&self, values: &ArrayRef) -> Result<TimestampMicrosecondArray> {
        let times = values.as_primitive_opt::<TimestampMicrosecondType>().cloned();
        times.ok_or_else(|| {
            Error::corrupt(format!("the rows' time `{}` is no timestamp", self.field().name()))
        })
    }
}

impl Old {
    fn add(&mut self, run: RunId, rows: RoaringBitmap, is_absorbed: bool) {
        match (rows.is_empty(), is_absorbed) {
            (true, _) => {}
            (false, true) => self.runs.push(RunRemoval { run, rows }),
            (false, false) => self.held_back = true,
        }
    }
}

fn too_many(table: &str) -> Error {
    Error::invalid(format!("a run of {table} has more than {} rows: they cannot expire", u32::MAX))
}
