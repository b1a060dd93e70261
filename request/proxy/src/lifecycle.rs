//! The life of a request: the stages by name, for every protocol.

use crate::exchange::{Client, Exchange, Stage};
use crate::reason::Reason;
use crate::stage::route::Decision;
use crate::stage::{gate, origin, record, reply, route};

/// Why a request did not get an origin's whole reply.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// Particulars for the operator, never for the client.
    pub(crate) detail: Option<String>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, detail: None }
    }
}

/// Serves one request from its head to its log line. Afterwards `exchange.keep` says whether the
/// connection may serve another one.
pub(crate) async fn serve(stage: Stage<'_>, exchange: &mut Exchange, client: &mut Client<'_>) {
    let outcome = answer(stage, exchange, client).await;
    reply::finish(stage, exchange, client, outcome).await;
    record::write(stage, exchange, client);
}

async fn answer(
    stage: Stage<'_>,
    exchange: &mut Exchange,
    client: &mut Client<'_>,
) -> Result<(), Refusal> {
    gate::admit(stage, exchange)?;
    match route::choose(stage, exchange)? {
        Decision::Redirect(redirect) => {
            reply::redirect(stage, exchange, client, &redirect);
            Ok(())
        }
        Decision::Proxy(target) => {
            let upstream = origin::fetch(stage, exchange, client, target).await?;
            reply::stream(stage, exchange, client, target, upstream).await
        }
    }
}
