"""The fail points in the code are those of the list."""

import points


def test_every_fail_point_is_somewhere_in_the_code() -> None:
    assert {point.name for point in points.defined()} == points.placed()


def test_the_list_is_read_whole() -> None:
    lines = (points.SOURCE / "shipper" / "fail_point" / "fail_points.def").read_text(encoding="utf-8").splitlines()
    assert len(points.defined()) == sum(line.startswith("WF_FAIL_POINT(") for line in lines) > 0
