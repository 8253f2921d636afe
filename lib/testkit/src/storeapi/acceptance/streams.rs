//! Checks of callers that go, that are slow, and that are many.

use sabre_proto::thanos::store_client::StoreClient;

use super::{
    World,
    checks::{ask, bulk, bulk_series, check, compare, compare_with},
};
use crate::series::SeriesAnswer;

/// Calls that are given up after their first message.
const CANCELLED_CALLS: usize = 15;

/// Calls that are open at once.
const CALLERS: usize = 8;

/// Calls that are open and not read. What they may hold back, 2 MiB each, must leave room in the 5 MiB of their
/// connection, or nothing else gets through it.
const SLOW_CALLERS: usize = 2;

fn store(world: &World<'_>) -> StoreClient<tonic::transport::Channel> {
    StoreClient::new(world.channel.clone()).max_decoding_message_size(1 << 30)
}

/// Callers that go leave nothing behind that keeps others from an answer.
pub(super) async fn cancellation(world: &World<'_>) -> Result<(), String> {
    for _ in 0..CANCELLED_CALLS {
        let call = store(world).series(bulk()).await;
        let mut messages = call.map_err(|status| status.to_string())?.into_inner();
        if messages
            .message()
            .await
            .map_err(|status| status.to_string())?
            .is_none()
        {
            return Err("an answer of many series has no message".to_owned());
        }
    }
    let answer = check(world, &bulk()).await?;
    if answer.by_labels().len() != bulk_series(world) {
        return Err(format!(
            "{} series after calls were given up",
            answer.by_labels().len()
        ));
    }
    Ok(())
}

/// Callers that do not read yet get the same answer later, and let others have theirs meanwhile.
pub(super) async fn slow_readers(world: &World<'_>) -> Result<(), String> {
    let mut slow = Vec::new();
    for _ in 0..SLOW_CALLERS {
        let call = store(world).series(bulk()).await;
        slow.push(call.map_err(|status| status.to_string())?.into_inner());
    }
    let right = check(world, &bulk()).await?;
    for mut messages in slow {
        let mut answer = SeriesAnswer::default();
        while let Some(message) = messages.message().await.map_err(|status| status.to_string())? {
            answer.push(message).map_err(|status| status.to_string())?;
            tokio::task::yield_now().await;
        }
        compare_with(world, &bulk(), &answer, &right)?;
    }
    Ok(())
}

/// All get the whole answer.
pub(super) async fn callers_at_once(world: &World<'_>) -> Result<(), String> {
    let request = bulk();
    let calls = (0..CALLERS).map(|_| ask(world, &request));
    let mut right = None;
    for answer in futures::future::join_all(calls).await {
        let answer = answer.map_err(|status| status.to_string())?;
        match &right {
            Some(right) => compare_with(world, &request, &answer, right)?,
            None => {
                compare(world, &request, &answer)?;
                right = Some(answer);
            }
        }
    }
    Ok(())
}
