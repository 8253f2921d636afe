//! The gRPC services of a store gateway.

use std::sync::Arc;

use sabre_proto::{
    Held, RawSeries, StoreService,
    convert::{label_set, labels_to_wire},
    hints,
    hintspb::{Block, LabelNamesResponseHints, LabelValuesResponseHints},
    raw_body::FrameReceiver,
    thanos::{
        InfoRequest, InfoResponse, LabelNamesRequest, LabelNamesResponse, LabelValuesRequest,
        LabelValuesResponse, SeriesRequest, StoreType,
        info::{
            self, StoreInfo, TsdbInfo,
            info_server::{Info, InfoServer},
        },
        store_server::Store,
    },
};
use sabre_runtime::clock;
use tonic::{Request, Response, Status, async_trait};

use crate::{
    error::{Call, RequestError},
    gateway::StoreGateway,
    label_calls::LabelAnswer,
    view::Advertised,
};

/// What peers know the component by.
const COMPONENT: &str = "store";

impl StoreGateway {
    /// `thanos.Store`.
    pub fn store_service(&self) -> StoreService<StoreGateway> {
        StoreService::new(Arc::new(self.clone()))
    }

    /// `thanos.info.Info`.
    pub fn info_service(&self) -> InfoServer<StoreGateway> {
        InfoServer::new(self.clone())
    }

    /// Before the first sync an answer would be empty and look complete.
    fn ready(&self) -> Result<(), Status> {
        if self.is_ready() {
            return Ok(());
        }
        Err(Status::unavailable("the store has not looked at its bucket yet"))
    }
}

#[async_trait]
impl RawSeries for StoreGateway {
    async fn series_raw(
        &self,
        mut request: Request<SeriesRequest>,
        _deadline: Option<tokio::time::Instant>,
    ) -> Result<FrameReceiver, Status> {
        self.ready()?;
        let held = request.extensions_mut().remove::<Held>();
        self.series(request.into_inner(), held, clock::now_ms())
            .map_err(|error| error.status(Call::Series))
    }

    fn admit(&self, bytes: u64) -> Option<Held> {
        self.memory_for_request(bytes).map(Held::new)
    }
}

#[async_trait]
impl Store for StoreGateway {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        self.ready()?;
        let Advertised {
            mint_ms,
            maxt_ms,
            label_sets,
            ..
        } = self.advertised();
        let only = match label_sets.as_slice() {
            [labels] => labels_to_wire(labels),
            _ => Vec::new(),
        };
        Ok(Response::new(InfoResponse {
            labels: only,
            min_time: mint_ms,
            max_time: maxt_ms,
            store_type: StoreType::Store.into(),
            label_sets: label_sets.iter().map(label_set).collect(),
        }))
    }

    async fn label_names(
        &self,
        request: Request<LabelNamesRequest>,
    ) -> Result<Response<LabelNamesResponse>, Status> {
        self.ready()?;
        let answer = StoreGateway::label_names(self, request.into_inner(), clock::now_ms()).await;
        let LabelAnswer {
            texts,
            blocks,
            warnings,
            memory,
        } = answer.map_err(|error| label_status(&error))?;
        let hints = LabelNamesResponseHints {
            queried_blocks: blocks.iter().map(queried).collect(),
        };
        let answer = LabelNamesResponse {
            names: texts,
            warnings,
            hints: Some(hints::pack(&hints)),
        };
        Ok(Held::until_sent(answer, memory))
    }

    async fn label_values(
        &self,
        request: Request<LabelValuesRequest>,
    ) -> Result<Response<LabelValuesResponse>, Status> {
        self.ready()?;
        let answer = StoreGateway::label_values(self, request.into_inner(), clock::now_ms()).await;
        let Some(LabelAnswer {
            texts,
            blocks,
            warnings,
            memory,
        }) = answer.map_err(|error| label_status(&error))?
        else {
            return Ok(Response::new(LabelValuesResponse::default()));
        };
        let hints = LabelValuesResponseHints {
            queried_blocks: blocks.iter().map(queried).collect(),
        };
        let answer = LabelValuesResponse {
            values: texts,
            warnings,
            hints: Some(hints::pack(&hints)),
        };
        Ok(Held::until_sent(answer, memory))
    }
}

#[async_trait]
impl Info for StoreGateway {
    async fn info(&self, _: Request<info::InfoRequest>) -> Result<Response<info::InfoResponse>, Status> {
        self.ready()?;
        let Advertised {
            mint_ms,
            maxt_ms,
            label_sets,
            ranges,
        } = self.advertised();
        let tsdb_infos = ranges.iter().map(|(labels, min_time, max_time)| TsdbInfo {
            labels: Some(label_set(labels)),
            min_time: *min_time,
            max_time: *max_time,
        });
        let store = StoreInfo {
            min_time: mint_ms,
            max_time: maxt_ms,
            supports_sharding: true,
            supports_without_replica_labels: true,
            tsdb_infos: tsdb_infos.collect(),
            supports_projections: false,
        };
        Ok(Response::new(info::InfoResponse {
            label_sets: label_sets.iter().map(label_set).collect(),
            component_type: COMPONENT.to_owned(),
            store: Some(store),
            ..info::InfoResponse::default()
        }))
    }
}

fn label_status(error: &RequestError) -> Status {
    error.status(Call::Labels)
}

fn queried(block: &sabre_model::BlockId) -> Block {
    Block {
        id: block.to_string(),
    }
}
