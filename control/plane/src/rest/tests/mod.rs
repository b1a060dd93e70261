//! The API over real connections and a real store: who may do what, and what is told of it.

mod access;
mod isolation;
mod objects;
mod own;
mod support;
