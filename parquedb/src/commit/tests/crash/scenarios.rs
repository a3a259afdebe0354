//! What happens while a process dies. A scenario ends with the first error of its only process; where there
//! are several, the others go on.

use super::super::told::{SOURCE, is_fresh};
use super::*;
use crate::commit::CompactOptions;
use crate::declare::definition::{CollectionDefinition, Definition};
use crate::testing::{Fault, Request};
use std::collections::BTreeMap;

macro_rules! scenario {
    ($name:literal, $prepare:ident, $run:ident) => {
        Scenario {
            name: $name,
            prepare: |world| Box::pin($prepare(world)),
            run: |world| Box::pin($run(world)),
        }
    };
}

pub(super) fn all() -> Vec<Scenario> {
    vec![
        scenario!("creation", nothing, creation),
        scenario!("creation by two", nothing, creation_by_two),
        scenario!("opening after a creation that ended before the first commit", half_created, one_insert),
        scenario!("opening after a creation that ended in the probe", probed, one_insert),
        scenario!("first declaration", created, declaration),
        scenario!("one insert", created, one_insert),
        scenario!("inserts of several tables", created, several_tables),
        scenario!("a large insert with files", created, large_insert),
        scenario!("many inserts", created, many_inserts),
        scenario!("a streaming view", created, streaming_view),
        scenario!("a repeated batch", written, repeated_batch),
        scenario!("a producer's sequence", written, producer),
        scenario!("two processes in turn", written, in_turn),
        scenario!("two processes and a lost slot", written, lost_slot),
        scenario!("two processes and a streaming view", viewed, two_streaming),
        scenario!("replacing all rows", written, replacing),
        scenario!("a view's refresh", written, refresh),
        scenario!("flush", written, flush),
        scenario!("flush of several schemas", written, flush_of_schemas),
        scenario!("checkpoint and HEAD by themselves", written, automatic_flush),
        scenario!("flushes while commits go on", written, flush_aside),
        scenario!("HEAD lost", without_head, open_and_flush),
        scenario!("HEAD far behind", stale_head, open_and_flush),
        scenario!("reading past snapshots", flushed, past_snapshots),
        scenario!("catch-up of a reader", flushed, catch_up),
        scenario!("a conflict", viewed, conflict),
        scenario!("an unknown outcome and its settling", written, settling),
        scenario!("an unknown outcome, lost to another", written, lost_unknown),
        scenario!("a 409 and a throttled request", written, undecided),
        scenario!("a claim", written, claim),
        scenario!("a takeover", written, takeover),
        scenario!("closing", written, closing),
        scenario!("pin and unpin", flushed, pin),
        scenario!("garbage collection", aged, collection),
        scenario!("garbage collection of a pinned database", aged, pinned_collection),
        scenario!("garbage collection beside a writer", aged, collection_beside_writer),
        scenario!("garbage collection by two", aged, collection_by_two),
        scenario!("a writer that slept through a collection", written, sleeper),
        scenario!("compaction", many_files, compaction),
        scenario!("compaction beside a writer", many_files, compaction_beside_writer),
        scenario!("compaction and a collection", many_files, compaction_and_collection),
        scenario!("removed rows", many_files, removals),
        scenario!("expired rows", many_files, expiry),
        scenario!("expired rows beside a writer, a flush and a compaction", many_files, expiry_beside_others),
        scenario!("removed rows beside a flush and a compaction", many_files, removals_beside_maintenance),
    ]
}

/// Where several processes take part, the death of one does not end the scenario.
fn tolerate<T>(world: &World, result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error) if world.crash.is_none() => Err(error),
        Err(_) => Ok(None),
    }
}

async fn nothing(_: &World) -> Result<()> {
    Ok(())
}

async fn created(world: &World) -> Result<()> {
    world.open(0).await.map(|_| ())
}

async fn written(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    for number in 1..4 {
        world.commit(&log, Unit::new(number).rows(SOURCE, [number, number * 10])).await?;
    }
    Ok(())
}

async fn viewed(world: &World) -> Result<()> {
    written(world).await?;
    let log = world.open(0).await?;
    let snapshot = log.snapshot();
    let rows = world.tables(&snapshot).await;
    world.commit(&log, Unit::new(4).refreshing(&snapshot, &rows)).await?;
    Ok(())
}

