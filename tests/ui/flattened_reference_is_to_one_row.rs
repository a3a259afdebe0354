#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub V: { $from: Relation, $expand: [reviewers], $flatten: { reviewers: people }, $select: { id } }
}

fn main() {}
