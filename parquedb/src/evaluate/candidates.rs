//! The state of a pick whose rows may go: the best of a group's values with how often each occurs, so that the
//! next best is known when the best one goes.
//!
//! A state is a list of entries, best first, and a horizon: an entry up to which the list is complete; without
//! one it is complete altogether. It says of every entry up to its horizon how often the entry occurs in the
//! rows that the state is of, less how often in those that it takes back; an entry that is not listed occurs
//! not at all. Of what is beyond the horizon it says nothing. Three steps make states from others, and each
//! says what is true if those did:
//!
//! - *Merging* adds the counts of equal entries. The horizon is the nearest of all, and what is beyond it is left
//!   out: up to there all states were complete. Sums of zero are left out, which says the same. Sums below zero
//!   stay: what they take back is in another state.
//! - *Taking back* makes all counts negative and keeps the horizon.
//! - *Cutting* keeps the first [`CANDIDATES`] entries; the last one kept is the horizon.
//!
//! So whatever was merged and cut in whatever order, the first entry of a group's merged states that occurs is the
//! group's best, if there is one up to the horizon. If there is none and no horizon, the group has no value. If
//! there is none but a horizon, the state does not tell: the candidates have *run out*, and the group must be
//! computed again from its rows.
//!
//! A reader must never meet that. Reading does not cut, but compaction does, of any of a group's states without
//! the others. So states that take rows back are stored beside the others only if no later cut can hide the
//! best entry. It is the nearest horizon at least that all states listed have, so cuts matter alone, and
//! these keep the best entry if fewer than [`CANDIDATES`] *different* entries that are better are listed in any
//! of the states, whether they cancel out or not: any list that a merge can give has its entries from these.
//! (A group without a value must have no horizon, and fewer than that many entries at all.) States that only add
//! rows keep this true, and so need no look at the others: the best entry then is the old one or the best of the
//! new rows, the new state lists nothing better, and its horizon is not nearer. What [`Outlook`] says of states:
//! whether it is true, or else whether their merge, cut once and put in their place, makes it true, or not even that.

use super::aggregate_function::{GroupStates, Input, Selection, StateFunction};
use super::function::ColumnFunction;
use super::pick::Best;
use arrow::array::{
    Array, ArrayRef, AsArray, Int8Array, Int64Array, ListArray, StructArray, UInt64Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::kernels::numeric;
use arrow::compute::{SortOptions, concat, take};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, exec_datafusion_err, plan_err};
use datafusion::logical_expr::Expr;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// How many entries a stored state keeps. If always the best value of a group goes, its rows are read once for
/// so many that went; with 16 it would be half as often, at twice the size.
pub(crate) const CANDIDATES: usize = 8;

/// What the states of a group allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outlook {
    /// The group's rows must be read again.
    RunOut,
    /// The group's best is known, but they must be merged before they are stored.
    MergeFirst,
    /// They can be stored as they are.
    Enough,
}

impl Outlook {
    /// As the plans have it.
    pub(crate) fn of(number: i8) -> Self {
        match number {
            2 => Outlook::Enough,
            1 => Outlook::MergeFirst,
            _ => Outlook::RunOut,
        }
    }
}

/// The state over rows, each with one entry of these columns: the value, or what it is picked by and the value.
pub(crate) fn candidates(best: Best, columns: Vec<Expr>) -> Expr {
    let (name, create): (_, fn(&DataType) -> _) = match best {
        Best::Least => ("least_candidates", |state| Candidates::boxed(Best::Least, Made::OfRows, state)),
        Best::Greatest => {
            ("greatest_candidates", |state| Candidates::boxed(Best::Greatest, Made::OfRows, state))
        }
    };
    StateFunction::new(name, Input::Rows, |columns| Ok(candidates_type(columns)), create).call(columns)
}

/// States merged, and not cut.
pub(crate) fn merge_candidates(best: Best, state: Expr) -> Expr {
    let (name, create): (_, fn(&DataType) -> _) = match best {
        Best::Least => {
            ("merge_least_candidates", |state| Candidates::boxed(Best::Least, Made::OfStates, state))
        }
        Best::Greatest => {
            ("merge_greatest_candidates", |state| Candidates::boxed(Best::Greatest, Made::OfStates, state))
        }
    };
    StateFunction::new(name, Input::States, |types| Ok(types[0].clone()), create).call(vec![state])
}

