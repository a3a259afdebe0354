//! What ten thousand small commits cost those who come later: opening the database, and reading it.
#![allow(missing_docs)]

mod shared;

use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use parquedb::arrow::record_batch::RecordBatch;
use parquedb::{Connection, Database, Durability};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use shared::{Folder, ROWS, Sensors, folder, head, readings, row, verdict};
use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::time::Instant;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome {
    let measured = shared::is_measured();
    let commits = if measured { 10_000 } else { 600 };
    let place = Folder(folder("log"));
    let url = place.0.join("db").to_string_lossy().into_owned();
    write(&url, commits).await?;
    open(&url, commits, if measured { 7 } else { 2 }).await?;
    read(&url, &place.0.join("one.parquet"), if measured { 9 } else { 2 }).await?;
    shared::compare(measured).await?;
    Ok(())
}

/// Writes 100 rows in each commit. Not synced: it is not what is measured.
async fn write(url: &str, commits: i64) -> Outcome {
    let started = Instant::now();
    let db: Sensors = Sensors::builder().durability(Durability::OsBuffered).open(url).await?;
    for second in 0..commits {
        db.reading.insert_many(readings(second)).await?;
    }
    println!("{} rows in {commits} commits, written in {:.1?}", commits * ROWS, started.elapsed());
    println!("\n{}", db.metrics());
    Ok(())
}

async fn open(url: &str, commits: i64, rounds: usize) -> Outcome {
    head(&["opening, ms", "gets", "heads", "lists", "bytes read"]);
    let mut slowest: f64 = 0.0;
    for _ in 0..rounds {
        let started = Instant::now();
        let db: Sensors = Sensors::builder().open(url).await?;
        let took = started.elapsed().as_secs_f64();
        let requests = db.requests();
        row(&[
            format!("{:.1}", took * 1e3),
            requests.get.to_string(),
            requests.head.to_string(),
            requests.list.to_string(),
            requests.bytes_read.to_string(),
        ]);
        slowest = slowest.max(took);
        let rows = db.reading.all().count().await?;
        if rows != (commits * ROWS) as u64 {
            return Err(format!("there are {rows} rows").into());
        }
    }
    verdict("Opening, slowest, in seconds", slowest, "less than 1", slowest < 1.0);
    Ok(())
}

const QUERIES: [(&str, &str); 3] = [
    ("sum of a column", "SELECT count(*), sum(value) FROM reading"),
    ("groups", "SELECT sensor, count(*), avg(value), max(at) FROM reading GROUP BY sensor ORDER BY sensor"),
    ("filter", "SELECT count(*), min(at), max(at) FROM reading WHERE value > 1400 AND sensor < 5"),
];

/// Reads the database and one file of the same rows in turn.
async fn read(url: &str, file: &Path, rounds: usize) -> Outcome {
    let db = Connection::builder().open(url).await?;
    let started = Instant::now();
    db.maintain().await?;
    println!("\nMaintained in {:.1?}", started.elapsed());
    write_file(&db, file).await?;
    let size: u64 = db.metrics().members.iter().map(|member| member.file_bytes).sum();
    let files: u64 = db.metrics().members.iter().map(|member| member.files).sum();
    println!("\n{files} files of {size} bytes, and one of {} bytes", std::fs::metadata(file)?.len());

    let partitions = std::thread::available_parallelism().map_or(1, usize::from);
    let plain = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions));
    plain.register_parquet("reading", file.to_string_lossy(), ParquetReadOptions::default()).await?;
    head(&["query", "database, ms", "one file, ms", "ratio"]);
    let mut highest: f64 = 0.0;
    for (name, query) in QUERIES {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let started = Instant::now();
            let found = db.sql(query).await?.collect().await?;
            ours.push(started.elapsed().as_secs_f64());
            let started = Instant::now();
            let expected = plain.sql(query).await?.collect().await?;
            theirs.push(started.elapsed().as_secs_f64());
            check(name, &found, &expected)?;
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let ratio = ours / theirs;
        highest = highest.max(ratio);
        row(&[
            name.to_owned(),
            format!("{:.2}", ours * 1e3),
            format!("{:.2}", theirs * 1e3),
            format!("{ratio:.2}"),
        ]);
    }
    verdict("Reading against one file, medians, highest ratio", highest, "at most 1.5", highest <= 1.5);
    Ok(())
}

/// Writes all rows to one file, encoded as the database encodes its files.
async fn write_file(db: &Connection, file: &Path) -> Outcome {
    let batches = db.sql("SELECT * FROM reading ORDER BY at").await?.collect().await?;
    let Some(first) = batches.first() else { return Err("there are no rows".into()) };
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(131_072))
        .build();
    let mut writer = ArrowWriter::try_new(File::create(file)?, first.schema(), Some(properties))?;
    for batch in &batches {
        writer.write(batch)?;
    }
    writer.close()?;
    Ok(())
}

fn check(query: &str, found: &[RecordBatch], expected: &[RecordBatch]) -> Outcome {
    let text = |batches: &[RecordBatch]| {
        let shown = parquedb::arrow::util::pretty::pretty_format_batches(batches)?;
        // Sums of floating point numbers depend on the order of their addends.
        let rounded = shown.to_string().split_whitespace().map(rounded).collect::<Vec<_>>().join(" ");
        Ok::<_, Box<dyn Error + Send + Sync>>(rounded)
    };
    let (found, expected) = (text(found)?, text(expected)?);
    let cells = |text: &str| text.chars().filter(|c| c.is_alphanumeric() || *c == '.').collect::<String>();
    if cells(&found) == cells(&expected) {
        return Ok(());
    }
    Err(format!("{query}: the database says\n{found}\nand the file says\n{expected}").into())
}

fn rounded(cell: &str) -> String {
    match cell.parse::<f64>() {
        Ok(number) if cell.contains('.') => format!("{number:.3}"),
        _ => cell.to_owned(),
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
