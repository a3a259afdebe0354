#[path = "support/tail.rs"]
mod tail;
#[allow(unused_imports)]
use tail::*;

database! {
    pub struct ObsDb {}
}

fn main() {}
