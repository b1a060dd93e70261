//! What a panic costs: one connection, one line in the operator log, one count; not the process.
//!
//! A panic is a bug of ours. Every connection is a task of its own; tokio ends the task and keeps
//! the worker. The line names the place and the thread.
//! A message put together at run time may hold a stranger's bytes or a secret and is left out;
//! a literal of the program is shown.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::operator_log;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Panics of this process since its start, for `weir_panics_total`.
pub fn total() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Makes every panic counted and told to the operator log. Repeated calls change nothing.
pub fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            let place = panic.location().map_or("unknown".to_owned(), ToString::to_string);
            let thread = std::thread::current();
            let literal = panic.payload().downcast_ref::<&'static str>();
            operator_log::error(
                "panic",
                "a bug ended one task; serving goes on; please report the place",
                &[
                    ("place", &place),
                    ("thread", &thread.name().unwrap_or("unnamed")),
                    ("message", literal.unwrap_or(&"(left out: may hold data)")),
                ],
            );
        }));
    });
}
