//! The termination message of a container that has ended: from the file it was told to write, or the end of its
//! log where its policy says so.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

use super::container::termination_file;
use super::host::Host;
use super::logs;
use super::model::find_container;
use crate::agent::runtime::ContainerInfo;

/// Limits of the API documentation of `terminationMessagePath` and `FallbackToLogsOnError`.
const FILE_LIMIT: u64 = 4096;
const LOG_LIMIT: u64 = 2048;
const LOG_LINES: usize = 80;

pub fn read(host: &Host, pod: &Pod, info: &ContainerInfo) -> Option<String> {
    let file = termination_file(&host.pod_dir(&info.pod_uid), &info.name, info.attempt);
    if let Some(text) = head(&file).ok().filter(|text| !text.is_empty()) {
        return Some(text);
    }
    let (_, container) = find_container(pod.spec.as_ref()?, &info.name)?;
    let fallback = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if !fallback || info.exit_code == Some(0) {
        return None;
    }
    tail(info.log_path.as_deref()?).ok().filter(|text| !text.is_empty())
}

fn head(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_LIMIT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // Each line carries a time stamp and tags of about forty bytes.
    let window = LOG_LIMIT + LOG_LINES as u64 * 48;
    file.seek(SeekFrom::Start(length.saturating_sub(window)))?;
    let mut bytes = Vec::new();
    file.take(window).read_to_end(&mut bytes)?;
    let begins_inside = length > window;
    let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').skip(usize::from(begins_inside)).collect();
    let texts = lines.iter().rev().take(LOG_LINES).rev().filter_map(|line| logs::parse(line)).map(|line| line.text());
    let text: Vec<u8> = texts.flatten().collect();
    let from = text.len().saturating_sub(LOG_LIMIT as usize);
    Ok(String::from_utf8_lossy(&text[from..]).into_owned())
}
