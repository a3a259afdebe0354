//! What ParqueDB's commands share. The command itself is `parquedb`.

pub mod terminal;
