//! One watch's memory on disk: the list it last saw, and after it a line for each change. Knows keys and texts, never
//! kinds. Blocking; called by the adapter next door.
//!
//! *Format.* `+<key> TAB <json>` puts an object, `-<key>` takes it away, `=` ends the list. A file without its `=` is no
//! memory. What follows is read up to the first line that is not whole: a process or a machine may have died in it.
//!
//! *Guarantees.* The file is replaced whole (written beside, synced, renamed), so that there is always a complete list. What
//! says nothing new is not written. A failed write takes the file away: no memory is better than a wrong one.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;

/// A file that has fewer changes than this is not worth folding.
const FOLD_FROM: usize = 64;
/// What files beside the journal are called after it.
const NEW: &str = "new";
const FOLDED: &str = "folded";
/// The mark at the end of a list.
const COMPLETE: &str = "=";

/// What is known of the file's objects: a hash of each key, and of its text. No second copy of them in memory.
type Index = HashMap<u64, u64>;

/// The journal that a file beside one is a part of.
pub fn of_part(path: &Path) -> PathBuf {
    let part = path.extension().is_some_and(|extension| extension == NEW || extension == FOLDED);
    if part { path.with_extension("") } else { path.to_owned() }
}

/// The journal of one watch.
pub struct Journal {
    path: PathBuf,
    /// The list that is being written, beside the file.
    fresh: Option<(BufWriter<File>, Index)>,
    /// What the file holds; `None` while this process has not written it.
    held: Option<Index>,
    /// Lines after the list.
    changes: usize,
    /// Whether a removal outlasts a power cut.
    synced: bool,
}

impl Journal {
    /// `synced` makes each removal wait for the disk: nobody is ever told of the object again, whatever happens.
    pub fn new(path: PathBuf, synced: bool) -> Self {
        Self { path, fresh: None, held: None, changes: 0, synced }
    }

    /// A list begins; what was begun before is dropped.
    pub fn begin(&mut self) -> io::Result<()> {
        // Before the new file is opened: what this one still has in its buffer goes to the same place.
        self.fresh = None;
        if let Some(dir) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let file = private().write(true).create(true).truncate(true).open(self.beside())?;
        self.fresh = Some((BufWriter::new(file), Index::new()));
        Ok(())
    }

    /// An object of the list.
    pub fn list(&mut self, key: &str, text: &str) -> io::Result<()> {
        let Some((file, index)) = &mut self.fresh else { return Ok(()) };
        index.insert(hash(key), hash(text));
        writeln!(file, "+{key}\t{text}")
    }

    /// The list is complete: it takes the file's place, unless it is what the file says already.
    pub fn finish(&mut self) -> io::Result<()> {
        let Some((file, index)) = self.fresh.take() else { return Ok(()) };
        if self.held.as_ref() == Some(&index) {
            return fs::remove_file(self.beside());
        }
        self.replace(file, &self.beside())?;
        self.held = Some(index);
        Ok(())
    }

    /// An object is new or has changed.
    pub fn put(&mut self, key: &str, text: &str) -> io::Result<()> {
        let Some(index) = &mut self.held else { return Ok(()) };
        if index.insert(hash(key), hash(text)) == Some(hash(text)) {
            return Ok(());
        }
        self.append(&format!("+{key}\t{text}\n")).map(drop)
    }

    /// An object is gone.
    pub fn remove(&mut self, key: &str) -> io::Result<()> {
        let Some(index) = &mut self.held else { return Ok(()) };
        if index.remove(&hash(key)).is_none() {
            return Ok(());
        }
        match self.append(&format!("-{key}\n"))? {
            Some(file) if self.synced => file.sync_data(),
            _ => Ok(()),
        }
    }

    /// Whether so many changes have come that the file should be folded.
    pub fn is_long(&self) -> bool {
        self.changes > FOLD_FROM.max(self.held.as_ref().map_or(0, Index::len))
    }

