//! A view's plan prepared once and run over each delta. Planning costs milliseconds, running a
//! prepared plan over a hundred rows some tens of microseconds.

use crate::declare::definition::ViewDefinition;
use crate::error::Result;
use crate::evaluate::catalog::Catalog;
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
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
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

/// A streaming view's plans, ready to run.
#[derive(Debug)]
pub(crate) struct PreparedView {
    pub(crate) definition: ViewDefinition,
    pub(crate) hash: String,
    /// From source rows to what the view stores for them.
    rows: PreparedPlan,
    /// From states to those that take them away; nothing for a view that stores rows, or some of whose
    /// aggregates cannot take rows back.
    negation: Option<PreparedPlan>,
    keeps_candidates: bool,
}

impl PreparedView {
    /// Plans a view that is computed from one source alone.
    pub(crate) async fn new(catalog: &Catalog, definition: &ViewDefinition) -> Result<Self> {
        let name = &definition.name;
        let source = definition.plan.source_names();
        let (read, stored) = (catalog.get(&source)?.schema(), catalog.stored_schema(name)?);
        let rows = PreparedPlan::new(&source, read, stored, |rows| {
            let inputs = catalog.inputs(definition, |_| Ok(rows.clone()))?;
            view::delta_plan(definition, &inputs).map(Some)
        });
        let negation = PreparedPlan::new(name, stored, stored, |states| {
            view::negated(definition, &catalog.no_inputs(definition)?, states)
        });
        Ok(Self {
            definition: definition.clone(),
            hash: catalog.hash(name)?.to_owned(),
            rows: rows.await?.ok_or_else(|| crate::Error::invalid(format!("view `{name}` has no plan")))?,
            negation: negation.await?,
            keeps_candidates: view::keeps_candidates(definition, &catalog.no_inputs(definition)?)?,
        })
    }

    /// The name of the view's only source.
    pub(crate) fn source(&self) -> &str {
        self.definition.plan.sources.first().map_or("", String::as_str)
    }

    /// What the view stores for these source rows: rows, or one state per group among them.
    pub(crate) async fn delta(&self, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        self.named(self.rows.run(rows).await)
    }

    /// Whether states can be taken away.
    pub(crate) fn can_negate(&self) -> bool {
        self.negation.is_some()
    }

    /// Whether some aggregate keeps no more than the best values of each group.
    pub(crate) fn keeps_candidates(&self) -> bool {
        self.keeps_candidates
    }

    /// The states that take these away.
    pub(crate) async fn negated(&self, states: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        match &self.negation {
            _ if states.is_empty() => Ok(Vec::new()),
            Some(negation) => self.named(negation.run(states).await),
            None => self.named(Err(crate::Error::invalid("its aggregates cannot take rows back"))),
        }
    }

    fn named<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| error.context(format!("view `{}`", self.definition.name)))
    }
}

/// A plan over rows in memory, ready to run.
#[derive(Debug)]
struct PreparedPlan {
    input_name: String,
    input: SchemaRef,
    output: SchemaRef,
    plan: Mutex<(Arc<dyn ExecutionPlan>, u32)>,
    config: SessionConfig,
    context: Arc<TaskContext>,
}

impl PreparedPlan {
    /// Plans what `build` makes of rows with the schema `input`; nothing where it makes nothing.
    async fn new(
        name: &str,
        input: &SchemaRef,
        output: &SchemaRef,
        build: impl FnOnce(LogicalPlan) -> Result<Option<LogicalPlan>>,
    ) -> Result<Option<Self>> {
        let session = delta_session();
        let delta = provider_as_source(Arc::new(DeltaTable { schema: Arc::clone(input) }));
        let Some(logical) = build(LogicalPlanBuilder::scan(name, delta, None)?.build()?)? else {
            return Ok(None);
        };
        let plan = session.state().create_physical_plan(&logical).await?;
        let context = session.task_ctx();
        Ok(Some(Self {
            input_name: name.to_owned(),
            input: Arc::clone(input),
            output: Arc::clone(output),
            plan: Mutex::new((plan, 0)),
            config: context.session_config().clone(),
            context,
        }))
    }

    async fn run(&self, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        let name = &self.input_name;
        let mut slices = Vec::new();
        for batch in rows {
            let batch = view::conform(batch, &self.input, name)?;
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
        let batches = collect(self.plan()?, context).await?;
        batches
            .iter()
            .filter(|batch| batch.num_rows() > 0)
            .map(|batch| view::conform(batch, &self.output, name))
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