async fn flushed(world: &World) -> Result<()> {
    viewed(world).await?;
    let log = world.open(0).await?;
    log.flush().await?;
    world.commit(&log, Unit::new(5).rows(SOURCE, [5])).await?;
    Ok(())
}

async fn without_head(world: &World) -> Result<()> {
    flushed(world).await?;
    world.shared.delete(&Path::from("db/HEAD")).await.unwrap();
    Ok(())
}

async fn stale_head(world: &World) -> Result<()> {
    let head = Path::from("db/HEAD");
    flushed(world).await?;
    let old = world.shared.get(&head).await.unwrap().bytes().await.unwrap();
    let log = world.open(0).await?;
    for number in 6..12 {
        world.commit(&log, Unit::new(number).rows("Other", [number])).await?;
    }
    log.flush().await?;
    world.shared.put(&head, old.into()).await.unwrap();
    Ok(())
}

/// A creation of which only the first `requests` were done.
async fn creation_until(world: &World, path: &str, is_there: bool) {
    for at in 0.. {
        let inner = FaultStore::new(Arc::clone(&world.shared));
        inner.crash_at(at, false);
        let store = Store::new(Arc::new(inner), "db");
        assert!(Log::open(store, options_of(world)).await.is_err(), "{path} never appeared");
        let listed = world.shared.list_with_delimiter(Some(&Path::from("db"))).await.unwrap();
        let names = listed.objects.iter().map(|object| &object.location).chain(&listed.common_prefixes);
        if names.filter_map(Path::filename).any(|name| name == path) == is_there {
            return;
        }
    }
}

async fn half_created(world: &World) -> Result<()> {
    creation_until(world, "FORMAT", true).await;
    Ok(())
}

async fn probed(world: &World) -> Result<()> {
    creation_until(world, "_probe", true).await;
    Ok(())
}

async fn creation(world: &World) -> Result<()> {
    world.open(0).await?;
    Ok(())
}

async fn creation_by_two(world: &World) -> Result<()> {
    let (one, two) = futures::join!(world.open(0), world.open(1));
    for (number, opened) in [(1, one), (2, two)] {
        if let Some(log) = tolerate(world, opened)? {
            tolerate(world, world.commit(&log, Unit::new(number)).await)?;
        }
    }
    Ok(())
}

async fn declaration(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    let definition = Definition::Collection(CollectionDefinition {
        name: SOURCE.to_owned(),
        table: "orders".to_owned(),
        schema: batch(0..1).schema(),
        key: Vec::new(),
        version: None,
        ttl: None,
    });
    let definitions = BTreeMap::from([(SOURCE.to_owned(), definition)]);
    let changes = Changes {
        base: Some(log.snapshot().seq),
        definitions: Some(definitions.clone()),
        ..Changes::default()
    };
    let declared = log.commit(changes).await?.snapshot;
    assert_eq!(*declared.definitions, definitions);
    world.commit(&log, Unit::new(1).rows(SOURCE, [1])).await?;
    let survivor = world.survivor("first declaration").await;
    assert_eq!(*survivor.snapshot().definitions, definitions, "an acknowledged declaration is lost");
    Ok(())
}

async fn one_insert(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    world.commit(&log, Unit::new(11).rows(SOURCE, [1, 2, 3])).await?;
    Ok(())
}

async fn several_tables(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    for number in 1..4 {
        let unit = Unit::new(number).rows(SOURCE, [number]).rows("B", [number, 7]).rows("C", [0]);
        world.commit(&log, unit).await?;
    }
    Ok(())
}

async fn large_insert(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    let unit = Unit::new(1).rows(SOURCE, 0..100).rows("B", 100..200).rows("Small", [1]);
    world.commit(&log, unit).await?;
    world.commit(&log, Unit::new(2).rows(SOURCE, 100..200)).await?;
    log.flush().await?;
    Ok(())
}

async fn many_inserts(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    for number in 1..30 {
        world.commit(&log, Unit::new(number).rows(SOURCE, [number])).await?;
    }
    Ok(())
}

async fn streaming_view(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    let snapshot = log.snapshot();
    let none = world.tables(&snapshot).await;
    world.commit(&log, Unit::new(1).refreshing(&snapshot, &none)).await?;
    for number in 2..12 {
        let snapshot = log.snapshot();
        assert!(is_fresh(&snapshot));
        let unit = Unit::new(number).rows(SOURCE, [number, 1]).streaming(snapshot.seq);
        world.commit(&log, unit).await?;
        if number == 7 {
            log.flush().await?;
        }
    }
    Ok(())
}