/// The same, with the entries that cancel out: for [`outlook`].
pub(crate) fn list_candidates(best: Best, state: Expr) -> Expr {
    let (name, create): (_, fn(&DataType) -> _) = match best {
        Best::Least => {
            ("list_least_candidates", |state| Candidates::boxed(Best::Least, Made::ToLookAt, state))
        }
        Best::Greatest => {
            ("list_greatest_candidates", |state| Candidates::boxed(Best::Greatest, Made::ToLookAt, state))
        }
    };
    StateFunction::new(name, Input::States, |types| Ok(types[0].clone()), create).call(vec![state])
}

/// The state's type for entries of these columns.
pub(crate) fn candidates_type(columns: &[DataType]) -> DataType {
    let names = if columns.len() == 1 { &["value"][..] } else { &["by", "value"] };
    let columns = names.iter().zip(columns);
    let entry = columns.map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>();
    let counted = entry.iter().cloned().chain([Field::new("count", DataType::Int64, false)]);
    let entries = DataType::new_list(DataType::Struct(counted.collect()), false);
    DataType::Struct(Fields::from(vec![
        Field::new("entries", entries, false),
        Field::new("horizon", DataType::Struct(entry.into()), true),
    ]))
}

/// The columns of an entry, by the state's type.
fn entry_fields(state: &DataType) -> Result<&Fields> {
    if let DataType::Struct(parts) = state
        && let [_, horizon] = parts.as_ref()
        && let DataType::Struct(entry) = horizon.data_type()
    {
        return Ok(entry);
    }
    plan_err!("{state} is not a state of candidates")
}

/// The entries of many states.
struct States<'a> {
    all: &'a StructArray,
    lists: &'a ListArray,
    entries: &'a StructArray,
    counts: &'a [i64],
}

impl<'a> States<'a> {
    fn new(states: &'a ArrayRef) -> Self {
        let all = states.as_struct();
        let lists = all.column(0).as_list::<i32>();
        let entries = lists.values().as_struct();
        let counts =
            entries.columns().last().map_or(&[][..], |counts| counts.as_primitive::<Int64Type>().values());
        Self { all, lists, entries, counts }
    }

    /// The columns of the entries without their counts.
    fn columns(&self) -> &'a [ArrayRef] {
        self.entries.columns().split_last().map_or(&[], |(_, columns)| columns)
    }

    fn horizons(&self) -> &'a StructArray {
        self.all.column(1).as_struct()
    }

    fn has_horizon(&self, state: usize) -> bool {
        self.all.is_valid(state) && self.all.column(1).is_valid(state)
    }

    /// Where a state's entries are.
    fn range(&self, state: usize) -> Range<usize> {
        if self.all.is_null(state) {
            return 0..0;
        }
        let at = |index: usize| usize::try_from(self.lists.offsets()[index]).unwrap_or_default();
        at(state)..at(state + 1)
    }

    /// Where the first entry is that occurs, of merged states of a group.
    fn best(&self, state: usize) -> Option<usize> {
        self.range(state).find(|entry| self.counts[*entry] > 0)
    }

    /// Whether more of some better entry was taken back than there was.
    fn takes_too_much(&self, state: usize) -> bool {
        let range = self.range(state);
        let better = range.start..self.best(state).unwrap_or(range.end);
        self.counts[better].iter().any(|count| *count < 0)
    }
}

/// The best value of all states of a group, merged; null of none.
pub(crate) fn best_candidate(state: Expr) -> Expr {
    let returns = |types: &[DataType]| {
        let entry = entry_fields(&types[0])?;
        entry.last().map(|value| value.data_type().clone()).ok_or_else(|| exec_datafusion_err!("no value"))
    };
    let compute = |columns: &[ArrayRef], kind: &DataType| {
        let states = States::new(&columns[0]);
        let positions = (0..columns[0].len()).map(|state| -> Result<Option<u64>> {
            let best = states.best(state);
            let problem = match best {
                None if states.has_horizon(state) => "the candidates of a group have run out unnoticed",
                _ if states.takes_too_much(state) => "more rows were taken away from a group than it had",
                _ => return Ok(best.map(|position| position as u64)),
            };
            let error = format!("{problem}: verify the view, and rebuild it with `rebuild()`");
            Err(crate::Error::corrupt(error).into())
        });
        let positions = positions.collect::<Result<UInt64Array>>()?;
        match states.columns().last() {
            Some(values) => Ok(take(values, &positions, None)?),
            None => Ok(new_null_array(kind, positions.len())),
        }
    };
    ColumnFunction::new("best_candidate", returns, compute).call(vec![state])
}

