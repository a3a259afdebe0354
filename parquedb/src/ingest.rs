//! Typed rows to Arrow batches and back, one column at a time and without looking at a schema per row.

mod binary;
mod column;
mod expanded;
mod nested;
mod passed;
mod reference;
mod row;
mod scalar;

pub use column::{ColumnBuilder, ColumnReader, ColumnValue, NotOptional, Nulls};
pub use expanded::{expanded_rows, finish_expanded};
pub(crate) use nested::map_type;
pub use passed::{Passed, PassedBuilder, PassedReader};
pub use row::{Row, StructColumns, finish_struct};
