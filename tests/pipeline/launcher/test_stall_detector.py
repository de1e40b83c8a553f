"""What has stopped changing is noticed, unless it was oneself that stopped."""

from pprs.pipeline.launcher.stall_detector import StallDetector


def test_only_what_stays_the_same_for_too_long_is_named():
    detector = StallDetector(10, now=0)
    for second in range(10):
        assert detector.stalled({1: second, 2: "frozen"}, second) == []
    assert detector.stalled({1: 10, 2: "frozen"}, 10) == []
    assert detector.stalled({1: 11, 2: "frozen"}, 10.5) == [2]


def test_whoever_looks_again_after_a_long_time_counts_anew():
    detector = StallDetector(10, now=0)
    assert detector.stalled({1: "frozen"}, 0) == []
    assert detector.stalled({1: "frozen"}, 1000) == []  # nobody knows who slept
    for second in (1003, 1006, 1009):
        assert detector.stalled({1: "frozen"}, second) == []
    assert detector.stalled({1: "frozen"}, 1010.5) == [1]


def test_what_is_not_shown_is_not_watched():
    detector = StallDetector(10, now=0)
    for second in range(0, 40, 4):
        assert detector.stalled({1: "frozen"} if second < 8 else {}, second) == []
