"""Schemas of KEDA's resources as far as ours use them: a key that is not here is refused."""

from typing import Any

Schema = dict[str, Any]

_NAME: Schema = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}
_COUNT: Schema = {"type": "integer", "minimum": 0}


def _object(required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


_TEXT: Schema = {"type": "string", "minLength": 1}
_METADATA = _object(
    ("name", "namespace"),
    name=_NAME,
    namespace=_NAME,
    labels={"type": "object", "additionalProperties": _TEXT},
)

# KEDA reads all of a trigger's metadata from texts, numbers as well.
_REDIS = _object(
    ("listName",),
    listName=_TEXT,
    listLength={"type": "string", "pattern": r"^\d+$"},
)
_TRIGGER = _object(
    ("type", "metadata"),
    type={"const": "redis"},
    name={"type": "string", "pattern": "^[a-zA-Z][a-zA-Z0-9_]*$"},
    metadata=_REDIS,
    authenticationRef=_object(("name",), name=_NAME),
)
_POLICY = _object(
    ("type", "value", "periodSeconds"),
    type={"enum": ["Pods", "Percent"]},
    value={"type": "integer", "minimum": 1},
    periodSeconds={"type": "integer", "minimum": 1, "maximum": 1800},
)
_RULES = _object(
    stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600},
    policies=_list(_POLICY),
    selectPolicy={"enum": ["Max", "Min", "Disabled"]},
)
_ADVANCED = _object(
    scalingModifiers=_object(
        ("formula", "target"),
        formula=_TEXT,
        target={"type": "string", "pattern": r"^\d+(\.\d+)?$"},
        metricType={"enum": ["AverageValue", "Value"]},
    ),
    horizontalPodAutoscalerConfig=_object(behavior=_object(scaleUp=_RULES, scaleDown=_RULES)),
)
_FALLBACK = _object(
    ("failureThreshold", "replicas"),
    failureThreshold=_COUNT,
    replicas=_COUNT,
    behavior={"enum": ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]},
)

SCALED_OBJECT = _object(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "keda.sh/v1alpha1"},
    kind={"const": "ScaledObject"},
    metadata=_METADATA,
    spec=_object(
        ("scaleTargetRef", "triggers"),
        scaleTargetRef=_object(("name",), name=_NAME, kind=_TEXT, apiVersion=_TEXT),
        pollingInterval=_COUNT,
        minReplicaCount=_COUNT,
        maxReplicaCount=_COUNT,
        fallback=_FALLBACK,
        advanced=_ADVANCED,
        triggers=_list(_TRIGGER),
    ),
)
TRIGGER_AUTHENTICATION = _object(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "keda.sh/v1alpha1"},
    kind={"const": "TriggerAuthentication"},
    metadata=_METADATA,
    spec=_object(
        ("secretTargetRef",),
        secretTargetRef=_list(
            _object(
                ("parameter", "name", "key"),
                parameter={"enum": ["address", "password"]},
                name=_NAME,
                key=_TEXT,
            )
        ),
    ),
)
