//! Promises to one who does one thing after another.

use super::Tally;
use super::probe::{Probe, object, whole};
use object_store::path::Path;
use object_store::{GetRange, ObjectMeta, Result};
use std::collections::BTreeMap;
use std::ops::Range;

/// Looks before and after a create, and before and after a deletion, in every way there is.
pub(super) async fn creates_and_deletes(probe: &Probe) -> Result<[Tally; 4]> {
    let (mut read, mut list, mut deleted, mut again) =
        (Tally::default(), Tally::default(), Tally::default(), Tally::default());
    let folder = probe.path("log");
    let name = |number: usize| folder.clone().join(format!("{number:020}.c"));
    for repeat in 1..=probe.options.repeats {
        let (path, before) = (name(repeat), name(repeat - 1));
        // Caches that remember what is missing have something to remember.
        if probe.read(&path, None).await?.is_some() {
            read.note(Err(format!("{path} is there before it was created")));
        }
        let bytes = object(repeat as u64, 200 + repeat);
        if let Err(how) = probe.create(&path, &bytes).await? {
            read.note(Err(how));
        }
        read.note(is_read(probe, &path, repeat as u64).await?);
        let size = bytes.len() as u64;
        list.note(is_listed(&probe.list(&folder, None).await?, &path, size, "a listing"));
        let after = probe.list(&folder, Some(&before)).await?;
        list.note(is_listed(&after, &path, size, "a listing with an offset"));
        let delimited = probe.list_with_delimiter(&folder).await?;
        list.note(is_listed(&delimited, &path, size, "a listing with a delimiter"));
    }
    for repeat in 1..=probe.options.repeats {
        let (path, before) = (name(repeat), name(repeat - 1));
        probe.delete(&path).await?;
        let listings = [
            probe.list(&folder, None).await?,
            probe.list(&folder, Some(&before)).await?,
            probe.list_with_delimiter(&folder).await?,
        ];
        let is_listed = listings.iter().flatten().any(|object| object.location == path);
        let is_found = probe.read(&path, None).await?.is_some() || probe.head(&path).await?.is_some();
        deleted.note(match (is_found, is_listed) {
            (true, _) => Err(format!("{path} can be read after its deletion")),
            (_, true) => Err(format!("{path} is listed after its deletion")),
            _ => Ok(()),
        });
        let tag = (probe.options.repeats + repeat) as u64;
        let created = probe.create(&path, &object(tag, 100)).await?;
        again.note(match created {
            Ok(()) => is_read(probe, &path, tag).await?,
            Err(how) => Err(format!("after its deletion {how}")),
        });
    }
    Ok([read, list, deleted, again])
}

async fn is_read(probe: &Probe, path: &Path, tag: u64) -> Result<Result<(), String>> {
    let found = match probe.read(path, None).await? {
        None => return Ok(Err(format!("{path} was not found after its creation"))),
        Some(bytes) => whole(&bytes),
    };
    Ok(match found {
        Ok(found) if found == tag => Ok(()),
        Ok(_) => Err(format!("{path} was read as it was before")),
        Err(how) => Err(format!("{path} is damaged: {how}")),
    })
}

fn is_listed(objects: &[ObjectMeta], path: &Path, size: u64, listing: &str) -> Result<(), String> {
    match objects.iter().find(|object| object.location == *path) {
        Some(object) if object.size == size => Ok(()),
        Some(object) => Err(format!("{listing} gives {path} {} instead of {size} bytes", object.size)),
        None => Err(format!("{listing} does not name {path} after its creation")),
    }
}

