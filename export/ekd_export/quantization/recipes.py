"""Recipes: how a float student becomes the one that runs on the device. Data alone, importable without the converter.

What each costs and gains is measured in BENCHMARKS.md, and so is the choice of `static`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ekd_edge.errors import ConfigError
from ekd_edge.model.manifest import Kind

__all__ = ["RECIPES", "Ranges", "Recipe", "Weights"]

Weights = Literal["per-channel", "per-tensor"]
"""Whether each output channel of an int8 weight has a scale of its own, or the whole tensor one."""

Ranges = Literal["min-max", "percentile"]
"""Which part of an activation's calibrated values the int8 range spans: all, or all but the outermost."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to quantize a student.

    weights: of int8 and dynamic. ranges, percentile: of int8; percentile is the share of values, in percent, that the
    range spans, half of the rest being cut off on either side (100 where ranges are min-max). tuned: the weights are
    fine-tuned for quantization first (`ekd_export.quantization.qat`). about: for people.

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
                f"Set the percentile of the recipe {self.name} above 50 and below 100, or to 100 with min-max ranges; "
                f"it is {self.percentile:g}."
            )
        if self.kind != "int8" and (cut or self.tuned):
            raise ConfigError(
                f"The recipe {self.name} has no activation ranges to choose or to tune for: it is not int8."
            )

    @property
    def calibrated(self) -> bool:
        """Whether it needs calibration windows."""
        return self.kind == "int8"


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            Recipe("static", "int8", "integers alone; a scale for each channel of a weight, and min-max ranges"),
            Recipe("qat", "int8", "as static, with weights fine-tuned for quantization first", tuned=True),
            Recipe("dynamic", "dynamic", "int8 weights; activations are float, and quantized on the fly to multiply"),
            Recipe("float16", "float16", "float16 weights, float arithmetic"),
            Recipe("float32", "float32", "as converted"),
            Recipe("static-per-tensor", "int8", "as static, with one scale for each weight", weights="per-tensor"),
            Recipe(
                "static-percentile",
                "int8",
                "as static, with ranges that leave the outermost 0.1 % of the calibrated values out",
                ranges="percentile",
                percentile=99.9,
            ),
        )
    }
)
"""Every recipe by its name; "static" is what `ekd-export --int8` means. The last two are there to be measured."""
