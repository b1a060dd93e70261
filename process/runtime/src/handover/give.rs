//! The side of the process that serves: starts the new one, gives it the sockets, and waits for
//! its word that it is ready. Until then nothing here changes what this process does.

use super::channel::{AsyncChannel, Channel, ChannelError};
use super::{
    HELLO_WITHIN, Message, PROTOCOL, Program, READY_WITHIN, SOCKETS_PER_MESSAGE, SocketUse,
    TICKETS_PER_MESSAGE, TicketKeys,
};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long a process that closed its connection, or knows that there is no use for it, may take
/// to end by itself; it is a matter of moments.
const STATUS_WITHIN: Duration = Duration::from_secs(1);

/// The pause between two looks at the exit status.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Why there is no successor; this process goes on as if nothing had been.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The file cannot be run.
    #[error("{} cannot be started: {cause}", path.display())]
    Start {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
    /// It ended, by itself or by somebody's hand.
    #[error("the new process ended {step}{}: its log tells why", told(*status))]
    Ended {
        /// How far it came.
        step: &'static str,
        /// How it ended, where that is known.
        status: Option<ExitStatus>,
    },
    /// It found something wrong, such as a fault of the configuration.
    #[error("the new process refused: {}", .0.join("; "))]
    Refused(Vec<String>),
    /// It speaks other versions of the messages.
    #[error(
        "the new program ({program}) speaks versions {theirs:?} of the upgrade protocol, this one \
         speaks {PROTOCOL}: restart the service instead"
    )]
    Protocol {
        /// What it calls itself.
        program: String,
        /// The versions it speaks.
        theirs: Vec<u32>,
    },
    /// It hangs.
    #[error("the new process was not ready in time ({step}), and was ended")]
    Late {
        /// How far it came.
        step: &'static str,
    },
    /// It says what makes no sense, or cannot be heard.
    #[error("{step}: {cause}")]
    Channel {
        /// How far it came.
        step: &'static str,
        /// What is wrong.
        #[source]
        cause: ChannelError,
    },
}

fn told(status: Option<ExitStatus>) -> String {
    status.map_or_else(String::new, |status| format!(" ({status})"))
}

/// What is handed over.
#[derive(Debug, Default)]
pub struct Offer {
    /// Every listening socket.
    pub sockets: Vec<(SocketUse, OwnedFd)>,
    /// The keys of session tickets.
    pub tickets: Vec<TicketKeys>,
}

/// The new process. Dropped, it is ended, unless the service has become its own.
#[derive(Debug)]
struct Started {
    child: Option<Child>,
    channel: AsyncChannel,
    serves: bool,
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take()
            && !self.serves
        {
            // It may have ended by itself.
            let _ = child.kill();
            reap(child);
        }
    }
}

/// Waits for the end of a process that is ending, so that nothing of it stays behind.
fn reap(mut child: Child) {
    let reaper = std::thread::Builder::new().name("weir-reap".to_owned());
    // Without a thread it stays behind until this process ends, which harms nobody.
    let _ = reaper.spawn(move || child.wait());
}

/// A new process that is ready: it serves on the sockets, and waits for the word that the service
/// is its own.
#[derive(Debug)]
pub struct Successor {
    started: Started,
    /// Its process id.
    pub pid: u32,
    /// What it calls itself: the version of the program.
    pub program: String,
    /// The listeners, as this process named them, whose sockets it serves.
    pub listeners: Vec<SocketUse>,
}

/// What a successor says while this process finishes its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromSuccessor {
    /// The sockets are to be closed for good; answer with [`Successor::gone`].
    LetGo,
    /// The service ends, and this process with it.
    Ending {
        /// Whether connections are not waited for.
        quick: bool,
    },
    /// It has ended without a word.
    Died,
}

/// Starts the program, gives it what is offered, and waits until it is ready.
///
/// # Errors
/// See [`HandoverError`]; the new process is ended then. The same holds where the future is
/// dropped.
pub async fn hand_over(program: &Program, offer: &Offer) -> Result<Successor, HandoverError> {
    let failed = |cause| HandoverError::Start { path: program.path().to_owned(), cause };
    let (ours, theirs) = Channel::pair().map_err(failed)?;
    let child = program.start(theirs).map_err(failed)?;
    let pid = child.id();
    // From here on the child is ended where anything goes wrong.
    let channel = ours.into_async();
    let mut started = match channel {
        Ok(channel) => Started { child: Some(child), channel, serves: false },
        Err(cause) => {
            // Its connection is closed by now, so it ends by itself.
            reap(child);
            return Err(failed(cause));
        }
    };
    let mut step = "before it said a word";
    let end = Instant::now() + READY_WITHIN;
    let outcome = timeout_at(end, steps(&started.channel, offer, &mut step)).await;
    if matches!(outcome, Ok(Err(Failure::Refused(_) | Failure::Protocol { .. }))) {
        // Both sides know that it ends here: the other may write its log and end by itself.
        started.status().await;
    }
    match outcome {
        Ok(Ok((name, listeners))) => Ok(Successor { started, pid, program: name, listeners }),
        Ok(Err(Failure::Refused(why))) => Err(HandoverError::Refused(why)),
        Ok(Err(Failure::Protocol { program, theirs })) => {
            Err(HandoverError::Protocol { program, theirs })
        }
        Ok(Err(Failure::Channel(ChannelError::Closed))) => {
            Err(HandoverError::Ended { step, status: started.status().await })
        }
        Err(_) | Ok(Err(Failure::Channel(ChannelError::Late))) => Err(HandoverError::Late { step }),
        Ok(Err(Failure::Channel(cause))) => Err(HandoverError::Channel { step, cause }),
    }
}

