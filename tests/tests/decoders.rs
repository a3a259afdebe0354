//! The decoders of the log's objects, given any bytes: each gives an error or what was stored, and never
//! panics or takes more memory than the object deserves.
//!
//! Each target takes bytes, and damages real objects as they say. In tests the bytes are random (see
//! `PARQUEDB_SEED`), and those of the folders `corpus` and `crashes` under `__fuzz__`, where
//! [bolero](https://camshaft.github.io/bolero) keeps what its fuzzers find.

use bytes::Bytes;
use parquedb::ErrorKind;
use parquedb::arrow::array::{Array, ArrayRef, Int64Array, ListArray, StringArray, StructArray};
use parquedb::arrow::array::{DictionaryArray, Float64Array, TimestampMicrosecondArray};
use parquedb::arrow::datatypes::{Int32Type, Int64Type};
use parquedb::arrow::record_batch::RecordBatch;
use parquedb::commit::decoding::Decoder;
use parquedb::commit::{Absorbed, Changes, CursorWrite, Log, LogOptions, Sequence, TableWrite};
use parquedb::commit::{RunId, RunRemoval, TableRemoval};
use parquedb::object_store::memory::InMemory;
use parquedb::object_store::path::Path;
use parquedb::object_store::{ObjectStore, ObjectStoreExt};
use parquedb::testing::Random;
use parquedb::{ManualClock, Store};
use std::sync::{Arc, OnceLock};

/// A stored object, the decoder for it, and the number it is stored under.
struct Sample {
    decoder: Decoder,
    seq: u64,
    bytes: Bytes,
}

fn rows(count: i64) -> RecordBatch {
    let lists = (0..count).map(|n| Some((0..n % 4).map(Some).collect::<Vec<_>>()));
    let dictionary: DictionaryArray<Int32Type> =
        (0..count).map(|n| ["red", "green"][n as usize % 2]).collect();
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
    let names: ArrayRef =
        Arc::new(StringArray::from_iter((0..count).map(|n| (n % 3 > 0).then(|| format!("n{n}")))));
    let nested = StructArray::try_from(vec![("a", Arc::clone(&numbers)), ("b", Arc::clone(&names))]).unwrap();
    let columns: [(&str, ArrayRef); 7] = [
        ("n", numbers),
        ("name", names),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
        ("color", Arc::new(dictionary)),
        ("nested", Arc::new(nested)),
        ("share", Arc::new(Float64Array::from_iter((0..count).map(|n| (n % 2 > 0).then_some(n as f64))))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(0..count).with_timezone("UTC"))),
    ];
    assert!(columns.iter().all(|(_, column)| column.len() == count as usize));
    RecordBatch::try_from_iter(columns.map(|(name, column)| (name, column))).unwrap()
}

/// So many rows are compressed, and make an object small enough for each of its bits to be tried.
const COMPRESSED: i64 = 100;

/// A database's objects: commits with rows, compressed and not, with a file, with all kinds of sections.
async fn store() -> Vec<Sample> {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let clock = Arc::new(ManualClock::new(1_000_000));
    let options = LogOptions { clock, inline_limit_bytes: 100_000, ..LogOptions::default() };
    let log = Log::open(Store::new(Arc::clone(&inner), "db"), options).await.unwrap();
    for (step, count) in [(1, 3), (2, COMPRESSED), (3, 3), (4, 9000)] {
        let write = |table: &str, is_view, replace| {
            let batches = vec![rows(count)];
            TableWrite { table: table.to_owned(), is_view, batches, replace }
        };
        let cursor = CursorWrite {
            view: "V".to_owned(),
            definition: "d".to_owned(),
            sources: [("A".to_owned(), Absorbed::ThisCommit)].into(),
            alone: true,
        };
        let table = log.snapshot().tables.get("A").cloned().unwrap_or_default();
        // Of a commit before it was flushed, and of a file.
        let inline = table.inline.last().map(|run| RunId::Inline(run.seq));
        let file = table.files.first().map(|file| RunId::File(file.path.clone()));
        let runs = inline.or(file).map(|run| RunRemoval { run, rows: [0, 2].into_iter().collect() });
        let changes = Changes {
            removals: vec![TableRemoval { table: "A".to_owned(), runs: runs.into_iter().collect() }],
            base: Some(log.snapshot().seq),
            writes: vec![write("A", false, false), write("V", true, step > 2)],
            cursors: vec![cursor],
            batch_ids: vec![format!("batch {step}")],
            sequences: vec![Sequence { producer: "p".to_owned(), number: step }],
            ..Changes::default()
        };
        log.commit(changes).await.unwrap();
        if step >= 3 {
            log.flush().await.unwrap();
        }
    }
    log.idle().await;
    let mut samples = Vec::new();
    let found = futures::TryStreamExt::try_collect::<Vec<_>>(inner.list(Some(&Path::from("db")))).await;
    for object in found.unwrap() {
        let name = object.location.filename().unwrap();
        let (decoder, seq) = match name.split_once('.') {
            Some((seq, "c")) => (Decoder::Commit, seq.parse().unwrap()),
            Some((seq, "k")) => (Decoder::Checkpoint, seq.parse().unwrap()),
            None if name == "HEAD" => (Decoder::Hint, 0),
            None if name == "FORMAT" => (Decoder::Format, 0),
            _ => continue,
        };
        let bytes = inner.get(&object.location).await.unwrap().bytes().await.unwrap();
        samples.push(Sample { decoder, seq, bytes });
    }
    samples
}

