#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

views! {
    pub Errors: { $from: TailEvents, $filter: outcome != "ok", $select: { outcome } }
}

database! {
    pub struct ObsDb { TailEvents, Errors, TailEvents }
}

fn main() {}
