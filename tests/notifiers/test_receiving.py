"""When all that failed on a channel is tried at once (SPEC 11)."""

from cstp_server.notifiers.receiving import TOO_MANY_FAILURES, Receiving

MINUTE = 60.0
DAY = 86_400.0


def down(receiving: Receiving, now: float) -> None:
    for _ in range(TOO_MANY_FAILURES):
        receiving.failed(now, None)


def test_the_end_of_an_outage_is_news_once() -> None:
    """Of one that took a minute at least."""
    receiving = Receiving()
    down(receiving, 0)
    receiving.worked(MINUTE - 1)
    assert not receiving.may_tell(MINUTE)
    down(receiving, MINUTE)
    receiving.worked(2 * MINUTE)
    assert receiving.may_tell(2 * MINUTE)
    receiving.told(2 * MINUTE)
    assert not receiving.may_tell(DAY)


def test_what_fails_again_and_again_is_tried_a_few_times_more_in_a_day() -> None:
    """Of some thirty attempts each alert keeps most for the pauses that grow, however often the receiver takes others."""
    receiving, told = Receiving(), list[float]()
    now = 0.0
    while now < DAY:
        receiving.worked(now)
        if receiving.may_tell(now):
            receiving.told(now)
            told.append(now)
        down(receiving, now)
        now += 2 * MINUTE
    assert told[1] - told[0] >= 10 * MINUTE
    assert 2 < len(told) <= 22


def test_after_hours_of_calm_an_outage_is_like_the_first() -> None:
    """Its end is news at once, and ten minutes later again."""
    receiving = Receiving()
    for start in (0.0, 20 * MINUTE, 60 * MINUTE, 600 * MINUTE, 612 * MINUTE):
        down(receiving, start)
        receiving.worked(start + MINUTE)
        assert receiving.may_tell(start + MINUTE), start
        receiving.told(start + MINUTE)


def test_another_receiver_is_news_and_one_that_fails_again_is_not() -> None:
    """What failed waits, as long as nothing arrives."""
    receiving = Receiving(is_news=True)
    assert receiving.may_tell(0)
    receiving.failed(0, None)
    assert not receiving.may_tell(0)
