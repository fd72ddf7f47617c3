from ekd_edge.formatting import change, interval, origin, percent, points
from ekd_edge.metrics import Difference


def test_figures_read_the_same_everywhere() -> None:
    assert percent(0.7654) == "76.5%"
    assert points(0.01234) == "+1.23"
    assert points(-0.01234) == "-1.23"
    assert interval(-0.0077, 0.0125) == "-0.77 to +1.25"
    assert change(Difference(0.0024, -0.0077, 0.0125, 8)) == "+0.24 points (95% interval -0.77 to +1.25, 8 subjects)"
    assert change(Difference(0.0024, None, None, 1)) == "+0.24 points (one subject: no interval)"
    assert origin(True) == " [synthetic data]"
    assert origin(False) == ""
