"""What can be set of traces and metrics."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from crucible.settings import Count, Port, Positive, Share

HttpUrl = Annotated[str, Field(pattern="^https?://")]


class TraceSettings(BaseSettings):
    """Traces: which evaluations have one, and how long the store keeps it."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_TRACE_", frozen=True, extra="ignore")

    url: HttpUrl | None = Field(
        None, description="Base URL of the API, to which every process sends its spans; unset: none are kept."
    )
    ratio: Share = Field(1.0, description="Part of evaluations that are traced, sweeps' aside.")
    sweep_ratio: Share = Field(
        0.05, description="The same of sweeps' evaluations; re-runs of mismatches are traced unless it is 0."
    )
    keep_days: Positive = Field(7.0, description="Days after which the store forgets spans.")
    keep_spans: Count = Field(500_000, description="Spans that the store keeps at most; the oldest go first.")


class OtlpSettings(BaseSettings):
    """Traces for a collector besides; OpenTelemetry's own OTEL_EXPORTER_OTLP_* variables do as well."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_OTLP_", frozen=True, extra="ignore")

    endpoint: HttpUrl | None = Field(
        None, description="Base URL of a collector that takes OTLP over HTTP, as http://127.0.0.1:4318."
    )


class MetricsSettings(BaseSettings):
    """Where a worker, ``flows`` or the controller shows its metrics; API and executors have ports anyway."""

    model_config = SettingsConfigDict(env_prefix="CRUCIBLE_METRICS_", frozen=True, extra="ignore")

    port: Port = Field(0, description="Port of /metrics; 0: none.")
    host: str = Field("127.0.0.1", description="Address to listen on; nobody is asked for a key there.")
