//! `weir top`: what a running `weir` does, in a terminal, a frame each second.

mod frame;
mod screen;

use crate::client;
use anyhow::{Context, bail};
use core_model::ListenAddress;
use frame::Look;
use process_runtime::status::Status;
use screen::Screen;
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// From one frame to the next: the server takes a sample as often.
const PERIOD: Duration = Duration::from_secs(1);

/// Columns of the one frame that goes to a file or a pipe.
const PLAIN_COLUMNS: usize = 120;

/// Shows the state of the process whose admin listener is at `admin`: live until `q`, INT or TERM,
/// or as one frame where standard output is no terminal or with `once`.
///
/// # Errors
/// Nobody answers at `admin` at the start, or what answers is no `weir`.
pub(crate) fn run(admin: &ListenAddress, once: bool) -> anyhow::Result<()> {
    let status = fetch(admin)?;
    let terminal = std::io::stdout().is_terminal();
    let colours = terminal && std::env::var_os("NO_COLOR").is_none();
    if once || !terminal {
        let columns = screen::size().map_or(PLAIN_COLUMNS, |(columns, _)| columns);
        let look = Look { columns, colours };
        let lines = frame::lines(&status, &look).join("\n");
        return writeln!(std::io::stdout(), "{lines}").context("cannot write the frame");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(live(admin, status, colours));
    // A question on its way would hold the end up for as long as its time limit.
    runtime.shutdown_background();
    done
}

fn fetch(admin: &ListenAddress) -> anyhow::Result<Status> {
    let answer = client::get(admin, "/status")?;
    if answer.status != 200 {
        let said = String::from_utf8_lossy(&answer.body);
        bail!("{admin} answered /status with {}: {}", answer.status, said.trim().escape_debug());
    }
    serde_json::from_slice(&answer.body)
        .with_context(|| format!("{admin} runs another version of weir: use its own `weir top`"))
}

async fn live(admin: &ListenAddress, first: Status, colours: bool) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut screen = Screen::open()?;
    let mut keys = screen::keys();
    let mut status = first;
    let mut trouble = None;
    loop {
        screen.show(&status, trouble.as_deref(), colours)?;
        let address = admin.clone();
        let next = async {
            tokio::time::sleep(PERIOD).await;
            tokio::task::spawn_blocking(move || fetch(&address)).await
        };
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            // Where no more keys come, this branch rests and the signals still end it.
            Some(key) = keys.recv() => {
                if matches!(key, b'q' | b'Q') {
                    return Ok(());
                }
            }
            _ = resized.recv() => {}
            answer = next => match answer {
                Ok(Ok(answer)) => (status, trouble) = (answer, None),
                Ok(Err(error)) => trouble = Some(format!("{error:#}")),
                Err(panic) => bail!("asking for the status failed: {panic}"),
            },
        }
    }
}
