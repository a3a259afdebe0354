#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub Members: { $from: Relation, $groupBy: [member], $having: { member.is_bot: false } }
    pub Humans: { $from: Relation, $groupBy: [member], $having: { member: { $in: Member } } }
}

fn main() {}
