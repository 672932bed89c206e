"""All duties, as a controller with a flow host has them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing

from crucible.settings import RetentionSettings, WebhookSettings, load
from crucible.store import Store
from crucible.telemetry.settings import TraceSettings
from flows.batching import FlowRunBatcher
from flows.duties.aging import QueueAging
from flows.duties.alarm import Alarm, Changes
from flows.duties.epochs import Epochs
from flows.duties.janitor import AbandonedFlowRuns, Janitor
from flows.duties.leases import Checkpoint, Duty
from flows.duties.reruns import Confirmation, NoiseSampler, Sentinels
from flows.duties.retention import Retention, SpanRetention
from flows.host import Endpoints, FlowHost
from tasks.events import EventReader

_NOISE_WITHIN_S = 600.0
"""A round takes as long as legacy is waited for, which may be away."""

_DELETING_WITHIN_S = 4 * 3600.0
_POSTING_WITHIN_S = 4
"""Deliveries that may be due in one round of the alarm, about."""


@asynccontextmanager
async def all_duties(
    host: FlowHost,
    endpoints: Endpoints,
    batcher: FlowRunBatcher,
    confirmation: Confirmation,
    events: EventReader,
) -> AsyncIterator[tuple[Duty, ...]]:
    """The duties; their connections are closed at the end."""
    store, redis_url = host.store, endpoints.redis_url

    def checkpoint(duty: str) -> Checkpoint:
        return Checkpoint(store.duties, duty, host.lease.owner)

    async with AsyncExitStack() as exits:
        epochs = exits.enter_context(closing(Epochs(store, host.rules, endpoints)))
        legacy = exits.enter_context(closing(QueueAging("legacy", redis_url)))
        celery = exits.enter_context(closing(QueueAging("celery", endpoints.celery_redis_url)))
        changes = Changes(store.rollout, redis_url, host.events, checkpoint("changes"))
        exits.enter_context(closing(changes))
        alarm_within_s = _POSTING_WITHIN_S * load(WebhookSettings).within_s
        yield (
            Duty("janitor", 2.0, Janitor(host, batcher).round),
            Duty("abandoned flow runs", 5.0, AbandonedFlowRuns(host).round),
            Duty("epochs", 10.0, epochs.round),
            Duty("alarm", 1.0, Alarm(store.rollout, checkpoint("alarm")).round, alarm_within_s),
            Duty("noise", 1.0, NoiseSampler(host, events, checkpoint("noise")).round, _NOISE_WITHIN_S),
            Duty("sentinels", 1.0, Sentinels(store, batcher, checkpoint("sentinels")).round),
            Duty("confirmation", 5.0, confirmation.round, wait=confirmation.wait),
            Duty("spans", 60.0, SpanRetention(store.spans, load(TraceSettings)).round),
            Duty("aging of legacy", legacy.every_s, legacy.round),
            Duty("aging of celery", celery.every_s, celery.round),
            Duty("changes", 1.0, changes.round),
            *_retention(store),
        )


def _retention(store: Store) -> Sequence[Duty]:
    days = load(RetentionSettings).days
    if days is None:
        return ()
    return (Duty("retention", 60.0, Retention(store.retention, days).round, _DELETING_WITHIN_S),)
