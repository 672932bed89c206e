"""What is done now and then for all processes that share a store, a module for each duty."""
