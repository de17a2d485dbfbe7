//! neo
