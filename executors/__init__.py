"""Runs one program under limits, one process away from everything else."""