#[test]
fn samples_with_compressed_rows_are_small() {
    let rows = rows(COMPRESSED);
    let sizes = rows.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap());
    assert!(sizes.sum::<usize>() >= 4096, "less is not compressed");
    assert!(samples().iter().all(|sample| sample.bytes.len() < 16 << 10));
}

fn samples() -> &'static [Sample] {
    static SAMPLES: OnceLock<Vec<Sample>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let thread = std::thread::spawn(|| {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(store())
        });
        let samples = thread.join().unwrap();
        for decoder in [Decoder::Commit, Decoder::Checkpoint, Decoder::Hint, Decoder::Format] {
            assert!(samples.iter().any(|sample| sample.decoder == decoder), "{decoder:?}");
        }
        samples
    })
}

/// Numbers that lengths, offsets and counts are compared with too late.
const NUMBERS: [u64; 10] =
    [0, 1, 7, 0x7f, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, 1 << 63, u64::MAX];

/// Takes bytes from the front; zeros at the end.
fn take<const N: usize>(script: &mut &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    let length = N.min(script.len());
    bytes[..length].copy_from_slice(&script[..length]);
    *script = &script[length..];
    bytes
}

/// Edits bytes as a script says: flips, overwrites, cuts, repeats and moves.
fn edit(mut bytes: Vec<u8>, mut script: &[u8]) -> Vec<u8> {
    while !script.is_empty() && !bytes.is_empty() {
        let [operation, value] = take(&mut script);
        let at = u32::from_le_bytes(take(&mut script)) as usize % bytes.len();
        let length = (usize::from(value) % 64 + 1).min(bytes.len() - at);
        match operation % 9 {
            0 => bytes[at] ^= 1 << (value % 8),
            1 => bytes[at] = value,
            2 => bytes[at] = bytes[at].wrapping_add(if value < 128 { 1 } else { 255 }),
            3 | 4 => {
                let size = if operation % 9 == 3 { 4 } else { 8 };
                let at = at - at % size;
                let number = NUMBERS[usize::from(value) % NUMBERS.len()].to_le_bytes();
                let end = (at + size).min(bytes.len());
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
            5 => bytes.truncate(at + usize::from(value)),
            6 => drop(bytes.drain(at..at + length)),
            7 => {
                let again = bytes[at..at + length].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let piece = bytes[at..at + length].to_vec();
                let to = usize::from(u16::from_le_bytes(take(&mut script))) % (bytes.len() - length + 1);
                bytes[to..to + length].copy_from_slice(&piece);
            }
        }
    }
    bytes
}

/// Decodes what may be anything; errors must be of the kinds that say so.
fn decode(decoder: Decoder, bytes: &Bytes, seq: u64) -> Option<String> {
    match decoder.decode(bytes, seq) {
        Ok(decoded) => decoded,
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid), "{error:?}");
            None
        }
    }
}

