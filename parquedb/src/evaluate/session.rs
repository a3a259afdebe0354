//! The DataFusion session of a database: its settings, its functions, its view of the store.

use super::exchange::NoExchangeOfFewRows;
use crate::error::Result;
use datafusion::config::ConfigOptions;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::ObjectStore;
use std::sync::Arc;

/// Under which address the database's files are known to DataFusion.
pub(crate) fn store_url() -> Result<ObjectStoreUrl> {
    Ok(ObjectStoreUrl::parse("parquedb://database")?)
}

/// A session for reads, refreshes and SQL.
pub(crate) fn session(store: Arc<dyn ObjectStore>, partitions: usize) -> Result<SessionContext> {
    let runtime = Arc::new(RuntimeEnv::default());
    runtime.register_object_store(store_url()?.as_ref(), store);
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_default_catalog_and_schema("parquedb", "public");
    let options = config.options_mut();
    // Rows are decoded from the declared types, so text stays `Utf8`.
    options.execution.parquet.schema_force_view_types = false;
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    options.execution.time_zone = Some("UTC".to_owned());
    options.sql_parser.map_string_types_to_utf8view = false;
    allow_looser_nullability(options);
    keep_fields_in_place(options);
    Ok(SessionContext::new_with_state(
        SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_physical_optimizer_rules(sound_rules())
            .build(),
    ))
}

/// The settings for plans that are prepared once and run over each delta: one partition, and no
/// operator that keeps something between runs.
pub(crate) fn delta_session() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1);
    let options = config.options_mut();
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    allow_looser_nullability(options);
    let state = SessionStateBuilder::new().with_config(config).with_default_features();
    SessionContext::new_with_state(state.with_physical_optimizer_rules(sound_rules()).build())
}

/// Where a field of a record is taken above a union, DataFusion may move that below it, into some of the united
/// plans at another place than into others, and then refuses the plan. So records are read whole.
fn keep_fields_in_place(options: &mut ConfigOptions) {
    options.optimizer.enable_leaf_expression_pushdown = false;
}

/// DataFusion's rules but for one that answers aggregates from statistics: below another aggregate, as over a view
/// without group keys, it leaves out columns that the plan above needs. Counting rows of files stays cheap without. And
/// one more, after that which adds exchanges.
fn sound_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    rules.retain(|rule| rule.name() != "aggregate_statistics");
    let after = rules.iter().position(|rule| rule.name() == "EnsureRequirements").map(|at| at + 1);
    rules.insert(after.unwrap_or(rules.len()), Arc::new(NoExchangeOfFewRows));
    rules
}

/// DataFusion's physical plans take `IS TRUE` and `IS NOT DISTINCT FROM` as nullable, its logical ones do
/// not, and where two aggregates share one it refuses the plan. Declared types are checked by `conform`.
fn allow_looser_nullability(options: &mut ConfigOptions) {
    options.execution.skip_physical_aggregate_schema_check = true;
}
