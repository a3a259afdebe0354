//! What views hold of which rows have expired themselves.
//!
//! It depends on when they were refreshed: a row that has expired is not there when it should be removed. So this
//! follows each such view from refresh to refresh.

use super::model::is_from_before;
use super::oracle::{Oracle, Truth, When};
use super::value::{Row, Type, Value, text, to_batch};
use super::view::{Groups, View};
use futures::future::{BoxFuture, FutureExt};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A view of which rows have expired.
#[derive(Clone, Debug)]
pub(super) struct Retained {
    /// From which version of the model on.
    pub(super) version: usize,
    /// What its definition gives over what it has absorbed; of a view that groups, what rows add to groups.
    given: Arc<Vec<Row>>,
    /// What is there of it; nothing for a view that groups.
    there: Vec<Row>,
    /// What rows had added to groups that have expired, when they did.
    gone: Vec<Row>,
    /// The rows that have expired, as readers saw them, which views over it still count; each with the version
    /// without it.
    pub(super) expired: Vec<(Row, usize)>,
    /// All were from before.
    pub(super) before: i64,
    /// The version of the model without the last of them.
    pub(super) epoch: usize,
}

impl Oracle {
    /// For which version, and whether as a refresh would leave it, as far as that makes a difference.
    pub(super) fn resolved(&self, truth: Truth<'_>, view: &View, when: When) -> When {
        match self.retained.get(&view.member.name) {
            _ if when.fresh && self.depends_on_refreshes(truth, view) => when,
            Some(retained) if !view.member.streams => {
                let last = retained.iter().rfind(|retained| retained.version <= when.version);
                When::stored(last.map_or(when.version, |retained| retained.version))
            }
            _ => When::stored(when.version),
        }
    }

    /// Whether it matters when a view was refreshed.
    fn depends_on_refreshes(&self, truth: Truth<'_>, view: &View) -> bool {
        let mut sources = view.definition.plan.sources.iter().filter_map(|source| truth.view(source));
        !view.member.streams
            && (self.retained.contains_key(&view.member.name)
                || sources.any(|source| self.depends_on_refreshes(truth, source)))
    }

    /// What a view's definition gives; of a view that groups, what rows add to groups.
    pub(super) async fn given(
        &mut self,
        truth: Truth<'_>,
        view: &View,
        when: When,
    ) -> Result<Vec<Row>, String> {
        match &view.groups {
            Some(Groups { added, from, .. }) => {
                self.over_tables(truth, view, &format!("SELECT {added}{from}"), when).await
            }
            None => self.defined(truth, view, when).await,
        }
    }