/// Lists a folder of more objects than fit into one answer, whole and from several offsets.
pub(super) async fn complete_listings(probe: &Probe) -> Result<[Tally; 1]> {
    let mut tally = Tally::default();
    let (folder, sibling) = (probe.path("many"), probe.path("many-more"));
    let total = probe.options.objects;
    let name = |number: usize| folder.clone().join(format!("{number:020}.c"));
    let mut objects: Vec<_> =
        (0..total).map(|number| (name(number), object(number as u64, 16 + number % 50))).collect();
    let expected: BTreeMap<Path, u64> =
        objects.iter().map(|(path, bytes)| (path.clone(), bytes.len() as u64)).collect();
    // Listings of a folder must not mistake it for the beginning of a name.
    objects.push((sibling.join("beside.c"), object(0, 16)));
    for how in probe.create_all(&objects).await? {
        tally.note(Err(how));
    }
    tally.note(are_exactly(&probe.list(&folder, None).await?, &expected, "a listing"));
    tally.note(are_exactly(
        &probe.list_with_delimiter(&folder).await?,
        &expected,
        "a listing with a delimiter",
    ));
    let quarter = total / 4;
    let offsets = [0, 1, quarter, 2 * quarter, 3 * quarter, 999, 1000, 1001, total.saturating_sub(2)];
    let last = total.saturating_sub(1);
    for number in offsets.into_iter().filter(|number| *number < last).chain([last]) {
        let offset = name(number);
        let after = expected.iter().filter(|(path, _)| **path > offset);
        let after = after.map(|(path, size)| (path.clone(), *size)).collect();
        let listed = probe.list(&folder, Some(&offset)).await?;
        tally.note(are_exactly(&listed, &after, &format!("a listing after {offset}")));
    }
    Ok([tally])
}

fn are_exactly(listed: &[ObjectMeta], expected: &BTreeMap<Path, u64>, listing: &str) -> Result<(), String> {
    let found: BTreeMap<Path, u64> =
        listed.iter().map(|object| (object.location.clone(), object.size)).collect();
    if found.len() != listed.len() {
        return Err(format!("{listing} names {} objects twice", listed.len() - found.len()));
    }
    if let Some(path) = expected.keys().find(|path| !found.contains_key(*path)) {
        let (count, of) = (found.len(), expected.len());
        return Err(format!("{listing} names {count} instead of {of} objects; missing is {path}"));
    }
    match found.iter().find(|(path, size)| expected.get(*path) != Some(*size)) {
        Some((path, _)) if !expected.contains_key(path) => Err(format!("{listing} names also {path}")),
        Some((path, size)) => Err(format!("{listing} gives {path} a wrong size, {size} bytes")),
        None => Ok(()),
    }
}

/// Reads ranges of one object, alone and several at once.
pub(super) async fn ranged_reads(probe: &Probe) -> Result<[Tally; 1]> {
    let mut tally = Tally::default();
    let path = probe.path("data/Ranges/01K000000000000000000000AB.parquet");
    let bytes = object(1, probe.options.object_bytes.max(1_000));
    if let Err(how) = probe.create(&path, &bytes).await? {
        tally.note(Err(how));
    }
    let length = bytes.len() as u64;
    let part = |range: &Range<u64>| bytes.slice(range.start as usize..(range.end.min(length)) as usize);
    let mut ranges = vec![0..1, 0..128, 0..length, length - 1..length, length - 8..length, 1..length - 1];
    for repeat in 0..probe.options.repeats as u64 {
        let start = (repeat * 7_919) % (length - 1);
        let end = (start + 1 + (repeat * 104_729) % 5_000).min(length);
        ranges.push(start..end);
    }
    // As far as there is something: a header is asked for in a shorter object, too.
    let mut single = ranges.clone();
    single.extend([0..length + 1_000, length - 5..length + 5]);
    for range in &single {
        let found = probe.read(&path, Some(GetRange::Bounded(range.clone()))).await?;
        tally.note(is_range(found.as_deref(), &part(range), &path, range));
    }
    for start in [0, 1, length / 2, length - 1] {
        let found = probe.read(&path, Some(GetRange::Offset(start))).await?;
        tally.note(is_range(found.as_deref(), &part(&(start..length)), &path, &(start..length)));
    }
    let together = probe.read_ranges(&path, &ranges).await?;
    if together.len() != ranges.len() {
        tally.note(Err(format!("{} of {} ranges of {path} came", together.len(), ranges.len())));
    }
    for (range, found) in ranges.iter().zip(&together) {
        tally.note(is_range(Some(found), &part(range), &path, range));
    }
    Ok([tally])
}

