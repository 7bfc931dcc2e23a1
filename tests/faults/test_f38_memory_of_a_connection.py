"""FAULTS 38: what a connection costs is known, and stays below 60 kB."""

from bench.drivers import idle_sockets


def test_f38_an_idle_connection_takes_less_than_60_kb(tmp_path):
    per_connection, _ = idle_sockets.ours(tmp_path, 500)
    assert 10 < per_connection < 60