/// The state that takes back the rows of another.
pub(crate) fn negate_candidates(state: Expr) -> Expr {
    let compute = |columns: &[ArrayRef], _: &DataType| {
        let states = States::new(&columns[0]);
        let mut entries = states.entries.columns().to_vec();
        if let Some(counts) = entries.last_mut() {
            *counts = numeric::neg(counts)?;
        }
        let entries = StructArray::try_new(states.entries.fields().clone(), entries, None)?;
        with_entries(
            &states,
            states.lists.offsets().clone(),
            Arc::new(entries),
            Arc::clone(states.all.column(1)),
        )
    };
    ColumnFunction::new("negate_candidates", |types| Ok(types[0].clone()), compute).call(vec![state])
}

/// The state cut, as it is stored.
pub(crate) fn cut_candidates(state: Expr) -> Expr {
    let compute = |columns: &[ArrayRef], _: &DataType| {
        let states = States::new(&columns[0]);
        let is_long = |state: usize| states.range(state).len() > CANDIDATES;
        if !(0..columns[0].len()).any(is_long) {
            return Ok(Arc::clone(&columns[0]));
        }
        let (mut kept, mut lengths, mut horizons) = (Vec::new(), Vec::new(), Vec::new());
        for state in 0..columns[0].len() {
            let range = states.range(state);
            let length = range.len().min(CANDIDATES);
            kept.extend(range.clone().take(length).map(|entry| entry as u64));
            lengths.push(length);
            // The last one kept, or the horizon that it had, which is behind all of the entries.
            horizons.push(match is_long(state) {
                true => states.horizons().len() + range.start + length - 1,
                false => state,
            });
        }
        let entries = take(states.entries, &UInt64Array::from(kept), None)?;
        let fields = states.horizons().fields().clone();
        let bare: ArrayRef = Arc::new(StructArray::try_new(fields, states.columns().to_vec(), None)?);
        let both = concat(&[states.all.column(1).as_ref(), bare.as_ref()])?;
        let chosen = horizons.into_iter().map(|position| position as u64).collect::<UInt64Array>();
        with_entries(&states, OffsetBuffer::from_lengths(lengths), entries, take(&both, &chosen, None)?)
    };
    ColumnFunction::new("cut_candidates", |types| Ok(types[0].clone()), compute).call(vec![state])
}

/// The [`Outlook`] for states of a group that were put together by [`list_candidates`], as a number.
pub(crate) fn outlook(state: Expr) -> Expr {
    let compute = |columns: &[ArrayRef], _: &DataType| {
        let states = States::new(&columns[0]);
        let outlooks = (0..columns[0].len()).map(|state| {
            let range = states.range(state);
            let best = states.best(state);
            let better = best.map_or(range.len(), |best| best - range.start);
            // Of a group that has expired itself its rows are taken back without having been there.
            let is_known = (best.is_some() || !states.has_horizon(state)) && !states.takes_too_much(state);
            match (is_known, better < CANDIDATES) {
                (false, _) => Outlook::RunOut,
                (true, false) => Outlook::MergeFirst,
                (true, true) => Outlook::Enough,
            }
        });
        let numbers = outlooks.map(|outlook| outlook as i8);
        Ok(Arc::new(Int8Array::from_iter_values(numbers)) as ArrayRef)
    };
    ColumnFunction::new("outlook", |_| Ok(DataType::Int8), compute).call(vec![state])
}

fn with_entries(
    states: &States<'_>,
    offsets: OffsetBuffer<i32>,
    entries: ArrayRef,
    horizons: ArrayRef,
) -> Result<ArrayRef> {
    let DataType::List(item) = states.lists.data_type() else {
        return plan_err!("{} is not a list of candidates", states.lists.data_type());
    };
    let lists = ListArray::try_new(Arc::clone(item), offsets, entries, states.lists.nulls().cloned())?;
    let parts: Vec<ArrayRef> = vec![Arc::new(lists), horizons];
    Ok(Arc::new(StructArray::try_new(states.all.fields().clone(), parts, states.all.nulls().cloned())?))
}

/// What states are made of, and so what of them may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    /// Rows: all counts are above zero, so the best entries stay the best, and others are left out at once.
    OfRows,
    /// States.
    OfStates,
    /// States, whose entries are counted however often they occur.
    ToLookAt,
}

/// The candidates of all groups: entries in Arrow's row format, which orders the better ones first.
struct Candidates {
    made: Made,
    state: DataType,
    converter: RowConverter,
    groups: Vec<Group>,
}

#[derive(Default)]
struct Group {
    entries: BTreeMap<Box<[u8]>, i64>,
    horizon: Option<Box<[u8]>>,
}

impl Group {
    fn add(&mut self, entry: &[u8], count: i64) {
        if self.horizon.as_deref().is_some_and(|horizon| entry > horizon) {
            return;
        }
        match self.entries.get_mut(entry) {
            Some(counted) => *counted += count,
            None => drop(self.entries.insert(entry.into(), count)),
        }
    }

