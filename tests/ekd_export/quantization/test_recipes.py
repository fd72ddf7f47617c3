import subprocess
import sys

import pytest

from ekd_edge.errors import ConfigError
from ekd_export.quantization.recipes import RECIPES, Recipe


def test_recipes_are_keyed_by_their_names() -> None:
    assert all(name == recipe.name for name, recipe in RECIPES.items())
    assert {"static", "qat", "dynamic", "float16", "float32"} < RECIPES.keys()
    assert RECIPES["static"] == Recipe("static", "int8", RECIPES["static"].about, "per-channel", "percentile", 99.99)
    assert [name for name, recipe in RECIPES.items() if recipe.tuned] == ["qat"]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"kind": "int8", "ranges": "percentile"}, "percentile of the recipe odd"),
        ({"kind": "int8", "ranges": "percentile", "percentile": 50.0}, "percentile of the recipe odd"),
        ({"kind": "int8", "percentile": 99.0}, "percentile of the recipe odd"),
        ({"kind": "int8", "ranges": "percentile", "percentile": float("nan")}, "percentile of the recipe odd"),
        ({"kind": "dynamic", "ranges": "percentile", "percentile": 99.9}, "not int8"),
        ({"kind": "float32", "tuned": True}, "not int8"),
    ],
)
def test_contradictory_recipe_is_refused(fields, complaint) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Recipe(name="odd", about="", **fields)


def test_recipes_need_no_converter() -> None:
    code = (
        "import sys, ekd_export.quantization.recipes; "
        "sys.exit(bool({'torch', 'ai_edge_quantizer', 'ai_edge_litert', 'litert_torch'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
