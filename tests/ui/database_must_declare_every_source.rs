#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

#[derive(Collection)]
pub struct Jobs {
    pub outcome: String,
}

views! {
    pub Outcomes: { $from: [TailEvents, Jobs], $select: { outcome } }
}

database! {
    pub struct ObsDb { TailEvents, Outcomes }
}

fn main() {}
