//! What the commits of a test were told, and what must therefore be found.

use super::*;
use crate::ErrorKind;
use crate::commit::TableExpiry;
use crate::commit::snapshot::Expired;
use crate::error::Result;
use std::collections::{BTreeMap, BTreeSet};

/// Every commit of a test leaves its number here.
pub(super) const MARKS: &str = "Marks";
/// The source of the view.
pub(super) const SOURCE: &str = "Orders";
/// Holds one row for each commit to its source: the sum of that commit's rows.
pub(super) const VIEW: &str = "Totals";

/// The rows of all tables, each as (commit, value) in order.
pub(super) type Tables = BTreeMap<String, Vec<(u64, i64)>>;

/// One commit of a test.
#[derive(Debug, Clone, Default)]
pub(super) struct Unit {
    pub(super) number: i64,
    pub(super) rows: Vec<(&'static str, Vec<i64>)>,
    pub(super) cleared: Vec<&'static str>,
    /// Rows of earlier units, by their values.
    pub(super) removed: Vec<(&'static str, Vec<i64>)>,
    pub(super) removals: Vec<TableRemoval>,
    /// Rows of earlier units that expire, as (commit, value).
    pub(super) expired: Vec<(&'static str, Vec<(u64, i64)>)>,
    pub(super) expiries: Vec<TableExpiry>,
    pub(super) cursor: Option<Absorbed>,
    pub(super) base: Option<u64>,
    pub(super) sequence: Option<Sequence>,
}

impl Unit {
    pub(super) fn new(number: i64) -> Self {
        Self { number, ..Self::default() }.rows(MARKS, [number])
    }

    pub(super) fn rows(mut self, table: &'static str, values: impl IntoIterator<Item = i64>) -> Self {
        self.rows.push((table, values.into_iter().collect()));
        self
    }

    /// Replaces all rows of a table.
    pub(super) fn replacing(mut self, table: &'static str, values: impl IntoIterator<Item = i64>) -> Self {
        self.cleared.push(table);
        self.rows(table, values)
    }

    /// Removes rows that were found in a snapshot.
    pub(super) fn removing(mut self, table: &'static str, places: &[Place], base: u64) -> Self {
        self.removed.push((table, places.iter().map(|place| place.value).collect()));
        self.removals.push(removal(table, places));
        self.base = Some(base);
        self
    }

    /// Takes rows out that were found in a snapshot and have expired.
    pub(super) fn expiring(mut self, table: &'static str, places: &[Place], base: u64) -> Self {
        self.removed.push((table, places.iter().map(|place| place.value).collect()));
        self.expired.push((table, places.iter().map(|place| (place.seq, place.value)).collect()));
        let before = places.iter().map(|place| place.value + 1).max().unwrap_or_default();
        let rows = removal(table, places);
        self.expiries.push(TableExpiry { rows, on: "n".to_owned(), before, whole_groups: false });
        self.base = Some(base);
        self
    }

    /// Brings the view forward by what this commit adds to its source, as a streaming view does it.
    pub(super) fn streaming(mut self, base: u64) -> Self {
        let sum = self.rows.iter().find(|(table, _)| *table == SOURCE).map(|(_, rows)| rows.iter().sum());
        self.cursor = Some(Absorbed::ThisCommit);
        self.base = Some(base);
        match sum {
            Some(sum) => self.rows(VIEW, [sum]),
            None => self,
        }
    }

    /// Builds the view anew from the source as it is in a snapshot.
    pub(super) fn refreshing(mut self, snapshot: &Snapshot, tables: &Tables) -> Self {
        self.cursor = Some(Absorbed::Through(snapshot.seq));
        self.base = Some(snapshot.seq);
        let rows = tables.get(SOURCE).map_or(&[][..], Vec::as_slice);
        self.replacing(VIEW, sums(rows).into_values())
    }

    /// Adds to the view what has come to its source since the view's cursor.
    pub(super) fn following(mut self, snapshot: &Snapshot, tables: &Tables) -> Self {
        let seen = snapshot.cursors.get(VIEW).map_or(0, |cursor| cursor.seq());
        self.cursor = Some(Absorbed::Through(snapshot.seq));
        self.base = Some(snapshot.seq);
        let rows = tables.get(SOURCE).map_or(&[][..], Vec::as_slice);
        let sums = sums(rows.iter().filter(|(seq, _)| *seq > seen));
        if sums.is_empty() { self } else { self.rows(VIEW, sums.into_values()) }
    }

    pub(super) fn id(&self) -> String {
        format!("unit {}", self.number)
    }

    pub(super) fn changes(&self) -> Changes {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let write = |(table, values): &(&'static str, Vec<i64>)| TableWrite {
            table: (*table).to_owned(),
            is_view: *table == VIEW,
            batches: vec![
                RecordBatch::try_new(
                    Arc::clone(&schema),
                    vec![Arc::new(Int64Array::from_iter_values(values.iter().copied()))],
                )
                .unwrap(),
            ],
            replace: self.cleared.contains(table),
        };
        Changes {
            base: self.base,
            writes: self.rows.iter().map(write).collect(),
            removals: self.removals.clone(),
            expiries: self.expiries.clone(),
            cursors: self.cursor.iter().map(|absorbed| cursor(VIEW, SOURCE, *absorbed)).collect(),
            batch_ids: match &self.sequence {
                Some(_) => Vec::new(),
                None => vec![self.id()],
            },
            sequences: self.sequence.iter().cloned().collect(),
            ..Changes::default()
        }
    }

    fn apply(&self, seq: u64, tables: &mut Tables) {
        for table in &self.cleared {
            tables.insert((*table).to_owned(), Vec::new());
        }
        for (table, values) in &self.removed {
            let rows = tables.entry((*table).to_owned()).or_default();
            for value in values {
                let found = rows.iter().position(|(_, row)| row == value);
                let found = found.unwrap_or_else(|| {
                    panic!("unit {} removes {value} of {table}, which was gone", self.number)
                });
                rows.remove(found);
            }
        }
        for (table, values) in &self.rows {
            let rows = tables.entry((*table).to_owned()).or_default();
            rows.extend(values.iter().map(|value| (seq, *value)));
        }
    }
}

/// The sum of each commit's rows.
pub(super) fn sums<'a>(rows: impl IntoIterator<Item = &'a (u64, i64)>) -> BTreeMap<u64, i64> {
    let mut sums = BTreeMap::new();
    for (seq, value) in rows {
        *sums.entry(*seq).or_insert(0) += value;
    }
    sums
}

/// Whether the view has absorbed all of its source, so that a commit may bring it forward.
pub(super) fn is_fresh(snapshot: &Snapshot) -> bool {
    let Some(cursor) = snapshot.cursors.get(VIEW) else { return false };
    snapshot.tables.get(SOURCE).is_none_or(|source| {
        let seen = cursor.sources[SOURCE];
        (seen.identity == 0 || seen.identity == source.identity) && source.changed <= seen.seq
    })
}

/// The commit up to which the view has absorbed its source; nothing when it must be built anew.
pub(super) fn absorbed(snapshot: &Snapshot) -> Option<u64> {
    let cursor = snapshot.cursors.get(VIEW)?;
    let identity = snapshot.tables.get(SOURCE).map_or(0, |source| source.identity);
    (cursor.sources[SOURCE].identity == identity).then(|| cursor.seq())
}

/// What is known of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was sent, and there was no answer or none that tells.
    Open,
    /// It is this commit.
    Landed(u64),
    /// It is some commit.
    Somewhere,
    /// Nothing was written.
    Refused,
}

/// All units with what is known of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) units: BTreeMap<i64, Unit>,
    pub(super) fates: BTreeMap<i64, Fate>,
    /// How many attempts may still land.
    attempts: BTreeMap<i64, usize>,
}

