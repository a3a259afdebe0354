//! Stores that fail as told: for tests of this workspace.
