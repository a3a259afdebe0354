//! Small files are read where their rows are needed, without an exchange between cores.

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use std::sync::Arc;

/// Leaves out the exchange of rows in turns above a scan of files that are smaller together than what DataFusion
/// divides among cores, where all columns are numbers and the like: handing the few batches on takes longer than
/// what is done with them. States such as sketches are large, and their merge is worth all cores.
#[derive(Debug)]
pub(super) struct NoExchangeOfFewRows;

impl PhysicalOptimizerRule for NoExchangeOfFewRows {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        options: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let least = options.optimizer.repartition_file_min_size as u64;
        let changed = plan.transform_up(|node| {
            let input = node.downcast_ref::<RepartitionExec>().and_then(|exchange| {
                let in_turns = matches!(exchange.partitioning(), Partitioning::RoundRobinBatch(_));
                (in_turns && is_small(exchange.input(), least)).then(|| Arc::clone(exchange.input()))
            });
            Ok(input.map_or_else(|| Transformed::no(node), Transformed::yes))
        })?;
        Ok(changed.data)
    }

    fn name(&self) -> &str {
        "no_exchange_of_few_rows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn is_small(plan: &Arc<dyn ExecutionPlan>, least: u64) -> bool {
    let Some(scan) = plan.downcast_ref::<DataSourceExec>() else { return false };
    let Some(files) = scan.data_source().downcast_ref::<FileScanConfig>() else { return false };
    let files = files.file_groups.iter().flat_map(|group| group.iter());
    files.map(|file| file.object_meta.size).sum::<u64>() < least
        && plan.schema().fields().iter().all(|field| field.data_type().is_primitive())
}
