"""What makes an executor of a stack differ from the others in ways that programs show."""

DRIFT = {
    "EXECUTOR_3_TZ": "Asia/Tokyo",
    "EXECUTOR_3_PYTHONHASHSEED": "1",
    "EXECUTOR_3_MEMORY_LIMIT_MB": "20",
}
"""Settings without ``CRUCIBLE_``. The limit on memory is a low one: few programs use any to speak of."""
