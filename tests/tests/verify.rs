//! A view that holds something else than its definition gives is found, by the library and by the command.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use parquedb::commit::{Changes, Log, LogOptions, RunId, RunRemoval, TableRemoval, TableWrite};
use parquedb::{Collection, Store, database, views};
use parquedb_tests::cargo_bin;
use serde_json::Value;
use std::process::Command;

#[derive(Collection, Debug, Clone, PartialEq)]
pub(crate) struct Sale {
    pub(crate) shop: String,
    pub(crate) amount: i64,
}

views! {
    pub(crate) ShopTotals: {
        $from: Sale,
        $groupBy: [shop],
        $compute: { sales: $count(*), amount: $sum(amount), largest: $max(amount) },
    }
    pub(crate) Large: { $from: Sale, $filter: amount > 3, $select: { shop, amount } }
}

database! { pub(crate) struct Shop { Sale, ShopTotals, Large } }

fn run(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(cargo_bin("parquedb").unwrap()).args(arguments).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_do_not_belong_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().to_str().unwrap();
    let db = Shop::open(url).await.unwrap();
    let sales = (0..10).map(|amount| Sale { shop: format!("shop {}", amount % 3), amount });
    db.sale.insert_many(sales.collect::<Vec<_>>()).await.unwrap();
    assert!(db.shop_totals.verify().await.unwrap().is_exact());
    let sample = db.shop_totals.verify_sample(2).await.unwrap();
    assert!(sample.is_exact() && sample.sampled.unwrap() >= 1, "{sample}");
    let (success, text) = run(&["verify", url]);
    assert!(success, "{text}");
    assert!(text.contains("ShopTotals: all 3 rows are what its definition gives at commit 2"), "{text}");
    let (success, text) = run(&["explain", url, "ShopTotals"]);
    assert!(success && text.starts_with("view ShopTotals, from Sale"), "{text}");

    // One state and one row too many, as no program of the library's would write them.
    let log = Log::open(Store::open(url).unwrap(), LogOptions::default()).await.unwrap();
    let snapshot = log.snapshot();
    let twice = |table: &str| {
        let batches = vec![snapshot.tables[table].inline[0].batches[0].slice(0, 1)];
        TableWrite { table: table.to_owned(), is_view: true, batches, replace: false }
    };
    let writes = vec![twice("ShopTotals"), twice("Large")];
    log.commit(Changes { writes, ..Changes::default() }).await.unwrap();
    db.catch_up().await.unwrap();
    let found = db.shop_totals.verify().await.unwrap();
    assert_eq!((found.missing.len(), found.unexpected.len()), (1, 1), "{found}");
    let found = db.large.verify().await.unwrap();
    assert_eq!((found.missing.len(), found.unexpected[0].num_rows()), (0, 1), "{found}");
    let (success, text) = run(&["verify", url]);
    assert!(!success && text.ends_with("2 views looked at: 2 wrong, 0 could not be verified\n"), "{text}");
    let (success, text) = run(&["verify", url, "Large", "--json"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert!(!success && json[0]["exact"] == false, "{text}");
    assert_eq!(json[0]["unexpected"][0]["amount"], 4, "{text}");

    // A row that is missing is found when it should go, and a view that is wrong can be built anew.
    let seq = snapshot.tables["Large"].inline[0].seq;
    let rows = [0].into_iter().collect();
    let runs = vec![RunRemoval { run: RunId::Inline(seq), rows }];
    let removals = vec![TableRemoval { table: "Large".to_owned(), runs }];
    log.commit(Changes { removals, ..Changes::default() }).await.unwrap();
    db.catch_up().await.unwrap();
    db.large.rebuild().await.unwrap();
    db.shop_totals.rebuild().await.unwrap();
    assert!(db.large.verify().await.unwrap().is_exact());
    assert!(db.shop_totals.verify().await.unwrap().is_exact());
    assert!(run(&["verify", url]).0);
    db.sale.insert(Sale { shop: "shop 1".to_owned(), amount: 50 }).await.unwrap();
    assert!(run(&["verify", url]).0, "they stream again");
}