    /// Writes the file anew with only the last state of each object.
    pub fn fold(&mut self) -> io::Result<()> {
        let Some(content) = read(&self.path)? else { return Err(io::ErrorKind::InvalidData.into()) };
        // Not beside the file: a list may be in the making there.
        let folded = self.path.with_added_extension(FOLDED);
        let mut file = BufWriter::new(private().write(true).create(true).truncate(true).open(&folded)?);
        for (key, text) in content.objects() {
            writeln!(file, "+{key}\t{text}")?;
        }
        self.replace(file, &folded)
    }

    /// Takes the memory away; the next list makes a new one.
    pub fn forget(&mut self) {
        (self.fresh, self.held, self.changes) = (None, None, 0);
        for path in [self.beside(), self.path.clone()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::error!(path = %path.display(), %error, "an outdated memory cannot be removed; remove it");
                }
                _ => {}
            }
        }
    }

    fn beside(&self) -> PathBuf {
        self.path.with_added_extension(NEW)
    }

    fn replace(&mut self, mut file: BufWriter<File>, written: &Path) -> io::Result<()> {
        writeln!(file, "{COMPLETE}")?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
        self.changes = 0;
        fs::rename(written, &self.path)
    }

    /// One write, so that a process that is killed leaves whole lines. A file that somebody removed is not begun anew.
    fn append(&mut self, line: &str) -> io::Result<Option<File>> {
        let mut file = match private().append(true).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.held = None;
                return Ok(None);
            }
            opened => opened?,
        };
        self.changes += 1;
        file.write_all(line.as_bytes())?;
        Ok(Some(file))
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// What a file says.
pub struct Content(String);

impl Content {
    /// The last state of each object, as JSON by key.
    pub fn objects(&self) -> BTreeMap<&str, &str> {
        let mut objects = BTreeMap::new();
        for line in self.0.lines() {
            match parse(line) {
                Some(Line::Put(key, text)) => drop(objects.insert(key, text)),
                Some(Line::Remove(key)) => drop(objects.remove(key)),
                Some(Line::Complete) | None => {}
            }
        }
        objects
    }
}

enum Line<'a> {
    Put(&'a str, &'a str),
    Remove(&'a str),
    Complete,
}

fn parse(line: &str) -> Option<Line<'_>> {
    if line == COMPLETE {
        return Some(Line::Complete);
    }
    if let Some(key) = line.strip_prefix('-') {
        return Some(Line::Remove(key));
    }
    let (key, text) = line.strip_prefix('+')?.split_once('\t')?;
    serde_json::from_str::<IgnoredAny>(text).is_ok().then_some(Line::Put(key, text))
}

