//! A panic ends its task, is counted and is shown. Alone in its binary, since the hook is the
//! process's.

use arc_swap::ArcSwap;
use core_model::Snapshot;
use process_runtime::live::LiveTable;
use process_runtime::panics::{install_hook, total};
use process_runtime::status::StatusSource;
use process_runtime::{config_file, prometheus};
use std::sync::Arc;

const CONFIG: &str = r#"
[[listener]]
name = "web"
address = "127.0.0.1:8080"
[[pool]]
name = "p"
origins = [{ name = "o", address = "127.0.0.1", port = 9001 }]
[[load_balancer]]
name = "*"
default_pools = ["p"]
"#;

#[test]
fn a_panic_ends_its_task_and_nothing_else_and_is_shown() {
    install_hook();
    install_hook();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (bad, good) = runtime.block_on(async {
        let bad = tokio::spawn(async { panic!("a task that breaks") }).await;
        (bad, tokio::spawn(async { 7 }).await)
    });
    assert!(bad.is_err_and(|e| e.is_panic()));
    assert_eq!(good.ok(), Some(7));
    assert_eq!(total(), 1);

    let loaded = config_file::load_text("weir.toml", CONFIG).unwrap();
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::first(loaded.config)));
    let source = StatusSource::new(Arc::new(LiveTable::new(1)), snapshot, "test");
    assert!(prometheus::encode(&source).contains("\nweir_panics_total 1\n"));
    assert_eq!(source.status().panics, 1);
}
