#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub V: { $from: Relation, $expand: [membr], $select: { id } }
}

fn main() {}
