"""The measurements measure what they say: both contenders do their work, and what they do is counted."""

import json
import sys
from xml.etree import ElementTree as ET

import pytest

from benchmarks.__main__ import DOCUMENT, EXPERIMENTS, FIGURES, PICTURE
from benchmarks.contender import PRODUCT, STRAIGHT_LINE, Contender, refresh_cold
from benchmarks.experiments import HOPS, SCALES
from benchmarks.plot import draw_scaling
from benchmarks.stage import Stage, names_of
from benchmarks.tables import fill


@pytest.mark.exhaustive
def test_both_refresh_and_their_requests_are_counted_apart() -> None:
    with Stage(2) as stage:
        environ = {**stage.environ, "LEASE_CONTAINER_URL": ""}
        with (
            Contender(sys.executable, PRODUCT, environ) as product,
            Contender(sys.executable, STRAIGHT_LINE, environ) as straight_line,
        ):
            assert product.refresh([]).failed == 0
            assert stage.requests()["created"] == 6, "two of them are refresh tokens that somebody else stored"
            assert product.refresh([]).failed == 0
            assert stage.requests() == {"all": 6, "vault": 6}, "nothing is due, and both have just been accepted"
            stage.age()
            took = product.refresh([])
            assert stage.requests()["instance"] == 4, "all is due again"
            assert straight_line.refresh(names_of(2, "s")).failed == 0
            assert stage.requests()["created"] == 4
    assert took.cpu > 0
    assert took.seconds > 0
    assert took.memory > 30


@pytest.mark.exhaustive
def test_a_cold_process_is_measured_from_its_first_import_on() -> None:
    with Stage(1) as stage:
        for who, letter in ((PRODUCT, "p"), (STRAIGHT_LINE, "s")):
            took = refresh_cold(sys.executable, who, stage.environ, names_of(1, letter))
            assert took.failed == 0
            assert took.seconds > took.cpu / 2 > 0.02
            assert stage.requests()["instance"] >= 1


def test_the_picture_of_scaling_is_well_formed_and_shows_every_figure() -> None:
    rows = [
        {"hop_ms": hop, "connections": many, "seconds": 0.2 * many**0.7, "straight_line_seconds": 0.3 * many}
        for hop in HOPS
        for many in SCALES
    ]
    picture = ET.fromstring(draw_scaling(rows))  # noqa: S314 - drawn a moment ago
    circles = [each for each in picture.iter() if each.tag.endswith("circle")]
    assert len(circles) == 2 * len(SCALES)
    assert {"straight line", "this product"} <= {each.text for each in picture.iter()}


def test_the_document_shows_the_figures_that_were_kept() -> None:
    figures = json.loads(FIGURES.read_text("utf-8"))
    assert set(figures) == set(EXPERIMENTS)
    document = DOCUMENT.read_text("utf-8")
    assert fill(document, figures) == document
    assert draw_scaling(figures["d"]) == PICTURE.read_text("utf-8")


def test_no_figure_was_kept_of_refreshes_that_failed() -> None:
    figures = json.loads(FIGURES.read_text("utf-8"))
    failed = [row["failed"] for rows in figures.values() for row in rows if "failed" in row]
    assert len(failed) > 10
    assert sum(failed) == 0
