"""All use of what Prefect offers only privately: ``client`` where flows run, ``server`` in Prefect's server.

Each private name is listed, with its signature, in ``tests/contract/test_prefect_private.py``.
"""
