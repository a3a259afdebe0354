//! Opening a database.

use super::{Connection, Database, GroupCommit, MaintenanceOptions};
use crate::clock::Clock;
use crate::commit::snapshot::Snapshot;
use crate::commit::{Absorbed, Changes, CursorWrite, Log, LogOptions};
use crate::declare::definition::{CollectionDefinition, Definition};
use crate::error::{Error, ErrorKind, Result};
use crate::evaluate::catalog::Catalog;
use crate::evaluate::view;
use crate::maintain::expire::check_all_ttls;
use crate::maintain::explain::check_all_strict;
use crate::maintain::refresh::absorbed;
use crate::maintain::schedule;
use crate::store::{Durability, Store};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

/// How to open a database.
#[derive(Debug)]
#[must_use = "a builder opens nothing until `open` is awaited"]
pub struct Builder<D> {
    options: LogOptions,
    durability: Durability,
    group_commit: GroupCommit,
    maintenance: MaintenanceOptions,
    definitions: Vec<Definition>,
    database: PhantomData<fn() -> D>,
}

impl<D: Database> Builder<D> {
    pub(super) fn new() -> Self {
        Self {
            options: LogOptions::default(),
            durability: Durability::Sync,
            group_commit: GroupCommit::default(),
            maintenance: MaintenanceOptions::default(),
            definitions: Vec::new(),
            database: PhantomData,
        }
    }

    /// Reads only. The database must exist; views declared here that it does not store cannot be read.
    pub fn read_only(mut self) -> Self {
        self.options.read_only = true;
        self.options.create_if_missing = false;
        self
    }

    /// Declares members that are known only at run time, beside those of the database type: for tools. They are
    /// written and read by name, as with [`crate::Batch::insert_into`] and [`Connection::rows`].
    pub fn with_definitions(mut self, definitions: impl IntoIterator<Item = Definition>) -> Self {
        self.definitions.extend(definitions);
        self
    }

    /// Refuses to create the database where there is none.
    pub fn existing(mut self) -> Self {
        self.options.create_if_missing = false;
        self
    }

    /// Takes the database for this process alone, until [`crate::Connection::close`]. Whoever writes to it now is
    /// shut out: its next write is [`ErrorKind::Closed`], even if it stands still meanwhile and wakes up
    /// later. Reading goes on everywhere. Spares conflicts where one process is to write; a second one
    /// that opens it like this takes over.
    pub fn exclusive(mut self) -> Self {
        self.options.exclusive = true;
        self
    }

    /// Takes times from this clock: commits' times, schedules, lags.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.options.clock = clock;
        self
    }

    /// When a commit on a local disk counts as written. By default when the disk has it.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How concurrent writes become one commit.
    pub fn group_commit(mut self, settings: GroupCommit) -> Self {
        self.group_commit = settings;
        self
    }

    /// What [`Connection::maintain`] does, and how often.
    pub fn maintenance(mut self, change: impl FnOnce(&mut MaintenanceOptions)) -> Self {
        change(&mut self.maintenance);
        self
    }

    /// The settings of the log.
    pub fn log_options(mut self, change: impl FnOnce(&mut LogOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// Opens the database at a URL: `memory:///`, `file:///path`, a plain path,
    /// `s3://bucket/prefix` or `https://ACCOUNT.r2.cloudflarestorage.com/bucket/prefix`. It is created
    /// where there is none, and gets what the program declares and it does not have.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a URL or a declaration that cannot be, or a collection whose stored
    /// columns are others; [`ErrorKind::NotFound`], [`ErrorKind::Unavailable`] and
    /// [`ErrorKind::Corrupt`] from the store.
    pub async fn open(self, url: impl AsRef<str>) -> Result<D> {
        let store = Store::open_with(url.as_ref(), self.durability)?;
        self.open_store(store).await
    }

    /// Opens the database in a store of the program's own.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub async fn open_store(self, store: Store) -> Result<D> {
        let mut declared = D::definitions();
        declared.extend(self.definitions);
        for definition in &declared {
            if let Definition::View(view) = definition {
                schedule::check(&view.refresh)
                    .map_err(|error| error.context(format!("view `{}`", view.name)))?;
            }
        }
        let log = Log::open(store, self.options).await?;
        let definitions = if log.options().read_only {
            let snapshot = log.snapshot();
            merged(&snapshot, &declared)?.map_or_else(|| Arc::clone(&snapshot.definitions), Arc::new)
        } else {
            declare(&log, &declared).await?
        };
        let is_writer = !log.options().read_only;
        let connection = Connection::new(log, definitions, self.maintenance, self.group_commit).await?;
        if is_writer {
            connection.build_over_nothing().await?;
        }
        Ok(D::attach(connection))
    }
}

