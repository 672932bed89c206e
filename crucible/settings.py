"""Everything that can be set, one class per concern, read from the environment when asked for.

Nothing is read at import. A wrong value raises ``SettingsError`` naming the variable.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from crucible.errors import SettingsError

Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


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
    executor_1_url: str | None = Field(None, description="executor-1 (legacy); unset: one is started.")
    executor_2_url: str | None = Field(None, description="executor-2 (legacy); unset: one is started.")
    executor_3_url: str | None = Field(None, description="executor-3 (celery); unset: one is started.")
    executor_token: SecretStr | None = Field(
        None, description="Bearer token of the executors; unset: one is made in the home folder."
    )
    api_key: SecretStr | None = Field(
        None, description="Bearer key of the trigger API; unset: one is made in the home folder."
    )
    redis_port: Port = Field(0, description="Port of the Redis that is started; 0: a free one.")
    celery_redis_port: Port = Field(0, description="Port of Celery's Redis that is started; 0: a free one.")
    prefect_port: Port = Field(0, description="Port of the Prefect server that is started; 0: a free one.")
    api_port: Port = Field(0, description="Port of the trigger API; 0: a free one.")
    executor_1_port: Port = Field(0, description="Port of executor-1; 0: a free one.")
    executor_2_port: Port = Field(0, description="Port of executor-2; 0: a free one.")
    executor_3_port: Port = Field(0, description="Port of executor-3; 0: a free one.")
    start_timeout_s: Positive = Field(90, description="Seconds the local stack may take to become ready.")


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
    dead_key: str = Field("evals:dead", description="List of payloads that were taken too often.")
    doorbell_key: str = Field("evals:doorbell", description="List that wakes idle workers.")
    id_field: str = Field("id", description="Payload field of the evaluation's id.")
    language_field: str = Field("language", description="Payload field of the language.")
    code_field: str = Field("code", description="Payload field of the program.")
    stdin_field: str = Field("stdin", description="Payload field of standard input.")
    limits_field: str = Field("limits", description="Payload field of the limits.")
    reply_field: str = Field("reply_to", description="Payload field of the reply stream.")
    executor_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Executors a worker uses, the first one first; separated by commas."
    )
    concurrency: Count = Field(3, description="Programs one legacy worker has running at once.")
    max_attempts: Count = Field(5, description="How often a payload is taken before it is a dead letter.")
    reap_every_s: Positive = Field(2, description="Seconds between looks for expired leases.")

    @field_validator("executor_urls", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )


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


class WorkerSettings(BaseSettings):
    """What both legs' workers share."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_WORKER_", frozen=True, extra="ignore")

    name: str = Field("worker", description="Name under which claims are held.")
    lease_s: Positive = Field(10, description="Seconds a claim lasts unless its worker renews it.")
    retry_s: Positive = Field(5, description="Seconds over which a worker retries an unreachable executor.")


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
    max_faults: Count = Field(
        3, description="Platform faults reported for one (evaluation, leg) after which it is unpaired."
    )
    confirm_runs: Count = Field(3, description="How often a mismatch is run again on both legs.")
    confirm_singly: Count = Field(
        100,
        description="Mismatches of a sweep that get flow runs of their own; the rest go in batches.",
    )
    result_ttl_s: Count = Field(3600, description="Seconds Redis remembers that an evaluation was answered.")


S = TypeVar("S", bound=BaseSettings)


def load(kind: type[S], prefix: str | None = None) -> S:
    """Settings of ``kind`` from the environment, under another ``prefix`` than its own if one is given.

    Raises ``SettingsError`` naming the variable.
    """
    prefix = prefix or kind.model_config.get("env_prefix", "")
    try:
        return kind(_env_prefix=prefix)
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{prefix}{'_'.join(str(part) for part in first['loc'])}".upper()
        raise SettingsError(f"{name}={first['input']!r}: {first['msg']}") from error
