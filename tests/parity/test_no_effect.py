"""A setting of gunicorn's that does nothing here says so, once, and with the reason."""

from __future__ import annotations

import pytest

from supervisor.config.load import Inputs, examine
from supervisor.config.schema import Invalid
from supervisor.config.settings import TABLE
from tests.parity.probes import values

IDLE = [name for name, setting in TABLE.items() if setting.no_effect]


@pytest.mark.parametrize("name", IDLE)
def test_it_is_said_once(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    setting = TABLE[name]
    for source in values(setting):
        try:
            value = setting.validate(eval(source))
        except Invalid:
            continue
        found = examine(Inputs("app:app", {name: value}, environ={}, cwd=str(tmp_path_factory.getbasetemp())))
        if found.settings.settings[name].is_default():
            continue
        said = [text for text in found.settings.warnings if text.startswith(f"{name} = ")]
        assert len(said) == 1 or found.problems, "said once, or refused"
        assert all(text.endswith(f": {setting.no_effect}.") for text in said)
        return
    pytest.fail(f"none of the values to try {name} with is another one than its default")