async fn repeated_batch(world: &World) -> Result<()> {
    let unit = Unit::new(20).rows(SOURCE, [20]);
    for _ in 0..2 {
        let log = world.open(0).await?;
        world.commit(&log, unit.clone()).await?;
        assert!(world.commit(&log, unit.clone()).await?.repeated);
        log.flush().await?;
    }
    Ok(())
}

async fn producer(world: &World) -> Result<()> {
    for round in 0..2 {
        let log = world.open(0).await?;
        for number in [1, 2, 4, 3] {
            let unit = Unit {
                sequence: Some(Sequence { producer: "loader".to_owned(), number }),
                ..Unit::new(20 + i64::try_from(number).unwrap()).rows(SOURCE, [1])
            };
            assert_eq!(world.commit(&log, unit).await?.repeated, round == 1);
        }
        log.flush().await?;
    }
    Ok(())
}

async fn in_turn(world: &World) -> Result<()> {
    let logs = [world.open(0).await, world.open(1).await];
    let mut number = 20;
    for _ in 0..6 {
        for opened in &logs {
            number += 1;
            let Some(log) = tolerate(world, opened.clone())? else { continue };
            tolerate(world, log.catch_up().await)?;
            tolerate(world, world.commit(&log, Unit::new(number).rows(SOURCE, [number])).await)?;
        }
    }
    Ok(())
}

async fn lost_slot(world: &World) -> Result<()> {
    let logs = [world.open(0).await, world.open(1).await];
    let mut number = 20;
    for _ in 0..4 {
        let mut sent = Vec::new();
        for opened in &logs {
            number += 1;
            if let Some(log) = tolerate(world, opened.clone())? {
                sent.push((log, Unit::new(number).rows(SOURCE, [number]).rows("B", 0..100)));
            }
        }
        let sending = sent.iter().map(|(log, unit)| world.commit(log, unit.clone()));
        for result in futures::future::join_all(sending).await {
            tolerate(world, result)?;
        }
    }
    Ok(())
}

async fn two_streaming(world: &World) -> Result<()> {
    let logs = [world.open(0).await, world.open(1).await];
    let mut number = 20;
    for _ in 0..4 {
        let mut sent = Vec::new();
        for opened in &logs {
            number += 1;
            let Some(log) = tolerate(world, opened.clone())? else { continue };
            let snapshot = log.snapshot();
            if is_fresh(&snapshot) {
                sent.push((log, Unit::new(number).rows(SOURCE, [number]).streaming(snapshot.seq)));
            }
        }
        let sending = sent.iter().map(|(log, unit)| world.commit(log, unit.clone()));
        for result in futures::future::join_all(sending).await {
            tolerate(world, result)?;
        }
    }
    Ok(())
}

async fn replacing(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    world.commit(&log, Unit::new(20).replacing(SOURCE, [70, 71])).await?;
    world.commit(&log, Unit::new(21).rows(SOURCE, [72])).await?;
    log.flush().await?;
    world.commit(&log, Unit::new(22).replacing(SOURCE, 0..100)).await?;
    world.commit(&log, Unit::new(23).replacing(SOURCE, [])).await?;
    Ok(())
}

async fn refresh(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    for number in [20, 30] {
        let snapshot = log.snapshot();
        let rows = world.tables(&snapshot).await;
        world.commit(&log, Unit::new(number).refreshing(&snapshot, &rows)).await?;
        world.commit(&log, Unit::new(number + 1).rows(SOURCE, [number])).await?;
        log.flush().await?;
    }
    Ok(())
}

async fn flush(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    log.flush().await?;
    world.commit(&log, Unit::new(20).rows(SOURCE, [20])).await?;
    log.flush().await?;
    log.flush().await?;
    Ok(())
}

