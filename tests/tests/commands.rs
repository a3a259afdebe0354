//! The `parquedb` command over databases in a folder and in a bucket: what it tells, what it finds, what
//! its copies hold, and what it says to a user who is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquedb::{Collection, Database, Store, database, views};
use parquedb_tests::{S3Server, cargo_bin};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::sync::Arc;

#[derive(Collection, Debug, Clone, PartialEq)]
pub(crate) struct Sale {
    pub(crate) shop: String,
    pub(crate) amount: i64,
    pub(crate) note: Option<String>,
}

views! {
    /// Sales of more than a hundred.
    pub(crate) LargeSales: { $from: Sale, $filter: { amount: { $gt: 100 } }, $select: { shop, amount } }
    /// What each shop sold.
    pub(crate) ShopTotals: {
        $from: Sale,
        $groupBy: [shop],
        $compute: { sales: $count(*), amount: $sum(amount), largest: $max(amount) },
    }
}

database! { pub(crate) struct Shop { Sale, LargeSales, ShopTotals } }

/// The same database when its program has grown: one more column, and a view declared anew.
mod grown {
    use parquedb::{Collection, database, views};

    #[derive(Collection, Debug, Clone, PartialEq)]
    pub(crate) struct Sale {
        pub(crate) shop: String,
        pub(crate) amount: i64,
        pub(crate) note: Option<String>,
        pub(crate) till: Option<u32>,
    }

    views! {
        pub(crate) LargeSales: { $from: Sale, $filter: { amount: { $gt: 200 } }, $select: { shop, amount, till } }
    }

    database! { pub(crate) struct Shop { Sale, LargeSales } }
}

fn sales(range: std::ops::Range<i64>) -> Vec<Sale> {
    let note = |amount: i64| (amount % 3 == 0).then(|| format!("sale {amount}"));
    let sale = |amount: i64| Sale { shop: format!("shop {}", amount % 5), amount, note: note(amount) };
    range.map(sale).collect()
}

/// Where a database lies, and how its command is run.
enum Place {
    Folder(tempfile::TempDir),
    Bucket(S3Server),
}

impl Place {
    fn folder() -> Self {
        Self::Folder(tempfile::tempdir().unwrap())
    }

    fn bucket() -> Self {
        let server = S3Server::start();
        server.create_bucket("shop");
        Self::Bucket(server)
    }

    fn both() -> [Self; 2] {
        [Self::folder(), Self::bucket()]
    }

    fn url(&self, name: &str) -> String {
        match self {
            Self::Folder(folder) => folder.path().join(name).display().to_string(),
            Self::Bucket(_) => format!("s3://shop/{name}"),
        }
    }

