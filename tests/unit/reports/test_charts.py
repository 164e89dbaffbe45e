from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from g3zkp_maint.reports.charts import HEIGHT, WIDTH, Series, line_chart, meter, stacked_bars
from g3zkp_maint.reports.scale import BYTES, COUNT

names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=8)
figures = st.lists(st.one_of(st.none(), st.floats(0, 1e9)), min_size=1, max_size=12)


@given(names, st.lists(figures, min_size=1, max_size=4))
def test_any_chart_is_well_formed_inside_its_frame_and_carries_no_style(
    name: str, rows: list[list[float | None]]
) -> None:
    count = min(map(len, rows))
    series = [Series(f"{name}{at}", "ok", tuple(row[:count])) for at, row in enumerate(rows)]
    for draw in (stacked_bars, line_chart):
        svg = draw(name, [name] * count, series, COUNT)
        root = ET.fromstring(svg)
        assert root.get("aria-label") == name
        assert "style" not in {key for element in root.iter() for key in element.attrib}
        for element in root.iter():
            for key, limit in (("x", WIDTH), ("cx", WIDTH), ("y", HEIGHT), ("cy", HEIGHT)):
                assert -1 <= float(element.get(key, 0)) <= limit + 1


def test_each_bar_says_its_figure_and_stands_on_the_one_below() -> None:
    svg = stacked_bars("runs", ["W1"], [Series("ok", "ok", (8.0,)), Series("failed", "bad", (2.0,))], COUNT)
    root = ET.fromstring(svg)
    low, high = (one for one in root.iter("rect") if one.get("class", "").startswith("mark"))
    assert [one.find("title").text for one in (low, high)] == ["W1: ok 8", "W1: failed 2"]  # type: ignore[union-attr]
    assert float(high.get("y", 0)) + float(high.get("height", 0)) == float(low.get("y", 0))


def test_one_failure_among_thousands_can_be_seen() -> None:
    svg = stacked_bars("runs", ["W1"], [Series("ok", "ok", (9000.0,)), Series("failed", "bad", (1.0,))], COUNT)
    heights = [float(height) for height in re.findall(r'class="mark bad".*?height="([\d.]+)"', svg)]
    assert heights == [1.5]


def test_a_line_is_broken_where_a_figure_lacks() -> None:
    svg = line_chart("size", ["a", "b", "c", "d"], [Series("size", "one", (1.0, 2.0, None, 3.0))], BYTES)
    (path,) = re.findall(r'class="line one" d="([^"]*)"', svg)
    assert path.count("M") == 2
    assert svg.count("<circle") == 3


def test_the_newest_label_is_there_and_no_more_than_fit() -> None:
    labels = [f"W{number}" for number in range(12)]
    svg = stacked_bars("x", labels, [Series("ok", "ok", tuple(range(12)))], COUNT)
    shown = re.findall(r">(W\d+)<", svg.replace("<title>", "<title "))
    assert shown[-1] == "W11"
    assert len(shown) == 6


def test_the_same_figures_give_the_same_bytes_and_a_meter_stops_at_the_whole() -> None:
    assert meter("used", 1.7, "bad") == meter("used", 1.7, "bad")
    assert 'class="mark bad" width="100"' in meter("used", 1.7, "bad")
