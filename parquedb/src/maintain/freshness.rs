//! Whether a view holds what its definition gives over its source at a snapshot.

use crate::commit::snapshot::Snapshot;
use crate::declare::definition::Definition;
use crate::error::Result;
use crate::evaluate::catalog::Catalog;
use serde::Serialize;

/// Whether a view holds what its definition gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Freshness {
    /// It has absorbed every change of its source.
    Fresh,
    /// Its source has changed since it was last refreshed. It shows its source as it was then.
    Stale,
    /// It cannot be read: a refresh rebuilds it.
    Invalid {
        /// Why.
        reason: String,
    },
}

impl Freshness {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Freshness::Fresh => "fresh",
            Freshness::Stale => "stale",
            Freshness::Invalid { .. } => "invalid",
        }
    }

    fn invalid(reason: impl Into<String>) -> Self {
        Freshness::Invalid { reason: reason.into() }
    }
}

/// The state of a view at a snapshot.
pub(crate) fn freshness(catalog: &Catalog, snapshot: &Snapshot, name: &str) -> Result<Freshness> {
    let view = catalog.view(name)?;
    let Some(cursor) = snapshot.cursors.get(name) else {
        return Ok(Freshness::invalid("it was never built"));
    };
    if cursor.definition != catalog.hash(name)? {
        return Ok(Freshness::invalid("its definition has changed"));
    }
    let mut state = Freshness::Fresh;
    for source in view.plan.members() {
        if let Definition::View(_) = catalog.get(source)? {
            match freshness(catalog, snapshot, source)? {
                Freshness::Fresh => {}
                Freshness::Stale => state = Freshness::Stale,
                Freshness::Invalid { reason } => {
                    return Ok(Freshness::invalid(format!("its source `{source}` is invalid: {reason}")));
                }
            }
        }
        let Some(table) = snapshot.tables.get(source) else { continue };
        let Some(seen) = cursor.sources.get(source) else {
            return Ok(Freshness::invalid(format!("it was not built from `{source}`")));
        };
        // A cursor over a source without a table has seen none of whatever came later.
        if seen.identity != 0 && seen.identity != table.identity {
            return Ok(Freshness::invalid(format!("its source `{source}` was rebuilt")));
        }
        if table.changed > seen.seq && view.plan.triggers().any(|trigger| trigger == source) {
            state = Freshness::Stale;
        }
    }
    Ok(state)
}
