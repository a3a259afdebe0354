//! `find`: a typed query over one collection or view.

use crate::db::{At, Connection};
use crate::declare::expr::Order;
use crate::declare::node::{Function, Node};
use crate::error::{Error, Result};
use crate::evaluate::lower::Scope;
use crate::ingest::Row;
use crate::types::Timestamp;
use arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use serde::Serialize;
use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;

/// A query over one collection or view. Await it for the rows, or end it with [`Find::stream`],
/// [`Find::batches`], [`Find::count`], [`Find::first`] or [`Find::read`].
///
/// A query reads one snapshot: the newest this process knows when it is awaited, or the one given by
/// [`Find::at`] or [`Find::as_of`]. Conditions and the columns needed are pushed down to the Parquet files.
#[must_use = "a query does nothing until it is awaited"]
pub struct Find<T> {
    connection: Connection,
    member: String,
    condition: Option<Node>,
    order: Vec<Order>,
    skip: usize,
    limit: Option<usize>,
    at: At,
    fresh: bool,
    row: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Find<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Find")
            .field("member", &self.member)
            .field("condition", &self.condition)
            .field("order", &self.order)
            .field("skip", &self.skip)
            .field("limit", &self.limit)
            .field("at", &self.at)
            .field("fresh", &self.fresh)
            .finish_non_exhaustive()
    }
}

/// The answer to a query with what reading it took.
#[derive(Debug, Clone)]
pub struct Found<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// The snapshot they were read at.
    pub seq: u64,
    /// What reading took.
    pub metrics: ReadMetrics,
}

/// What reading took, as counted by the Parquet reader.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ReadMetrics {
    /// Files opened.
    pub files: u64,
    /// Row groups whose statistics told that no row of theirs can match.
    pub row_groups_skipped: u64,
    /// Row groups that had to be looked into.
    pub row_groups_read: u64,
    /// Rows that the pages' statistics told cannot match, in row groups that were read.
    pub rows_skipped_by_page: u64,
    /// Bytes read from files.
    pub bytes: u64,
}

impl<T> Find<T> {
    pub(crate) fn new(connection: Connection, member: String) -> Self {
        Self {
            connection,
            member,
            condition: None,
            order: Vec::new(),
            skip: 0,
            limit: None,
            at: At::Newest,
            fresh: false,
            row: PhantomData,
        }
    }

    pub(crate) fn matching(mut self, condition: Node) -> Self {
        self.condition = Some(match self.condition {
            Some(before) => Node::Call(Function::And, vec![before, condition]),
            None => condition,
        });
        self
    }

    /// At most this many rows.
    pub fn limit(mut self, rows: usize) -> Self {
        self.limit = Some(rows);
        self
    }

    /// Leaves out the first rows.
    pub fn skip(mut self, rows: usize) -> Self {
        self.skip = rows;
        self
    }

    /// Reads the snapshot after commit `seq` instead of the newest one.
    pub fn at(mut self, seq: u64) -> Self {
        self.at = At::Seq(seq);
        self
    }

    /// Reads the last snapshot that was there at a time instead of the newest one.
    pub fn as_of(mut self, time: Timestamp) -> Self {
        self.at = At::Time(time);
        self
    }

    /// Reads a view as it would be if it, and what it is computed from, were refreshed at the snapshot: what it
    /// has not absorbed is computed for this query alone. Nothing is written. Of a view that is fresh, and of a
    /// collection, it is the same as without.
    pub fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// The rows as Arrow batches.
    ///
    /// # Errors
    /// As awaiting the query.
    pub async fn batches(self) -> Result<Vec<RecordBatch>> {
        let member = self.member.clone();
        let (frame, _) = self.frame().await?;
        frame.collect().await.map_err(|error| named(&member, error))
    }

    /// The number of rows, without decoding them.
    ///
    /// # Errors
    /// As awaiting the query.
    pub async fn count(self) -> Result<u64> {
        let member = self.member.clone();
        let (frame, _) = self.frame().await?;
        Ok(frame.count().await.map_err(|error| named(&member, error))? as u64)
    }

    /// The physical plan as text.
    ///
    /// # Errors
    /// As awaiting the query.
    pub async fn explain(self) -> Result<String> {
        let (frame, _) = self.frame().await?;
        let plan = frame.create_physical_plan().await?;
        Ok(displayable(plan.as_ref()).indent(false).to_string())
    }

