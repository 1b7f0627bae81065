//! Links by the beginning of their names, for taking down what an earlier run left, and the MTU of the one that
//! holds an address. Called by `cmd` and the agent.

use std::io;
use std::net::IpAddr;

use futures::TryStreamExt as _;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::LinkAttribute;
use rtnetlink::Handle;

async fn with_handle<T>(work: impl AsyncFnOnce(Handle) -> Result<T, rtnetlink::Error>) -> io::Result<T> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let task = tokio::spawn(connection);
    let result = work(handle).await.map_err(io::Error::other);
    task.abort();
    result
}

async fn all(handle: &Handle) -> Result<Vec<(u32, String)>, rtnetlink::Error> {
    let messages: Vec<_> = handle.link().get().execute().try_collect().await?;
    let named = messages.into_iter().filter_map(|message| {
        let name = message.attributes.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        });
        Some((message.header.index, name?))
    });
    Ok(named.collect())
}

/// The links of this network namespace whose names begin with `prefix`.
pub async fn named(prefix: &str) -> io::Result<Vec<String>> {
    let links = with_handle(async |handle| all(&handle).await).await?;
    Ok(links.into_iter().map(|(_, name)| name).filter(|name| name.starts_with(prefix)).collect())
}

/// The MTU of the link that holds `address`; `None` where no link does.
pub async fn mtu(address: IpAddr) -> io::Result<Option<u32>> {
    with_handle(async |handle| {
        let addresses: Vec<_> = handle.address().get().execute().try_collect().await?;
        let holds =
            |attribute: &AddressAttribute| matches!(attribute, AddressAttribute::Address(held) if *held == address);
        let Some(holder) = addresses.iter().find(|message| message.attributes.iter().any(holds)) else {
            return Ok(None);
        };
        let links: Vec<_> = handle.link().get().match_index(holder.header.index).execute().try_collect().await?;
        let mut attributes = links.into_iter().flat_map(|message| message.attributes);
        Ok(attributes.find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(mtu),
            _ => None,
        }))
    })
    .await
}

/// Removes a link; one that is gone already (with its peer) is fine.
pub async fn remove(name: &str) -> io::Result<()> {
    with_handle(async |handle| {
        for (index, _) in all(&handle).await?.into_iter().filter(|(_, found)| found == name) {
            match handle.link().del(index).execute().await {
                Err(rtnetlink::Error::NetlinkError(error))
                    if error.raw_code() == -rustix::io::Errno::NODEV.raw_os_error() => {}
                other => other?,
            }
        }
        Ok(())
    })
    .await
}