    /// What a view held, if rows of it had expired.
    pub(super) fn retained_at<'a>(
        &'a mut self,
        truth: Truth<'a>,
        view: &'a View,
        when: When,
    ) -> BoxFuture<'a, Result<Option<Retained>, String>> {
        async move {
            let name = &view.member.name;
            let Some(last) = self.retained.get(name).and_then(|retained| retained.last()).cloned() else {
                return Ok(None);
            };
            if when.fresh {
                return self.followed(truth, view, &last, when).await.map(Some);
            }
            if view.member.streams {
                for version in last.version + 1..=when.version {
                    // Batches that came at the same time are in one commit.
                    let next = truth.versions.get(version + 1).filter(|_| version < when.version);
                    if next.is_none_or(|next| next.seq != truth.versions[version].seq) {
                        self.absorb(truth, view, version).await?;
                    }
                }
            }
            let retained = &self.retained[name];
            Ok(retained.iter().rfind(|retained| retained.version <= when.version).cloned())
        }
        .boxed()
    }

    /// A view absorbs a version.
    pub(super) async fn absorb(
        &mut self,
        truth: Truth<'_>,
        view: &View,
        version: usize,
    ) -> Result<(), String> {
        let Some(last) = self.retained.get(&view.member.name).and_then(|retained| retained.last()).cloned()
        else {
            return Ok(());
        };
        if last.version < version {
            let next = self.followed(truth, view, &last, When::stored(version)).await?;
            self.retained.get_mut(&view.member.name).unwrap().push(next);
        }
        Ok(())
    }

    /// What a view holds when it has absorbed more.
    async fn followed(
        &mut self,
        truth: Truth<'_>,
        view: &View,
        last: &Retained,
        when: When,
    ) -> Result<Retained, String> {
        let given = Arc::new(self.given(truth, view, when).await?);
        let mut there = Vec::new();
        if view.groups.is_none() {
            // A row that has expired is not there when it should be removed.
            there = without(&last.there, &without(&last.given, &given));
            there.extend(without(&given, &last.given));
        }
        Ok(Retained { version: when.version, given, there, ..last.clone() })
    }

    /// Lets rows of a view expire that has absorbed a version, in the version that comes after all. Gives those
    /// that readers saw. Of groups that they did not see there may be states, which only the database's `report`
    /// tells.
    pub(super) async fn expire(
        &mut self,
        truth: Truth<'_>,
        view: &View,
        absorbed: usize,
        now: i64,
        report: u64,
    ) -> Result<Vec<Row>, String> {
        let Some((on, after)) = view.ttl else { return Ok(Vec::new()) };
        let (before, epoch) = (now - after, truth.versions.len());
        let is_old = |row: &Row| is_from_before(&row[on], before);
        let last = When::stored(truth.versions.len() - 1);
        let held = match self.retained_at(truth, view, last).await? {
            Some(retained) => retained,
            None => {
                let given = Arc::new(self.given(truth, view, When::stored(absorbed)).await?);
                let there = if view.groups.is_some() { Vec::new() } else { given.to_vec() };
                Retained { version: 0, given, there, gone: Vec::new(), expired: Vec::new(), before, epoch }
            }
        };
        let old = self.left(view, &held).await?.into_iter().filter(is_old).collect::<Vec<_>>();
        if report == 0 {
            return Ok(old);
        }
        let there = held.there.into_iter().filter(|row| !is_old(row)).collect();
        let gone = match view.groups {
            Some(_) => held.given.iter().filter(|row| is_old(row)).cloned().collect(),
            None => Vec::new(),
        };
        let expired = held.expired.into_iter().chain(old.iter().map(|row| (row.clone(), epoch))).collect();
        let retained = Retained { version: epoch, given: held.given, there, gone, expired, before, epoch };
        self.retained.entry(view.member.name.clone()).or_default().push(retained);
        Ok(old)
    }

    /// A view over which there is none is built anew, with what has expired of it.
    pub(super) fn built_anew(&mut self, view: &View) {
        self.retained.remove(&view.member.name);
        self.forget_view(&view.member.name);
    }

    /// The rows that readers of a view see.
    pub(super) async fn left(&mut self, view: &View, retained: &Retained) -> Result<Vec<Row>, String> {
        let Some(groups) = &view.groups else { return Ok(retained.there.clone()) };
        let (added, taken) =
            (without(&retained.given, &retained.gone), without(&retained.gone, &retained.given));
        let key = |row: &Row| text(&row[..groups.keys].to_vec());
        let mut odd: BTreeMap<String, Vec<(&Row, i64)>> =
            taken.iter().map(|row| (key(row), Vec::new())).collect();
        for (row, sign) in added.iter().map(|row| (row, 1)).chain(taken.iter().map(|row| (row, -1))) {
            if let Some(rows) = odd.get_mut(&key(row)) {
                rows.push((row, sign));
            }
        }
        let even = added.iter().filter(|row| !odd.contains_key(&key(row))).cloned().collect::<Vec<_>>();
        self.register("added", to_batch(&groups.fields, &even));
        let seen = self.collect(&groups.merged.replace("{rows}", "\"added\"")).await?;
        let mut seen = self.finished(view, seen).await?;
        let more_came = odd.values().filter(|rows| rows.iter().map(|(_, sign)| sign).sum::<i64>() > 0);
        let more_came = more_came.map(|rows| signed(groups, rows)).collect::<Option<Vec<_>>>();
        match more_came {
            Some(more) => seen.extend(self.having(view, more).await?),
            None => self.is_beyond = true,
        }
        Ok(seen)
    }
}

/// A group that rows were taken from which had expired. Nothing where an aggregate is no sum.
fn signed(groups: &Groups, rows: &[(&Row, i64)]) -> Option<Row> {
    let mut group = rows[0].0[..groups.keys].to_vec();
    for (name, column) in &groups.aggregates {
        let at = groups.fields.iter().position(|field| field.name == *column)?;
        if *name == "sum" && groups.fields[at].of != Type::Int {
            return None;
        }
        let values = rows.iter().filter_map(|(row, sign)| match (*name, &row[at]) {
            (_, Value::Null) => None,
            ("count", _) => Some(Some(*sign)),
            ("sum", Value::Int(value)) => Some(Some(sign * value)),
            _ => Some(None),
        });
        group.push(Value::Int(values.sum::<Option<i64>>()?));
    }
    Some(group)
}

/// Some rows without others, as often as each is there.
pub(super) fn without(rows: &[Row], others: &[Row]) -> Vec<Row> {
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    others.iter().for_each(|row| *taken.entry(text(row)).or_default() += 1);
    let stays = |row: &&Row| match taken.get_mut(&text(row)) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    rows.iter().filter(stays).cloned().collect()
}
