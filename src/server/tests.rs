//! The routes in process, against a temporary store.
