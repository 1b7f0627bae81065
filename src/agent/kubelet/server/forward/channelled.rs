//! Port forwarding over the channels of a WebSocket: each port of the query has two, data and error, which begin with
//! the port's number.

use std::collections::HashMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Ports;
use crate::agent::kubelet::server::answer::Failure;
use crate::agent::kubelet::server::channels::{Input, Inputs, Outputs};
use crate::agent::kubelet::server::query::Query;

/// A frame for the client: channel and data.
type Frame = (u8, Vec<u8>);
const WAITING: usize = 16;
const CHUNK: usize = 32 * 1024;

/// The ports that the client wants, each of which takes two of at most 256 channels.
pub fn ports(query: &Query) -> Result<Vec<u16>, Failure> {
    let lists = [query.all("port"), query.all("ports")].concat();
    let ports: Result<Vec<u16>, Failure> = lists
        .iter()
        .flat_map(|list| list.split(','))
        .map(|text| match text.parse() {
            Ok(port @ 1..) => Ok(port),
            Ok(0) => Err(Failure::bad(format!("port {text:?} must be > 0"))),
            Err(_) => Err(Failure::bad(format!("unable to parse {text:?} as a port"))),
        })
        .collect();
    let ports = ports?;
    match ports.len() {
        0 => Err(Failure::bad("query parameter \"port\" is required")),
        1..=128 => Ok(ports),
        _ => Err(Failure::bad("too many ports")),
    }
}

pub async fn serve(mut outputs: Outputs, mut inputs: Inputs, ports: Ports, wanted: Vec<u16>) {
    let (frames, mut waiting) = mpsc::channel::<Frame>(WAITING);
    let mut writers = HashMap::new();
    let mut tasks = JoinSet::new();
    for (channel, port) in (0_u8..).step_by(2).zip(wanted) {
        for channel in [channel, channel + 1] {
            if outputs.send(channel, &port.to_le_bytes()).await.is_err() {
                return;
            }
        }
        match ports.connect(port).await {
            Ok(stream) => {
                let (mut reader, writer) = stream.into_split();
                writers.insert(channel, writer);
                let frames = frames.clone();
                tasks.spawn(async move {
                    let mut buffer = vec![0; CHUNK];
                    while let Ok(size @ 1..) = reader.read(&mut buffer).await {
                        if frames.send((channel, buffer[..size].to_vec())).await.is_err() {
                            return;
                        }
                    }
                });
            }
            Err(error) => {
                let words = ports.failure(port, &error);
                let _ = outputs.send(channel + 1, words.as_bytes()).await;
            }
        }
    }
    drop(frames);
    loop {
        tokio::select! {
            frame = waiting.recv() => match frame {
                Some((channel, data)) => if outputs.send(channel, &data).await.is_err() { return },
                None => break,
            },
            input = inputs.next() => match input {
                Some(Input::Data(channel, data)) => give(&mut writers, channel, &data).await,
                Some(Input::Finished(_)) => {}
                None => return,
            },
        }
    }
    outputs.close().await;
}

async fn give(writers: &mut HashMap<u8, OwnedWriteHalf>, channel: u8, data: &[u8]) {
    if let Some(writer) = writers.get_mut(&channel)
        && writer.write_all(data).await.is_err()
    {
        writers.remove(&channel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_from_the_query() {
        let read = |query: &str| ports(&Query::parse(query)).map_err(|failure| failure.message);
        assert_eq!(read("port=80&port=443,8080"), Ok(vec![80, 443, 8080]));
        assert_eq!(read("ports=80"), Ok(vec![80]));
        assert_eq!(read(""), Err("query parameter \"port\" is required".to_owned()));
        assert_eq!(read("port=x"), Err("unable to parse \"x\" as a port".to_owned()));
        assert_eq!(read("port=0"), Err("port \"0\" must be > 0".to_owned()));
    }
}
