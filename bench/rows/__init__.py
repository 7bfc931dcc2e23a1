"""One file for each measurement; `bench.registry` finds them by being here."""
