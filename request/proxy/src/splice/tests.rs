//! Which pipes there are. Whole bodies are tested over real connections with the program.

use super::*;
use std::io::Write;

/// Runs on a thread of its own, as pipes are counted per thread.
fn alone(test: impl FnOnce() + Send + 'static) {
    let run = std::thread::spawn(test).join();
    assert!(run.is_ok(), "the test on the thread failed");
}

#[test]
fn no_more_pipes_than_allowed_are_open() {
    alone(|| {
        let mut pipes: Vec<_> = std::iter::from_fn(Pipe::take).take(PIPES_MAX + 1).collect();
        assert_eq!((pipes.len(), OPEN.get()), (PIPES_MAX, PIPES_MAX));
        drop(pipes.pop());
        pipes.extend(Pipe::take());
        assert_eq!(pipes.len(), PIPES_MAX, "a closed pipe makes room for another");
        pipes.into_iter().for_each(Pipe::give_back);
        assert_eq!(OPEN.get(), FREE_MAX, "the rest is closed");
    });
}

#[test]
fn a_pipe_with_bytes_in_it_is_never_used_again() {
    alone(|| {
        let mut pipe = Pipe::take().expect("there is a first pipe");
        let sent = std::fs::File::from(pipe.into.try_clone().expect("ok")).write(b"abc");
        pipe.held = sent.expect("the pipe has room");
        assert_eq!(pipe.held(), 3);
        pipe.give_back();
        assert_eq!(OPEN.get(), 0);
        Pipe::take().expect("there is a second pipe").give_back();
        assert_eq!((OPEN.get(), FREE.with_borrow(Vec::len)), (1, 1));
    });
}

#[test]
fn after_a_failure_nothing_is_tried_for_a_while() {
    alone(|| {
        PAUSED_UNTIL.set(timer::tick_after(PAUSE));
        assert!(Pipe::take().is_none());
        timer::advance(timer::tick_after(PAUSE));
        assert!(Pipe::take().is_some());
    });
}
