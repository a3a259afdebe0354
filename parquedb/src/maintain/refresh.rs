//! Bringing a view's cursor forward: by the rows its source got since, or by building it anew.

use super::freshness::{Freshness, freshness};
use crate::commit::snapshot::Snapshot;
use crate::commit::{Absorbed, Changes, CursorWrite, TableWrite};
use crate::declare::definition::ViewDefinition;
use crate::error::Result;
use crate::evaluate::catalog::Catalog;
use crate::evaluate::prepare::Inputs;
use crate::evaluate::view;
use datafusion::prelude::SessionContext;
use std::collections::BTreeMap;

/// The commit that brings a view to the snapshot, or nothing when it is there.
///
/// A stale view of an appending source absorbs the rows after its cursor; any other is computed from
/// the whole source, and the new rows replace the old ones.
pub(crate) async fn refresh(
    session: &SessionContext,
    catalog: &Catalog,
    snapshot: &Snapshot,
    name: &str,
) -> Result<Option<Changes>> {
    let definition = catalog.view(name)?;
    let state = freshness(catalog, snapshot, name)?;
    let (inputs, replace) = match (state, snapshot.cursors.get(name), &definition.plan.sources[..]) {
        (Freshness::Fresh, ..) => return Ok(None),
        (Freshness::Stale, Some(cursor), [source])
            if definition.plan.joins.is_empty() && catalog.appends_rows(source)? =>
        {
            (Inputs::of(definition, |name| catalog.rows_after(snapshot, name, cursor.seq()))?, false)
        }
        _ => (Inputs::of(definition, |name| catalog.rows(snapshot, name))?, true),
    };
    let plan = view::delta_plan(definition, &inputs)?;
    let stored = catalog.stored_schema(name)?;
    let frame = session.execute_logical_plan(plan).await?;
    let batches = frame
        .collect()
        .await
        .map_err(|error| crate::Error::from(error).context(format!("view `{name}`")))?
        .iter()
        .filter(|batch| batch.num_rows() > 0)
        .map(|batch| view::conform(batch, stored, name))
        .collect::<Result<Vec<_>>>()?;
    Ok(Some(Changes {
        base: Some(snapshot.seq),
        writes: vec![TableWrite { table: name.to_owned(), is_view: true, batches, replace }],
        cursors: vec![CursorWrite {
            view: name.to_owned(),
            definition: catalog.hash(name)?.to_owned(),
            sources: absorbed(definition, |_| Absorbed::Through(snapshot.seq)),
            alone: false,
        }],
        ..Changes::default()
    }))
}

/// How far a view has absorbed each of its sources.
pub(crate) fn absorbed(
    view: &ViewDefinition,
    how_far: impl Fn(&str) -> Absorbed,
) -> BTreeMap<String, Absorbed> {
    view.plan.members().map(|member| (member.to_owned(), how_far(member))).collect()
}
