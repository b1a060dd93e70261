//! A panic is contained and counted. Alone in its binary, since the hook is the process's.

use process_runtime::panics::{contain, install_hook, total};

#[test]
fn a_panic_ends_its_connection_and_nothing_else() {
    install_hook();
    install_hook();
    let before = total();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (bad, good, spawned) = runtime.block_on(async {
        let bad = contain(async {
            tokio::task::yield_now().await;
            panic!("a stage that breaks");
        })
        .await;
        let spawned = tokio::spawn(async { panic!("a task that breaks") }).await;
        let good = contain(async {
            tokio::task::yield_now().await;
            7
        })
        .await;
        (bad, good, spawned)
    });
    assert_eq!(bad, None::<()>);
    assert!(spawned.is_err_and(|e| e.is_panic()));
    assert_eq!(good, Some(7));
    assert_eq!(total() - before, 2);
}
