//! `/thanos.Targets/Targets`, from `/api/v1/targets`.

use sabre_model::Labels;
use sabre_proto::thanos::{
    ActiveTarget, DroppedTarget, TargetDiscovery, TargetsRequest, TargetsResponse, active_target,
    targets_request, targets_response, targets_server::Targets,
};
use sabre_runtime::yaml::null_is_default;
use serde::Deserialize;
use tonic::{Request, Response, Status};

use super::{Answers, PrometheusProxy, answers, extended, json::Time};
use crate::store_api::status_of;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TargetsJson {
    #[serde(default, deserialize_with = "null_is_default")]
    active_targets: Vec<ActiveTargetJson>,
    #[serde(default, deserialize_with = "null_is_default")]
    dropped_targets: Vec<DroppedTargetJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActiveTargetJson {
    #[serde(default, deserialize_with = "null_is_default")]
    discovered_labels: Labels,
    #[serde(default, deserialize_with = "null_is_default")]
    labels: Labels,
    #[serde(default)]
    scrape_pool: String,
    #[serde(default)]
    scrape_url: String,
    #[serde(default)]
    global_url: String,
    #[serde(default)]
    last_error: String,
    #[serde(default)]
    last_scrape: Time,
    #[serde(default)]
    last_scrape_duration: f64,
    #[serde(default)]
    health: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DroppedTargetJson {
    #[serde(default, deserialize_with = "null_is_default")]
    discovered_labels: Labels,
}

#[tonic::async_trait]
impl Targets for PrometheusProxy {
    async fn targets(
        &self,
        request: Request<TargetsRequest>,
    ) -> Result<Response<Answers<TargetsResponse>>, Status> {
        let known = self.known()?;
        let params = match request.get_ref().state() {
            targets_request::State::Any => vec![],
            targets_request::State::Active => vec![("state", "active".to_string())],
            targets_request::State::Dropped => vec![("state", "dropped".to_string())],
        };
        let found = self
            .client
            .get::<TargetsJson>("targets", "api/v1/targets", &params)
            .await
            .map_err(status_of)?;
        Ok(answers(found.map(|found| {
            let targets = found.into_wire(&known.external_labels);
            let result = Some(targets_response::Result::Targets(targets));
            vec![TargetsResponse { result }]
        })))
    }
}

impl TargetsJson {
    fn into_wire(self, external: &Labels) -> TargetDiscovery {
        let active = self.active_targets.into_iter();
        let dropped = self.dropped_targets.into_iter();
        TargetDiscovery {
            active_targets: active.map(|target| target.into_wire(external)).collect(),
            dropped_targets: dropped
                .map(|target| DroppedTarget {
                    discovered_labels: extended(&target.discovered_labels, external),
                })
                .collect(),
        }
    }
}

impl ActiveTargetJson {
    fn into_wire(self, external: &Labels) -> ActiveTarget {
        let health = match self.health.to_ascii_lowercase().as_str() {
            "up" => active_target::Health::Up,
            "down" => active_target::Health::Down,
            _ => active_target::Health::Unknown,
        };
        ActiveTarget {
            discovered_labels: extended(&self.discovered_labels, external),
            labels: extended(&self.labels, external),
            scrape_pool: self.scrape_pool,
            scrape_url: self.scrape_url,
            global_url: self.global_url,
            last_error: self.last_error,
            last_scrape: Some(self.last_scrape.to_wire()),
            last_scrape_duration: self.last_scrape_duration,
            health: health as i32,
        }
    }
}