fn is_range(found: Option<&[u8]>, expected: &[u8], path: &Path, range: &Range<u64>) -> Result<(), String> {
    let place = || format!("bytes {} to {} of {path}", range.start, range.end);
    match found {
        Some(found) if found == expected => Ok(()),
        Some(found) if found.len() != expected.len() => {
            Err(format!("{} came as {} instead of {} bytes", place(), found.len(), expected.len()))
        }
        Some(_) => Err(format!("{} came as others", place())),
        None => Err(format!("{} were not found", place())),
    }
}

/// Writes objects one after another and compares their times, and those of one listed and asked for.
pub(super) async fn modification_times(probe: &Probe) -> Result<[Tally; 1]> {
    let mut tally = Tally::default();
    let folder = probe.path("times");
    let name = |number: usize| folder.clone().join(format!("{number:020}.c"));
    for number in 0..probe.options.repeats {
        if let Err(how) = probe.create(&name(number), &object(number as u64, 64)).await? {
            tally.note(Err(how));
        }
    }
    let skew = probe.options.clock_skew.as_secs_f64();
    let mut listed = probe.list(&folder, None).await?;
    listed.sort_by(|one, other| one.location.cmp(&other.location));
    let seconds =
        |from: &ObjectMeta, to: &ObjectMeta| (to.last_modified - from.last_modified).as_seconds_f64();
    // Against the latest so far, so that small steps back do not add up unseen.
    let mut latest: Option<&ObjectMeta> = None;
    for object in &listed {
        if let Some(latest) = latest {
            let back = -seconds(latest, object);
            tally.note(if back > skew {
                Err(format!(
                    "{} is dated {back:.3} s before {}, which was written earlier",
                    object.location, latest.location
                ))
            } else {
                Ok(())
            });
        }
        if latest.is_none_or(|latest| seconds(latest, object) > 0.0) {
            latest = Some(object);
        }
        let asked = probe.head(&object.location).await?;
        tally.note(match asked.map(|asked| seconds(&asked, object).abs()) {
            Some(apart) if apart > skew => Err(format!(
                "the times of {} when listed and when asked for are {apart:.3} s apart",
                object.location
            )),
            Some(_) => Ok(()),
            None => Err(format!("{} is listed and not found", object.location)),
        });
    }
    Ok([tally])
}

/// The kinds of names that a database uses. Names of collections may be of any alphabet.
const NAMES: [&str; 12] = [
    "FORMAT",
    "HEAD",
    "log/00000000000000000000.c",
    "log/18446744073709551615.c",
    "ckpt/00000000000000000042.k",
    "data/Visit/01K8QZJ5T3W7Y9ABCDEFGHJKMN.parquet",
    "data/visit_2/01K8QZJ5T3W7Y9ABCDEFGHJKMP.parquet",
    "data/Größe/01K8QZJ5T3W7Y9ABCDEFGHJKMQ.parquet",
    "data/観測値/01K8QZJ5T3W7Y9ABCDEFGHJKMR.parquet",
    "_views/DailyPages/data/01K8QZJ5T3W7Y9ABCDEFGHJKMS.parquet",
    "_views/_/data/01K8QZJ5T3W7Y9ABCDEFGHJKMT.parquet",
    "_probe/3f0e7ed5-6f0b-4c1f-8f35-0d6a0f6d3c11",
];

/// Writes, lists, reads and deletes an object under each kind of name.
pub(super) async fn names(probe: &Probe) -> Result<[Tally; 1]> {
    let mut tally = Tally::default();
    let folder = probe.path("names");
    let path = |name: &str| Path::from_iter(folder.parts().chain(Path::from(name).parts()));
    let objects: Vec<_> =
        (0..).zip(NAMES).map(|(number, name)| (path(name), object(number, 100 + number as usize))).collect();
    for how in probe.create_all(&objects).await? {
        tally.note(Err(how));
    }
    let sizes = objects.iter().map(|(path, bytes)| (path.clone(), bytes.len() as u64)).collect();
    tally.note(are_exactly(&probe.list(&folder, None).await?, &sizes, "a listing"));
    for ((path, _), tag) in objects.iter().zip(0..) {
        tally.note(is_read(probe, path, tag).await?);
        probe.delete(path).await?;
        let is_left = probe.read(path, None).await?.is_some();
        tally.note(if is_left { Err(format!("{path} cannot be deleted")) } else { Ok(()) });
    }
    Ok([tally])
}
