"""Quantization recipes: data only, importable without the converter.

BENCHMARKS.md has the size, speed and accuracy of each, and the reasons for the default, `static`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from ekd_edge.errors import ConfigError
from ekd_edge.model.manifest import Kind
from firmware_bridge.suggestions import did_you_mean

__all__ = ["RECIPES", "Ranges", "Recipe", "Weights", "find_recipe"]

Weights = Literal["per-channel", "per-tensor"]
"""The granularity of weight scales: one scale for each output channel, or one for the whole tensor."""

Ranges = Literal["min-max", "percentile"]
"""The int8 range of an activation: all calibrated values, or all but a percentile at either end."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to quantize a student.

    weights: for int8 and dynamic. ranges, percentile: for int8; percentile is the share of values, in percent, that the
    range spans; half of the remainder is cut off at either end (100 where ranges are min-max). tuned: the weights are
    fine-tuned for quantization first (`ekd_export.quantization.qat`). about: a phrase for help texts.

    Raises ConfigError where the fields contradict each other.
    """

    name: str
    kind: Kind
    about: str
    weights: Weights = "per-channel"
    ranges: Ranges = "min-max"
    percentile: float = 100.0
    tuned: bool = False

    def __post_init__(self) -> None:
        cut = self.ranges == "percentile"
        if not (50 < self.percentile < 100 if cut else self.percentile == 100):
            raise ConfigError(
                f"the percentile of the recipe {self.name} is {self.percentile:g}: set it above 50 and below 100, "
                "or to 100 with min-max ranges"
            )
        if self.kind != "int8" and (cut or self.tuned):
            raise ConfigError(
                f"the recipe {self.name} is not int8, so it has no activation ranges: remove percentile and tuning"
            )

    @property
    def calibrated(self) -> bool:
        """Whether the recipe needs calibration windows."""
        return self.kind == "int8"


_STATIC = Recipe(
    "static",
    "int8",
    "integers only; one scale for each channel of a weight; ranges that exclude the outermost 0.01 % of the calibrated "
    "values",
    ranges="percentile",
    percentile=99.99,
)

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            _STATIC,
            replace(
                _STATIC,
                name="qat",
                about="as static, with weights fine-tuned for quantization first",
                tuned=True,
            ),
            Recipe("dynamic", "dynamic", "int8 weights; float activations, quantized at run time for matrix products"),
            Recipe("float16", "float16", "float16 weights, float arithmetic"),
            Recipe("float32", "float32", "as converted"),
            replace(
                _STATIC,
                name="static-per-tensor",
                about="as static, with one scale for each weight",
                weights="per-tensor",
            ),
            Recipe("static-min-max", "int8", "as static, with ranges of all calibrated values"),
            replace(
                _STATIC,
                name="static-percentile",
                about="as static, with ranges that exclude the outermost 0.1 % of the calibrated values",
                percentile=99.9,
            ),
        )
    }
)
"""Every recipe by its name; `ekd-export --int8` uses "static". The last three are only for comparisons."""


def find_recipe(name: str) -> Recipe:
    """The recipe of that name; raises ConfigError for an unknown one, with the nearest known name."""
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}: choose one of {', '.join(RECIPES)}{did_you_mean(name, RECIPES)}")
    return RECIPES[name]
