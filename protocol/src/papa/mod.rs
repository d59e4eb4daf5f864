//! The line protocol of the papa kernel.
