//! Declarations as DataFusion plans. Every evaluation in the crate, of views and of queries, goes
//! through these plans: there is no second evaluator.

pub(crate) mod aggregate_function;
pub(crate) mod arithmetic;
pub(crate) mod bit_counts;
pub(crate) mod candidates;
pub(crate) mod catalog;
pub(crate) mod decimal_sums;
pub(crate) mod difference;
pub(crate) mod exact_sum;
mod exchange;
pub(crate) mod function;
pub(crate) mod hyperloglog;
mod join;
pub(crate) mod lower;
pub(crate) mod map_sums;
pub(crate) mod memory;
pub(crate) mod past;
pub(crate) mod pick;
pub(crate) mod prepare;
pub(crate) mod quantile_sketch;
pub(crate) mod scan;
pub(crate) mod session;
pub(crate) mod state;
pub(crate) mod value_counts;
pub(crate) mod view;
