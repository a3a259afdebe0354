//! What follows from sums that are kept as decimals. DataFusion's own expressions for it take several steps for each
//! value, one of them a division of 128 bits: most of what reading such a column of a view costs.

use super::function::ColumnFunction;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Int64Array, PrimitiveArray, Scalar};
use arrow::compute::kernels::cmp::lt_eq;
use arrow::compute::kernels::nullif::nullif;
use arrow::compute::kernels::numeric::div;
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, is_not_null};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Int64Type, UInt64Type};
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, internal_err};
use datafusion::logical_expr::Expr;
use std::fmt::Display;
use std::sync::Arc;

/// A decimal sum, or zero over nothing.
pub(crate) fn sum_or_zero(sum: Expr) -> Expr {
    let returns = |kinds: &[DataType]| match kinds {
        [kind] => Ok(kind.clone()),
        _ => internal_err!("sum_or_zero takes a sum"),
    };
    let compute = |columns: &[ArrayRef], kind: &DataType| match columns {
        [sums] if sums.null_count() == 0 => Ok(Arc::clone(sums)),
        [sums] => {
            let zero = cast(&Int64Array::from(vec![0]), kind)?;
            Ok(zip(&is_not_null(sums)?, sums, &Scalar::new(zero))?)
        }
        _ => internal_err!("sum_or_zero takes a sum"),
    };
    ColumnFunction::new("sum_or_zero", returns, compute).call(vec![sum])
}

/// A decimal sum divided by the number of values; null where there are none.
pub(crate) fn mean_of_sum(sum: Expr, values: Expr) -> Expr {
    let compute = |columns: &[ArrayRef], _: &DataType| match columns {
        [sums, values] => {
            let means = div(&cast(sums, &DataType::Float64)?, &cast(values, &DataType::Float64)?)?;
            Ok(nullif(&means, &lt_eq(values, &Int64Array::new_scalar(0))?)?)
        }
        _ => internal_err!("mean_of_sum takes a sum and a count"),
    };
    ColumnFunction::new("mean_of_sum", |_| Ok(DataType::Float64), compute).call(vec![sum, values])
}

/// Whether [`whole_number`] brings values of one type to another one.
pub(crate) fn is_whole_number(from: &DataType, to: &DataType) -> bool {
    matches!(from, DataType::Decimal128(_, 0) | DataType::Decimal256(_, 0))
        && matches!(to, DataType::Int64 | DataType::UInt64)
}

/// Decimals without digits after the point as the integers of a column. One that is outside of their type is an error
/// that names the column. It does not name the group: its keys would have to be read for it each time.
pub(crate) fn whole_number(decimal: Expr, kind: &DataType, column: &str) -> Expr {
    let column = column.to_owned();
    match kind {
        DataType::UInt64 => ColumnFunction::new(
            "unsigned_number",
            |_| Ok(DataType::UInt64),
            move |columns, _| integers::<UInt64Type>(columns, &column),
        ),
        _ => ColumnFunction::new(
            "whole_number",
            |_| Ok(DataType::Int64),
            move |columns, _| integers::<Int64Type>(columns, &column),
        ),
    }
    .call(vec![decimal])
}

fn integers<T>(columns: &[ArrayRef], column: &str) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i128>,
{
    let within = |value: Option<i128>, shown: &dyn Display| {
        value.and_then(|value| T::Native::try_from(value).ok()).ok_or_else(|| {
            exec_datafusion_err!("column `{column}`: {shown} is outside of the range of {}", T::DATA_TYPE)
        })
    };
    let [decimals] = columns else { return internal_err!("an integer is made of one decimal") };
    let integers: PrimitiveArray<T> = match decimals.data_type() {
        DataType::Decimal128(_, 0) => decimals
            .as_primitive::<Decimal128Type>()
            .try_unary::<_, T, DataFusionError>(|value| within(Some(value), &value))?,
        DataType::Decimal256(_, 0) => decimals
            .as_primitive::<Decimal256Type>()
            .try_unary::<_, T, DataFusionError>(|value| within(value.to_i128(), &value))?,
        other => return internal_err!("{other} is no decimal without digits after the point"),
    };
    Ok(Arc::new(integers))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow::array::{Decimal128Array, Decimal256Array};
    use arrow::datatypes::i256;

    #[test]
    fn integers_of_both_widths_keep_their_nulls() {
        let narrow = Decimal128Array::from(vec![Some(i128::from(i64::MIN)), None, Some(7)]);
        let narrow: ArrayRef = Arc::new(narrow.with_precision_and_scale(38, 0).unwrap());
        let made = integers::<Int64Type>(&[narrow], "n").unwrap();
        assert_eq!(made.as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(i64::MIN), None, Some(7)]));
        let wide = Decimal256Array::from(vec![Some(i256::from_i128(i128::from(u64::MAX))), None]);
        let wide: ArrayRef = Arc::new(wide.with_precision_and_scale(76, 0).unwrap());
        let made = integers::<UInt64Type>(&[Arc::clone(&wide)], "n").unwrap();
        assert_eq!(made.as_primitive::<UInt64Type>().iter().collect::<Vec<_>>(), [Some(u64::MAX), None]);
        let error = integers::<Int64Type>(&[wide], "n").unwrap_err().to_string();
        assert!(
            error.contains("column `n`: 18446744073709551615 is outside of the range of Int64"),
            "{error}"
        );
        let beyond = Decimal256Array::from(vec![i256::MAX]).with_precision_and_scale(76, 0).unwrap();
        assert!(integers::<UInt64Type>(&[Arc::new(beyond)], "n").is_err());
    }
}
