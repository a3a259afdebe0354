//! A view's plan prepared once and run over each delta. Planning costs milliseconds, running a
//! prepared plan over a hundred rows some tens of microseconds.

use crate::declare::definition::ViewDefinition;
use crate::error::Result;
use crate::evaluate::prepare::Inputs;
use crate::evaluate::session::delta_session;
use crate::evaluate::view;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result as DataFusionResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::{TableProvider, TableType, provider_as_source};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions, reset_plan_states,
};
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, collect,
};
use datafusion::prelude::SessionConfig;
use std::sync::{Arc, Mutex, PoisonError};

/// Rows a plan takes at once: few enough to stay in the processor's cache.
const ROWS_AT_ONCE: usize = 8192;

/// Runs after which the plan is renewed: every run leaves its metrics behind in it.
const RUNS_PER_PLAN: u32 = 64;

/// A view's delta plan, ready to run.
#[derive(Debug)]
pub(crate) struct PreparedView {
    pub(crate) definition: ViewDefinition,
    pub(crate) hash: String,
    stored: SchemaRef,
    source: SchemaRef,
    plan: Mutex<(Arc<dyn ExecutionPlan>, u32)>,
    config: SessionConfig,
    context: Arc<TaskContext>,
}

impl PreparedView {
    /// Plans the view over deltas of its source, whose rows have the schema `source`.
    pub(crate) async fn new(
        definition: ViewDefinition,
        hash: String,
        stored: SchemaRef,
        source: SchemaRef,
    ) -> Result<Self> {
        let session = delta_session();
        let delta = Arc::new(DeltaTable { schema: Arc::clone(&source) });
        let inputs = Inputs::of(&definition, |name| {
            Ok(LogicalPlanBuilder::scan(name, provider_as_source(Arc::clone(&delta) as _), None)?.build()?)
        })?;
        let logical = view::delta_plan(&definition, &inputs)?;
        let plan = session.state().create_physical_plan(&logical).await?;
        let context = session.task_ctx();
        let config = context.session_config().clone();
        Ok(Self { definition, hash, stored, source, plan: Mutex::new((plan, 0)), config, context })
    }

    /// The name of the view's only source.
    pub(crate) fn source(&self) -> &str {
        self.definition.plan.sources.first().map_or("", String::as_str)
    }

    /// What the view stores for these source rows: rows, or one state per group among them.
    pub(crate) async fn delta(&self, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        let name = &self.definition.name;
        let mut slices = Vec::new();
        for batch in rows {
            let batch = view::conform(batch, &self.source, self.source())?;
            for offset in (0..batch.num_rows()).step_by(ROWS_AT_ONCE) {
                slices.push(batch.slice(offset, ROWS_AT_ONCE.min(batch.num_rows() - offset)));
            }
        }
        if slices.is_empty() {
            return Ok(Vec::new());
        }
        let config = self.config.clone().with_extension(Arc::new(Delta(slices)));
        let context = Arc::new(TaskContext::new(
            None,
            self.context.session_id(),
            config,
            Default::default(),
            Default::default(),
            Default::default(),
            Default::default(),
            self.context.runtime_env(),
        ));
        let batches = collect(self.plan()?, context)
            .await
            .map_err(|error| crate::Error::from(error).context(format!("view `{name}`")))?;
        batches
            .iter()
            .filter(|batch| batch.num_rows() > 0)
            .map(|batch| view::conform(batch, &self.stored, name))
            .collect()
    }

    fn plan(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let mut guard = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let (plan, runs) = &mut *guard;
        *runs += 1;
        if *runs >= RUNS_PER_PLAN {
            *plan = reset_plan_states(Arc::clone(plan))?;
            *runs = 0;
        }
        Ok(Arc::clone(plan))
    }
}

/// The rows of the present run, found by the leaf in its task's settings: runs share no state.
#[derive(Debug)]
struct Delta(Vec<RecordBatch>);

#[derive(Debug)]
struct DeltaTable {
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for DeltaTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Arc::new(DeltaScan { schema, projection: projection.cloned(), properties: Arc::new(properties) }))
    }
}

#[derive(Debug)]
struct DeltaScan {
    schema: SchemaRef,
    projection: Option<Vec<usize>>,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for DeltaScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeltaScan")
    }
}

impl ExecutionPlan for DeltaScan {
    fn name(&self) -> &'static str {
        "DeltaScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> DataFusionResult<SendableRecordBatchStream> {
        let delta = context
            .session_config()
            .get_extension::<Delta>()
            .ok_or_else(|| crate::Error::invalid("a delta plan was run without a delta"))?;
        Ok(Box::pin(MemoryStream::try_new(delta.0.clone(), self.schema.clone(), self.projection.clone())?))
    }
}
