//! Kills origins in turn, with requests in flight, and brings them back.

use super::origins::Origin;
use super::tally::say;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// From the start to the first death: the first line of progress has all three origins.
const FIRST: Duration = Duration::from_millis(1200);
/// From one death to the next, at least.
const EVERY: Duration = Duration::from_secs(2);
/// How long an origin is dead: longer than the interval of the monitor, so that it notices.
pub(super) const DEAD: Duration = Duration::from_millis(1500);
/// How long a death waits for a request to be in flight.
const BUSY_WITHIN: Duration = Duration::from_millis(500);
/// How long the next death waits for the origin to have answered again: a probe and more, so that
/// never two origins are out of use at once.
const BACK_WITHIN: Duration = Duration::from_secs(3);

/// Runs until the process ends.
pub(super) async fn run(origins: Vec<Arc<Origin>>) {
    let mut death = Instant::now() + FIRST;
    for origin in origins.iter().cycle() {
        tokio::time::sleep_until(death).await;
        origin.busy(BUSY_WITHIN).await;
        let died = Instant::now();
        let hit = origin.kill();
        say(&format!("chaos: {} dies, requests in flight: {hit}", origin.name));
        tokio::time::sleep_until(died + DEAD).await;
        origin.revive();
        say(&format!("chaos: {} is back", origin.name));
        origin.back(BACK_WITHIN).await;
        death = died + EVERY;
    }
}
