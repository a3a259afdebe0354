#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

#[derive(Collection)]
pub struct Jobs {
    pub outcome: Option<String>,
    pub script_name: Option<String>,
}

views! {
    pub Outcomes: { $from: [TailEvents, Jobs], $select: { kind: $source, script_name, outcome } }
    pub Times: { $from: [TailEvents, Jobs], $filter: wall_time > 2, $select: { script_name } }
    pub Typos: { $from: [TailEvents, Jobs], $select: { script_nam } }
}

fn main() {}
