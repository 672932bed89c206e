"""Everything that can be set, one class per concern, read from the environment when asked for.

What is not set there may be a file: ``crucible_api_key`` in the folder that ``CRUCIBLE_SECRETS_DIR`` names
holds ``CRUCIBLE_API_KEY``. Nothing is read at import. A wrong value raises ``SettingsError`` naming it.
"""

import os
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from crucible.errors import SettingsError

Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Chance = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
CanaryShare = Annotated[float, Field(gt=0, le=100)]


def _parts(value: object) -> object:
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


AtCommas = BeforeValidator(_parts)
Names = Annotated[tuple[str, ...], NoDecode, AtCommas]


class Settings(BaseSettings):
    """Where things are. A server that is not named here is started by the local stack."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_", frozen=True, extra="ignore")

    home: Path = Field(Path(".crucible"), description="Folder of the local stack's state, store and logs.")
    database_url: str | None = Field(
        None, description="The store, as an SQLAlchemy async URL; unset: SQLite in the home folder."
    )
    redis_url: str | None = Field(
        None, description="Redis for the legacy queue, claims and replies; unset: one is started."
    )
    celery_redis_url: str | None = Field(None, description="Redis for Celery alone; unset: one is started.")
    prefect_api_url: str | None = Field(
        None, description="API of a Prefect server, ending in /api; unset: one is started."
    )
    prefect_url: str | None = Field(
        None, description="The Prefect UI as browsers reach it, for links; unset: where its API is."
    )
    executor_1_url: str | None = Field(None, description="executor-1 (legacy); unset: one is started.")
    executor_2_url: str | None = Field(None, description="executor-2 (legacy); unset: one is started.")
    executor_3_url: str | None = Field(None, description="executor-3 (celery); unset: one is started.")
    executor_token: SecretStr | None = Field(
        None, description="Bearer token of the executors; unset: one is made in the home folder."
    )
    api_key: SecretStr | None = Field(
        None, description="Bearer key of the trigger API; unset: one is made in the home folder."
    )
    api_url: str | None = Field(
        None, description="The trigger API as browsers reach it, for links; unset: where the stack's own is."
    )
    gateway_url: str | None = Field(
        None, description="The gateway as browsers reach it, for links; unset: where the stack's own is."
    )
    redis_port: Port = Field(0, description="Port of the Redis that is started; 0: a free one.")
    celery_redis_port: Port = Field(0, description="Port of Celery's Redis that is started; 0: a free one.")
    prefect_port: Port = Field(0, description="Port of the Prefect server that is started; 0: a free one.")
    api_port: Port = Field(0, description="Port of the trigger API; 0: a free one.")
    api_host: str = Field("127.0.0.1", description="Address on which the trigger API listens.")
    gateway_port: Port = Field(0, description="Port of the gateway; 0: a free one.")
    flower_port: Port = Field(0, description="Port of Flower; 0: a free one.")
    flower_host: str = Field("127.0.0.1", description="Address on which Flower listens.")
    flower_password: SecretStr | None = Field(
        None, description="What Flower asks for, with the user gateway; unset: nothing."
    )
    executor_1_port: Port = Field(0, description="Port of executor-1; 0: a free one.")
    executor_2_port: Port = Field(0, description="Port of executor-2; 0: a free one.")
    executor_3_port: Port = Field(0, description="Port of executor-3; 0: a free one.")
    worker_sets: Annotated[int, Field(ge=1, le=32)] = Field(
        1, description="Sets of two legacy workers and a Celery worker, each set with executors of its own."
    )
    api_processes: Annotated[int, Field(ge=1, le=32)] = Field(
        1, description="Processes of the trigger API; the gateway spreads requests over them."
    )
    flow_processes: Annotated[int, Field(ge=1, le=32)] = Field(
        1, description="Processes that run flows started from Prefect, by a schedule or the API."
    )
    start_timeout_s: Positive = Field(90, description="Seconds to wait for the stack, or Prefect, to start.")


class ApiSettings(BaseSettings):
    """What the trigger API allows those who use it."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_API_", frozen=True, extra="ignore")

    per_minute: Count = Field(
        60_000, description="Requests that a key may make in a minute, unless it has a rate of its own."
    )
    wrong_keys_per_minute: Count = Field(
        60, description="Wrong keys that an address may show in a minute before new keys are not looked at."
    )
    repeatable_h: Positive = Field(
        24, description="Hours for which a request with an Idempotency-Key can be repeated."
    )


