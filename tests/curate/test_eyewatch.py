"""Eyes are watched in any picture with a face; elsewhere there is nothing to say."""

from collections.abc import Callable

import numpy as np

from curate.eyewatch import closed_in


def test_open_eyes_are_open(draw_face: Callable) -> None:
    closed = closed_in(draw_face(400))
    assert closed is not None
    assert 0 <= closed < 0.4


def test_without_a_face_nobody_can_say() -> None:
    assert closed_in(np.full((200, 200, 3), 127, np.uint8)) is None
