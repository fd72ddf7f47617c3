"""Which of the commands is meant. What each does, and what is said where packages do not load, has tests of its own."""

import pytest

from ekd_edge.cli.main import SUBCOMMANDS, main


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_is_named_in_the_help_and_has_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert f"ekd-edge {name} " in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert f"usage: ekd-edge {name} " in capsys.readouterr().out