async fn flush_of_schemas(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    // Rows of another schema, and a file between the runs, so that one table gives several files.
    log.commit(write("Wide", 0..3)).await?;
    let mut narrow = Unit::new(0).rows("Wide", [4, 5]).changes();
    narrow.writes.retain(|write| write.table == "Wide");
    log.commit(narrow.clone()).await.map(|_| ())?;
    world.commit(&log, Unit::new(20).rows(SOURCE, 0..100)).await?;
    world.commit(&log, Unit::new(21).rows(SOURCE, [1])).await?;
    log.flush().await?;
    let survivor = world.survivor("flush of several schemas").await;
    assert_eq!(rows(&survivor, &survivor.snapshot(), "Wide").await.len(), 5);
    Ok(())
}

async fn automatic_flush(world: &World) -> Result<()> {
    flushes(world, u64::MAX).await
}

async fn flush_aside(world: &World) -> Result<()> {
    flushes(world, 0).await
}

async fn flushes(world: &World, flush_aside_from_bytes: u64) -> Result<()> {
    let options = |options| LogOptions { flush_after_commits: 3, flush_aside_from_bytes, ..options };
    let log = world.open_with(0, options).await?;
    for number in 20..30 {
        world.clock.advance(2_000_000);
        world.commit(&log, Unit::new(number).rows(SOURCE, [number])).await?;
    }
    Ok(())
}

async fn open_and_flush(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    world.commit(&log, Unit::new(20).rows(SOURCE, [20])).await?;
    log.flush().await?;
    Ok(())
}

async fn past_snapshots(world: &World) -> Result<()> {
    let log = world.open_with(0, |options| LogOptions { read_only: true, ..options }).await?;
    for seq in 0..=log.snapshot().seq {
        let snapshot = log.snapshot_at(seq).await?;
        assert_eq!(snapshot.seq, seq);
    }
    assert_eq!(log.snapshot_as_of(i64::MAX).await?.seq, log.snapshot().seq);
    assert!(log.snapshot_as_of(0).await.is_err());
    Ok(())
}

async fn catch_up(world: &World) -> Result<()> {
    let (writer, reader) = (world.open(0).await, world.open(1).await);
    let Some(reader) = tolerate(world, reader)? else { return Ok(()) };
    let Some(writer) = tolerate(world, writer)? else { return Ok(()) };
    let mut seen = reader.snapshot().seq;
    for number in 20..26 {
        tolerate(world, world.commit(&writer, Unit::new(number).rows(SOURCE, [number])).await)?;
        if number == 23 {
            tolerate(world, writer.flush().await)?;
        }
        tolerate(world, reader.catch_up().await)?;
        let now = reader.snapshot().seq;
        assert!(now >= seen, "a reader went back");
        seen = now;
    }
    Ok(())
}

async fn conflict(world: &World) -> Result<()> {
    let logs = [world.open(0).await, world.open(1).await];
    let mut sent = Vec::new();
    for (number, opened) in (20..).zip(&logs) {
        let Some(log) = tolerate(world, opened.clone())? else { continue };
        let snapshot = log.snapshot();
        let rows = world.tables(&snapshot).await;
        sent.push((log, Unit::new(number).refreshing(&snapshot, &rows)));
    }
    let sending = sent.iter().map(|(log, unit)| world.commit(log, unit.clone()));
    let results = futures::future::join_all(sending).await;
    if world.crash.is_none() {
        let kinds = results.iter().map(|result| result.as_ref().err().map(crate::Error::kind));
        assert_eq!(kinds.clone().flatten().collect::<Vec<_>>(), [ErrorKind::Conflict], "{results:?}");
    }
    for (number, (log, _)) in (30..).zip(&sent) {
        tolerate(world, world.commit(log, Unit::new(number)).await)?;
    }
    Ok(())
}

async fn settling(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    for (number, fault) in
        (20..).zip([Fault::FailBefore, Fault::ApplyThenHang, Fault::Undecided, Fault::ApplyLater])
    {
        let (store, unit) = (world.store_of(0), Unit::new(number).rows(SOURCE, [number]));
        store.plan(Request::Put, "log/", 0, 4, fault);
        store.plan(Request::Get, "log/", 0, 4, Fault::FailBefore);
        let first = world.commit(&log, unit.clone()).await;
        if let Err(error) = first
            && error.kind() != ErrorKind::OutcomeUnknown
        {
            return Err(error);
        }
        // The faults are over, or the process is dead.
        for _ in 0..8 {
            if world.commit(&log, unit.clone()).await.is_ok() {
                break;
            }
        }
        world.commit(&log, unit).await?;
    }
    Ok(())
}