    async fn frame(self) -> Result<(DataFrame, u64)> {
        let snapshot = self.connection.snapshot_at(self.at).await?;
        let seq = snapshot.seq;
        let snapshot = match self.fresh {
            true => Arc::new(self.connection.refreshed(&snapshot, &self.member).await?),
            false => snapshot,
        };
        let rows = self.connection.readable(&snapshot, &self.member).await?;
        let mut plan = LogicalPlanBuilder::from(rows);
        if let Some(condition) = &self.condition {
            let condition = Scope::new(plan.schema()).condition(condition)?;
            plan = plan.filter(condition)?;
        }
        if !self.order.is_empty() {
            let scope = Scope::new(plan.schema());
            let order = self
                .order
                .iter()
                .map(|order| Ok(scope.value(&order.node)?.sort(!order.descending, false)))
                .collect::<Result<Vec<_>>>()?;
            plan = plan.sort(order)?;
        }
        if self.skip > 0 || self.limit.is_some() {
            plan = plan.limit(self.skip, self.limit)?;
        }
        Ok((self.connection.session().execute_logical_plan(plan.build()?).await?, seq))
    }
}

impl<T: Row> Find<T> {
    /// Sorts by an expression: `.order_by(|row| row.timestamp.desc())`. A second call sorts rows that
    /// are equal by the first. Nulls come last.
    pub fn order_by<O: Into<Order>>(
        mut self,
        by: impl FnOnce(T::Handles<crate::declare::shape::NotNull>) -> O,
    ) -> Self {
        self.order.push(by(T::handles(Node::Row)).into());
        self
    }

    /// The rows as a stream, for answers that should not be in memory at once.
    ///
    /// # Errors
    /// As awaiting the query; an error may also come as an item.
    pub async fn stream(self) -> Result<BoxStream<'static, Result<T>>> {
        let member = self.member.clone();
        let (frame, _) = self.frame().await?;
        let batches = frame.execute_stream().await?;
        let rows = batches
            .map_err(move |error| named(&member, error))
            .and_then(|batch| async move { T::from_batch(&batch) })
            .map_ok(|rows| futures::stream::iter(rows.into_iter().map(Ok)))
            .try_flatten();
        Ok(rows.boxed())
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    /// As awaiting the query.
    pub async fn first(self) -> Result<Option<T>> {
        Ok(self.limit(1).await?.pop())
    }

    /// The rows with the snapshot they were read at and what reading took.
    ///
    /// # Errors
    /// As awaiting the query.
    pub async fn read(self) -> Result<Found<T>> {
        let member = self.member.clone();
        let (frame, seq) = self.frame().await?;
        let context = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await?;
        let batches = collect(Arc::clone(&plan), context).await.map_err(|error| named(&member, error))?;
        let mut rows = Vec::new();
        for batch in &batches {
            rows.extend(T::from_batch(batch)?);
        }
        let mut metrics = ReadMetrics::default();
        add_metrics(plan.as_ref(), &mut metrics);
        Ok(Found { rows, seq, metrics })
    }
}

impl<T: Row> IntoFuture for Find<T> {
    type Output = Result<Vec<T>>;
    type IntoFuture = BoxFuture<'static, Result<Vec<T>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut rows = Vec::new();
            for batch in self.batches().await? {
                rows.extend(T::from_batch(&batch)?);
            }
            Ok(rows)
        })
    }
}

/// The error of computing a member's rows, such as a sum that has left its type.
fn named(member: &str, error: DataFusionError) -> Error {
    Error::from(error).context(format!("reading `{member}`"))
}

fn add_metrics(plan: &dyn ExecutionPlan, total: &mut ReadMetrics) {
    use datafusion::physical_plan::metrics::MetricValue;
    if let Some(metrics) = plan.metrics() {
        for metric in metrics.iter() {
            match metric.value() {
                MetricValue::PruningMetrics { name, pruning_metrics } => {
                    let (pruned, matched) =
                        (pruning_metrics.pruned() as u64, pruning_metrics.matched() as u64);
                    match name.as_ref() {
                        "row_groups_pruned_statistics" => {
                            total.row_groups_skipped += pruned;
                            total.row_groups_read += matched;
                        }
                        "page_index_rows_pruned" => total.rows_skipped_by_page += pruned,
                        "files_ranges_pruned_statistics" => total.files += matched,
                        _ => {}
                    }
                }
                MetricValue::Count { name, count } if name == "bytes_scanned" => {
                    total.bytes += count.value() as u64;
                }
                _ => {}
            }
        }
    }
    for child in plan.children() {
        add_metrics(child.as_ref(), total);
    }
}
