//! The built-in kinds, one file each: defaults, validation, selectable fields, table columns.
//! A kind never does I/O and never looks at another kind.

pub mod core;
