#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub V: { $from: Relation, $expand: [reviewers], $select: { id, size: { reviewers: { $size: 2 } } } }
}

database! { pub struct Db { Relation, V } }

fn main() {}