class ExecutorSettings(BaseSettings):
    """One executor service. In the local stack ``CRUCIBLE_EXECUTOR_3_TZ`` sets it for executor-3 alone."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_EXECUTOR_", frozen=True, extra="ignore")

    name: str = Field("executor", description="Name that its observations carry.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(8100, description="Port to listen on.")
    token: SecretStr = Field(SecretStr(""), description="Bearer token that callers must show.")
    sandbox: Literal["process", "docker"] = Field(
        "process", description="Sandbox that runs programs: process or docker."
    )
    warm_containers: Annotated[int, Field(ge=0, le=64)] = Field(
        2, description="Docker sandbox: containers of each kind used lately that wait for programs."
    )
    docker_runtime: str | None = Field(
        None, description="Docker sandbox: the daemon's runtime; unset: runsc where it is, else its default."
    )
    slots: Count = Field(2, description="How many programs run at once.")
    queue_limit: Count = Field(
        64, description="How many requests may wait for a slot before 429 is answered."
    )
    drain_s: Annotated[float, Field(ge=0, le=600)] = Field(
        10, description="Seconds that runs under way may take to end after SIGTERM."
    )
    tz: str = Field("UTC", description="TZ that programs see.")
    pythonhashseed: str = Field("0", description="PYTHONHASHSEED that programs see.")
    memory_limit_mb: int | None = Field(
        None, description="Upper bound in MiB on any program's memory limit; unset: the evaluation's own."
    )
    require_cgroups: bool = Field(
        False, description="Refuse to run when memory and process limits cannot be kept by cgroups."
    )
    python: Path | None = Field(
        None, description="Interpreter of Python programs; unset: the one Crucible itself runs on."
    )


class LegacySettings(BaseSettings):
    """The home-grown Redis list queue: its keys and field names, so that it fits an existing one."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_LEGACY_", frozen=True, extra="ignore")

    queue_key: str = Field("evals:queue:{priority}", description="List of waiting payloads per priority.")
    processing_key: str = Field("evals:processing", description="List of payloads a worker has taken.")
    leases_key: str = Field("evals:leases", description="Sorted set of taken payloads by lease end (ms).")
    attempts_key: str = Field("evals:attempts", description="Hash of how often each payload was taken.")
    doorbell_key: str = Field("evals:doorbell", description="List that wakes idle workers.")
    id_field: str = Field("id", description="Payload field of the evaluation's id.")
    language_field: str = Field("language", description="Payload field of the language.")
    code_field: str = Field("code", description="Payload field of the program.")
    stdin_field: str = Field("stdin", description="Payload field of standard input.")
    limits_field: str = Field("limits", description="Payload field of the limits.")
    reply_field: str = Field("reply_to", description="Payload field of the reply stream.")
    trace_field: str = Field("trace", description="Payload field of the trace and the time of sending.")
    executor_urls: Names = Field(
        (), description="Executors a worker uses, the first one first; separated by commas."
    )
    concurrency: Count = Field(3, description="Programs one legacy worker has running at once.")
    max_attempts: Count = Field(5, description="How often a payload is taken before it is a dead letter.")
    reap_every_s: Positive = Field(2, description="Seconds between looks for expired leases.")


class CelerySettings(BaseSettings):
    """The Celery leg."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_CELERY_", frozen=True, extra="ignore")

    queue: str = Field("evaluations", description="Name of the Celery queue.")
    key_prefix: str = Field("c:", description="Prefix of all of Celery's keys.")
    executor_url: str = Field("", description="The executor its worker uses.")
    concurrency: Count = Field(6, description="Threads of one Celery worker.")
    visibility_timeout_s: Count = Field(
        900, description="Seconds after which Redis hands an unacknowledged message out again."
    )
    max_attempts: Count = Field(
        5, description="How often a run is taken and not reported before it is a dead letter."
    )
    events: bool = Field(
        False, description="Send the events that Flower shows; a stack with Flower in it does so by itself."
    )


class WorkerSettings(BaseSettings):
    """What both legs' workers share."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_WORKER_", frozen=True, extra="ignore")

    name: str = Field("worker", description="Name under which claims are held, or by which Prefect knows it.")
    lease_s: Positive = Field(10, description="Seconds a claim lasts unless its worker renews it.")
    retry_s: Positive = Field(5, description="Seconds over which a worker retries an unreachable executor.")