/// What ended the conversation.
#[derive(Debug)]
pub(super) enum Failure {
    Refused(Vec<String>),
    Protocol { program: String, theirs: Vec<u32> },
    Channel(ChannelError),
}

impl From<ChannelError> for Failure {
    fn from(error: ChannelError) -> Self {
        Self::Channel(error)
    }
}

/// The conversation up to READY.
pub(super) async fn steps(
    channel: &AsyncChannel,
    offer: &Offer,
    step: &mut &'static str,
) -> Result<(String, Vec<SocketUse>), Failure> {
    let hello = timeout(HELLO_WITHIN, channel.receive()).await;
    let (protocols, program) = match hello.unwrap_or(Err(ChannelError::Late))? {
        Message::Hello { protocols, program } => (protocols, program),
        Message::Refused { why } => return Err(Failure::Refused(why)),
        other => return Err(unexpected(&other)),
    };
    if !protocols.contains(&PROTOCOL) {
        let why = format!(
            "the running program ({}) speaks version {PROTOCOL} of the upgrade protocol only",
            env!("CARGO_PKG_VERSION")
        );
        // Politeness: it may be gone already.
        let _ = channel.send(&Message::Refused { why: vec![why] }, &[]).await;
        return Err(Failure::Protocol { program, theirs: protocols });
    }
    channel.send(&Message::Welcome { protocol: PROTOCOL }, &[]).await?;
    *step = "while it read its configuration";
    expect(channel, |message| matches!(message, Message::Give).then_some(())).await?;
    *step = "while it took the sockets";
    let mut left = offer.sockets.len();
    for batch in offer.sockets.chunks(SOCKETS_PER_MESSAGE) {
        left -= batch.len();
        let sockets = batch.iter().map(|(what, _)| what.clone()).collect();
        let descriptors: Vec<_> = batch.iter().map(|(_, socket)| socket.as_fd()).collect();
        channel.send(&Message::Sockets { sockets, left }, &descriptors).await?;
        let sent = batch.len();
        let all = |message| matches!(message, Message::Took { sockets } if sockets == sent);
        expect(channel, |message| all(message).then_some(())).await?;
    }
    let mut left = offer.tickets.len();
    for batch in offer.tickets.chunks(TICKETS_PER_MESSAGE) {
        left -= batch.len();
        channel.send(&Message::Tickets { keys: batch.to_vec(), left }, &[]).await?;
    }
    if offer.tickets.is_empty() {
        channel.send(&Message::Tickets { keys: Vec::new(), left: 0 }, &[]).await?;
    }
    *step = "while it started to serve";
    let listeners = expect(channel, |message| match message {
        Message::Ready { listeners } => Some(listeners),
        _ => None,
    });
    Ok((program, listeners.await?))
}

/// The message that is due, or why it does not come.
async fn expect<T>(
    channel: &AsyncChannel,
    due: impl FnOnce(Message) -> Option<T>,
) -> Result<T, Failure> {
    let message = match channel.receive().await? {
        Message::Refused { why } => return Err(Failure::Refused(why)),
        message => message,
    };
    let told = unexpected(&message);
    due(message).ok_or(told)
}

fn unexpected(message: &Message) -> Failure {
    let mut told = format!("{message:?}");
    told.truncate(told.floor_char_boundary(100));
    Failure::Channel(ChannelError::Malformed(format!("{told} out of its turn")))
}

impl Started {
    /// How the process ended, when it has.
    async fn status(&mut self) -> Option<ExitStatus> {
        let end = Instant::now() + STATUS_WITHIN;
        while Instant::now() < end {
            if let Some(status) = self.child.as_mut()?.try_wait().ok()? {
                self.child = None;
                return Some(status);
            }
            sleep(LOOK_EVERY).await;
        }
        None
    }
}

impl Successor {
    /// Tells it that this process has stopped accepting. From here on it lives on its own, and is
    /// not ended with the drop of this value. It may be gone, which [`next`](Self::next) tells.
    pub async fn yours(&mut self) {
        self.started.serves = true;
        let _ = self.started.channel.send(&Message::Yours, &[]).await;
    }

    /// Tells it that the sockets are closed here. It may be gone, which the next message tells.
    pub async fn gone(&self) {
        let _ = self.started.channel.send(&Message::Gone, &[]).await;
    }

    /// What it says next. May be dropped and called again.
    pub async fn next(&self) -> FromSuccessor {
        loop {
            match self.started.channel.receive().await {
                Ok(Message::LetGo) => return FromSuccessor::LetGo,
                Ok(Message::Ending { quick }) => return FromSuccessor::Ending { quick },
                // A word of a later version that this one can do without.
                Ok(_) | Err(ChannelError::Malformed(_)) => {}
                Err(_) => return FromSuccessor::Died,
            }
        }
    }

    /// How it ended, after [`FromSuccessor::Died`]; one that only fell silent is ended.
    pub async fn end(mut self) -> Option<ExitStatus> {
        self.started.serves = false;
        self.started.status().await
    }
}
