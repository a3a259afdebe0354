//! The S3 protocol, as the client library speaks it, keeps every promise that the log is built on.

use parquedb::Store;
use parquedb::store::conformance::{self, Options, Outcome, Property};
use parquedb_tests::S3Server;
use parquedb_tests::s3::{Effect, Fault, Operation};
use std::sync::Arc;

fn store(server: &S3Server) -> Store {
    server.create_bucket("warehouse");
    Store::new(Arc::new(server.client("warehouse").build().unwrap()), "some/database")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_keeps_every_promise() {
    let server = S3Server::start();
    let options = Options { pairs: 50, repeats: 20, ..Options::default() };
    let report = conformance::check(&store(&server), &options).await.unwrap();
    println!("{report}");
    assert_eq!(report.checks[0].property, Property::OneWinner);
    assert_eq!(report.checks[0].tries, 250);
    assert_eq!((report.repeated, report.left_behind), (0, None));
    assert_eq!(server.objects("warehouse"), [], "objects were left behind");
}

/// Codes 409 and 503 decide nothing and are no broken promise. Whatever the client library makes of
/// them, nobody is told wrongly that an object was created.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_of_a_busy_s3_breaks_no_promise() {
    let server = S3Server::start();
    let store = store(&server);
    for after in 0..20 {
        server.fail(
            Fault::on(Operation::PutObject, Effect::Refuse(409)).key_contains("race/").after(after * 9),
        );
        server.fail(
            Fault::on(Operation::PutObject, Effect::Refuse(503)).key_contains("race/").after(after * 7),
        );
    }
    let options = Options { rounds: 20, pairs: 50, objects: 10, repeats: 5, ..Options::default() };
    let report = conformance::check(&store, &options).await.unwrap();
    println!("{report}");
    assert!(server.pending_faults() <= 30, "{} of 40 faults have not acted", server.pending_faults());

    // Listings that fail leave the question open.
    server.fail(Fault::on(Operation::ListObjects, Effect::Refuse(403)).after(2));
    let report = conformance::examine(&store, &options).await;
    assert!(
        report.checks.iter().any(|checked| matches!(checked.outcome, Outcome::Failed { .. })),
        "{report}"
    );
}
