//! Records inside of records that are null, as Arrow wants them.
//!
//! Where a record is null, Parquet's reader gives nulls in the fields of a record inside of it that can never be null
//! itself, and does not say that the inner one is null there. Arrow's kernels panic on such a record when they take
//! some of its rows.

use crate::evaluate::lower::column;
use arrow::array::{Array, ArrayRef, AsArray, StructArray, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, Result, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use std::sync::{Arc, LazyLock};

/// The rows of files with the inner records null where the outer ones are.
pub(super) fn masked(rows: Arc<dyn ExecutionPlan>, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
    static FUNCTION: LazyLock<ScalarUDF> = LazyLock::new(|| {
        ScalarUDF::new_from_impl(Masked { signature: Signature::any(1, Volatility::Immutable) })
    });
    let schema = rows.schema();
    if !schema.fields().iter().any(|field| has_inner(field, false)) {
        return Ok(rows);
    }
    let columns = DFSchema::try_from(Arc::clone(&schema))?;
    let values = schema.fields().iter().map(|field| {
        let value = column(field.name());
        let value = if has_inner(field, false) { FUNCTION.call(vec![value]) } else { value };
        Ok((state.create_physical_expr(value, &columns)?, field.name().clone()))
    });
    Ok(Arc::new(ProjectionExec::try_new(values.collect::<Result<Vec<_>>>()?, rows)?))
}

/// Whether a value has a record that can be null only where one around it is.
fn has_inner(field: &Field, in_nullable: bool) -> bool {
    match field.data_type() {
        DataType::Struct(_) if in_nullable && !field.is_nullable() => true,
        DataType::Struct(fields) => {
            let in_nullable = in_nullable || field.is_nullable();
            fields.iter().any(|field| has_inner(field, in_nullable))
        }
        DataType::List(inner) | DataType::Map(inner, _) => has_inner(inner, false),
        _ => false,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Masked {
    signature: Signature,
}

impl ScalarUDFImpl for Masked {
    fn name(&self) -> &str {
        "masked"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("what {} gives is told by its argument's field", self.name())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        match arguments.arg_fields {
            [field] => Ok(Arc::clone(field)),
            _ => internal_err!("{} takes one argument", self.name()),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = ColumnarValue::values_to_arrays(&arguments.args)?.remove(0);
        Ok(ColumnarValue::Array(with_nulls(&array, None)?))
    }
}

/// The values, null also where a record around them is.
fn with_nulls(array: &ArrayRef, outer: Option<&NullBuffer>) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Struct(fields) => {
            let record = array.as_struct();
            let nulls = NullBuffer::union(outer, record.nulls());
            let columns = fields.iter().zip(record.columns()).map(|(field, column)| {
                let outer = nulls.as_ref().filter(|_| matches!(field.data_type(), DataType::Struct(_)));
                with_nulls(column, outer)
            });
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let fields = fields.clone();
            Ok(Arc::new(StructArray::try_new_with_length(fields, columns, nulls, record.len())?))
        }
        DataType::List(inner) | DataType::Map(inner, _) if has_inner(inner, false) => {
            let data = array.to_data();
            let parts = data.child_data().iter();
            let parts = parts.map(|part| Ok(with_nulls(&make_array(part.clone()), None)?.to_data()));
            let parts = parts.collect::<Result<Vec<_>>>()?;
            Ok(make_array(data.into_builder().child_data(parts).build()?))
        }
        _ => Ok(Arc::clone(array)),
    }
}

#[cfg(test)]
mod tests;