impl Told {
    /// Before a commit is sent.
    pub(super) fn send(&mut self, unit: &Unit) {
        self.units.insert(unit.number, unit.clone());
        *self.attempts.entry(unit.number).or_default() += 1;
        let fate = self.fates.entry(unit.number).or_insert(Fate::Open);
        if *fate == Fate::Refused {
            *fate = Fate::Open;
        }
    }

    /// After an answer. An attempt of which nobody knows what became of it may still land, whatever
    /// another one is told.
    pub(super) fn answer(&mut self, number: i64, result: &Result<super::super::Committed>) {
        let attempts = self.attempts.get_mut(&number).unwrap();
        let fate = self.fates.get_mut(&number).unwrap();
        match (result, *fate) {
            (Err(error), _) if matches!(error.kind(), ErrorKind::OutcomeUnknown | ErrorKind::Corrupt) => {
                return;
            }
            (Ok(done), Fate::Landed(seq)) if !done.repeated => {
                panic!("unit {number} was told to be commit {seq}, and now {}", done.snapshot.seq);
            }
            (Ok(done), _) if !done.repeated => *fate = Fate::Landed(done.snapshot.seq),
            (Ok(_), Fate::Landed(_)) => {}
            (Ok(_), _) => *fate = Fate::Somewhere,
            (Err(_), Fate::Open) if *attempts == 1 => *fate = Fate::Refused,
            (Err(_), _) => {}
        }
        *attempts -= 1;
    }

