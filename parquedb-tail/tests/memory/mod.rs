//! A sink in memory that keeps batch ids as the database does, and fails when told to.
#![allow(dead_code, unreachable_pub)]

use parquedb_tail::sink::{Sink, Stored};
use parquedb_tail::{DeadLetters, TailEvents};
use std::collections::HashSet;
use std::sync::Mutex;

#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: Vec<TailEvents>,
    dead_letters: Vec<DeadLetters>,
    ids: HashSet<String>,
    commits: u64,
    failure: Option<parquedb::Error>,
    /// Commits after which every further one fails.
    until: Option<u64>,
}

impl Memory {
    pub fn events(&self) -> usize {
        self.state.lock().unwrap().events.len()
    }

    pub fn rows(&self) -> Vec<TailEvents> {
        self.state.lock().unwrap().events.clone()
    }

    pub fn dead_letters(&self) -> (usize, Option<String>) {
        let state = self.state.lock().unwrap();
        (state.dead_letters.len(), state.dead_letters.last().map(|dead| dead.source.clone()))
    }

    pub fn commits(&self) -> u64 {
        self.state.lock().unwrap().commits
    }

    /// The next commit fails.
    pub fn fail(&self, error: parquedb::Error) {
        self.state.lock().unwrap().failure = Some(error);
    }

    /// Commits fail once there are `commits`, as if the process were killed there; none ends that.
    pub fn stop_after(&self, commits: Option<u64>) {
        self.state.lock().unwrap().until = commits;
    }
}

impl Sink for Memory {
    async fn store(
        &self,
        events: Vec<TailEvents>,
        dead_letters: Vec<DeadLetters>,
        id: Option<String>,
    ) -> parquedb::Result<Stored> {
        let mut state = self.state.lock().unwrap();
        if let Some(error) = state.failure.take() {
            return Err(error);
        }
        if state.until.is_some_and(|until| state.commits >= until) {
            return Err(parquedb::Error::new(parquedb::ErrorKind::Unavailable, "stopped"));
        }
        if id.is_some_and(|id| !state.ids.insert(id)) {
            return Ok(Stored { seq: state.commits, repeated: true });
        }
        state.commits += 1;
        state.events.extend(events);
        state.dead_letters.extend(dead_letters);
        Ok(Stored { seq: state.commits, repeated: false })
    }

    fn has(&self, id: &str) -> bool {
        self.state.lock().unwrap().ids.contains(id)
    }

    fn now(&self) -> parquedb::Timestamp {
        parquedb::Timestamp::from_micros(0)
    }
}