async fn lost_unknown(world: &World) -> Result<()> {
    let (one, two) = (world.open(0).await, world.open(1).await);
    let unit = Unit::new(20).rows(SOURCE, [20]);
    if let Some(log) = tolerate(world, one)? {
        world.store_of(0).plan(Request::Put, "log/", 0, 4, Fault::FailBefore);
        let _ = world.commit(&log, unit.clone()).await;
        if let Some(other) = tolerate(world, two)? {
            tolerate(world, world.commit(&other, Unit::new(21).rows(SOURCE, [21])).await)?;
            // The other process was given the same batch.
            tolerate(world, world.commit(&other, unit.clone()).await)?;
        }
        tolerate(world, world.commit(&log, unit).await)?;
        tolerate(world, world.commit(&log, Unit::new(22)).await)?;
    }
    Ok(())
}

async fn undecided(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    for (number, fault) in
        (20..).zip([Fault::Undecided, Fault::Throttle, Fault::ApplyThenExists, Fault::ApplyThenFail])
    {
        world.store_of(0).plan(Request::Put, "log/", 0, 1, fault);
        world.commit(&log, Unit::new(number).rows(SOURCE, [number])).await?;
    }
    Ok(())
}

async fn claim(world: &World) -> Result<()> {
    let log = world.open_with(0, |options| LogOptions { exclusive: true, ..options }).await?;
    world.commit(&log, Unit::new(20).rows(SOURCE, [20])).await?;
    let other = world.open(1).await.map(|_| ()).expect_err("a database that was taken was opened");
    assert!(world.crash.is_some() || other.kind() == ErrorKind::Closed, "{other:?}");
    log.flush().await?;
    log.close().await?;
    let next = world.open(0).await?;
    world.commit(&next, Unit::new(21).rows(SOURCE, [21])).await?;
    Ok(())
}

async fn takeover(world: &World) -> Result<()> {
    let old = world.open_with(0, |options| LogOptions { exclusive: true, ..options }).await;
    let Some(old) = tolerate(world, old)? else { return Ok(()) };
    tolerate(world, world.commit(&old, Unit::new(20).rows(SOURCE, [20])).await)?;
    let new = world.open_with(1, |options| LogOptions { exclusive: true, ..options }).await;
    let Some(new) = tolerate(world, new)? else {
        // Whether the claim landed or not, one of the two may write.
        let _ = world.commit(&old, Unit::new(21)).await;
        return Ok(());
    };
    assert!(world.commit(&old, Unit::new(22)).await.is_err(), "a writer that was shut out has written");
    tolerate(world, world.commit(&new, Unit::new(23).rows(SOURCE, [23])).await)?;
    assert!(old.flush().await.is_err(), "a writer that was shut out has flushed");
    tolerate(world, new.close().await)?;
    Ok(())
}

async fn closing(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    world.commit(&log, Unit::new(20).rows(SOURCE, [20])).await?;
    log.close().await?;
    assert_eq!(world.commit(&log, Unit::new(21)).await.map(|_| ()).unwrap_err().kind(), ErrorKind::Closed);
    Ok(())
}

/// Some hours of replaced rows and flushes, the last of them a day later.
async fn aged(world: &World) -> Result<()> {
    viewed(world).await?;
    let log = world.open(0).await?;
    age(world, &log, 100).await
}

async fn age(world: &World, log: &Log, first: i64) -> Result<()> {
    for number in first..first + 3 {
        world.clock.advance(HOUR);
        world.commit(log, Unit::new(number).replacing(SOURCE, [number]).rows("Kept", [number])).await?;
        log.flush().await?;
    }
    world.clock.advance(26 * HOUR);
    world.commit(log, Unit::new(first + 3).rows(SOURCE, [1]).rows("Kept", [first])).await?;
    log.flush().await
}

/// What the old processes leave behind, and a collection that deletes it.
async fn collect(log: &Log) -> Result<u64> {
    log.collect_garbage(crate::commit::GarbageOptions::default()).await.map(|report| report.floor)
}

async fn pin(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    let pinned = log.pin("report", None, Duration::from_secs(3600)).await?;
    world.commit(&log, Unit::new(20).rows(SOURCE, [20])).await?;
    let survivor = world.survivor("pin and unpin").await;
    assert_eq!(survivor.snapshot().pins.get("report"), Some(&pinned), "an acknowledged pin is lost");
    assert!(log.unpin("report").await?);
    assert!(!log.unpin("report").await?);
    let survivor = world.survivor("pin and unpin").await;
    assert!(survivor.snapshot().pins.is_empty(), "an acknowledged unpin is lost");
    Ok(())
}

