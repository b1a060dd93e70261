//! Signals as a stream of orders to the process.
//!
//! TERM drains, INT stops, HUP reloads, USR2 upgrades; TERM or INT after either stops at once. PIPE
//! is ignored by the Rust runtime before `main` (a write to a closed peer gives an error instead).

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What an operator asks of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Finish what is open within the drain deadline, take nothing new, then end.
    Drain,
    /// End at once.
    Stop,
    /// Read the configuration again and swap to it when it is valid.
    Reload,
    /// Hand over to a new process of the program's file.
    Upgrade,
}

impl Order {
    /// Whether the process is to end.
    #[must_use]
    pub fn ends(self) -> bool {
        matches!(self, Self::Drain | Self::Stop)
    }
}

/// The signals of this process, from the moment of its making on.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
    ending: bool,
}

impl Signals {
    /// Takes over TERM, INT, HUP and USR2. Needs a tokio runtime with IO enabled; make it before
    /// READY is told, since a HUP that comes earlier ends the process.
    ///
    /// # Errors
    /// The kernel's refusal to install a handler.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
            ending: false,
        })
    }

    /// The next order. Several HUPs that nobody took yet are one, and so are several USR2s. May be
    /// dropped and called again: nothing is lost.
    pub async fn next(&mut self) -> Order {
        let order = tokio::select! {
            biased;
            _ = self.interrupt.recv() => Order::Stop,
            _ = self.terminate.recv() => Order::Drain,
            _ = self.hangup.recv() => Order::Reload,
            _ = self.upgrade.recv() => Order::Upgrade,
        };
        self.judge(order)
    }

    /// A second wish to end is impatience: it stops at once.
    fn judge(&mut self, order: Order) -> Order {
        let again = self.ending;
        self.ending |= order.ends();
        if again && order == Order::Drain { Order::Stop } else { order }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::{Signal as Raw, getpid, kill_process};

    use super::*;

    /// One test for all signals: they go to the whole process.
    #[test]
    fn signals_become_orders() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut signals = Signals::new().unwrap();
            let cases = [
                (Raw::HUP, Order::Reload),
                (Raw::USR2, Order::Upgrade),
                (Raw::TERM, Order::Drain),
                (Raw::HUP, Order::Reload),
                (Raw::TERM, Order::Stop),
                (Raw::INT, Order::Stop),
            ];
            for (sent, expect) in cases {
                kill_process(getpid(), sent).unwrap();
                let order = tokio::time::timeout(Duration::from_secs(10), signals.next()).await;
                assert_eq!(order.unwrap(), expect, "{sent:?}");
            }
        });
    }
}
