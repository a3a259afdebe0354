//! The database of tail events (stand-in until the runtime is merged).
#![allow(missing_docs, clippy::unused_async, clippy::unused_self)]
use crate::dead_letter::DeadLetters;
use crate::event::TailEvents;
use parquedb::{Result, Timestamp};

#[derive(Debug)]
pub struct TailDb {
    pub tail_events: Rows<TailEvents>,
    pub dead_letters: Rows<DeadLetters>,
}
#[derive(Debug)]
pub struct Rows<T>(std::marker::PhantomData<fn(T)>);
#[derive(Debug)]
pub struct Builder;
impl Builder {
    pub fn read_only(self) -> Self {
        self
    }
    pub async fn open(self, url: impl AsRef<str>) -> Result<TailDb> {
        TailDb::open(url).await
    }
}
#[derive(Debug)]
pub struct Batch;
#[derive(Debug)]
pub struct Committed {
    pub seq: u64,
    pub repeated: bool,
}
impl Batch {
    pub fn insert<T>(&mut self, _: &Rows<T>, _: Vec<T>) -> Result<()> {
        Ok(())
    }
    pub fn id(&mut self, _: impl Into<String>) {}
    pub async fn commit(self) -> Result<Committed> {
        Ok(Committed { seq: 0, repeated: false })
    }
}
#[derive(Debug, serde::Serialize)]
pub struct ViewStatus {
    name: String,
}
#[derive(Debug, serde::Serialize)]
pub struct Requests {
    put: u64,
}
impl TailDb {
    pub async fn open(_: impl AsRef<str>) -> Result<Self> {
        Ok(Self { tail_events: Rows(std::marker::PhantomData), dead_letters: Rows(std::marker::PhantomData) })
    }
    pub fn builder() -> Builder {
        Builder
    }
    pub fn batch(&self) -> Batch {
        Batch
    }
    pub fn has_batch(&self, _: &str) -> bool {
        false
    }
    pub async fn status(&self) -> Result<Vec<ViewStatus>> {
        Ok(vec![])
    }
    pub async fn run_due(&self, _: Timestamp) -> Result<()> {
        Ok(())
    }
    pub async fn sql(&self, _: &str) -> Result<Frame> {
        Ok(Frame)
    }
    pub async fn flush(&self) -> Result<()> {
        Ok(())
    }
    pub fn requests(&self) -> Requests {
        Requests { put: 0 }
    }
}
#[derive(Debug)]
pub struct Frame;
impl Frame {
    pub async fn collect(self) -> Result<Vec<arrow::array::RecordBatch>> {
        Ok(vec![])
    }
}