    /// All objects of the place, beside the database's own view of them.
    fn objects(&self) -> Arc<dyn ObjectStore> {
        match self {
            Self::Folder(folder) => Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap()),
            Self::Bucket(server) => Arc::new(server.client("shop").build().unwrap()),
        }
    }

    fn store(&self, name: &str) -> Store {
        match self {
            Self::Folder(_) => Store::open(&self.url(name)).unwrap(),
            Self::Bucket(_) => Store::new(self.objects(), name),
        }
    }

    async fn open(&self, name: &str) -> Shop {
        Shop::builder().open_store(self.store(name)).await.unwrap()
    }

    async fn list(&self, name: &str) -> BTreeMap<String, u64> {
        let objects: Vec<_> = self.objects().list(Some(&Path::from(name))).try_collect().await.unwrap();
        let path = |location: &Path| location.as_ref().split_once('/').unwrap().1.to_owned();
        objects.iter().map(|object| (path(&object.location), object.size)).collect()
    }

    async fn read(&self, name: &str, path: &str) -> Vec<u8> {
        let path = Path::parse(format!("{name}/{path}")).unwrap();
        self.objects().get(&path).await.unwrap().bytes().await.unwrap().to_vec()
    }

    /// Writes an object, or removes it.
    async fn put(&self, name: &str, path: &str, bytes: Option<Vec<u8>>) {
        let path = Path::parse(format!("{name}/{path}")).unwrap();
        match bytes {
            Some(bytes) => drop(self.objects().put(&path, bytes.into()).await.unwrap()),
            None => self.objects().delete(&path).await.unwrap(),
        }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(cargo_bin("parquedb").unwrap());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("AWS_")
                || text.starts_with("PARQUEDB_")
                || text.to_lowercase().ends_with("_proxy")
            {
                command.env_remove(&name);
            }
        }
        if let Self::Bucket(server) = self {
            command.envs(server.environment());
        }
        command.args(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.succeed(&[arguments, &["--json"]].concat()).await).unwrap()
    }

    /// The message of a command that must fail.
    async fn fail(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stdout));
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        text(&output.stderr)
    }

    /// What a scrub finds: kind and object.
    async fn found(&self, name: &str) -> Vec<(String, String)> {
        let output = self.run(&["scrub", &self.url(name), "--recent", "0s", "--json"]).await;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let field = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
        let findings = report["findings"].as_array().unwrap();
        assert_eq!(output.status.code(), Some(i32::from(!findings.is_empty())));
        findings.iter().map(|finding| (field(finding, "kind"), field(finding, "object"))).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Commits 0 to 8: created, declared, three with rows (the last with a batch id), a flush, and three more.
async fn filled(place: &Place, name: &str) -> Shop {
    let shop = place.open(name).await;
    shop.sale.insert_many(sales(0..150)).await.unwrap();
    shop.sale.insert_many(sales(150..160)).await.unwrap();
    let mut batch = shop.batch();
    batch.insert(&shop.sale, sales(160..161)).unwrap();
    batch.id("till-7");
    batch.commit().await.unwrap();
    shop.flush().await.unwrap();
    for amount in 161..164 {
        shop.sale.insert_many(sales(amount..amount + 1)).await.unwrap();
    }
    assert_eq!(shop.seq(), 8);
    shop
}

/// The rows of all members at a commit, in an order of their own.
async fn rows(shop: &Shop, seq: u64) -> Vec<Vec<String>> {
    let mut tables = Vec::new();
    for table in ["sale", "large_sales", "shop_totals"] {
        let batches =
            shop.sql_at(&format!("select * from {table}"), seq).await.unwrap().collect().await.unwrap();
        let mut json = Vec::new();
        let mut writer = parquedb::arrow::json::LineDelimitedWriter::new(&mut json);
        writer.write_batches(&batches.iter().collect::<Vec<_>>()).unwrap();
        writer.finish().unwrap();
        let mut lines: Vec<String> = text(&json).lines().map(str::to_owned).collect();
        lines.sort();
        tables.push(lines);
    }
    tables
}

/// A copy holds what the original held, and is sound.
async fn assert_copy(place: &Place, shop: &Shop, copy: &str, seq: u64) {
    assert_eq!(place.found(copy).await, [], "{copy}");
    let copied = place.open(copy).await;
    assert_eq!(copied.seq(), seq);
    assert_eq!(rows(&copied, seq).await, rows(shop, seq).await, "{copy}");
    for view in copied.status().await.unwrap() {
        assert_eq!(view.freshness, parquedb::Freshness::Fresh, "{}", view.name);
    }
}

/// The text with what differs from run to run replaced, and columns set apart by two spaces.
fn redacted(text: &str, place: &Place) -> String {
    let text = text.replace(&place.url(""), "PLACE/").replace("file://PLACE", "PLACE");
    let is_hex = |word: &str| word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let word = |word: &str| -> String {
        let is_uuid = word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
        let is_time = word.ends_with('Z') && word.len() >= 20 && word.as_bytes()[10] == b'T';
        match word.len() {
            _ if is_uuid => "UUID".to_owned(),
            _ if is_time => "TIME".to_owned(),
            64 if is_hex(word) => "HASH".to_owned(),
            12 | 16 if is_hex(word) => "SUM".to_owned(),
            8 if is_hex(word) => "WRITER".to_owned(),
            _ if word.starts_with("backup-") => "backup-UUID".to_owned(),
            _ => match word.rsplit_once('/') {
                Some((folder, name)) if name.ends_with(".parquet") => format!("{folder}/FILE.parquet"),
                _ => word.to_owned(),
            },
        }
    };
    let units = ["B", "KiB", "MiB", "B)", "KiB)", "MiB)"];
    let line = |line: &str| -> String {
        let cells = line.trim_end().split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        let cells: Vec<String> = cells
            .map(|cell| {
                let mut words: Vec<String> = cell.split(' ').map(word).collect();
                for index in 1..words.len() {
                    if units.contains(&words[index].as_str()) {
                        let before = &mut words[index - 1];
                        *before = if before.starts_with('(') { "(N".to_owned() } else { "N".to_owned() };
                    }
                }
                words.join(" ")
            })
            .collect();
        cells.join("  ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_and_contents_are_shown_as_they_are() {
    for place in Place::both() {
        let shop = filled(&place, "shop").await;
        let url = place.url("shop");
        for (name, arguments) in [
            ("log", vec!["log", &url]),
            ("inspect_declaration", vec!["inspect", &url, "1"]),
            ("inspect_rows", vec!["inspect", &url, "4"]),
            ("inspect_flush", vec!["inspect", &url, "5"]),
            ("files", vec!["files", &url]),
            ("files_of_one", vec!["files", &url, "--table", "Sale", "--at", "3"]),
        ] {
            let shown = redacted(&place.succeed(&arguments).await, &place);
            insta::assert_snapshot!(name, without_sizes(&shown));
        }

        // The same as JSON, against what the library knows.
        let lines = place.succeed(&["log", &url, "--json", "--limit", "0"]).await;
        let commits: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let seqs: Vec<u64> = commits.iter().map(|commit| commit["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (0..=8).rev().collect::<Vec<_>>());
        let listed = place.list("shop").await;
        for (commit, seq) in commits.iter().zip(&seqs) {
            assert_eq!(commit["size"], listed[&format!("log/{seq:020}.c")], "{seq}");
            let inspected = place.json(&["inspect", &url, &seq.to_string()]).await;
            for (name, value) in commit.as_object().unwrap() {
                assert_eq!(&inspected[name], value, "{seq}: {name}");
            }
        }
        let declared = place.json(&["inspect", &url, "1"]).await;
        assert_eq!(declared["member_changes"]["ShopTotals"], "added");
        assert_eq!(place.json(&["inspect", &url, "4"]).await["batch_ids"][0], "till-7");

        let files = place.json(&["files", &url]).await;
        assert_eq!(files["seq"], 8);
        let mut paths = Vec::new();
        for table in files["tables"].as_array().unwrap() {
            for file in table["files"].as_array().unwrap() {
                let path = file["path"].as_str().unwrap().to_owned();
                assert_eq!(file["size"], listed[&path]);
                paths.push(path);
            }
            let name = table["table"].as_str().unwrap();
            let inline: u64 =
                table["inline"].as_array().unwrap().iter().map(|run| run["rows"].as_u64().unwrap()).sum();
            if name == "Sale" {
                let count = shop.sale.all().count().await.unwrap();
                assert_eq!((table["rows"].as_u64(), inline), (Some(count), 3));
            }
        }
        paths.sort();
        let stored: Vec<_> = listed.into_keys().filter(|path| path.ends_with(".parquet")).collect();
        assert_eq!(paths, stored);
    }
}

/// Sizes follow the versions of the encoders.
fn without_sizes(text: &str) -> String {
    let mut in_sections = false;
    let line = |line: &str| {
        in_sections = if line == "sections" { true } else { in_sections && !line.is_empty() };
        let cells: Vec<&str> = line.split("  ").collect();
        match cells.as_slice() {
            ["size", ..] => "size  N".to_owned(),
            [kind, name, size, rest @ ..] if in_sections && size.parse::<u64>().is_ok() => {
                [&[*kind, name, "N"], rest].concat().join("  ")
            }
            _ => line.to_owned(),
        }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_of_the_log_is_listed() {
    let place = Place::folder();
    drop(filled(&place, "shop").await);
    let url = place.url("shop");
    let seqs = |text: &str| -> Vec<u64> {
        text.lines().skip(1).map(|line| line.trim().split(' ').next().unwrap().parse().unwrap()).collect()
    };
    let listed = |extra: &'static [&'static str]| {
        let arguments = [&["log", &url], extra].concat().iter().map(ToString::to_string).collect::<Vec<_>>();
        let place = &place;
        async move { place.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };
    let output = listed(&["--from", "2", "--to", "6", "--limit", "3"]).await;
    assert_eq!(seqs(&text(&output.stdout)), [6, 5, 4]);
    assert!(text(&output.stderr).contains("2 more commits"), "{}", text(&output.stderr));
    let output = listed(&["--from", "7"]).await;
    assert_eq!((seqs(&text(&output.stdout)), text(&output.stderr)), (vec![8, 7], String::new()));
}

/// Every kind of damage to every kind of object is found and named, and the rest is verified all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_of_every_kind_is_found_by_a_scrub() {
    for place in Place::both() {
        drop(filled(&place, "shop").await);
        let url = place.url("shop");
        assert_eq!(place.found("shop").await, []);
        let shown = place.succeed(&["scrub", &url]).await;
        assert!(shown.contains("readable snapshots  0 to 8"), "{shown}");
        let objects: Vec<String> = place.list("shop").await.into_keys().collect();
        let file = objects.iter().find(|path| path.starts_with("data/Sale/")).unwrap().clone();
        let view = objects.iter().find(|path| path.starts_with("_views/ShopTotals/")).unwrap().clone();
        let checkpoint = "ckpt/00000000000000000005.k".to_owned();
        let commit = |seq: u64| format!("log/{seq:020}.c");
        let paths = ["FORMAT", &commit(2), &file, "HEAD", &checkpoint, &commit(8), &view];
        // A bucket differs only in how bytes get out of it.
        let some = if matches!(place, Place::Folder(_)) { paths.len() } else { 3 };
        for path in &paths[..some] {
            let good = place.read("shop", path).await;
            let mut flipped = good.clone();
            flipped[good.len() / 2] ^= 2;
            let cut = good[..good.len() - 7].to_vec();
            for bad in [flipped, cut] {
                place.put("shop", path, Some(bad)).await;
                let found = place.found("shop").await;
                assert!(found.contains(&("damaged".to_owned(), (*path).to_owned())), "{path}: {found:?}");
            }
            let shown = place.run(&["scrub", &url]).await;
            assert!(text(&shown.stdout).contains(&format!("damaged       {path}  ")), "{shown:?}");
            // Nothing tells of a last commit before the hint knows of it.
            if *path != "HEAD" && **path != commit(8) {
                place.put("shop", path, None).await;
                let found = place.found("shop").await;
                assert!(found.contains(&("missing".to_owned(), (*path).to_owned())), "{path}: {found:?}");
            }
            place.put("shop", path, Some(good)).await;
        }
        // Several at once.
        let good = place.read("shop", &commit(6)).await;
        place.put("shop", "data/Sale/left.parquet", Some(b"behind".to_vec())).await;
        place.put("shop", &commit(6), None).await;
        place.put("shop", &view, Some(b"torn".to_vec())).await;
        let found = place.found("shop").await;
        let expected = [
            ("missing", commit(6)),
            ("damaged", view),
            ("unreferenced", "data/Sale/left.parquet".to_owned()),
        ];
        assert_eq!(found, expected.map(|(kind, path)| (kind.to_owned(), path)));
        place.put("shop", &commit(6), Some(good)).await;
        // Young objects may belong to a commit under way.
        let report = place.run(&["scrub", &url, "--json"]).await;
        let report: Value = serde_json::from_slice(&report.stdout).unwrap();
        assert_eq!((report["recent"].as_u64(), report["commits"].as_u64()), (Some(1), Some(9)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_the_database_and_a_second_one_copies_what_is_new() {
    for place in Place::both() {
        let shop = filled(&place, "shop").await;
        let (url, copy, back) = (place.url("shop"), place.url("copy"), place.url("back"));
        let shown = redacted(&place.succeed(&["backup", &url, &copy]).await, &place);
        insta::assert_snapshot!("backup", without_byte_counts(&shown));
        assert_copy(&place, &shop, "copy", 8).await;

        // The copy begins with the checkpoint at commit 5.
        for (arguments, expected) in [
            (vec!["inspect", &copy, "3"], "commit 3 is no longer kept"),
            (vec!["log", &copy, "--to", "3"], "commit 3 is no longer kept"),
            (vec!["files", &copy, "--at", "3"], "commit 3 is not kept"),
            (vec!["backup", &copy, &back, "--at", "3", "--no-pin"], "commit 3 is not kept"),
            (vec!["restore", &copy, &back, "--at", "3"], "commit 3 is no longer kept"),
        ] {
            let error = place.fail(&arguments).await;
            assert!(error.contains(expected) && error.contains('5'), "{arguments:?}: {error}");
        }

        shop.catch_up().await.unwrap();
        shop.sale.insert_many(sales(500..503)).await.unwrap();
        shop.flush().await.unwrap();
        let before = place.list("copy").await;
        if let Place::Bucket(server) = &place {
            server.forget();
        }
        let report = place.json(&["backup", &url, &copy]).await;
        let seq = report["seq"].as_u64().unwrap();
        assert_eq!((seq, report["commits"].as_u64()), (shop.seq(), Some(shop.seq() - 8)));
        let after = place.list("copy").await;
        let new = after.keys().filter(|path| !before.contains_key(*path)).count() as u64;
        // The new commits, one file for each of three tables, and a checkpoint.
        assert_eq!((report["files"].as_u64(), new), (Some(3), seq - 8 + 3 + 1));
        if let Place::Bucket(server) = &place {
            let requests = server.requests();
            let puts = requests.iter().filter(|(operation, key)| {
                *operation == parquedb_tests::s3::Operation::PutObject && key.starts_with("copy/")
            });
            // And the hint.
            assert_eq!(puts.count() as u64, new + 1, "{requests:?}");
        }
        assert_copy(&place, &shop, "copy", seq).await;

        place.succeed(&["restore", &copy, &back]).await;
        assert_copy(&place, &shop, "back", seq).await;
        let past = place.url("past");
        place.succeed(&["restore", &copy, &past, "--at", "8"]).await;
        assert_copy(&place, &shop, "past", 8).await;
        let error = place.fail(&["restore", &copy, &back]).await;
        assert!(error.contains("holds a database; restore to an empty place"), "{error}");
    }
}

fn without_byte_counts(text: &str) -> String {
    let line = |line: &str| match line.split_once("  ") {
        Some((name @ "bytes copied", _)) => format!("{name}  N"),
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Between a folder and a bucket, in both directions, while a writer goes on committing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_beside_a_writer_is_the_snapshot_it_says() {
    let (place, folder) = (Place::bucket(), tempfile::tempdir().unwrap());
    let shop = filled(&place, "shop").await;
    let writing = {
        let shop = Shop::attach(Database::connection(&shop).clone());
        tokio::spawn(async move {
            for turn in 0.. {
                shop.sale.insert_many(sales(1000 + turn..1001 + turn)).await.unwrap();
                if turn % 7 == 3 {
                    shop.flush().await.unwrap();
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
    };
    let url = place.url("shop");
    let mut last = 0;
    for turn in 0..3 {
        let copy = folder.path().join("copy").display().to_string();
        let report = place.json(&["backup", &url, &copy]).await;
        let seq = report["seq"].as_u64().unwrap();
        assert!(seq > last, "{report}");
        last = seq;
        let copied = Shop::open(&copy).await.unwrap();
        assert_eq!(copied.seq(), seq);
        assert_eq!(rows(&copied, seq).await, rows(&shop, seq).await, "turn {turn}");
    }
    writing.abort();
    // And back.
    let copy = folder.path().join("copy").display().to_string();
    place.succeed(&["restore", &copy, &place.url("back")]).await;
    assert_copy(&place, &shop, "back", last).await;
    assert_eq!(place.found("shop").await, []);
}

/// Killed at any moment, a copy is no database until it is complete, and the next try completes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_of_a_backup_leaves_no_database() {
    use parquedb_tests::s3::{Effect, Fault, Operation};
    let place = Place::bucket();
    let Place::Bucket(server) = &place else { unreachable!() };
    let shop = filled(&place, "shop").await;
    let (url, copy) = (place.url("shop"), place.url("copy"));
    for skip in [0, 1, 3, 2] {
        server.fail(Fault::on(Operation::PutObject, Effect::Refuse(403)).key_contains("copy/").after(skip));
        let error = place.fail(&["backup", &url, &copy, "--no-pin"]).await;
        assert!(error.contains("permission denied"), "{error}");
        server.heal();
        let error = place.fail(&["files", &copy]).await;
        // The first request is for the mark of what is not complete.
        let expected = if skip == 0 { "there is no database" } else { "run the backup or restore again" };
        assert!(error.contains(expected), "{error}");
    }
    place.succeed(&["backup", &url, &copy, "--no-pin"]).await;
    assert_copy(&place, &shop, "copy", 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_whose_declarations_have_changed_is_sound() {
    let place = Place::folder();
    let shop = filled(&place, "shop").await;
    let grown = grown::Shop::builder().open_store(place.store("shop")).await.unwrap();
    // Rows and states of before are moved to files after the declarations have changed.
    grown.flush().await.unwrap();
    assert_eq!(place.found("shop").await, []);
    let sale = grown::Sale { shop: "new".to_owned(), amount: 700, note: None, till: Some(3) };
    grown.sale.insert(sale).await.unwrap();
    assert!(grown.large_sales.refresh().await.unwrap());
    grown.flush().await.unwrap();
    assert_eq!(place.found("shop").await, []);
    let url = place.url("shop");
    let inspected = place.json(&["inspect", &url, "9"]).await;
    assert_eq!(inspected["member_changes"]["Sale"], "changed");
    assert_eq!(inspected["member_changes"]["LargeSales"], "changed");
    assert_eq!(inspected["member_changes"]["ShopTotals"], Value::Null);
    place.succeed(&["backup", &url, &place.url("copy"), "--at", "8"]).await;
    assert_copy(&place, &shop, "copy", 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_one_writer_has_taken_can_be_read_and_copied() {
    let place = Place::folder();
    drop(filled(&place, "shop").await);
    let taken = Shop::builder().exclusive().open_store(place.store("shop")).await.unwrap();
    let (url, copy) = (place.url("shop"), place.url("copy"));
    let error = place.fail(&["backup", &url, &copy]).await;
    assert!(error.contains("has taken") && error.contains("or use --no-pin"), "{error}");
    place.succeed(&["backup", &url, &copy, "--no-pin"]).await;
    assert!(
        place.succeed(&["log", &url, "--limit", "1"]).await.contains("takes the database for its writer")
    );
    assert_eq!(place.found("shop").await, []);
    assert_eq!(place.found("copy").await, []);
    drop(taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_told_and_collected() {
    let place = Place::folder();
    drop(filled(&place, "shop").await);
    let url = place.url("shop");
    let before = place.list("shop").await;
    let planned = place.json(&["gc", &url, "--dry-run"]).await;
    assert_eq!((planned["dry_run"].as_bool(), planned["floor"].as_u64()), (Some(true), Some(0)));
    assert_eq!(place.list("shop").await, before);
    let shown = place.succeed(&["gc", &url]).await;
    assert!(shown.contains("replaced files"), "{shown}");
    let error = place.fail(&["gc", &url, "--retention", "1m"]).await;
    assert!(error.contains("less than an hour"), "{error}");
    assert_eq!(place.found("shop").await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_is_wrong_is_told_what_to_do() {
    for place in Place::both() {
        drop(filled(&place, "shop").await);
        let (url, none) = (place.url("shop"), place.url("none"));
        for arguments in [
            vec!["log", &none],
            vec!["inspect", &none, "1"],
            vec!["files", &none],
            vec!["scrub", &none],
            vec!["backup", &none, &url],
            vec!["restore", &none, &url],
            vec!["gc", &none],
        ] {
            let error = place.fail(&arguments).await;
            assert!(error.starts_with("parquedb: there is no database in "), "{arguments:?}: {error}");
            assert!(error.contains("none"), "{arguments:?}: {error}");
        }
        if matches!(place, Place::Bucket(_)) {
            continue;
        }
        for (arguments, expected) in [
            (vec!["inspect", &url, "9"], "there is no commit 9"),
            (vec!["log", &url, "--from", "40"], "there is no commit"),
            (vec!["log", &url, "--from", "5", "--to", "3"], "--from 5 is after --to 3"),
            (vec!["files", &url, "--at", "77"], "there is no commit 77"),
            (vec!["files", &url, "--at", "2001-01-01T00:00:00Z"], "was created after that time"),
            (vec!["files", &url, "--table", "Sales"], "there are: LargeSales, Sale, ShopTotals"),
            (vec!["backup", &url, &none, "--at", "77"], "there is no commit 77"),
            (vec!["backup", &url, &url], "is both the source and the target"),
            (vec!["log", "gopher://host/x"], "no store is known for `gopher` URLs"),
            (vec!["scrub", "s3:/bucket"], "which has `//` after `s3:`"),
        ] {
            let error = place.fail(&arguments).await;
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
        // Usage errors are the command line's own.
        let output = place.run(&["files", &url, "--at", "soon"]).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("neither the number of a commit nor a time"));

        let good = place.read("shop", "HEAD").await;
        place.put("shop", "HEAD", Some(b"damaged".to_vec())).await;
        assert_eq!(place.found("shop").await, [("damaged".to_owned(), "HEAD".to_owned())]);
        assert!(place.succeed(&["log", &url]).await.contains("+150"));
        place.put("shop", "HEAD", Some(good)).await;
        // A damaged commit is told when it is reached; those after it are shown.
        let path = format!("log/{:020}.c", 3);
        let mut bytes = place.read("shop", &path).await;
        bytes[300] ^= 1;
        place.put("shop", &path, Some(bytes)).await;
        let output = place.run(&["log", &url]).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(
            text(&output.stderr).contains("log/00000000000000000003.c")
                && text(&output.stdout).contains("\n  8  ")
        );
        let error = place.fail(&["backup", &url, &none, "--at", "4", "--no-pin"]).await;
        assert!(error.contains("log/00000000000000000003.c"), "{error}");
    }
    // No right to read.
    let place = Place::bucket();
    drop(filled(&place, "shop").await);
    let mut command = Command::new(cargo_bin("parquedb").unwrap());
    if let Place::Bucket(server) = &place {
        command.envs(server.environment()).env("AWS_SECRET_ACCESS_KEY", "wrong");
    }
    let output = command.args(["scrub", "s3://shop/shop"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("does not accept the credentials"), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_files_are_joined_and_a_database_is_maintained() {
    for place in Place::both() {
        let shop = filled(&place, "shop").await;
        for round in 0..6 {
            shop.sale.insert_many(sales(1000 + 20 * round..1020 + 20 * round)).await.unwrap();
            shop.flush().await.unwrap();
        }
        let (url, before, seq) = (place.url("shop"), rows(&shop, shop.seq()).await, shop.seq());
        let report = place.json(&["compact", &url, "--full"]).await;
        for table in ["Sale", "LargeSales", "ShopTotals"] {
            let table = &report["tables"][table];
            assert_eq!((table["files_before"].as_u64(), table["files_after"].as_u64()), (Some(7), Some(1)));
        }
        shop.catch_up().await.unwrap();
        assert_eq!(rows(&shop, shop.seq()).await, before);
        assert_eq!(rows(&shop, seq).await, before);
        let files = place.succeed(&["files", &url, "--table", "ShopTotals"]).await;
        assert!(files.contains(" merged  "), "{files}");
        let log = place.succeed(&["log", &url, "--limit", "4"]).await;
        assert!(log.contains("Sale 7 files compacted to 1"), "{log}");
        assert_eq!(place.found("shop").await, []);
        let shown = place.succeed(&["compact", &url]).await;
        assert!(shown.starts_with("table"), "{shown}");

        let copy = place.url("copy");
        place.succeed(&["backup", &url, &copy]).await;
        assert_eq!(place.found("copy").await, []);
        assert_eq!(rows(&place.open("copy").await, seq).await, before);

        shop.sale.insert_many(sales(5000..5010)).await.unwrap();
        let done = place.json(&["maintain", &url]).await;
        assert_eq!(
            (done["compacted"].is_null(), done["collected"]["dry_run"].as_bool()),
            (true, Some(false))
        );
        assert_eq!(place.found("shop").await, []);
        let shown = place.succeed(&["maintain", &url, "--no-gc", "--no-compact"]).await;
        assert!(shown.starts_with("refreshed no view") && !shown.contains("deleted"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pins_are_made_listed_and_taken_away() {
    let place = Place::folder();
    let shop = filled(&place, "shop").await;
    let url = place.url("shop");
    assert_eq!(place.json(&["pins", &url]).await, Value::Array(Vec::new()));
    place.succeed(&["pin", &url, "before", "--at", "3", "--for", "7d"]).await;
    let pin = place.json(&["pin", &url, "now"]).await;
    assert_eq!((pin["name"].as_str(), pin["seq"].as_u64()), (Some("now"), Some(9)));
    shop.catch_up().await.unwrap();
    let pins = place.json(&["pins", &url]).await;
    let known = shop.pins();
    for (listed, (name, pin)) in pins.as_array().unwrap().iter().zip(&known) {
        assert_eq!((listed["name"].as_str(), listed["seq"].as_u64()), (Some(name.as_str()), Some(pin.seq)));
        let expires = parquedb::Timestamp::from_micros(pin.expires).to_string();
        assert_eq!(listed["expires"], expires);
    }
    assert_eq!(known.len(), 2);
    let shown = place.succeed(&["pins", &url]).await;
    assert!(shown.starts_with("pin     commit  until\nbefore       3  "), "{shown}");
    place.succeed(&["unpin", &url, "before"]).await;
    let error = place.fail(&["unpin", &url, "before"]).await;
    assert!(error.contains("has no pin `before`; there are: now"), "{error}");
    let error = place.fail(&["pin", &url, "later", "--at", "99"]).await;
    assert!(error.contains("there is no commit 99"), "{error}");
    let lines = redacted(&place.succeed(&["log", &url, "--limit", "3"]).await, &place);
    let what: Vec<&str> = lines.lines().skip(1).map(|line| line.rsplit("  ").next().unwrap()).collect();
    assert_eq!(what, ["unpins before", "pins 9 as now", "pins 3 as before"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_checked() {
    let place = Place::folder();
    let shown = place.succeed(&["check-store", &place.url("new"), "--rounds", "2"]).await;
    assert!(shown.contains("one of many creators wins") && !shown.contains("BROKEN"), "{shown}");
    assert_eq!(place.list("new").await.len(), 0);
}
