//! After every step of a random history, every view of a random database holds what plain SQL over the rows
//! gives, and so does `fresh()` of a view that is behind.
//!
//! The SQL is written beside the view's definition by what makes both up. It runs over flat tables made from a
//! naive model of the collections. A history that fails is made smaller before it is printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_precision_loss)]

mod aggregate;
mod compare;
mod expression;
mod fold;
mod history;
mod making;
mod members;
mod model;
mod oracle;
mod refusal;
mod retention;
mod run;
mod shrink;
mod value;
mod view;

use futures::stream::{self, StreamExt};
use history::{Batch, Case, Change, Step};
use parquedb::declare::plan::Refresh;
use parquedb::testing::Random;
use run::{Checks, Run};
use std::fmt::Write;
use std::ops::Range;
use std::sync::atomic::Ordering;

/// Whether views look up rows of other members.
const JOINS: bool = true;

fn seeds(count: u64) -> Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect(name));
    let first = number("PARQUEDB_SEED").unwrap_or(1);
    match number("PARQUEDB_SEEDS") {
        Some(0) => first..u64::MAX,
        wanted => first..first + wanted.unwrap_or(count),
    }
}

fn describe(case: &Case) -> String {
    let mut text = String::new();
    for collection in &case.collections {
        let names = |columns: &[usize]| {
            columns.iter().map(|at| collection.fields[*at].name.clone()).collect::<Vec<_>>()
        };
        let version = collection.version.map(|at| collection.fields[at].name.clone());
        let ttl = collection.ttl.map(|(at, after)| (collection.fields[at].name.clone(), after));
        writeln!(
            text,
            "{}: key {:?}, version {version:?}, ttl {ttl:?}",
            collection.name,
            names(&collection.key)
        )
        .unwrap();
    }
    for view in &case.views {
        writeln!(text, "{}", run::plan(view)).unwrap();
    }
    for (index, step) in case.steps.iter().enumerate() {
        let (name, batches) = match step {
            Step::Commit(batch) => ("commit", std::slice::from_ref(batch)),
            Step::CommitElsewhere(batch) => ("commit by another process", std::slice::from_ref(batch)),
            Step::Together(batches) => ("at the same time", batches.as_slice()),
            other => {
                writeln!(text, "step {index}: {other:?}").unwrap();
                continue;
            }
        };
        writeln!(text, "step {index}: {name}").unwrap();
        for Batch { id, changes } in batches {
            writeln!(text, "  batch {id:?}").unwrap();
            for (at, change) in changes {
                let collection = &case.collections[*at];
                let (what, rows) = match change {
                    Change::Insert(rows) => ("insert into", rows),
                    Change::Upsert(rows) => ("upsert into", rows),
                    Change::Delete(rows) => ("delete the keys of these from", rows),
                    Change::DeleteWhere(condition) => {
                        writeln!(text, "    delete from {} where {}", collection.name, condition.sql)
                            .unwrap();
                        continue;
                    }
                    Change::Update(condition, assignments) => {
                        let set = assignments.iter().map(|(column, value)| {
                            format!("{} = {}", collection.fields[*column].name, value.sql)
                        });
                        let set = set.collect::<Vec<_>>().join(", ");
                        writeln!(text, "    update {} set {set} where {}", collection.name, condition.sql)
                            .unwrap();
                        continue;
                    }
                };
                let rows = oracle::table(&collection.fields, rows);
                writeln!(text, "    {what} {}\n{rows}", collection.name).unwrap();
            }
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_view_follows_every_change_truth() {
    let seeds = stream::iter(seeds(300)).map(|seed| async move {
        let case = Case::random(seed);
        (seed, case.clone(), shrink::outcome(case, seed, Checks::Some).await)
    });
    let mut outcomes = seeds.buffer_unordered(2);
    let mut count = 0;
    while let Some((seed, case, outcome)) = outcomes.next().await {
        if let Err(failure) = outcome {
            let (smallest, smallest_failure) = shrink::shrunk(case, seed, failure.clone()).await;
            panic!(
                "seed {seed} (run it alone with PARQUEDB_SEED={seed} PARQUEDB_SEEDS=1): {failure}\n\nThe smallest \
                 history found:\n{}\nIt fails {smallest_failure}",
                describe(&smallest)
            );
        }
        count += 1;
    }
    let expired = run::EXPIRED.load(Ordering::Relaxed);
    assert!(count < 100 || expired > count / 2, "only {expired} rows expired in {count} histories");
}

#[test]
fn random_views_have_every_kind_of_join() {
    let views = (1..=300).flat_map(|seed| Case::random(seed).views).collect::<Vec<_>>();
    let count = |of: &dyn Fn(&view::View) -> bool| views.iter().filter(|view| of(view)).count();
    let looks_back = |view: &view::View| view.definition.plan.looks_back();
    let counts = [
        count(&|view| !view.definition.plan.joins.is_empty() && !looks_back(view)),
        count(&looks_back),
        count(&|view| looks_back(view) && view.definition.plan.joins.iter().any(|join| !join.as_of_ingest)),
        count(&|view| looks_back(view) && view.definition.plan.sources.len() > 1),
        count(&|view| looks_back(view) && view.definition.plan.unnest.is_some()),
        count(&|view| !view.expanded.is_empty() && !looks_back(view)),
        count(&|view| !view.expanded.is_empty() && looks_back(view)),
    ];
    assert!(counts.iter().all(|count| *count > 0), "{counts:?} of {}", views.len());
}

#[test]
fn random_histories_let_every_kind_of_rows_expire() {
    let cases = (1..=300).map(Case::random).collect::<Vec<_>>();
    let collection = |case: &Case, name: &str| {
        case.collections.iter().any(|collection| collection.name == name && collection.ttl.is_some())
    };
    let view = |case: &Case, name: &str| {
        case.views.iter().any(|view| view.member.name == name && view.ttl.is_some())
    };
    let count = |of: &dyn Fn(&Case, &view::View) -> bool| {
        cases.iter().map(|case| case.views.iter().filter(|view| of(case, view)).count()).sum::<usize>()
    };
    let over = |view: &view::View, expires: &dyn Fn(&str) -> bool| {
        view.definition.plan.sources.iter().any(|source| expires(source))
    };
    let joins = |view: &view::View, as_of_ingest: bool| {
        view.definition.plan.joins.iter().any(|join| join.as_of_ingest == as_of_ingest)
    };
    let counts = [
        count(&|_, view| view.ttl.is_some() && view.groups.is_none()),
        count(&|_, view| view.ttl.is_some() && view.groups.is_some()),
        count(&|_, view| view.ttl.is_some() && !view.member.streams),
        count(&|case, of| over(of, &|name| view(case, name))),
        count(&|case, of| over(of, &|name| view(case, name)) && joins(of, false)),
        count(&|case, of| over(of, &|name| collection(case, name)) && joins(of, false)),
        count(&|case, of| over(of, &|name| collection(case, name)) && joins(of, true)),
        count(&|case, of| of.ttl.is_some() && over(of, &|name| collection(case, name) || view(case, name))),
    ];
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    let steps = || cases.iter().flat_map(|case| &case.steps);
    assert!(steps().any(|step| matches!(step, Step::Rebuild(_))));
}

/// The same rows in the end, by another way: in other batches in another order, while views are refreshed at other
/// times, with and without compaction and restarts.
fn another_way(case: &Case, rows: Vec<(usize, Vec<value::Row>)>, random: &mut Random) -> Case {
    let mut changes = Vec::new();
    for (collection, rows) in rows {
        changes.extend(rows.into_iter().map(|row| (collection, Change::Insert(vec![row]))));
    }
    for index in (1..changes.len()).rev() {
        changes.swap(index, usize::try_from(random.below(index as u64 + 1)).unwrap());
    }
    let mut steps = Vec::new();
    while !changes.is_empty() {
        let count = usize::try_from(1 + random.below(12)).unwrap().min(changes.len());
        let batch = Batch { id: None, changes: changes.split_off(changes.len() - count) };
        steps.push(Step::Commit(batch));
        match random.below(8) {
            0 => steps.push(Step::Compact { full: random.one_in(2) }),
            1 => steps.push(Step::Reopen),
            2 => steps.push(Step::Refresh(Some(random.pick(&case.views).member.name.clone()))),
            3 => steps.push(Step::Flush),
            _ => {}
        }
    }
    let mut views = case.views.clone();
    if random.one_in(2) {
        for view in &mut views {
            view.definition.refresh = Refresh::Manual;
            view.member.streams = false;
        }
    }
    Case { collections: case.collections.clone(), views, steps }
}

async fn same_by_another_way(seed: u64) -> Result<(), String> {
    let mut case = Case::random(seed);
    // What has expired is in no batch of the other way.
    case.collections.iter_mut().for_each(|collection| collection.ttl = None);
    case.views.iter_mut().for_each(|view| (view.ttl, view.definition.ttl) = (None, None));
    // What rows found when they came depends on the way.
    let joins = case.views.iter_mut().flat_map(|view| &mut view.definition.plan.joins);
    joins.for_each(|join| join.as_of_ingest = false);
    let mut random = Random::new(seed ^ 0xa5a5);
    let views = case.views.iter().map(|view| view.member.name.clone()).collect::<Vec<_>>();
    let mut first = Run::new(case.clone(), seed).await?;
    for step in &case.steps {
        first.step(step).await?;
    }
    first.refresh(&views).await?;
    let names = case.collections.iter().enumerate();
    let rows = names.map(|(at, collection)| (at, first.model().rows[&collection.name].as_ref().clone()));
    let other = another_way(&case, rows.collect(), &mut random);
    let mut second = Run::new(other.clone(), seed).await?;
    for step in &other.steps {
        second.step(step).await?;
    }
    second.refresh(&views).await?;
    for ((view, one), (_, other)) in first.contents().await?.into_iter().zip(second.contents().await?) {
        if one != other {
            return Err(format!("{view}\nholds {one:#?}\nand by another way {other:#?}"));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_to_the_rows_does_not_matter_truth() {
    let seeds = stream::iter(seeds(24)).map(|seed| async move {
        (seed, tokio::spawn(same_by_another_way(seed)).await.map_err(|error| error.to_string()).flatten())
    });
    let mut outcomes = seeds.buffer_unordered(2);
    while let Some((seed, outcome)) = outcomes.next().await {
        if let Err(failure) = outcome {
            panic!("seed {seed} (run it alone with PARQUEDB_SEED={seed} PARQUEDB_SEEDS=1): {failure}");
        }
    }
}