/// Stores what is declared and not stored yet.
async fn declare(log: &Log, declared: &[Definition]) -> Result<Arc<BTreeMap<String, Definition>>> {
    loop {
        let snapshot = log.snapshot();
        let Some(definitions) = merged(&snapshot, declared)? else {
            return Ok(Arc::clone(&snapshot.definitions));
        };
        let catalog = Catalog::new(Arc::new(definitions.clone()))?;
        check_all_strict(&catalog)?;
        check_all_ttls(&catalog)?;
        let mut cursors = Vec::new();
        for view in catalog.views() {
            // Over a source without rows a view is complete as soon as it is declared.
            let is_built = snapshot.cursors.contains_key(&view.name);
            if !is_built && view.plan.members().all(|member| is_empty(&catalog, &snapshot, member)) {
                cursors.push(CursorWrite {
                    view: view.name.clone(),
                    definition: catalog.hash(&view.name)?.to_owned(),
                    sources: absorbed(view, |_| Absorbed::ThisCommit),
                    alone: false,
                });
            }
        }
        let changes = Changes {
            base: Some(snapshot.seq),
            definitions: Some(definitions),
            cursors,
            ..Changes::default()
        };
        match log.commit(changes).await {
            Ok(done) => return Ok(Arc::clone(&done.snapshot.definitions)),
            Err(error) if error.kind() == ErrorKind::Conflict => {
                log.catch_up().await?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether a member and everything it is computed from has no rows at all.
fn is_empty(catalog: &Catalog, snapshot: &Snapshot, name: &str) -> bool {
    let here = snapshot.tables.get(name).is_none_or(|table| table.rows == 0);
    here && match catalog.get(name) {
        // Without keys there is one row even over nothing.
        Ok(Definition::View(view)) if view::groups(view) && view::keys(view).is_empty() => false,
        Ok(Definition::View(view)) => view.plan.members().all(|member| is_empty(catalog, snapshot, member)),
        _ => true,
    }
}

/// The stored definitions with the declared ones, or nothing when all are stored.
fn merged(snapshot: &Snapshot, declared: &[Definition]) -> Result<Option<BTreeMap<String, Definition>>> {
    let mut definitions = snapshot.definitions.as_ref().clone();
    let mut changed = false;
    for definition in declared {
        let name = definition.name();
        if let Some(other) =
            definitions.values().find(|other| other.name() != name && other.table() == definition.table())
        {
            return Err(Error::invalid(format!(
                "`{name}` and `{}` both have the table name `{}`",
                other.name(),
                definition.table()
            )));
        }
        match definitions.get(name) {
            Some(stored) if stored == definition => continue,
            Some(Definition::Collection(stored)) => match definition {
                Definition::Collection(new) => check_evolution(stored, new, snapshot)?,
                Definition::View(_) => return Err(other_kind(name, "collection", "view")),
            },
            Some(Definition::View(_)) if matches!(definition, Definition::Collection(_)) => {
                return Err(other_kind(name, "view", "collection"));
            }
            _ => {}
        }
        definitions.insert(name.to_owned(), definition.clone());
        changed = true;
    }
    Ok(changed.then_some(definitions))
}

fn other_kind(name: &str, stored: &str, declared: &str) -> Error {
    Error::invalid(format!(
        "the database stores `{name}` as a {stored}, the program declares a {declared}: choose another name"
    ))
}

/// Rows that were written must still fit: columns may be added if they can be null.
fn check_evolution(
    stored: &CollectionDefinition,
    new: &CollectionDefinition,
    snapshot: &Snapshot,
) -> Result<()> {
    if snapshot.tables.get(&stored.name).is_none_or(|table| table.rows == 0) {
        return Ok(());
    }
    let name = &stored.name;
    for field in stored.schema.fields() {
        match new.schema.field_with_name(field.name()) {
            Ok(same) if same == field.as_ref() => {}
            Ok(other) => {
                return Err(Error::invalid(format!(
                    "collection `{name}`: column `{}` is stored as {} ({}), the program declares {} ({}). \
                     A stored column cannot change its type: declare a new column",
                    field.name(),
                    field.data_type(),
                    nullability(field.is_nullable()),
                    other.data_type(),
                    nullability(other.is_nullable()),
                )));
            }
            Err(_) => {
                return Err(Error::invalid(format!(
                    "collection `{name}`: the stored column `{}` is not declared. A column that has rows cannot \
                     be dropped: keep the field",
                    field.name()
                )));
            }
        }
    }
    for field in new.schema.fields() {
        if stored.schema.field_with_name(field.name()).is_err() && !field.is_nullable() {
            return Err(Error::invalid(format!(
                "collection `{name}`: the new column `{}` must be an `Option`, because the stored rows have no \
                 value for it",
                field.name()
            )));
        }
    }
    Ok(())
}

fn nullability(nullable: bool) -> &'static str {
    if nullable { "optional" } else { "required" }
}
