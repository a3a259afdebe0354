//! The value of the row that is first or last in an order: `pick(by, value)` makes the state from rows,
//! `merge_pick(state)` picks among states. A state is a struct of both, null of no rows. Among equal
//! keys the value decides, so that no order of rows can show. Nulls are never better than a value.

use super::aggregate_function::{GroupStates, Input, Selection, StateFunction};
use super::function::ColumnFunction;
use arrow::array::{Array, ArrayRef, AsArray, StructArray, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Fields};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::Expr;
use std::sync::Arc;

/// Which row is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Best {
    Least,
    Greatest,
}

/// The state over rows.
pub(crate) fn pick(best: Best, by: Expr, value: Expr) -> Expr {
    let (name, create): (_, fn(&DataType) -> _) = match best {
        Best::Least => ("pick_least", Picks::least),
        Best::Greatest => ("pick_greatest", Picks::greatest),
    };
    let state = |types: &[DataType]| match types {
        [by, value] => Ok(pick_type(by, value)),
        _ => plan_err!("a value is picked by one other value"),
    };
    StateFunction::new(name, Input::Rows, state, create).call(vec![by, value])
}

/// The best of states.
pub(crate) fn merge_pick(best: Best, state: Expr) -> Expr {
    let (name, create): (_, fn(&DataType) -> _) = match best {
        Best::Least => ("merge_pick_least", Picks::least),
        Best::Greatest => ("merge_pick_greatest", Picks::greatest),
    };
    StateFunction::new(name, Input::States, |types| Ok(types[0].clone()), create).call(vec![state])
}

/// The state's type.
pub(crate) fn pick_type(by: &DataType, value: &DataType) -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("by", by.clone(), true),
        Field::new("value", value.clone(), true),
    ]))
}

/// The value of a state. DataFusion's own field access is moved through projections, and some of them have
/// a column of this name already.
pub(crate) fn picked_value(state: Expr) -> Expr {
    let returns = |types: &[DataType]| match &types[0] {
        DataType::Struct(fields) if fields.len() == 2 => Ok(fields[1].data_type().clone()),
        other => plan_err!("{other} is not the state of a pick"),
    };
    // Both columns are null where the struct is.
    let compute = |columns: &[ArrayRef], _: &DataType| Ok(Arc::clone(columns[0].as_struct().column(1)));
    ColumnFunction::new("picked_value", returns, compute).call(vec![state])
}

/// The best row of each group, in Arrow's row format, which orders as the columns do.
struct Picks {
    best: Best,
    fields: Fields,
    converter: RowConverter,
    rows: Vec<Option<OwnedRow>>,
}

impl Picks {
    fn least(state: &DataType) -> Result<Box<dyn GroupStates>> {
        Self::boxed(Best::Least, state)
    }

    fn greatest(state: &DataType) -> Result<Box<dyn GroupStates>> {
        Self::boxed(Best::Greatest, state)
    }

    fn boxed(best: Best, state: &DataType) -> Result<Box<dyn GroupStates>> {
        let DataType::Struct(fields) = state else { return plan_err!("{state} is not the state of a pick") };
        let options = SortOptions { descending: false, nulls_first: best == Best::Greatest };
        let sorted =
            fields.iter().map(|field| SortField::new_with_options(field.data_type().clone(), options));
        let converter = RowConverter::new(sorted.collect())?;
        Ok(Box::new(Self { best, fields: fields.clone(), converter, rows: Vec::new() }))
    }

    fn add(&mut self, columns: &[ArrayRef], rows: Selection<'_>, nulls: Option<&NullBuffer>) -> Result<()> {
        let found = self.converter.convert_columns(columns)?;
        for (index, group) in rows.rows(nulls) {
            let row = found.row(index);
            let is_better = match (&self.rows[group], self.best) {
                (None, _) => true,
                (Some(best), Best::Least) => row < best.row(),
                (Some(best), Best::Greatest) => row > best.row(),
            };
            if is_better {
                self.rows[group] = Some(row.owned());
            }
        }
        Ok(())
    }
}

impl GroupStates for Picks {
    fn resize(&mut self, groups: usize) {
        if self.rows.len() < groups {
            self.rows.resize(groups, None);
        }
    }

    fn add_rows(&mut self, columns: &[ArrayRef], rows: Selection<'_>) -> Result<()> {
        self.add(columns, rows, None)
    }

    fn add_states(&mut self, states: &ArrayRef, rows: Selection<'_>) -> Result<()> {
        let states = states.as_struct();
        self.add(states.columns(), rows, states.nulls())
    }

    fn emit(&mut self, groups: usize) -> Result<ArrayRef> {
        let emitted = self.rows.drain(..groups).collect::<Vec<_>>();
        let nulls = self.fields.iter().map(|field| new_null_array(field.data_type(), 1));
        let none = self.converter.convert_columns(&nulls.collect::<Vec<_>>())?;
        let rows = emitted.iter().map(|row| row.as_ref().map_or(none.row(0), OwnedRow::row));
        let columns = self.converter.convert_rows(rows)?;
        let valid = emitted.iter().map(Option::is_some).collect::<NullBuffer>();
        let nulls = (valid.null_count() > 0).then_some(valid);
        Ok(Arc::new(StructArray::try_new(self.fields.clone(), columns, nulls)?))
    }

    fn size(&self) -> usize {
        self.rows.capacity() * (size_of::<OwnedRow>() + 32)
    }
}
