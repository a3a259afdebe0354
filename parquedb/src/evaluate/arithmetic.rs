//! Integer arithmetic that reports overflow, where DataFusion's own operators wrap, and the one form of
//! floats that are equal.

use arrow::array::{ArrayRef, AsArray, Datum, make_array};
use arrow::compute::kernels::numeric;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type};
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
        Ok(ColumnarValue::Array(canonical_array(&array)?))
    }
}

/// The array with one form of zero and of NaN, also inside of lists, records and maps.
pub(crate) fn canonical_array(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(with_canonical_floats(array)?.unwrap_or_else(|| Arc::clone(array)))
}

/// The same; nothing for an array that has these forms alone, as nearly all have.
fn with_canonical_floats(array: &ArrayRef) -> Result<Option<ArrayRef>> {
    macro_rules! floats {
        ($kind:ty, $nan:expr) => {{
            let floats = array.as_primitive::<$kind>();
            let canonical =
                |value| if <$kind as ArrowPrimitiveType>::Native::is_nan(value) { $nan } else { value + 0.0 };
            let is_canonical =
                floats.values().iter().all(|value| value.to_bits() == canonical(*value).to_bits());
            (!is_canonical).then(|| Arc::new(floats.unary::<_, $kind>(canonical)) as ArrayRef)
        }};
    }
    Ok(match array.data_type() {
        DataType::Float32 => floats!(Float32Type, f32::NAN),
        DataType::Float64 => floats!(Float64Type, f64::NAN),
        kind if kind.is_nested() => {
            let data = array.to_data();
            let parts = data.child_data().iter().map(|part| with_canonical_floats(&make_array(part.clone())));
            let parts = parts.collect::<Result<Vec<_>>>()?;
            if parts.iter().all(Option::is_none) {
                return Ok(None);
            }
            let parts = parts.into_iter().zip(data.child_data());
            let parts = parts.map(|(new, old)| new.map_or_else(|| old.clone(), |new| new.to_data()));
            let parts = parts.collect();
            Some(make_array(data.into_builder().child_data(parts).build()?))
        }
        _ => None,
    })
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
