"""References to metrics: read, printed back, and what is said of one that is none."""

from pathlib import Path

import pytest

from app.domain.metrics import METRICS, MetricName, MetricRef

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def _escaped(text):
    return text.replace("|", "\\|")


def test_every_metric_is_registered_and_its_examples_are_read_back():
    assert list(METRICS) == list(MetricName)
    for metric in METRICS.values():
        for level, text in zip(metric.levels, metric.examples, strict=True):
            ref = MetricRef.parse(text)
            assert (ref.name, ref.level, str(ref)) == (metric.name, level, text)


@pytest.mark.parametrize(
    "text", ["equity@sub.account 2", "equity@a@b", "net_delta.SOL.E", "price.dYdX:BTC/USD"]
)
def test_a_subject_may_hold_the_marks_themselves(text):
    ref = MetricRef.parse(text)
    assert (ref.subject, str(ref)) == (text[len(ref.name) + 1 :], text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("magin_ratio", "unknown metric 'magin_ratio'; did you mean margin_ratio?"),
        ("Equity@main", "unknown metric 'Equity'; did you mean equity?"),
        ("dolar_gama.BTC", "unknown metric 'dolar_gama'; did you mean dollar_gamma or dollar_vega?"),
        ("xyz", "unknown metric 'xyz'"),
        ("", "unknown metric ''"),
        ("net_delta", "'net_delta': net_delta is a figure of an underlying; write net_delta.BTC"),
        ("net_delta@main", "'net_delta@main': net_delta is a figure of an underlying; write net_delta.BTC"),
        ("leverage.BTC", "'leverage.BTC': leverage is a figure of the whole portfolio; write leverage"),
        (
            "margin_ratio.BTC",
            (
                "'margin_ratio.BTC': margin_ratio is a figure of an account or the whole portfolio; "
                "write margin_ratio@main or margin_ratio"
            ),
        ),
        ("equity@", "'equity@': '' cannot be the name of an account"),
        ("twap.BTC-USDT", "'twap.BTC-USDT': 'BTC-USDT' cannot be the name of an average"),
        ("twap.BTC-USDT/0s", "'twap.BTC-USDT/0s': 'BTC-USDT/0s' cannot be the name of an average"),
        ("price.BTC USDT", "'price.BTC USDT': 'BTC USDT' cannot be the name of an instrument"),
    ],
)
def test_what_is_no_metric_is_told_what_would_be_one(text, words):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the words are compared
        MetricRef.parse(text)
    assert str(refused.value) == words


def test_the_page_of_the_metrics_is_what_the_registry_says():
    rows = [
        f"| {', '.join(f'`{text}`' for text in m.examples)} | {m.unit} | {_escaped(m.definition)} |"
        for m in METRICS.values()
    ]
    table = "\n".join(["| written as | unit | definition |", "| --- | --- | --- |", *rows])
    assert table in PAGE.read_text(encoding="utf-8"), table
