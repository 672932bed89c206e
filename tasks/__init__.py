"""The two legs: how a run is sent, claimed, carried to an executor, answered and read back."""
