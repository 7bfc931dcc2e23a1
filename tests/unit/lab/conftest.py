import pytest

from tests.market_data import market_dir


@pytest.fixture
def market_file():
    """A recording by its name; skips, saying why, where the recordings are absent."""
    folder = market_dir()

    def find(name):
        path = folder / name
        if not path.exists():
            pytest.skip(f"{path.name} is not among the recorded market data")
        return path

    return find
