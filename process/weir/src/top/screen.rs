//! The terminal of `weir top`: alternate screen, keys without Enter, and everything put back.

use super::frame::{self, Look};
use process_runtime::status::Status;
use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use std::io::{self, Read, Write};
use tokio::sync::mpsc;

/// Keys that wait to be handled; more than a person types in a second.
const KEYS_MAX: usize = 32;

/// Size where the terminal does not tell its own.
const SIZE_DEFAULT: (usize, usize) = (80, 24);

/// Columns and rows of the terminal on standard output.
pub(super) fn size() -> Option<(usize, usize)> {
    let size = termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
}

/// The screen while `weir top` has it; dropping it gives it back as it was.
pub(super) struct Screen {
    before: Option<Termios>,
}

impl Screen {
    /// Takes the screen.
    pub(super) fn open() -> io::Result<Self> {
        // Without a terminal to type at there are no keys, and signals still end it.
        let before = termios::tcgetattr(io::stdin()).ok();
        if let Some(before) = &before {
            let mut quiet = before.clone();
            quiet.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            termios::tcsetattr(io::stdin(), OptionalActions::Now, &quiet)?;
        }
        let screen = Self { before };
        // Alternate screen, cursor hidden.
        put("\x1b[?1049h\x1b[?25l")?;
        Ok(screen)
    }

    /// Draws a frame over the last one, without a flash.
    pub(super) fn show(
        &mut self,
        status: &Status,
        trouble: Option<&str>,
        colours: bool,
    ) -> io::Result<()> {
        let (columns, rows) = size().unwrap_or(SIZE_DEFAULT);
        let look = Look { columns, colours };
        let mut lines = Vec::new();
        if let Some(trouble) = trouble {
            lines.push(look.alarm(&format!("No answer, trying again: {trouble}")));
        }
        lines.extend(frame::lines(status, &look));
        lines.truncate(rows.saturating_sub(1));
        let mut text = String::from("\x1b[H");
        for line in &lines {
            text.push_str(line);
            text.push_str("\x1b[K\r\n");
        }
        text.push_str("\x1b[J");
        text.push_str(&look.soft("q quits"));
        put(&text)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody is left to tell when the terminal is gone.
        let _ = put("\x1b[?25h\x1b[?1049l");
        if let Some(before) = &self.before {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Keys as they are typed. The thread ends with the process: a read of a terminal cannot be
/// called off.
pub(super) fn keys() -> mpsc::Receiver<u8> {
    let (typed, keys) = mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        let mut key = [0];
        while io::stdin().read(&mut key).is_ok_and(|n| n == 1) {
            let [byte] = key;
            if typed.blocking_send(byte).is_err() {
                return;
            }
        }
    });
    keys
}
