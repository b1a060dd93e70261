//! The few things of a Markdown document that checks look at: blocks, headings, links, code spans.

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// What follows the opening fence, such as `toml weir`.
    pub(crate) info: String,
    /// Line of the opening fence, from 1.
    pub(crate) line: usize,
    /// The lines between the fences.
    pub(crate) body: Vec<String>,
}

/// A document, split into prose and blocks.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// Line numbers from 1 and lines outside blocks.
    pub(crate) prose: Vec<(usize, String)>,
    /// The blocks in order.
    pub(crate) blocks: Vec<Block>,
}

impl Document {
    /// Splits a text.
    pub(crate) fn parse(text: &str) -> Self {
        let mut document = Self::default();
        let mut open: Option<(String, Block)> = None;
        for (index, line) in text.lines().enumerate() {
            let trimmed = line.trim_start();
            match &mut open {
                Some((fence, _)) if trimmed.trim_end() == fence => {
                    document.blocks.extend(open.take().map(|(_, block)| block));
                }
                Some((_, block)) => block.body.push(line.to_owned()),
                None if trimmed.starts_with("```") => {
                    let ticks = trimmed.chars().take_while(|c| *c == '`').count();
                    let info = trimmed.trim_start_matches('`').trim().to_owned();
                    let block = Block { info, line: index + 1, body: Vec::new() };
                    open = Some(("`".repeat(ticks), block));
                }
                None => document.prose.push((index + 1, line.to_owned())),
            }
        }
        document.blocks.extend(open.map(|(_, block)| block));
        document
    }

    /// Headings: line, level, text.
    pub(crate) fn headings(&self) -> impl Iterator<Item = (usize, usize, &str)> {
        self.prose.iter().filter_map(|(line, text)| {
            let level = text.chars().take_while(|c| *c == '#').count();
            let rest = text.get(level..)?;
            ((1..=6).contains(&level) && rest.starts_with(' ')).then(|| (*line, level, rest.trim()))
        })
    }

    /// The anchors that headings and `<a id="">` give, in the form that code hosts use.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        for (_, _, text) in self.headings() {
            let slug = slug(text);
            let same = |known: &&String| {
                let rest = known.strip_prefix(slug.as_str());
                rest.is_some_and(|rest| rest.is_empty() || is_suffix(rest))
            };
            let before = anchors.iter().filter(same).count();
            anchors.push(if before == 0 { slug } else { format!("{slug}-{before}") });
        }
        for (_, text) in &self.prose {
            anchors.extend(attributes(text, "id"));
        }
        anchors
    }

    /// Link targets with their lines.
    pub(crate) fn links(&self) -> Vec<(usize, String)> {
        let mut links = Vec::new();
        for (line, text) in &self.prose {
            let text = without_spans(text);
            let inline = text.match_indices("](").filter_map(|(at, _)| {
                let rest = text.get(at + 2..)?;
                let end = rest.find(')')?;
                rest.get(..end)?.split_whitespace().next().map(str::to_owned)
            });
            links.extend(inline.map(|target| (*line, target)));
            let reference = text.trim_start().strip_prefix('[').and_then(|t| t.split_once("]: "));
            links.extend(reference.map(|(_, target)| (*line, target.trim().to_owned())));
            for name in ["src", "href"] {
                links.extend(attributes(&text, name).map(|target| (*line, target)));
            }
        }
        links
    }

    /// Code spans of the prose with their lines.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (usize, &str)> {
        self.prose.iter().flat_map(|(line, text)| spans(text).map(move |span| (*line, span)))
    }
}

/// The code spans of a line.
pub(crate) fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn without_spans(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("``")
}

fn attributes(line: &str, name: &str) -> impl Iterator<Item = String> {
    let opening = format!(" {name}=\"");
    let found: Vec<String> = line
        .split(&opening)
        .skip(1)
        .filter_map(|rest| rest.split_once('"').map(|(value, _)| value.to_owned()))
        .collect();
    found.into_iter()
}

fn slug(heading: &str) -> String {
    let keep = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let kept = heading.chars().filter(keep);
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn is_suffix(rest: &str) -> bool {
    rest.strip_prefix('-').is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::Document;

    const TEXT: &str = "# One title\n\nSee [it](a.md#x) and `not [a](b)`.\n\n```toml weir\n# no\n\
                        ```\n## Same\n## Same\n## `weir check` — how?\n[r]: c.md\n";

    #[test]
    fn a_document_is_split() {
        let document = Document::parse(TEXT);
        assert_eq!(document.blocks.len(), 1);
        assert_eq!(document.blocks[0].info, "toml weir");
        assert_eq!((document.blocks[0].line, document.blocks[0].body.len()), (5, 1));
        assert_eq!(document.anchors(), ["one-title", "same", "same-1", "weir-check--how"]);
        let links = document.links();
        assert_eq!(links, [(3, "a.md#x".to_owned()), (11, "c.md".to_owned())]);
        assert_eq!(document.spans().next(), Some((3, "not [a](b)")));
    }
}
