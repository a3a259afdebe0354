//! Which rows a restriction leaves, over the joins of a view.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::declare::definition::ViewDefinition;
use crate::declare::node::Node;
use crate::declare::plan::{Column, Join, Output, Refresh, Unnest, ViewPlan};
use crate::evaluate::prepare::{Inputs, Restriction, prepared_rows};
use crate::evaluate::view::delta_plan;
use arrow::array::{Array, AsArray, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::SessionContext;
use std::sync::Arc;

fn scan(name: &str, batch: RecordBatch) -> LogicalPlan {
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
    LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(table)), None).unwrap().build().unwrap()
}

/// A member with the keys `k0`, `k1`, … and a reference of each to another member.
fn dimension(name: &str, rows: &[(&str, Option<&str>)]) -> LogicalPlan {
    let keys = StringArray::from_iter_values(rows.iter().map(|row| row.0));
    let next: StringArray = rows.iter().map(|row| row.1).collect();
    scan(
        name,
        RecordBatch::try_from_iter([("id", Arc::new(keys) as _), ("next", Arc::new(next) as _)]).unwrap(),
    )
}

fn keys(keys: &[&str]) -> LogicalPlan {
    let column = StringArray::from_iter_values(keys);
    scan("keys", RecordBatch::try_from_iter([("key", Arc::new(column) as _)]).unwrap())
}

fn join(name: &str, reference: Node, required: bool, after_unnest: bool) -> Join {
    Join {
        name: name.into(),
        member: name.into(),
        reference,
        key: "id".into(),
        required,
        as_of_ingest: false,
        after_unnest,
        many: false,
    }
}

/// Rows that refer to members `a` and, through it, `b`; each element of their list refers to `c`.
fn view(required: bool) -> ViewDefinition {
    let joins = vec![
        join("a", Node::Row.field("a"), required, false),
        join("a.next", Node::Joined("a".into()).field("next"), false, false),
        join("*", Node::Element, false, true),
    ];
    let columns = ["id", "a"].map(|name| Column { name: name.into(), value: Node::Row.field(name) });
    ViewDefinition {
        name: "View".into(),
        table: "view".into(),
        schema: Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("a", DataType::Utf8, true),
        ])),
        plan: ViewPlan {
            sources: vec!["Facts".into()],
            joins,
            filter: None,
            unnest: Some(Unnest { list: Node::Row.field("list"), keep_empty: true, with_index: false }),
            condition: None,
            output: Output::Rows(columns.into()),
            having: None,
        },
        strict: false,
        ttl: None,
        refresh: Refresh::Manual,
    }
}

fn inputs() -> Inputs {
    let facts: [(i64, Option<&str>, &[&str]); 6] = [
        (1, Some("a1"), &["c1", "c2"]),
        (2, Some("a2"), &[]),
        (3, Some("a3"), &["c2"]),
        (4, None, &["c1"]),
        (5, Some("missing"), &["c1"]),
        (6, Some("a1"), &["c9"]),
    ];
    let ids = Int64Array::from_iter_values(facts.iter().map(|row| row.0));
    let a: StringArray = facts.iter().map(|row| row.1).collect();
    let mut lists = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    for (_, _, list) in &facts {
        lists.append_value(list.iter().map(|key| Some(*key)));
    }
    let lists: ListArray = lists.finish();
    let facts = RecordBatch::try_from_iter([
        ("id", Arc::new(ids) as _),
        ("a", Arc::new(a) as _),
        ("list", Arc::new(lists) as _),
    ]);
    Inputs {
        sources: vec![scan("facts", facts.unwrap())],
        joined: vec![
            dimension("a", &[("a1", Some("b1")), ("a2", Some("b2")), ("a3", Some("b1"))]),
            dimension("b", &[("b1", None), ("b2", None)]),
            dimension("c", &[("c1", None), ("c2", None)]),
        ],
        restriction: None,
        may_lose_rows: false,
        commits: false,
    }
}

/// The ids of the rows that come out.
async fn ids(view: &ViewDefinition, inputs: &Inputs) -> Vec<i64> {
    prepared_rows(view, inputs).unwrap();
    let plan = delta_plan(view, inputs).unwrap();
    let batches = SessionContext::new().execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
    let mut ids: Vec<i64> = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect();
    assert!(batches.iter().all(|batch| batch.column(0).null_count() == 0));
    ids.sort_unstable();
    ids
}

async fn restricted(
    view: &ViewDefinition,
    join: usize,
    among: &[&str],
    not_among: &[(usize, &[&str])],
) -> Vec<i64> {
    let not_among = not_among.iter().map(|(position, set)| (*position, keys(set))).collect();
    ids(view, &inputs().restricted(Restriction { join, among: keys(among), not_among })).await
}

#[tokio::test]
async fn every_row_comes_out_without_a_restriction() {
    assert_eq!(ids(&view(false), &inputs()).await, [1, 1, 2, 3, 4, 5, 6]);
    assert_eq!(
        ids(&view(true), &inputs()).await,
        [1, 1, 2, 3, 6],
        "the reference of 4 is null, that of 5 dangles"
    );
}

#[tokio::test]
async fn restriction_leaves_the_rows_that_refer_to_the_keys() {
    let view = view(false);
    assert_eq!(restricted(&view, 0, &["a1"], &[]).await, [1, 1, 6]);
    assert_eq!(restricted(&view, 0, &["missing"], &[]).await, [5], "a row that is not there changes, too");
    assert_eq!(restricted(&view, 0, &[], &[]).await, [0_i64; 0]);
    assert_eq!(restricted(&view, 1, &["b1"], &[]).await, [1, 1, 3, 6], "through the first");
    assert_eq!(restricted(&view, 2, &["c1"], &[]).await, [1, 4, 5], "one element of the first row");
}

#[tokio::test]
async fn rows_are_left_out_by_the_references_before() {
    let view = view(false);
    assert_eq!(restricted(&view, 1, &["b1"], &[(0, &["a1"])]).await, [3]);
    assert_eq!(
        restricted(&view, 2, &["c1", "c2"], &[(0, &["a1"])]).await,
        [3, 4, 5],
        "null is among no keys"
    );
    assert_eq!(restricted(&view, 2, &["c1", "c2"], &[(0, &["missing"]), (1, &["b1"])]).await, [4]);
}

#[tokio::test]
async fn restrictions_of_all_joins_give_each_row_once() {
    let view = view(false);
    let changed: [&[&str]; 3] = [&["a1", "missing"], &["b1"], &["c1", "c2", "c9"]];
    let mut all = Vec::new();
    for join in 0..3 {
        let before: Vec<_> = (0..join).map(|before| (before, changed[before])).collect();
        all.extend(restricted(&view, join, changed[join], &before).await);
    }
    all.sort_unstable();
    assert_eq!(all, [1, 1, 3, 4, 5, 6], "all but the row without elements");
}
