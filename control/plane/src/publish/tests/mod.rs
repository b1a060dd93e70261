//! Tests of publishing: what is compiled, what streams bring, and how a change is tried.

mod compile;
mod edge;
mod fleet;
mod streams;
mod trial;
