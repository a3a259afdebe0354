#[path = "support/community.rs"]
mod community;
#[allow(unused_imports)]
use community::*;

#[derive(Collection, Debug, Clone, PartialEq)]
#[collection(key = id)]
pub struct Tag {
    pub id: u32,
}

#[derive(Collection, Debug, Clone, PartialEq)]
pub struct Post {
    pub tags: Vec<Ref<Tag>>,
    pub tags_rows: u32,
}

views! {
    pub V: { $from: Post, $expand: [tags] }
}

fn main() {}
