//! Placeholder for rows.
