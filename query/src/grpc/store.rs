//! `thanos.Store` of the querier.

use std::sync::Arc;

use sabre_proto::{
    Held, RawSeries,
    convert::{label_set, labels_to_wire, matchers_from_wire},
    raw_body::{FrameReceiver, frame_channel},
    thanos::{
        InfoRequest, InfoResponse, LabelMatcher, LabelNamesRequest, LabelNamesResponse, LabelValuesRequest,
        LabelValuesResponse, SeriesRequest, StoreType, store_server::Store,
    },
};
use sabre_runtime::trace::carried;
use tonic::{Request, Response, Status, async_trait};

use super::{
    Services, forwarded,
    info::Advertised,
    series::{select_options, select_request, send, wants_partial},
    source_status,
};
use crate::source::{SelectRequest, StoreSource as _};

/// Frames that wait for a client.
const FRAMES_AHEAD: usize = 2;

#[async_trait]
impl RawSeries for Services {
    async fn series_raw(
        &self,
        mut request: Request<SeriesRequest>,
        deadline: Option<tokio::time::Instant>,
    ) -> Result<FrameReceiver, Status> {
        let metadata = forwarded(request.metadata())?;
        let held = request.extensions_mut().remove::<Held>();
        let request = request.into_inner();
        let partial = wants_partial(
            request.partial_response_disabled,
            request.partial_response_strategy,
        );
        let select = select_request(&request)?;
        if select.matchers.is_empty() {
            return Err(Status::invalid_argument(
                "no matchers specified (excluding selector labels)",
            ));
        }
        let options = select_options(
            request.without_replica_labels.clone(),
            partial,
            metadata,
            deadline,
            self.budget.child("a Series call"),
        );
        let items = self.fanout.select(select, options).await;
        let items = items.map_err(|failure| source_status(&failure))?;
        let (sender, receiver) = frame_channel(FRAMES_AHEAD);
        let sent = send(
            items,
            sender,
            request.response_batch_size,
            Arc::clone(&self.options),
        );
        tokio::spawn(carried(async move {
            let _request = held;
            sent.await;
        }));
        Ok(receiver)
    }

    fn admit(&self, bytes: u64) -> Option<Held> {
        self.requests.try_reserve(bytes).map(Held::new)
    }
}

#[async_trait]
impl Store for Services {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let Advertised {
            label_sets,
            mint,
            maxt,
            ..
        } = self.advertised();
        let only = match label_sets.as_slice() {
            [labels] => labels_to_wire(labels),
            _ => Vec::new(),
        };
        Ok(Response::new(InfoResponse {
            labels: only,
            min_time: mint,
            max_time: maxt,
            store_type: StoreType::Query.into(),
            label_sets: label_sets.iter().map(label_set).collect(),
        }))
    }

    async fn label_names(
        &self,
        request: Request<LabelNamesRequest>,
    ) -> Result<Response<LabelNamesResponse>, Status> {
        let metadata = forwarded(request.metadata())?;
        let request = request.into_inner();
        let select = label_request(&request.matchers, (request.start, request.end), request.limit)?;
        let partial = wants_partial(
            request.partial_response_disabled,
            request.partial_response_strategy,
        );
        let budget = self.budget.child("a LabelNames call");
        let options = select_options(request.without_replica_labels, partial, metadata, None, budget);
        let answer = self.fanout.label_names(select, options).await;
        let (names, warnings) = answer.map_err(|failure| source_status(&failure))?;
        Ok(Response::new(LabelNamesResponse {
            names,
            warnings,
            hints: None,
        }))
    }

    async fn label_values(
        &self,
        request: Request<LabelValuesRequest>,
    ) -> Result<Response<LabelValuesResponse>, Status> {
        let metadata = forwarded(request.metadata())?;
        let request = request.into_inner();
        let select = label_request(&request.matchers, (request.start, request.end), request.limit)?;
        let partial = wants_partial(
            request.partial_response_disabled,
            request.partial_response_strategy,
        );
        let budget = self.budget.child("a LabelValues call");
        let options = select_options(request.without_replica_labels, partial, metadata, None, budget);
        let answer = self.fanout.label_values(&request.label, select, options).await;
        let (values, warnings) = answer.map_err(|failure| source_status(&failure))?;
        Ok(Response::new(LabelValuesResponse {
            values,
            warnings,
            hints: None,
        }))
    }
}

/// What the calls for labels ask for; a `limit` below 0 is none.
fn label_request(
    matchers: &[LabelMatcher],
    (mint, maxt): (i64, i64),
    limit: i64,
) -> Result<SelectRequest, Status> {
    Ok(SelectRequest {
        matchers: matchers_from_wire(matchers)?,
        mint,
        maxt,
        limit: u64::try_from(limit).unwrap_or(0),
        ..SelectRequest::default()
    })
}
