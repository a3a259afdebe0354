//! Picks of rows that may go: states are stored, taken back, merged and cut in random order, as the engine and
//! compaction do it, and what is read is always the best of the rows that are there.

use super::harness::{Tried, by, of, seeds, shown, shuffle};
use crate::declare::plan::{Aggregate, AggregateColumn};
use crate::evaluate::candidates::{CANDIDATES, Outlook};
use crate::testing::Random;
use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq)]
struct Row {
    group: i64,
    x: Option<f64>,
    t: Option<String>,
}

fn batch(rows: &[Row]) -> RecordBatch {
    let groups: Int64Array = rows.iter().map(|row| row.group).collect();
    let x: Float64Array = rows.iter().map(|row| row.x).collect();
    let t: StringArray = rows.iter().map(|row| row.t.clone()).collect();
    let columns: [(&str, ArrayRef, bool); 3] =
        [("g", Arc::new(groups), false), ("x", Arc::new(x), true), ("t", Arc::new(t), true)];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// How an aggregate orders the rows that it takes, the best first; nothing for rows that it leaves out.
fn order(aggregate: Aggregate, row: &Row) -> Option<impl Fn(&Row) -> Ordering> {
    use Aggregate as A;
    let greatest = matches!(aggregate, A::Max | A::Last | A::ArgMax);
    let picks = matches!(aggregate, A::First | A::Last | A::ArgMin | A::ArgMax);
    let takes_nulls = matches!(aggregate, A::First | A::Last);
    let is_taken = takes_nulls || (row.x.is_some() && (!picks || row.t.is_some()));
    let row = row.clone();
    is_taken.then_some(move |other: &Row| {
        // Nulls come last either way.
        let directed =
            |is_null: Ordering, order: Ordering| is_null.then(if greatest { order.reverse() } else { order });
        let (x, y) = (row.x.unwrap_or_default(), other.x.unwrap_or_default());
        let by_value = directed(row.x.is_none().cmp(&other.x.is_none()), x.total_cmp(&y));
        let by_key = directed(row.t.is_none().cmp(&other.t.is_none()), row.t.cmp(&other.t));
        if picks { by_key.then(by_value) } else { by_value }
    })
}

fn best<'a>(aggregate: Aggregate, rows: impl Iterator<Item = &'a Row>) -> Option<&'a Row> {
    let taken = rows.filter(|row| order(aggregate, row).is_some());
    taken.min_by(|row, other| order(aggregate, row).map_or(Ordering::Equal, |order| order(other)))
}

/// What an aggregate must give, by comparing all rows.
fn expected<'a>(aggregate: Aggregate, rows: impl Iterator<Item = &'a Row>) -> String {
    best(aggregate, rows).and_then(|row| row.x).map_or_else(|| "null".to_owned(), |x| format!("{x:?}"))
}

/// What happened to groups that lost rows.
#[derive(Debug, Default)]
struct Happened {
    enough: u32,
    merged_first: u32,
    run_out: u32,
}

/// The states of a database, by group.
type Stored = BTreeMap<i64, Vec<RecordBatch>>;

fn by_group(states: &RecordBatch) -> impl Iterator<Item = (i64, RecordBatch)> {
    let groups = states.column(0).as_primitive::<Int64Type>().values().to_vec();
    groups.into_iter().enumerate().map(|(index, group)| (group, states.slice(index, 1)))
}

fn check(aggregate: &AggregateColumn, seed: u64, happened: &mut Happened) {
    let random = &mut Random::new(seed);
    let context = format!("seed {seed}, {:?}", aggregate.aggregate);
    let tried = Tried::new(aggregate, batch(&[]).schema_ref(), true);
    let different = *random.pick(&[3, 20, 200]);
    let mut live: Vec<Row> = Vec::new();
    let mut stored = Stored::new();
    for step in 0..14 {
        let number = |random: &mut Random| match random.below(12) {
            0 => f64::NAN,
            1 => f64::NEG_INFINITY,
            _ => random.below(different) as f64 - 5.0,
        };
        let row = |random: &mut Random| Row {
            group: random.below(2) as i64,
            x: (!random.one_in(8)).then(|| number(random)),
            t: (!random.one_in(8)).then(|| format!("{:03}", random.below(different))),
        };
        let come =
            (0..random.below(if step == 0 { 120 } else { 8 })).map(|_| row(random)).collect::<Vec<_>>();
        let mut gone = Vec::new();
        let best_go = !random.one_in(3);
        for _ in 0..random.below(12) {
            let group = random.below(2) as i64;
            let of_group = || live.iter().filter(|row| row.group == group);
            let row = match best_go {
                true => best(aggregate.aggregate, of_group()).or_else(|| of_group().next()),
                false => live.get(random.below(live.len().max(1) as u64) as usize),
            };
            let Some(at) = row.and_then(|row| live.iter().position(|other| std::ptr::eq(row, other))) else {
                continue;
            };
            gone.push(live.swap_remove(at));
        }
        live.extend(come.iter().cloned());

        let mut change = vec![tried.over_rows(&batch(&come))];
        change.push(tried.negate(&tried.over_rows(&batch(&gone))));
        if random.one_in(2) {
            change = vec![tried.merge(&change)];
        }
        let mut new = Stored::new();
        for (group, state) in change.iter().flat_map(by_group) {
            new.entry(group).or_default().push(state);
        }
        for (group, new) in new {
            let of_group = stored.entry(group).or_default();
            let all = [of_group.as_slice(), &new].concat();
            let outlook = match gone.iter().any(|row| row.group == group) {
                true => tried.outlooks(&all)[0].1,
                // Rows that only come need no look.
                false => Outlook::Enough,
            };
            *of_group = match outlook {
                Outlook::Enough => all,
                Outlook::MergeFirst => vec![tried.merge(&all)],
                Outlook::RunOut => {
                    let rows = live.iter().filter(|row| row.group == group).cloned().collect::<Vec<_>>();
                    let again = tried.over_rows(&batch(&rows));
                    if again.num_rows() == 0 { Vec::new() } else { vec![again] }
                }
            };
            if gone.iter().any(|row| row.group == group) {
                match outlook {
                    Outlook::Enough => happened.enough += 1,
                    Outlook::MergeFirst => happened.merged_first += 1,
                    Outlook::RunOut => happened.run_out += 1,
                }
            }
        }

        let truth = (0..2)
            .map(|group| live.iter().filter(move |row| row.group == group))
            .filter(|rows| rows.clone().next().is_some())
            .map(|rows| expected(aggregate.aggregate, rows))
            .collect::<Vec<_>>();
        let found = |stored: &Stored| {
            let states = stored.values().flatten().cloned().collect::<Vec<_>>();
            shown(&tried.result(&states))
        };
        assert_eq!(found(&stored), truth, "{context}, step {step}");
        let compacted = compact(&tried, &stored, random);
        assert_eq!(found(&compacted), truth, "{context}, step {step}, compacted");
        if random.one_in(3) {
            stored = compacted;
        }
    }
}

