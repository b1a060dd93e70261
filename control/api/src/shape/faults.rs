//! Faults of a body: all of them at once, each with its place.

use crate::code;
use crate::envelope::Message;
use std::fmt::Display;

/// The most faults of one body: more help nobody, and a body of 1 MiB could have 100,000.
pub const FAULTS_MAX: usize = 100;
/// The longest name of a stranger that a message repeats, in characters: a line of a terminal.
const SHOWN_MAX: usize = 64;

/// Faults that were found, and the place that is looked at.
#[derive(Debug, Default)]
pub struct Faults {
    found: Vec<Message>,
    left_out: usize,
    place: String,
}

impl Faults {
    /// Looks at a property or an element of where it looked before.
    pub fn within<R>(&mut self, segment: impl Display, look: impl FnOnce(&mut Self) -> R) -> R {
        let before = self.place.len();
        self.place.push('/');
        self.place.push_str(&segment.to_string().replace('~', "~0").replace('/', "~1"));
        let outcome = look(self);
        self.place.truncate(before);
        outcome
    }

    /// A fault of what is looked at: what it must be.
    pub fn add(&mut self, must: impl Display) {
        self.add_with(|| must.to_string());
    }

    /// The same in words that cost something to find: they are looked for only if they are told.
    pub(super) fn add_with(&mut self, must: impl FnOnce() -> String) {
        if self.found.len() == FAULTS_MAX {
            self.left_out += 1;
            return;
        }
        let must = must();
        let message = match self.name() {
            Some(name) => format!("{name} {must}: validation failed"),
            None => format!("the body {must}: validation failed"),
        };
        self.found.push(Message::new(code::VALIDATION, message).at(self.place.clone()));
    }

    /// A fault of a property of what is looked at.
    pub fn add_at(&mut self, segment: impl Display, must: impl Display) {
        self.within(segment, |faults| faults.add(must));
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.found.len() + self.left_out
    }

    /// The faults, or `value` where there is none.
    pub(super) fn or<T>(mut self, value: T) -> Result<T, Vec<Message>> {
        if self.left_out > 0 {
            let rest = format!("{} further faults are left out", self.left_out);
            self.found.push(Message::new(code::VALIDATION, rest));
        }
        if self.found.is_empty() { Ok(value) } else { Err(self.found) }
    }

    /// The last name of the place, with the index of an element after it.
    fn name(&self) -> Option<String> {
        let mut parts = self.place.rsplit('/').filter(|part| !part.is_empty());
        let last = parts.next()?;
        let last = shorten(&last.replace("~1", "/").replace("~0", "~"));
        if !last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(last);
        }
        Some(parts.next().map_or(last.clone(), |list| format!("{}[{last}]", shorten(list))))
    }
}

/// A name of a stranger as a message repeats it.
pub(super) fn shorten(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// The known name nearest to `found`, if one is near enough to be meant.
pub(super) fn nearest<'n>(found: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let length = found.chars().count();
    if length > SHOWN_MAX {
        return None;
    }
    let near = names.map(|name| (distance(&found.to_lowercase(), name), name)).min()?;
    (near.0 <= (length / 3).max(1)).then_some(near.1)
}

/// Characters to insert, take out or exchange until one text is the other (Levenshtein).
fn distance(one: &str, two: &str) -> usize {
    let mut row: Vec<usize> = (0..=two.chars().count()).collect();
    for (line, a) in one.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (b, above) in two.chars().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(a != b)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{FAULTS_MAX, Faults, distance, nearest};

    #[test]
    fn words_are_not_looked_for_where_nobody_reads_them() {
        let mut faults = Faults::default();
        let mut looked_for = 0;
        for _ in 0..10 * FAULTS_MAX {
            faults.add_with(|| {
                looked_for += 1;
                "must be something".to_owned()
            });
        }
        assert_eq!((looked_for, faults.count()), (FAULTS_MAX, 10 * FAULTS_MAX));
    }

    #[test]
    fn distances_count_edits() {
        for (one, two, expect) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("interval", "intreval", 2),
            ("timeout", "timeouts", 1),
        ] {
            assert_eq!(distance(one, two), expect, "{one} {two}");
        }
    }

    #[test]
    fn only_a_near_name_is_meant() {
        let names = || ["interval", "timeout", "retries"].into_iter();
        assert_eq!(nearest("Intervall", names()), Some("interval"));
        assert_eq!(nearest("weight", names()), None);
        assert_eq!(nearest(&"x".repeat(65), names()), None);
    }
}
