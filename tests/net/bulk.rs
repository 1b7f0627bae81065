//! Ten thousand Services: that they all work, and that one of them changes while the rest stays. How long that takes
//! is the benchmark's matter.

use orch::agent::proxy::ServiceProxy;
use orch::agent::services::Services;
use orch::lifecycle::Component;

use crate::api::Api;
use crate::many::{endpoints, fill, last, port, proxy_config};
use crate::support::{eventually, on_host};

const COUNT: u32 = 10_000;

#[test]
fn ten_thousand_services_are_programmed_and_one_of_them_changes_needs_root() {
    on_host(|host| async move {
        orch::net::masquerade::allow_forwarding().unwrap();
        host.ip("addr add 192.0.2.1/32 dev lo");
        let client = host.pod("client", [10, 42, 0, 2]).await;
        let server = host.pod("server", [10, 42, 0, 3]).await;
        server.serve(8080, "server").await;
        let api = Api::default();
        fill(&api, COUNT, 3);
        let services = Services::watch(api.client(), None);
        services.wait_ready().await;
        let mut proxy = ServiceProxy::new(proxy_config(&api, &services));
        proxy.start().await.unwrap();
        drop(eventually(async || client.ask(last(COUNT)).await, Result::is_ok).await);
        for here in [2, 3] {
            let answers = here == 3;
            api.endpoints(&format!("s{}", COUNT - 1), port(), endpoints(COUNT - 1, COUNT, here));
            // The client's own port 8080 is closed: a refusal tells that the change has arrived.
            drop(eventually(async || client.ask(last(COUNT)).await, |result| result.is_ok() == answers).await);
        }
        proxy.stop().await;
        services.stop().await;
    });
}
