#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub V: { $from: Relation, $expand: [reviewers], $unnest: reviewers, $select: { login: reviewers.logn } }
    pub W: { $from: Relation, $expand: [reviewer], $select: { id, reviewer } }
}

fn main() {}