async fn collection(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    let floor = collect(&log).await?;
    assert!(floor > 0, "nothing was collected");
    world.commit(&log, Unit::new(20).rows(SOURCE, [20])).await?;
    // Nothing is left to do.
    assert_eq!(collect(&log).await?, floor);
    Ok(())
}

async fn pinned_collection(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    let pinned = log.pin("report", Some(6), Duration::from_secs(3600)).await?.seq;
    let expected = world.tables(log.snapshot_at(pinned).await?.as_ref()).await;
    assert!(collect(&log).await? <= pinned);
    let again = log.snapshot_at(pinned).await?;
    assert_eq!(world.tables(&again).await, expected);
    log.unpin("report").await?;
    assert!(collect(&log).await? > pinned);
    Ok(())
}

async fn collection_beside_writer(world: &World) -> Result<()> {
    let (one, two) = (world.open(0).await, world.open(1).await);
    let collecting = async {
        match &one {
            Ok(log) => collect(log).await.map(|_| ()),
            Err(error) => Err(error.clone()),
        }
    };
    let writing = async {
        let log = two.clone()?;
        for number in 20..24 {
            world.commit(&log, Unit::new(number).rows(SOURCE, [number])).await?;
        }
        world.commit(&log, Unit::new(24).replacing("Kept", [24])).await?;
        log.flush().await
    };
    let (collected, written) = futures::join!(collecting, writing);
    tolerate(world, collected)?;
    tolerate(world, written)?;
    Ok(())
}

async fn collection_by_two(world: &World) -> Result<()> {
    let (one, two) = (world.open(0).await, world.open(1).await);
    let collecting = [&one, &two].map(|opened| async move {
        match opened {
            Ok(log) => collect(log).await,
            Err(error) => Err(error.clone()),
        }
    });
    for result in futures::future::join_all(collecting).await {
        tolerate(world, result)?;
    }
    Ok(())
}

async fn sleeper(world: &World) -> Result<()> {
    let sleeper = world.open(0).await;
    let log = world.open(1).await;
    let worked = async {
        let log = log?;
        age(world, &log, 100).await?;
        collect(&log).await
    };
    tolerate(world, worked.await)?;
    if let Some(sleeper) = tolerate(world, sleeper)? {
        tolerate(world, world.commit(&sleeper, Unit::new(20).rows(SOURCE, [20])).await)?;
        tolerate(world, sleeper.flush().await)?;
    }
    Ok(())
}

/// Tables of several small files.
async fn many_files(world: &World) -> Result<()> {
    viewed(world).await?;
    let log = world.open(0).await?;
    for number in 100..105 {
        world.commit(&log, Unit::new(number).rows(SOURCE, [number]).rows("B", [number])).await?;
        world.commit(&log, Unit::new(number + 50).rows(SOURCE, [number])).await?;
        log.flush().await?;
    }
    Ok(())
}

async fn compact(log: &Log) -> Result<u64> {
    let options = CompactOptions { min_files: 2, full: true, ..CompactOptions::default() };
    log.compact(options, None).await.map(|report| report.files_replaced())
}

async fn compaction(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    assert!(compact(&log).await? > 0, "nothing was compacted");
    world.commit(&log, Unit::new(20).rows(SOURCE, [20])).await?;
    log.flush().await?;
    assert!(compact(&log).await? > 0, "nothing was compacted again");
    Ok(())
}

async fn compaction_beside_writer(world: &World) -> Result<()> {
    let (one, two) = (world.open(0).await, world.open(1).await);
    let compacting = async {
        match &one {
            Ok(log) => compact(log).await.map(|_| ()),
            Err(error) => Err(error.clone()),
        }
    };
    let writing = async {
        let log = two.clone()?;
        world.commit(&log, Unit::new(20).rows(SOURCE, [20])).await?;
        log.flush().await?;
        // The files that are being compacted are of no use any more.
        world.commit(&log, Unit::new(21).replacing("B", [21])).await?;
        compact(&log).await
    };
    let (compacted, written) = futures::join!(compacting, writing);
    tolerate(world, compacted)?;
    tolerate(world, written)?;
    Ok(())
}

