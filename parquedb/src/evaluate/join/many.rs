//! One list of references of a view: the rows with the lists of what they refer to.
//!
//! A list of rows is a function of the list of references, and of the commit where rows are looked up as of ingest. So
//! it is made once of each list that occurs, whatever rows have it, and then found by that list:
//!
//! ```text
//! the lists → an element each, with its position → the member's rows → lists of these, by position → the rows
//! ```
//!
//! No row is told from another on the way, so that equal rows stay as many as they are.

use super::list_key::list_key;
use super::was_there;
use crate::commit::snapshot::{ADDED_COLUMN, SEQ_COLUMN};
use crate::declare::plan::Join;
use crate::error::{Error, Result};
use crate::evaluate::lower::{Scope, column, joined_column, rows_column};
use crate::evaluate::past::GONE_COLUMN;
use arrow::array::{ListArray, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use datafusion::common::{Column, JoinType, NullHandling, ScalarValue, UnnestOptions};
use datafusion::functions::core::expr_fn::{coalesce, named_struct};
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_nested::expr_fn as nested;
use datafusion::logical_expr::{Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, cast, lit, when};
use std::sync::Arc;

/// The columns of a plan of lists. No field's name has a `$`.
struct Names {
    key: String,
    commit: String,
    element: String,
    position: String,
    found: String,
}

impl Names {
    fn of(join: &Join) -> Self {
        let name = |what| joined_column(&join.name, what);
        Self {
            key: name("$key"),
            commit: name("$commit"),
            element: name("$element"),
            position: name("$position"),
            found: name("$found"),
        }
    }
}

/// The rows with the column [`rows_column`]; `back` is whether the member is given with its past, of which each row
/// finds what was there after its commit.
pub(super) fn join(
    rows: LogicalPlan,
    listed: &LogicalPlan,
    join: &Join,
    member: &LogicalPlan,
    back: bool,
) -> Result<LogicalPlan> {
    let names = Names::of(join);
    let Names { key: list, commit, element, found, .. } = &names;
    let fields = member.schema().fields().iter().map(|field| field.name().as_str());
    let fields = fields.filter(|name| ![ADDED_COLUMN, GONE_COLUMN].contains(name)).collect::<Vec<_>>();
    let joined = |name: &str| column(&joined_column(&join.name, name));
    let times: &[&str] = if back { &[ADDED_COLUMN, GONE_COLUMN] } else { &[] };
    let columns = fields.iter().chain(times).map(|name| column(name).alias(joined_column(&join.name, name)));
    let member = LogicalPlanBuilder::from(member.clone()).project(columns)?.build()?;

    let key = joined_column(&join.name, &join.key);
    let condition = back.then(|| was_there(join, commit));
    let elements = LogicalPlanBuilder::from(elements(listed, join, &names, back)?);
    let on = (vec![column(element)], vec![column(&key)]);
    let elements = elements.join_with_expr_keys(member, JoinType::Left, on, condition)?;

    let record = named_struct(fields.iter().flat_map(|name| [lit(*name), joined(name)]).collect());
    let record = when(column(&key).is_not_null(), record).end()?;
    let in_order = array_agg_udaf().call(vec![record]);
    let in_order = in_order.order_by(vec![column(&names.position).sort(true, false)]).build()?;
    let by = [Some(list), back.then_some(commit)];
    let by = by.into_iter().flatten().map(|name| column(name)).collect::<Vec<_>>();
    let lists = elements.aggregate(by, [in_order.alias(found)])?.build()?;
    let empty = lit(no_rows(lists.schema().field_with_unqualified_name(found)?.data_type())?);

    let reference = Scope::new(rows.schema()).value(&join.reference)?;
    let mut columns = rows.schema().columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
    let (mut left, mut right) = (vec![list_key(reference.clone())], vec![column(list)]);
    if back {
        left.push(column(SEQ_COLUMN));
        right.push(column(commit));
    }
    let rows = LogicalPlanBuilder::from(rows);
    let rows = rows.join_with_expr_keys(lists, JoinType::Left, (left, right), None)?;
    // A list without elements finds nothing, and so does null.
    let empty = when(nested::array_empty(reference), empty).end()?;
    columns.push(coalesce(vec![column(found), empty]).alias(rows_column(&join.name)));
    Ok(rows.project(columns)?.build()?)
}

/// The rows of whose references some is, or, by the kind of join, none is among keys.
pub(super) fn with_some(
    rows: LogicalPlan,
    listed: &LogicalPlan,
    join: &Join,
    keys: LogicalPlan,
    key: &str,
    kind: JoinType,
) -> Result<LogicalPlan> {
    let names = Names::of(join);
    let elements = LogicalPlanBuilder::from(elements(listed, join, &names, false)?);
    let on = (vec![column(&names.element)], vec![column(key)]);
    let lists = elements.join_with_expr_keys(keys, JoinType::LeftSemi, on, None)?;
    let lists = lists.project([column(&names.key)])?.build()?;
    let reference = Scope::new(rows.schema()).value(&join.reference)?;
    let on = (vec![list_key(reference)], vec![column(&names.key)]);
    Ok(LogicalPlanBuilder::from(rows).join_with_expr_keys(lists, kind, on, None)?.build()?)
}

/// The elements of the different lists of references among the rows, and of the different commits if wanted, each with
/// its position. A list that is null or empty has none.
fn elements(rows: &LogicalPlan, join: &Join, names: &Names, commits: bool) -> Result<LogicalPlan> {
    let Names { key, commit, element, position, .. } = names;
    let list = Scope::new(rows.schema()).value(&join.reference)?;
    let mut columns = vec![list_key(list.clone()).alias(key), list.alias(element)];
    columns.extend(commits.then(|| column(SEQ_COLUMN).alias(commit)));
    let lists = LogicalPlanBuilder::from(rows.clone()).project(columns)?.distinct()?;
    let mut columns = lists.schema().columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
    let size = cast(nested::cardinality(column(element)), DataType::Int64);
    columns.push(nested::range(lit(0_i64), size, lit(1_i64)).alias(position));
    let unnested = [element, position].map(Column::new_unqualified).to_vec();
    let options = UnnestOptions::new().with_null_handling(NullHandling::Drop);
    Ok(lists.project(columns)?.unnest_columns_with_options(unnested, options)?.build()?)
}

/// A list of this type without elements.
fn no_rows(list: &DataType) -> Result<ScalarValue> {
    let DataType::List(item) = list else {
        return Err(Error::invalid(format!("rows were to be in a list, but are in a {list}")));
    };
    let none = new_empty_array(item.data_type());
    let empty = ListArray::try_new(Arc::clone(item), OffsetBuffer::from_lengths([0]), none, None)?;
    Ok(ScalarValue::List(Arc::new(empty)))
}
