//! The declared members of a database and the plan that reads each of them at a snapshot.

use super::prepare::Inputs;
use super::scan;
use super::state;
use super::view;
use crate::commit::snapshot::{DataFile, Snapshot, Table};
use crate::declare::definition::{Definition, ViewDefinition};
use crate::declare::plan::Join;
use crate::error::{Error, ErrorKind, Result};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The declared members, what each stores, and the order in which views follow their sources.
#[derive(Debug)]
pub(crate) struct Catalog {
    definitions: Arc<BTreeMap<String, Definition>>,
    stored: BTreeMap<String, SchemaRef>,
    hashes: BTreeMap<String, String>,
    views: Vec<String>,
    /// The members whose rows may go, or change, which is the same.
    losing: BTreeSet<String>,
}

impl Catalog {
    /// Checks the definitions against each other: every source is a member, no view follows itself.
    pub(crate) fn new(definitions: Arc<BTreeMap<String, Definition>>) -> Result<Self> {
        let views = in_order(&definitions)?;
        let losing = losing(&definitions, &views);
        let mut catalog =
            Self { definitions, stored: BTreeMap::new(), hashes: BTreeMap::new(), views, losing };
        for (name, definition) in catalog.definitions.iter() {
            check_columns(definition)?;
            let stored = match definition {
                Definition::Collection(collection) => Arc::clone(&collection.schema),
                Definition::View(view) => {
                    let stored = view::stored_schema(view, &catalog.no_inputs(view)?)
                        .map_err(|error| error.context(format!("view `{name}`")))?;
                    catalog.hashes.insert(name.clone(), hash(view, &stored)?);
                    stored
                }
            };
            catalog.stored.insert(name.clone(), stored);
        }
        catalog.views().try_for_each(|view| catalog.check_looks_back(view))?;
        catalog.views().try_for_each(|view| catalog.check_lists(view))?;
        Ok(catalog)
    }

    /// An error if a list of references of a view could find several rows for an element.
    fn check_lists(&self, view: &ViewDefinition) -> Result<()> {
        for Join { name, member, key, required, after_unnest, .. } in
            view.plan.joins.iter().filter(|join| join.many)
        {
            let is_key = match self.get(member)? {
                Definition::Collection(collection) => collection.key == [key.as_str()],
                Definition::View(_) => false,
            };
            let problem = match (is_key, *required, *after_unnest) {
                (false, ..) => format!("`{key}` is not the key of a collection `{member}`"),
                (_, true, _) => "it cannot be required".to_owned(),
                (.., true) => "it cannot come after an `$unnest`".to_owned(),
                _ => continue,
            };
            return Err(Error::invalid(format!(
                "view `{}` looks up the rows of the list `{name}`, but {problem}",
                view.name
            )));
        }
        Ok(())
    }

    pub(crate) fn definitions(&self) -> &Arc<BTreeMap<String, Definition>> {
        &self.definitions
    }

    /// The views, each after its source.
    pub(crate) fn views(&self) -> impl Iterator<Item = &ViewDefinition> {
        self.views.iter().filter_map(|name| match self.definitions.get(name) {
            Some(Definition::View(view)) => Some(view),
            _ => None,
        })
    }

