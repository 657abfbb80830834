//! STUB (owner: server helper).