class QueueSettings(BaseSettings):
    """How the queues of both legs age."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_QUEUE_", frozen=True, extra="ignore")

    age_s: Annotated[float, Field(ge=0.05)] = Field(
        30, description="Seconds in a priority's list after which an evaluation rises by one priority."
    )


class ShedSettings(BaseSettings):
    """What the API leaves undone when more is submitted than is run."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_SHED_", frozen=True, extra="ignore")

    above: Share = Field(
        0.5,
        description="Part of the API's queue that may be taken before new traffic goes without its shadow.",
    )


class BreakerSettings(BaseSettings):
    """When a part that fails is left alone, and for how long. The same for every process of one stack."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_BREAKER_", frozen=True, extra="ignore")

    ratio: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="Part of calls that fail when it opens."
    )
    minimum: Count = Field(10, description="Calls within the window before it can open.")
    window_s: Annotated[float, Field(ge=0.5)] = Field(10, description="Seconds over which calls are counted.")
    open_s: Annotated[float, Field(ge=0.5)] = Field(
        5, description="Seconds it stays open at first; twice as long each time that a probe fails."
    )
    longest_open_s: Annotated[float, Field(ge=0.5)] = Field(60, description="Seconds it stays open at most.")
    probe_s: Annotated[float, Field(ge=0.5)] = Field(
        10, description="Seconds after which the place of a probe whose process died is free again."
    )
    park_s: NotNegative = Field(
        30, description="Seconds a run waits while no executor of its leg may be asked."
    )


class FlowSettings(BaseSettings):
    """How flows cut, send and wait."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_FLOW_", frozen=True, extra="ignore")

    batch_size: Annotated[int, Field(ge=1, le=1000)] = Field(
        400, description="Evaluations one flow run of a sweep carries."
    )
    batches_in_flight: Count = Field(2, description="Flow runs of a sweep under way at once.")
    stall_s: Positive = Field(
        120,
        description="Seconds without any answer from a leg after which its waiting evaluations are unpaired.",
    )
    resend_after_s: Positive = Field(
        15, description="Seconds after which an evaluation nobody has claimed is sent again under its id."
    )
    deadline_s: Positive | None = Field(
        None,
        description="Seconds after which what is open in a flow run is cancelled; unset: never.",
    )
    lease_s: Positive = Field(
        6, description="Seconds after which others go on with what a process that ran flows left open."
    )
    prefect_within_s: Positive = Field(
        600, description="Seconds for which a flow run is begun again while the Prefect server is away."
    )
    max_faults: Count = Field(
        3, description="Platform faults reported for one (evaluation, leg) after which it is unpaired."
    )
    confirm_runs: Count = Field(3, description="How often a mismatch is run again on both legs.")
    confirm_singly: Count = Field(
        100,
        description="Mismatches of a sweep that get flow runs of their own; the rest go in batches.",
    )
    result_ttl_s: Count = Field(3600, description="Seconds Redis remembers that an evaluation was answered.")
    rules_file: Path | None = Field(
        None, description="TOML file of rules on what comparisons overlook; unset: every byte counts."
    )


