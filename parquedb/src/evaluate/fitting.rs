//! Sums in their declared types. One that is outside of its type is an error that names its group.

use super::decimal_sums::whole_numbers;
use super::function::ColumnFunction;
use super::lower::column;
use crate::declare::plan::Column;
use crate::error::Error;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::logical_expr::Expr;

/// The groups of a view, as an error tells of them.
#[derive(Debug, Clone)]
pub(crate) struct Groups {
    view: String,
    keys: Vec<String>,
}

impl Groups {
    pub(crate) fn new(view: &str, keys: &[Column]) -> Self {
        Self { view: view.to_owned(), keys: keys.iter().map(|key| key.name.clone()).collect() }
    }

    /// The columns with their keys, which [`Groups::name`] takes.
    pub(crate) fn columns(&self) -> impl Iterator<Item = Expr> {
        self.keys.iter().map(|key| column(key))
    }

    /// What an error says of a group, given its keys' columns.
    pub(crate) fn name(&self, keys: &[ArrayRef], row: usize) -> String {
        let Self { view, keys: names } = self;
        if names.is_empty() {
            return format!("view `{view}`, in its only group");
        }
        let parts = names.iter().zip(keys).map(|(name, key)| format!("{name} = {}", shown(key, row)));
        format!("view `{view}`, in the group ({})", parts.collect::<Vec<_>>().join(", "))
    }
}

/// A value as a user knows it.
pub(crate) fn shown(values: &ArrayRef, row: usize) -> String {
    let options = FormatOptions::default().with_null("null");
    ArrayFormatter::try_new(values.as_ref(), &options)
        .map_or_else(|error| error.to_string(), |formatter| formatter.value(row).to_string())
}

/// The sums of groups as integers of a type that [`is_whole_number`](super::decimal_sums::is_whole_number) knows.
pub(crate) fn fitting(sum: Expr, kind: &DataType, name: &str, groups: Groups) -> Expr {
    let arguments = [sum].into_iter().chain(groups.columns()).collect();
    let name = name.to_owned();
    let compute = move |columns: &[ArrayRef], kind: &DataType| {
        let sums = &columns[0];
        whole_numbers(sums, kind).map_err(|error| {
            // Which one it is matters only now.
            let is_beyond = |row: &usize| whole_numbers(&sums.slice(*row, 1), kind).is_err();
            let Some(row) = (0..sums.len()).find(is_beyond) else { return error };
            let (group, sum) = (groups.name(&columns[1..], row), shown(sums, row));
            let message =
                format!("{group}: the sum `{name}` is {sum}, which is outside of the range of {kind}");
            Error::invalid(message).into()
        })
    };
    let function = match kind {
        DataType::UInt64 => ColumnFunction::new("fitting_unsigned", |_| Ok(DataType::UInt64), compute),
        _ => ColumnFunction::new("fitting", |_| Ok(DataType::Int64), compute),
    };
    function.call(arguments)
}