    /// Compares the rows of a snapshot with what was told. Gives the units found, by their commits.
    pub(super) fn check(&self, place: &str, snapshot: &Snapshot, tables: &Tables) -> BTreeMap<u64, i64> {
        let empty = Vec::new();
        let marks = tables.get(MARKS).unwrap_or(&empty);
        let mut found = BTreeMap::new();
        let mut numbers = BTreeSet::new();
        for (seq, number) in marks {
            assert!(numbers.insert(*number), "{place}: unit {number} is there twice: {marks:?}");
            assert!(
                found.insert(*seq, *number).is_none(),
                "{place}: commit {seq} holds two units: {marks:?}"
            );
            match self.fates.get(number) {
                None => panic!("{place}: unit {number} was never sent"),
                Some(Fate::Refused) => panic!("{place}: unit {number} was refused, and is commit {seq}"),
                Some(Fate::Landed(told)) => assert_eq!(told, seq, "{place}: unit {number} is elsewhere"),
                Some(Fate::Open | Fate::Somewhere) => {}
            }
        }
        for (number, fate) in &self.fates {
            let is_there = numbers.contains(number);
            if let Fate::Landed(seq) = fate {
                assert_eq!(
                    is_there,
                    *seq <= snapshot.seq,
                    "{place}: unit {number} was acknowledged as commit {seq}; the snapshot is {}: {marks:?}",
                    snapshot.seq
                );
            }
        }
        let mut expected = Tables::new();
        for (seq, number) in &found {
            self.units[number].apply(*seq, &mut expected);
        }
        for (table, rows) in &mut expected {
            rows.sort_unstable();
            let found = tables.get(table).unwrap_or(&empty);
            assert_eq!(found, rows, "{place}: table {table} at commit {}", snapshot.seq);
        }
        // Tables of which no unit says anything are the test's own.
        let known: BTreeSet<&str> =
            self.units.values().flat_map(|unit| &unit.rows).map(|(table, _)| *table).collect();
        for (table, rows) in tables.iter().filter(|(table, _)| known.contains(table.as_str())) {
            assert!(rows.is_empty() || expected.contains_key(table), "{place}: {table} has rows of nobody");
        }
        self.check_expired(place, snapshot, &found);
        self.check_view(place, snapshot, tables);
        found
    }

    /// What units let expire: each commit with the table and the rows.
    fn expired<'a>(
        &'a self,
        found: &'a BTreeMap<u64, i64>,
    ) -> impl Iterator<Item = (u64, &'static str, &'a [(u64, i64)])> {
        found.iter().flat_map(|(seq, number)| {
            self.units[number].expired.iter().map(|(table, rows)| (*seq, *table, rows.as_slice()))
        })
    }

    /// Compares what the tables of a snapshot tell of their expired rows with the units that took them out.
    fn check_expired(&self, place: &str, snapshot: &Snapshot, found: &BTreeMap<u64, i64>) {
        let mut expected: BTreeMap<&str, Expired> = BTreeMap::new();
        for (seq, table, rows) in self.expired(found) {
            let before = rows.iter().map(|(_, value)| value + 1).max().unwrap_or_default();
            let none = Expired { on: Some("n".to_owned()), before, seq, rows: 0 };
            let known = expected.entry(table).or_insert(none);
            let (before, rows) = (known.before.max(before), known.rows + rows.len() as u64);
            *known = Expired { on: known.on.take(), before, seq, rows };
        }
        for (name, table) in snapshot.tables.iter().filter(|(name, _)| *name != VIEW) {
            let expected = expected.remove(name.as_str());
            assert_eq!(table.expired, expected, "{place}: expired of {name} at commit {}", snapshot.seq);
        }
        assert!(expected.is_empty(), "{place}: {expected:?} has expired of tables that are not there");
    }

    /// Compares the view with what its source gives, as far as the view says it has absorbed it: with the rows that
    /// have expired since it was built.
    pub(super) fn check_view(&self, place: &str, snapshot: &Snapshot, tables: &Tables) {
        let Some(cursor) = snapshot.cursors.get(VIEW) else { return };
        let identity = snapshot.tables.get(SOURCE).map_or(0, |source| source.identity);
        if cursor.sources[SOURCE].identity != identity {
            return;
        }
        let rows = |table| tables.get(table).map_or(&[][..], Vec::as_slice);
        let built = snapshot.tables.get(VIEW).map_or(0, |view| view.identity);
        let units = rows(MARKS).iter().copied().collect();
        let expired = self.expired(&units).filter(|(seq, table, _)| *table == SOURCE && *seq > built);
        let expired = expired.flat_map(|(.., rows)| rows);
        let absorbed = rows(SOURCE).iter().chain(expired).filter(|(seq, _)| *seq <= cursor.seq());
        let mut recomputed: Vec<i64> = sums(absorbed).into_values().collect();
        recomputed.sort_unstable();
        let mut held: Vec<i64> = rows(VIEW).iter().map(|(_, sum)| *sum).collect();
        held.sort_unstable();
        assert_eq!(
            held,
            recomputed,
            "{place}: the view at commit {} is not what its source at {} gives",
            snapshot.seq,
            cursor.seq()
        );
    }
}

/// The rows of all tables of a snapshot.
pub(super) async fn tables(store: &Store, snapshot: &Snapshot) -> Tables {
    let mut tables = Tables::new();
    for name in snapshot.tables.keys() {
        tables.insert(name.clone(), rows_in(store, snapshot, name).await);
    }
    tables
}
