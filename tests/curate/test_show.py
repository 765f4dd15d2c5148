import pytest

from curate import show


def test_a_name_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show.table("Files", ("name", "bytes"), [("\x1b[31mred\x07.jpg", 12), ("ä b.jpg", 3)])
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert "\\x1b[31mred\\x07.jpg" in printed
    assert "ä b.jpg" in printed
