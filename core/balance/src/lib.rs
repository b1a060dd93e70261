//! Pure decisions about who gets a request: steering, health, ejection, slow start, retries; and
//! about which server of a fleet owns which buckets ([`plan`]).
//!
//! Nothing here knows a socket, a clock or a thread, and nothing on the way of a request allocates:
//! time, counts and random numbers come in as arguments, a decision comes out. `request/proxy` asks
//! for every request, `control/plane` for every probe. How they fit together: `docs/algorithms/`.

pub mod budget;
pub mod health;
pub mod outlier;
pub mod plan;
pub mod retry;
pub mod rng;
pub mod slow_start;
pub mod steer;