    fn come_nearer(&mut self, horizon: &[u8]) {
        if self.horizon.as_deref().is_some_and(|own| own <= horizon) {
            return;
        }
        while self.entries.last_key_value().is_some_and(|(last, _)| &**last > horizon) {
            self.entries.pop_last();
        }
        self.horizon = Some(horizon.into());
    }

    fn cut(&mut self) {
        if self.entries.len() <= CANDIDATES {
            return;
        }
        while self.entries.len() > CANDIDATES {
            self.entries.pop_last();
        }
        self.horizon = self.entries.last_key_value().map(|(last, _)| last.clone());
    }
}

impl Candidates {
    fn boxed(best: Best, made: Made, state: &DataType) -> Result<Box<dyn GroupStates>> {
        let options = SortOptions { descending: best == Best::Greatest, nulls_first: false };
        let entry = entry_fields(state)?;
        let sorted =
            entry.iter().map(|field| SortField::new_with_options(field.data_type().clone(), options));
        let converter = RowConverter::new(sorted.collect())?;
        Ok(Box::new(Self { made, state: state.clone(), converter, groups: Vec::new() }))
    }
}

impl GroupStates for Candidates {
    fn resize(&mut self, groups: usize) {
        if self.groups.len() < groups {
            self.groups.resize_with(groups, Group::default);
        }
    }

    fn add_rows(&mut self, columns: &[ArrayRef], rows: Selection<'_>) -> Result<()> {
        let found = self.converter.convert_columns(columns)?;
        for (index, group) in rows.rows(None) {
            let group = &mut self.groups[group];
            group.add(found.row(index).data(), 1);
            group.cut();
        }
        Ok(())
    }

    fn add_states(&mut self, states: &ArrayRef, rows: Selection<'_>) -> Result<()> {
        let states = States::new(states);
        let found = self.converter.convert_columns(states.columns())?;
        let horizons = self.converter.convert_columns(states.horizons().columns())?;
        for (index, group) in rows.rows(states.all.nulls()) {
            let group = &mut self.groups[group];
            if states.has_horizon(index) {
                group.come_nearer(horizons.row(index).data());
            }
            for entry in states.range(index) {
                group.add(found.row(entry).data(), states.counts[entry]);
            }
            if self.made == Made::OfRows {
                group.cut();
            }
        }
        Ok(())
    }

    fn emit(&mut self, emitted: usize) -> Result<ArrayRef> {
        let mut groups = self.groups.drain(..emitted).collect::<Vec<_>>();
        if self.made != Made::ToLookAt {
            for group in &mut groups {
                group.entries.retain(|_, count| *count != 0);
            }
        }
        let fields = entry_fields(&self.state)?;
        let nulls = fields.iter().map(|field| new_null_array(field.data_type(), 1)).collect::<Vec<_>>();
        let none = self.converter.convert_columns(&nulls)?;
        let parser = self.converter.parser();
        let entries = groups.iter().flat_map(|group| &group.entries);
        let mut columns = self.converter.convert_rows(entries.map(|(entry, _)| parser.parse(entry)))?;
        let counts = groups.iter().flat_map(|group| group.entries.values().copied());
        columns.push(Arc::new(counts.collect::<Int64Array>()));
        let horizons = groups.iter().map(|group| group.horizon.as_ref());
        let horizons = self
            .converter
            .convert_rows(horizons.map(|row| row.map_or(none.row(0), |row| parser.parse(row))))?;
        let known = groups.iter().map(|group| group.horizon.is_some()).collect::<NullBuffer>();
        let known = (known.null_count() > 0).then_some(known);
        let horizons = StructArray::try_new(fields.clone(), horizons, known)?;
        let DataType::Struct(parts) = &self.state else { return plan_err!("{} is not a struct", self.state) };
        let DataType::List(item) = parts[0].data_type() else {
            return plan_err!("{} is not a list", parts[0]);
        };
        let DataType::Struct(counted) = item.data_type() else { return plan_err!("{item} is not a struct") };
        let entries = StructArray::try_new(counted.clone(), columns, None)?;
        let offsets = OffsetBuffer::from_lengths(groups.iter().map(|group| group.entries.len()));
        let lists = ListArray::try_new(Arc::clone(item), offsets, Arc::new(entries), None)?;
        Ok(Arc::new(StructArray::try_new(parts.clone(), vec![Arc::new(lists), Arc::new(horizons)], None)?))
    }

    fn size(&self) -> usize {
        let entries = self.groups.iter().map(|group| group.entries.len()).sum::<usize>();
        self.groups.capacity() * size_of::<Group>() + entries * 64
    }
}
