//! The gRPC health check of a probe (`grpc.health.v1.Health/Check`). Two tiny messages, written here by hand
//! instead of generated: prost derives their encoding.

use std::time::Duration;

use tonic::client::Grpc;
use tonic::transport::Endpoint;

use super::handler::Outcome;

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    /// 1 is SERVING.
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;

pub async fn check(address: &str, service: &str, timeout: Duration) -> Outcome {
    match tokio::time::timeout(timeout, ask(address, service)).await {
        Ok(Ok(SERVING)) => Outcome::Success,
        Ok(Ok(status)) => {
            let name = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
            let name = usize::try_from(status).ok().and_then(|at| name.get(at)).unwrap_or(&"UNKNOWN");
            Outcome::Failure(format!("service unhealthy (responded with {name:?})"))
        }
        Ok(Err(why)) => Outcome::Failure(why),
        Err(_) => {
            Outcome::Failure(format!("timeout: failed to connect service {address:?} within {}s", timeout.as_secs()))
        }
    }
}

async fn ask(address: &str, service: &str) -> Result<i32, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| error.to_string())?;
    let channel =
        endpoint.connect().await.map_err(|error| format!("error: failed to connect service {address:?}: {error}"))?;
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| error.to_string())?;
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let request = tonic::Request::new(HealthCheckRequest { service: service.to_owned() });
    let answer = client.unary(request, path, codec).await;
    answer.map(|answer| answer.into_inner().status).map_err(|status| {
        format!("error: health rpc probe failed: rpc error: code = {:?} desc = {}", status.code(), status.message())
    })
}
