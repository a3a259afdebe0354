//! Many inserters of few rows: one commit for each insert, and all that wait in one commit.
#![allow(missing_docs)]

mod shared;

#[tokio::main]
async fn main() -> parquedb::Result<()> {
    shared::compare(shared::is_measured()).await
}
