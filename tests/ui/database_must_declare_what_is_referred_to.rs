#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

views! {
    pub Bots: { $from: Relation, $filter: member.is_bot, $select: { id } }
    pub Names: { $from: Relation, $select: { id, name: member.organization.display_name } }
    pub Members: { $from: Relation, $groupBy: [member] }
}

database! {
    pub struct Enough { Relation, Members }
}

database! {
    pub struct TooLittle { Relation, Member, Bots, Names }
}

fn main() {}