/// Reads a file up to its first broken line; `None` where there is no complete list.
pub fn read(path: &Path) -> io::Result<Option<Content>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (mut whole, mut complete) = (0, false);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
        let Some(line_read) = text.and_then(parse) else { break };
        complete |= matches!(line_read, Line::Complete);
        whole += line.len();
    }
    if whole < bytes.len() {
        let lost = bytes.len() - whole;
        tracing::warn!(path = %path.display(), lost, complete, "the last lines of a memory are broken and not used");
    }
    let mut bytes = bytes;
    bytes.truncate(whole);
    // Every line was UTF-8, so nothing is lost here.
    Ok(complete.then(|| Content(String::from_utf8_lossy(&bytes).into_owned())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn model(path: &Path) -> Option<BTreeMap<String, String>> {
        let content = read(path).unwrap()?;
        Some(content.objects().into_iter().map(|(key, text)| (key.to_owned(), text.to_owned())).collect())
    }

    fn listed(path: &Path, objects: &[(&str, &str)]) -> Journal {
        let mut journal = Journal::new(path.to_owned(), true);
        journal.begin().unwrap();
        objects.iter().for_each(|(key, text)| journal.list(key, text).unwrap());
        journal.finish().unwrap();
        journal
    }

    #[test]
    fn a_torn_line_costs_only_itself_and_a_torn_list_the_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/pods");
        let mut journal = listed(&path, &[("a/x", "1"), ("a/y", "2")]);
        journal.put("a/x", "{\"n\":3}").unwrap();
        journal.remove("a/y").unwrap();
        let whole = fs::read(&path).unwrap();
        let list = whole.windows(3).position(|three| three == b"\n=\n").unwrap() + 3;
        let put = list + b"+a/x\t{\"n\":3}\n".len();
        for length in 0..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let found = model(&path);
            let expected: Option<&[(&str, &str)]> = match length {
                _ if length < list => None,
                _ if length < put => Some(&[("a/x", "1"), ("a/y", "2")]),
                _ if length < whole.len() => Some(&[("a/x", "{\"n\":3}"), ("a/y", "2")]),
                _ => Some(&[("a/x", "{\"n\":3}")]),
            };
            let expected = expected.map(|all| all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
            assert_eq!(found, expected, "cut at {length}");
        }
        // What a file system may show after a power cut.
        fs::write(&path, [&whole[..list], &[0; 64], &whole[list..]].concat()).unwrap();
        assert_eq!(model(&path).unwrap().len(), 2);
    }

    #[test]
    fn what_says_nothing_new_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pods");
        let mut journal = listed(&path, &[("a/x", "1")]);
        let before = (fs::metadata(&path).unwrap().modified().unwrap(), fs::read(&path).unwrap());
        journal.put("a/x", "1").unwrap();
        journal.remove("a/unknown").unwrap();
        journal.begin().unwrap();
        journal.list("a/x", "1").unwrap();
        journal.finish().unwrap();
        assert_eq!((fs::metadata(&path).unwrap().modified().unwrap(), fs::read(&path).unwrap()), before);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_that_somebody_removed_is_not_begun_in_its_middle() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pods");
        let mut journal = listed(&path, &[]);
        fs::remove_file(&path).unwrap();
        journal.put("a/x", "1").unwrap();
        journal.remove("a/x").unwrap();
        assert!(!path.exists());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, u16),
        Remove(u8),
        List(BTreeMap<u8, u16>),
        /// A list that breaks off.
        Half(BTreeMap<u8, u16>),
        /// The process dies and another one lists the same.
        Restart,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let list = || proptest::collection::btree_map(0..12u8, any::<u16>(), 0..12);
        let step = prop_oneof![
            20 => (0..12u8, any::<u16>()).prop_map(|(key, value)| Step::Put(key, value)),
            6 => (0..12u8).prop_map(Step::Remove),
            1 => list().prop_map(Step::List),
            1 => list().prop_map(Step::Half),
            1 => Just(Step::Restart),
        ];
        proptest::collection::vec(step, 0..300)
    }

    fn write_list(journal: &mut Journal, objects: &BTreeMap<u8, u16>) {
        journal.begin().unwrap();
        objects.iter().for_each(|(key, value)| journal.list(&format!("n/{key}"), &value.to_string()).unwrap());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn the_file_always_says_what_was_told(steps in steps()) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("pods");
            let mut journal = listed(&path, &[]);
            let mut expected = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(key, value) => {
                        journal.put(&format!("n/{key}"), &value.to_string()).unwrap();
                        expected.insert(key, value);
                    }
                    Step::Remove(key) => {
                        journal.remove(&format!("n/{key}")).unwrap();
                        expected.remove(&key);
                    }
                    Step::List(objects) => {
                        write_list(&mut journal, &objects);
                        journal.finish().unwrap();
                        expected = objects;
                    }
                    Step::Half(objects) => write_list(&mut journal, &objects),
                    Step::Restart => {
                        journal = Journal::new(path.clone(), false);
                        write_list(&mut journal, &expected);
                        journal.finish().unwrap();
                    }
                }
                if journal.is_long() {
                    journal.fold().unwrap();
                    prop_assert!(!journal.is_long());
                }
                prop_assert!(journal.changes <= FOLD_FROM);
                let told = expected.iter().map(|(key, value)| (format!("n/{key}"), value.to_string())).collect();
                prop_assert_eq!(model(&path), Some(told));
            }
        }
    }
}