    pub(crate) fn get(&self, name: &str) -> Result<&Definition> {
        self.definitions
            .get(name)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("the database has no member `{name}`")))
    }

    pub(crate) fn view(&self, name: &str) -> Result<&ViewDefinition> {
        match self.get(name)? {
            Definition::View(view) => Ok(view),
            Definition::Collection(_) => Err(Error::invalid(format!(
                "`{name}` is a collection, not a view: it has nothing to refresh"
            ))),
        }
    }

    /// Hash of the view's definition: of its plan, its source and its columns, not of when it refreshes.
    pub(crate) fn hash(&self, view: &str) -> Result<&str> {
        self.hashes
            .get(view)
            .map(String::as_str)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("the database has no view `{view}`")))
    }

    /// The columns that a member's runs have.
    pub(crate) fn stored_schema(&self, name: &str) -> Result<&SchemaRef> {
        self.stored
            .get(name)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("the database has no member `{name}`")))
    }

    /// What a member's table holds at a snapshot: rows, or the states of a grouping view.
    pub(crate) fn stored(&self, snapshot: &Snapshot, name: &str) -> Result<LogicalPlan> {
        let table = snapshot.tables.get(name).map(Arc::as_ref);
        scan::all_rows(name, self.stored_schema(name)?, table)
    }

    /// A member's rows at a snapshot, as a reader sees them.
    pub(crate) fn rows(&self, snapshot: &Snapshot, name: &str) -> Result<LogicalPlan> {
        let stored = self.stored(snapshot, name)?;
        match self.get(name)? {
            Definition::Collection(_) => Ok(stored),
            Definition::View(view) => {
                let inputs = self.no_inputs(view)?;
                match snapshot.tables.get(name) {
                    Some(table) if is_merged(table) => view::results_of_merged(view, &inputs, stored),
                    _ => view::result_plan(view, &inputs, stored),
                }
            }
        }
    }

    /// The grouping views whose stored states follow their present definitions, by a snapshot: those can be
    /// merged.
    pub(crate) fn mergeable(&self, snapshot: &Snapshot) -> BTreeSet<String> {
        let groups = self.views().filter(|view| view::groups(view));
        groups
            .filter(|view| {
                let cursor = snapshot.cursors.get(&view.name);
                cursor.is_some_and(|cursor| self.hashes.get(&view.name) == Some(&cursor.definition))
            })
            .map(|view| view.name.clone())
            .collect()
    }

    /// The states in some files of a grouping view, merged to one of each group.
    pub(crate) fn merged_states(&self, name: &str, files: Vec<Arc<DataFile>>) -> Result<LogicalPlan> {
        let view = self.view(name)?;
        let stored = scan::rows_of(name, self.stored_schema(name)?, files)?;
        view::merge_plan(view, &self.no_inputs(view)?, stored)
    }

    /// A view's inputs without rows: their columns alone.
    pub(crate) fn no_inputs(&self, view: &ViewDefinition) -> Result<Inputs> {
        self.inputs(view, |name| self.no_rows(name))
    }

    /// A view's inputs, each given by the member's name.
    pub(crate) fn inputs(
        &self,
        view: &ViewDefinition,
        rows: impl FnMut(&str) -> Result<LogicalPlan>,
    ) -> Result<Inputs> {
        Inputs::of(view, self.may_lose_rows(view), rows)
    }

    /// Whether rows that a view is computed from, once seen, may go again or change.
    pub(crate) fn may_lose_rows(&self, view: &ViewDefinition) -> bool {
        view.plan.joins.iter().any(|join| !join.as_of_ingest)
            || view.plan.sources.iter().any(|source| self.loses_rows(source))
    }

    /// Whether rows of a member may go, or change, which is the same.
    pub(crate) fn loses_rows(&self, member: &str) -> bool {
        self.losing.contains(member)
    }

    /// A plan with what a member stores, without rows.
    pub(crate) fn no_states(&self, name: &str) -> Result<LogicalPlan> {
        scan::all_rows(name, self.stored_schema(name)?, None)
    }

    /// A plan with a member's columns and no rows.
    pub(crate) fn no_rows(&self, name: &str) -> Result<LogicalPlan> {
        scan::all_rows(name, self.get(name)?.schema(), None)
    }
}

/// Whether all that a table holds is one file of merged states, so that each group has one.
fn is_merged(table: &Table) -> bool {
    matches!(table.files.as_slice(), [file] if file.merged && file.live_rows() > 0) && table.inline.is_empty()
}

/// An error if two columns have one name.
fn check_columns(definition: &Definition) -> Result<()> {
    let mut names = BTreeSet::new();
    let mut fields = definition.schema().fields().iter();
    match fields.find(|field| !names.insert(field.name())) {
        Some(field) => Err(Error::invalid(format!(
            "`{}` has two columns `{}`: give one of them another name",
            definition.name(),
            field.name()
        ))),
        None => Ok(()),
    }
}

fn hash(view: &ViewDefinition, stored: &Schema) -> Result<String> {
    // What a grouping view stores depends on the format of the states too, and on whether its sources lose rows.
    let format = view::groups(view).then_some((state::FORMAT, stored));
    let canonical = serde_json::to_vec(&(&view.plan, &view.schema, format)).map_err(|error| {
        Error::with_source(
            ErrorKind::Invalid,
            format!("view `{}`: its plan has no JSON form", view.name),
            error,
        )
    })?;
    Ok(blake3::hash(&canonical).to_hex().to_string())
}

/// The members whose rows may go, of views that are given each after what it is computed from.
fn losing(definitions: &BTreeMap<String, Definition>, views: &[String]) -> BTreeSet<String> {
    let is_keyed = |definition: &Definition| match definition {
        Definition::Collection(collection) => !collection.key.is_empty(),
        Definition::View(_) => false,
    };
    let keyed = definitions.iter().filter(|(_, definition)| is_keyed(definition));
    let mut losing = keyed.map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
    for name in views {
        let Some(Definition::View(view)) = definitions.get(name) else { continue };
        let follows = view.plan.sources.iter().any(|source| losing.contains(source));
        // A group's row changes with every state that comes.
        if view::groups(view) || !view.plan.joins.is_empty() || follows {
            losing.insert(name.clone());
        }
    }
    losing
}

/// The views, each after what it is computed from.
fn in_order(definitions: &BTreeMap<String, Definition>) -> Result<Vec<String>> {
    let mut order = Vec::new();
    for name in definitions.keys() {
        visit(definitions, name, &mut Vec::new(), &mut order)?;
    }
    Ok(order)
}

fn visit<'a>(
    definitions: &'a BTreeMap<String, Definition>,
    name: &'a str,
    trail: &mut Vec<&'a str>,
    order: &mut Vec<String>,
) -> Result<()> {
    let Some(Definition::View(view)) = definitions.get(name) else { return Ok(()) };
    if order.iter().any(|known| known == name) {
        return Ok(());
    }
    if trail.contains(&name) {
        return Err(Error::invalid(format!("view `{name}` is computed from itself")));
    }
    trail.push(name);
    for member in view.plan.members() {
        if !definitions.contains_key(member) {
            return Err(Error::invalid(format!(
                "view `{name}` is computed from `{member}`, which the database does not have"
            )));
        }
        visit(definitions, member, trail, order)?;
    }
    trail.pop();
    order.push(name.to_owned());
    Ok(())
}
