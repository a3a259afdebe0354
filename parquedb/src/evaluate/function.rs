//! Scalar functions over stored states: what DataFusion has no function of its own for.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A function of whole columns. Two functions of one name are the same.
#[derive(Clone)]
pub(crate) struct ColumnFunction {
    name: &'static str,
    signature: Signature,
    returns: fn(&[DataType]) -> Result<DataType>,
    /// From columns of one length to another of that length.
    compute: Arc<Compute>,
}

/// From the arguments and the result's type.
type Compute = dyn Fn(&[ArrayRef], &DataType) -> Result<ArrayRef> + Send + Sync;

impl ColumnFunction {
    pub(crate) fn new(
        name: &'static str,
        returns: fn(&[DataType]) -> Result<DataType>,
        compute: impl Fn(&[ArrayRef], &DataType) -> Result<ArrayRef> + Send + Sync + 'static,
    ) -> Self {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Self { name, signature, returns, compute: Arc::new(compute) }
    }

    pub(crate) fn call(self, arguments: Vec<Expr>) -> Expr {
        ScalarUDF::new_from_impl(self).call(arguments)
    }
}

impl fmt::Debug for ColumnFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for ColumnFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for ColumnFunction {}

impl Hash for ColumnFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for ColumnFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        if types.is_empty() {
            return plan_err!("{} takes arguments", self.name);
        }
        (self.returns)(types)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = arguments
            .args
            .iter()
            .map(|argument| argument.to_array(arguments.number_rows))
            .collect::<Result<Vec<_>>>()?;
        let result = (self.compute)(&columns, arguments.return_field.data_type())?;
        if result.len() != arguments.number_rows {
            return exec_err!("{} gave {} values for {}", self.name, result.len(), arguments.number_rows);
        }
        Ok(ColumnarValue::Array(result))
    }
}
