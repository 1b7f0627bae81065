//! Reading container logs in the CRI file format (`<time> <stdout|stderr> <P|F> <text>`): one line of it, the
//! choice by age and number, and following a file that grows and is rotated. Called by the kubelet's server.

use jiff::Timestamp;

/// One line of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub time: &'a str,
    pub stream: &'a str,
    /// The text goes on in the next line of the same stream.
    pub partial: bool,
    pub content: &'a [u8],
}

/// Splits a line; `None` where it is not of the format.
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = std::str::from_utf8(parts.next()?).ok()?;
    let tags = parts.next()?;
    let content = parts.next().unwrap_or_default();
    if !matches!(stream, "stdout" | "stderr") {
        return None;
    }
    Some(Line { time, stream, partial: tags.split(|byte| *byte == b':').next() == Some(b"P"), content })
}

impl Line<'_> {
    /// What the program wrote: the newline is there only where the line is complete.
    pub fn text(&self) -> Vec<u8> {
        let mut text = self.content.to_vec();
        if !self.partial {
            text.push(b'\n');
        }
        text
    }

    pub fn at(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }
}

/// What of a log is wanted: the query of `/containerLogs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub follow: bool,
    pub previous: bool,
    pub timestamps: bool,
    pub tail_lines: Option<u64>,
    pub since: Option<Timestamp>,
    pub limit_bytes: Option<u64>,
    /// `stdout` or `stderr`; both where absent.
    pub stream: Option<String>,
}

/// Turns lines of the file into what the client gets, under the options.
#[derive(Debug)]
pub struct Filter {
    timestamps: bool,
    since: Option<Timestamp>,
    stream: Option<String>,
    left: Option<u64>,
    /// A stamp is written only at the beginning of a text line.
    continues: bool,
}

impl Filter {
    pub fn new(options: &Options) -> Self {
        Self {
            timestamps: options.timestamps,
            since: options.since,
            stream: options.stream.clone(),
            left: options.limit_bytes,
            continues: false,
        }
    }

    pub fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// Appends what the client gets of `line`.
    pub fn push(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(parsed) = parse(line) else { return };
        if self.stream.as_deref().is_some_and(|wanted| wanted != parsed.stream) {
            return;
        }
        if let (Some(since), Some(at)) = (self.since, parsed.at())
            && at < since
        {
            return;
        }
        let mut piece = Vec::new();
        if self.timestamps && !self.continues {
            piece.extend_from_slice(parsed.time.as_bytes());
            piece.push(b' ');
        }
        self.continues = parsed.partial;
        piece.extend_from_slice(&parsed.text());
        if let Some(left) = &mut self.left {
            let room = usize::try_from(*left).unwrap_or(usize::MAX);
            piece.truncate(room);
            *left -= piece.len() as u64;
        }
        out.extend_from_slice(&piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] = b"2026-01-01T00:00:01.5Z stdout F one\n2026-01-01T00:00:02Z stderr P tw\n\
        2026-01-01T00:00:02Z stderr F o\nbroken\n2026-01-01T00:00:03Z stdout F \n2026-01-01T00:00:04Z stdout F four\n";

    fn read(options: Options) -> String {
        let mut filter = Filter::new(&options);
        let mut out = Vec::new();
        LOG.split_inclusive(|byte| *byte == b'\n').for_each(|line| filter.push(line, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_stripped_joined_and_chosen() {
        assert_eq!(read(Options::default()), "one\ntwo\n\nfour\n");
        let stamped = read(Options { timestamps: true, ..Options::default() });
        assert!(stamped.starts_with("2026-01-01T00:00:01.5Z one\n2026-01-01T00:00:02Z two\n"), "{stamped}");
        let late = Options { since: Some("2026-01-01T00:00:03Z".parse().unwrap()), ..Options::default() };
        assert_eq!(read(late), "\nfour\n");
        assert_eq!(read(Options { limit_bytes: Some(6), ..Options::default() }), "one\ntw");
        assert_eq!(read(Options { stream: Some("stderr".into()), ..Options::default() }), "two\n");
    }
}
