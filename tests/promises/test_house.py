"""The picture of the house is the house: drawn from the imports, and what the design document shows."""

from tests.promises.house import PICTURE, ROOT, arrows, draw, floors, without_detours


def test_the_picture_is_drawn_from_the_imports_of_today() -> None:
    assert PICTURE.read_text("utf-8") == draw(), "draw it anew: python -m tests.promises.house"
    assert "images/house.svg" in (ROOT / "docs" / "design.md").read_text("utf-8")


def test_every_room_stands_on_a_floor_and_every_arrow_points_down() -> None:
    level = {room: number for number, rooms in enumerate(floors()) for room in rooms}
    pairs = [(here, there) for here, targets in arrows().items() for there in targets]
    assert {room for pair in pairs for room in pair} <= set(level)
    assert all(level[here] < level[there] for here, there in pairs)


def test_an_arrow_that_others_imply_is_left_out() -> None:
    assert without_detours({"a": {"b", "c"}, "b": {"c"}, "d": {"c"}}) == [("a", "b"), ("b", "c"), ("d", "c")]