/// The bytes as they are, for each decoder.
fn any_bytes(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    for decoder in [Decoder::Commit, Decoder::Checkpoint, Decoder::Hint, Decoder::Format] {
        decode(decoder, &bytes, 1);
        let mut repaired = input.to_vec();
        decoder.repair(&mut repaired);
        decode(decoder, &Bytes::from(repaired), 1);
    }
}

fn chosen(script: &mut &[u8]) -> &'static Sample {
    let [choice] = take(script);
    &samples()[usize::from(choice) % samples().len()]
}

/// A stored object with edits: nothing else than what was stored may be read.
fn edited_objects(mut script: &[u8]) {
    let Sample { decoder, seq, bytes } = chosen(&mut script);
    let damaged = Bytes::from(edit(bytes.to_vec(), script));
    let decoded = decode(*decoder, &damaged, *seq);
    assert!(decoded.is_none() || damaged == bytes, "{decoder:?} {seq} was read though it was damaged");
}

/// A stored object with edits and its checksums made right again.
fn edited_and_repaired_objects(mut script: &[u8]) {
    let Sample { decoder, seq, bytes } = chosen(&mut script);
    let mut damaged = edit(bytes.to_vec(), script);
    decoder.repair(&mut damaged);
    decode(*decoder, &Bytes::from(damaged), *seq);
}

/// A stored object with edits in what one section contains: in the Arrow stream or in the JSON.
fn edited_sections(mut script: &[u8]) {
    let Sample { decoder, seq, bytes } = chosen(&mut script);
    if matches!(decoder, Decoder::Hint | Decoder::Format) {
        return;
    }
    let mut contents = decoder.contents(bytes, *seq).unwrap();
    let [choice] = take(&mut script);
    let section = usize::from(choice) % contents.len();
    contents[section] = edit(std::mem::take(&mut contents[section]), script);
    let damaged = decoder.with_contents(bytes, *seq, &contents).unwrap();
    decode(*decoder, &damaged, *seq);
}

/// Runs a target with the bytes of each seed.
fn with_seeds(longest: u64, target: impl Fn(&[u8])) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("PARQUEDB_SEED").unwrap_or(1);
    for seed in first..first + number("PARQUEDB_SEEDS").unwrap_or(3000) {
        let mut random = Random::new(seed);
        let length = random.below(longest) + 1;
        let input: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| target(&input)));
        if let Err(panic) = result {
            eprintln!("repeat it: PARQUEDB_SEED={seed} PARQUEDB_SEEDS=1 cargo test -p parquedb-tests fuzz");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Without a fuzzer, bolero only repeats what fuzzers found: its own random bytes differ each time.
const ONLY_FOUND: usize = 0;

#[test]
fn fault_fuzz_any_bytes() {
    with_seeds(400, any_bytes);
    bolero::check!().with_iterations(ONLY_FOUND).for_each(any_bytes);
}

#[test]
fn fault_fuzz_edited_objects() {
    with_seeds(24, edited_objects);
    bolero::check!().with_iterations(ONLY_FOUND).for_each(edited_objects);
}

#[test]
fn fault_fuzz_edited_and_repaired_objects() {
    with_seeds(48, edited_and_repaired_objects);
    bolero::check!().with_iterations(ONLY_FOUND).for_each(edited_and_repaired_objects);
}

#[test]
fn fault_fuzz_edited_sections() {
    with_seeds(48, edited_sections);
    bolero::check!().with_iterations(ONLY_FOUND).for_each(edited_sections);
}

/// Every bit of every object.
#[test]
fn fault_of_any_flipped_bit_is_noticed() {
    for Sample { decoder, seq, bytes } in samples() {
        assert!(decode(*decoder, bytes, *seq).is_some());
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                decode(*decoder, &Bytes::from(damaged), *seq).is_none(),
                "bit {bit} of {decoder:?} {seq}"
            );
        }
    }
}

#[test]
fn a_small_object_does_not_become_a_large_one() {
    let sample = samples().iter().find(|sample| sample.decoder == Decoder::Checkpoint).unwrap();
    let bomb = sample.decoder.with_contents(&sample.bytes, sample.seq, &[vec![b' '; 64 << 20]]).unwrap();
    assert!(bomb.len() < 1 << 16);
    let error = sample.decoder.decode(&bomb, sample.seq).unwrap_err();
    assert!(error.to_string().contains("more than"), "{error}");
}
