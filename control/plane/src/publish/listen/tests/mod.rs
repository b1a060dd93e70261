//! Edges join, come with certificates and are shut out, over real connections.

mod certificates;
mod joining;
mod operators;
mod shutting_out;
mod support;
