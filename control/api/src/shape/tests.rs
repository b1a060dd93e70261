//! Tables of bodies and what is said of them.