class GateSettings(BaseSettings):
    """What the migration asks before it goes on, and when it turns back."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_GATE_", frozen=True, extra="ignore")

    p0: Chance = Field(0.01, description="Mismatch rate that must be ruled out in every stratum.")
    alpha: Chance = Field(0.05, description="How often a GO may be wrong, over all looks together.")
    delta: NotNegative = Field(0.25, description="By which part Celery's p95 may be above legacy's.")
    floor_s: NotNegative = Field(
        0.05, description="Seconds by which Celery's p95 may be above that, for nobody notices so few."
    )
    min_noise_reruns: Count = Field(20, description="Legacy re-runs before noise can be judged.")
    min_mutants: Count = Field(20, description="Planted faults that must have been caught in an epoch.")
    max_pairs_since_mutant: Count = Field(
        500, description="Pairs without a planted fault after which the comparison is no longer believed."
    )
    min_pairs_per_step: Count = Field(50, description="New pairs that each step forward takes.")
    strata_tags: Names = Field(
        (), description="Tags that are judged by themselves, as languages are; separated by commas."
    )
    patience_s: Positive = Field(
        900, description="Seconds after which an evaluation without column is overdue."
    )
    p_ok: Chance = Field(1e-4, description="Mismatch rate that the detector lives with.")
    p1: Chance = Field(
        1e-2,
        validate_default=True,
        description="Mismatch rate from which the detector is to turn back soonest.",
    )
    alarm_at: Annotated[float, Field(gt=1)] = Field(
        1e6, description="Pairs between false alarms of the detector, on average, in each stratum."
    )
    noise_share: Share = Field(0.05, description="Part of evaluations that legacy runs twice, to know noise.")
    mutant_share: Share = Field(0.05, description="Part of pairs into which a copy with a fault is planted.")
    canary_steps: Annotated[tuple[CanaryShare, ...], NoDecode, AtCommas] = Field(
        (1, 5, 25, 50, 100), description="Celery's shares at canary in percent, rising; separated by commas."
    )
    sample: Annotated[float, Field(ge=0, le=100)] = Field(
        10, description="Part of Celery's answers that legacy shadows at live, in percent."
    )
    sentinel_every_s: Positive = Field(
        30, description="Seconds between recorded evaluations that are sent to Celery once legacy is off."
    )

    @field_validator("canary_steps")
    @classmethod
    def _rises(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        if not steps or list(steps) != sorted(set(steps)):
            raise ValueError("shares must rise, and there must be one; as in 1,5,25,50,100")
        return steps

    @field_validator("p1")
    @classmethod
    def _is_above_p_ok(cls, p1: float, info: ValidationInfo) -> float:
        if p1 <= info.data.get("p_ok", 0):
            raise ValueError(f"must be above CRUCIBLE_GATE_P_OK, which is {info.data['p_ok']}")
        return p1


class RetentionSettings(BaseSettings):
    """How long the store keeps evaluations. What goes is added up first, so that all totals stay."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_RETENTION_", frozen=True, extra="ignore")

    days: Positive | None = Field(
        None, description="Days after which settled evaluations are let go; unset: never."
    )


class ScheduleSettings(BaseSettings):
    """Parity sweeps at set times. Who starts one by hand in the Prefect UI may ask for something else."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_SCHEDULE_", frozen=True, extra="ignore")

    cron: str = Field("0 3 * * *", description="When to sweep, as a cron expression; empty: only when asked.")
    timezone: str = Field("UTC", description="Time zone of the cron expression, as Europe/Berlin.")
    corpora: Names = Field(
        ("bundled",),
        description="Corpora to sweep, separated by commas; bundled is the one that comes along.",
    )
    recorded: Annotated[int, Field(ge=0)] = Field(
        0, description="How many of the newest evaluations that came in by the API to replay; 0: none."
    )
    poll_s: Positive = Field(10, description="Seconds between looks for sweeps that are due.")

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (LookupError, OSError, ValueError):
            raise ValueError("no time zone of that name is known here; write it as Europe/Berlin") from None
        return value


class WebhookSettings(BaseSettings):
    """Whom to tell of verdicts. What is sent is signed, so that the receiver can tell who sent it."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_WEBHOOK_", frozen=True, extra="ignore")

    url: Annotated[str, Field(pattern="^https?://")] | None = Field(
        None, description="Where notifications are posted; unset: nobody is told."
    )
    secret: SecretStr = Field(
        SecretStr(""), validate_default=True, description="Key that signs them; needed where there is a URL."
    )
    within_s: Positive = Field(60, description="Seconds over which a notification is tried again.")
    allow_private: bool = Field(
        False, description="Send also to this machine and to private networks; else only to public addresses."
    )

    @field_validator("secret")
    @classmethod
    def _is_there_for_a_url(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if info.data.get("url") and not value.get_secret_value():
            raise ValueError("needed to sign what goes to CRUCIBLE_WEBHOOK_URL; set a long random text")
        return value


S = TypeVar("S", bound=BaseSettings)

SECRETS_DIR = "CRUCIBLE_SECRETS_DIR"
"""Names the folder of settings that are files."""


def load(kind: type[S], prefix: str | None = None) -> S:
    """Settings of ``kind`` from the environment, under another ``prefix`` than its own if one is given.

    Raises ``SettingsError`` naming the variable.
    """
    prefix = prefix or kind.model_config.get("env_prefix", "")
    try:
        return kind(_env_prefix=prefix, _secrets_dir=_secrets_dir())
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{prefix}{'_'.join(str(part) for part in first['loc'])}".upper()
        raise SettingsError(f"{name}={first['input']!r}: {first['msg']}") from error


def _secrets_dir() -> str | None:
    folder = os.environ.get(SECRETS_DIR)
    if folder and not Path(folder).is_dir():
        # Else the settings would silently be those of somebody who has no secrets.
        raise SettingsError(f"{SECRETS_DIR}={folder!r}: is no folder; name the one that holds the secrets")
    return folder or None
