use parquedb::{Collection, Ref};

#[derive(Collection)]
pub struct Event {
    pub name: String,
}

#[derive(Collection)]
#[collection(key = (a, b))]
pub struct Pair {
    pub a: u32,
    pub b: u32,
}

#[derive(Collection)]
pub struct Note {
    pub event: Ref<Event>,
    pub pairs: Vec<Ref<Pair>>,
}

fn main() {}
