//! Integer arithmetic that reports overflow, where DataFusion's own operators wrap, and the one form of
//! floats that are equal.

use arrow::array::{ArrayRef, AsArray, Datum};
use arrow::compute::kernels::numeric;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::{Arc, LazyLock};

/// The checked operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Remainder,
}

/// The float with one form of zero and of NaN, as stored columns have it. Calculations give negative
/// zeros and NaNs of either sign, which DataFusion tells apart.
pub(crate) fn canonical(float: Expr) -> Expr {
    static FUNCTION: LazyLock<ScalarUDF> = LazyLock::new(|| {
        ScalarUDF::new_from_impl(Canonical { signature: Signature::any(1, Volatility::Immutable) })
    });
    FUNCTION.call(vec![float])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Canonical {
    signature: Signature,
}

impl ScalarUDFImpl for Canonical {
    fn name(&self) -> &str {
        "canonical_float"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [kind @ (DataType::Float32 | DataType::Float64)] => Ok(kind.clone()),
            _ => plan_err!("{} takes a float", self.name()),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = ColumnarValue::values_to_arrays(&arguments.args)?.remove(0);
        let result: ArrayRef = match array.data_type() {
            DataType::Float32 => Arc::new(
                array
                    .as_primitive::<Float32Type>()
                    .unary::<_, Float32Type>(|value| if value.is_nan() { f32::NAN } else { value + 0.0 }),
            ),
            _ => Arc::new(
                array
                    .as_primitive::<Float64Type>()
                    .unary::<_, Float64Type>(|value| if value.is_nan() { f64::NAN } else { value + 0.0 }),
            ),
        };
        Ok(ColumnarValue::Array(result))
    }
}

/// The function of an operation over two integers of any width. Two unsigned ones give a `UInt64`,
/// except in a difference; everything else gives an `Int64`. A result outside of it is an error.
pub(crate) fn function(operation: Arithmetic) -> &'static ScalarUDF {
    static FUNCTIONS: LazyLock<[ScalarUDF; 4]> = LazyLock::new(|| {
        [Arithmetic::Add, Arithmetic::Subtract, Arithmetic::Multiply, Arithmetic::Remainder].map(
            |operation| {
                ScalarUDF::new_from_impl(Checked {
                    operation,
                    signature: Signature::any(2, Volatility::Immutable),
                })
            },
        )
    });
    &FUNCTIONS[operation as usize]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Arithmetic,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.operation {
            Arithmetic::Add => "checked_add",
            Arithmetic::Subtract => "checked_subtract",
            Arithmetic::Multiply => "checked_multiply",
            Arithmetic::Remainder => "checked_remainder",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let unsigned =
            types.iter().all(DataType::is_unsigned_integer) && self.operation != Arithmetic::Subtract;
        Ok(if unsigned { DataType::UInt64 } else { DataType::Int64 })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kind = arguments.return_field.data_type();
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let left = cast_with_options(&arrays[0], kind, &strict)?;
        let right = cast_with_options(&arrays[1], kind, &strict)?;
        let (left, right): (&dyn Datum, &dyn Datum) = (&left, &right);
        let result = match self.operation {
            Arithmetic::Add => numeric::add(left, right),
            Arithmetic::Subtract => numeric::sub(left, right),
            Arithmetic::Multiply => numeric::mul(left, right),
            Arithmetic::Remainder => numeric::rem(left, right),
        }?;
        Ok(ColumnarValue::Array(result))
    }
}
