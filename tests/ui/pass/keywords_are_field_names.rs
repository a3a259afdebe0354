use parquedb::{Collection, views};

#[derive(Collection)]
pub struct Events {
    pub r#type: String,
    pub r#loop: Vec<Turn>,
    pub data: Option<Turn>,
}

#[derive(Debug, Clone, PartialEq, Collection)]
pub struct Turn {
    pub r#match: u32,
}

views! {
    pub Turns: {
        $from: Events,
        $filter: { r#type: "turn", data.match: { $gt: 1 } },
        $unnest: r#loop,
        $select: { r#type, r#match: r#loop.match, other: data.match },
    }
}

fn main() {
    let _ = Turns { r#type: String::new(), r#match: 0u32, other: None::<u32> };
}