async fn compaction_and_collection(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    compact(&log).await?;
    world.clock.advance(2 * HOUR);
    world.commit(&log, Unit::new(20).rows(SOURCE, [20])).await?;
    log.flush().await?;
    world.clock.advance(30 * HOUR);
    assert!(collect(&log).await? > 0, "nothing was collected");
    Ok(())
}

/// The live rows of a table, found by somebody who does not die.
async fn places(world: &World, log: &Log, table: &str) -> Vec<Place> {
    places_in(&Store::new(Arc::clone(&world.shared), "db"), &log.snapshot(), table).await
}

async fn removals(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    world.commit(&log, Unit::new(20).rows("B", [20, 21, 22])).await?;
    let mut some = places(world, &log, "B").await;
    some.retain(|place| matches!(place.value, 21 | 101 | 103));
    world.commit(&log, Unit::new(23).removing("B", &some, log.snapshot().seq).rows("B", [24])).await?;
    log.flush().await?;
    compact(&log).await?;
    let some = places(world, &log, "B").await;
    world.commit(&log, Unit::new(25).removing("B", &some[..3], log.snapshot().seq)).await?;
    // Half of the file is gone by now.
    assert!(compact(&log).await? > 0, "nothing was compacted");
    let rest = places(world, &log, "B").await;
    world.commit(&log, Unit::new(26).removing("B", &rest, log.snapshot().seq)).await?;
    log.flush().await?;
    world.clock.advance(30 * HOUR);
    world.commit(&log, Unit::new(27).rows("B", [27])).await?;
    log.flush().await?;
    world.clock.advance(30 * HOUR);
    assert!(collect(&log).await? > 0, "nothing was collected");
    Ok(())
}

async fn expiry(world: &World) -> Result<()> {
    let log = world.open(0).await?;
    world.commit(&log, Unit::new(20).rows("B", [20, 21, 22])).await?;
    let mut some = places(world, &log, "B").await;
    some.retain(|place| matches!(place.value, 21 | 101 | 103));
    // The mark of the commit is in another table than the rows that expire.
    world.commit(&log, Unit::new(23).expiring("B", &some, log.snapshot().seq)).await?;
    log.flush().await?;
    let rest = places(world, &log, "B").await;
    world.commit(&log, Unit::new(24).expiring("B", &rest, log.snapshot().seq)).await?;
    log.flush().await?;
    world.clock.advance(30 * HOUR);
    world.commit(&log, Unit::new(27).rows("B", [27])).await?;
    log.flush().await?;
    world.clock.advance(30 * HOUR);
    assert!(collect(&log).await? > 0, "nothing was collected");
    Ok(())
}

async fn expiry_beside_others(world: &World) -> Result<()> {
    let (one, two) = (world.open(0).await, world.open(1).await);
    let maintaining = async {
        let log = one.clone()?;
        world.commit(&log, Unit::new(30).rows("B", [30])).await?;
        log.flush().await?;
        compact(&log).await
    };
    let expiring = async {
        let log = two.clone()?;
        for number in 20..23 {
            let snapshot = log.catch_up().await?;
            let places = places(world, &log, "B").await;
            let unit = Unit::new(number).expiring("B", &places[..1], snapshot.seq);
            match world.commit(&log, unit).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                result => drop(result?),
            }
        }
        Ok(())
    };
    let (maintained, expired) = futures::join!(maintaining, expiring);
    tolerate(world, maintained)?;
    tolerate(world, expired)?;
    Ok(())
}

async fn removals_beside_maintenance(world: &World) -> Result<()> {
    let (one, two) = (world.open(0).await, world.open(1).await);
    let maintaining = async {
        let log = one.clone()?;
        log.flush().await?;
        compact(&log).await
    };
    let removing = async {
        let log = two.clone()?;
        for number in 20..23 {
            let snapshot = log.catch_up().await?;
            let places = places(world, &log, "B").await;
            let unit = Unit::new(number).removing("B", &places[..1], snapshot.seq).rows("B", [number]);
            match world.commit(&log, unit).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                result => drop(result?),
            }
        }
        Ok(())
    };
    let (maintained, removed) = futures::join!(maintaining, removing);
    tolerate(world, maintained)?;
    tolerate(world, removed)?;
    Ok(())
}