/// Merges some states of each group, without the others, and some of these again.
fn compact(tried: &Tried, stored: &Stored, random: &mut Random) -> Stored {
    let mut compacted = stored.clone();
    for states in compacted.values_mut() {
        while states.len() > 1 && !random.one_in(3) {
            *states = shuffle(std::mem::take(states), random);
            let count = 2 + random.below(states.len() as u64 - 1) as usize;
            let merged = tried.merge(&states.drain(..count).collect::<Vec<_>>());
            states.push(merged);
        }
    }
    compacted
}

#[test]
fn no_order_of_changes_and_merges_hides_the_best() {
    use Aggregate as A;
    let mut happened = Happened::default();
    for seed in seeds(1) {
        for aggregate in [A::Min, A::Max] {
            check(&of(aggregate), seed, &mut happened);
        }
        for aggregate in [A::First, A::Last, A::ArgMin, A::ArgMax] {
            check(&by(aggregate), seed, &mut happened);
        }
    }
    let Happened { enough, merged_first, run_out } = happened;
    eprintln!("{happened:?}");
    assert!(enough > 0 && merged_first > 0 && run_out > 0, "not everything was tried: {happened:?}");
    assert!(run_out * 2 < enough + merged_first, "candidates run out too often: {happened:?}");
}

#[test]
fn candidates_are_cut_and_run_out() {
    let rows = |values: std::ops::Range<i64>| {
        batch(&values.map(|x| Row { group: 0, x: Some(x as f64), t: None }).collect::<Vec<_>>())
    };
    let kept = CANDIDATES as i64;
    let tried = Tried::new(&of(Aggregate::Min), batch(&[]).schema_ref(), true);
    let stored = tried.over_rows(&rows(0..kept + 1));
    // Without the last of those that are kept the least is still known; without all of them it is not, as there was
    // one more.
    let but_one = tried.negate(&tried.over_rows(&rows(0..kept - 1)));
    assert_eq!(tried.outlooks(&[stored.clone(), but_one.clone()]), [(0, Outlook::Enough)]);
    assert_eq!(
        shown(&tried.result(&[stored.clone(), but_one.clone()])),
        [format!("{:?}", (kept - 1) as f64)]
    );
    let all = tried.negate(&tried.over_rows(&rows(0..kept)));
    assert_eq!(tried.outlooks(&[stored, all.clone()]), [(0, Outlook::RunOut)]);
    // Without a horizon it is known that there is no other, but a merge of some of the states could cut them.
    let complete = [tried.over_rows(&rows(0..kept)), tried.over_rows(&rows(kept..kept + 1)), all];
    assert_eq!(tried.outlooks(&complete), [(0, Outlook::MergeFirst)]);
    assert_eq!(shown(&tried.result(&complete)), [format!("{:?}", kept as f64)]);
    let merged = [tried.merge(&complete)];
    assert_eq!(tried.outlooks(&merged), [(0, Outlook::Enough)]);
    assert_eq!(shown(&tried.result(&merged)), [format!("{:?}", kept as f64)]);
}

#[test]
fn few_different_values_never_run_out() {
    let rows: BooleanArray = vec![Some(true), None, Some(false)].into();
    let groups = Int64Array::from(vec![0, 0, 0]);
    let columns: [(&str, ArrayRef, bool); 3] =
        [("g", Arc::new(groups), false), ("x", Arc::new(rows.clone()), true), ("t", Arc::new(rows), true)];
    let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    assert!(Tried::new(&of(Aggregate::Max), rows.schema_ref(), true).lasts_always());
    // Three by three different pairs are more than are kept.
    assert!(!Tried::new(&by(Aggregate::First), rows.schema_ref(), true).lasts_always());
}
