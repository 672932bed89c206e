"""Traces: one for each evaluation, through every process that has it in hand."""
