"""From a trained run to one self-describing model file: fold, convert, quantize, audit, sign off, evaluate.

The public functions: `export`, `evaluate`, `sign`, `new_key`, `write_c_source`. They are imported on first use, so
that importing the package loads nothing else.
"""

from typing import TYPE_CHECKING

from firmware_bridge.lazy import lazy_names

if TYPE_CHECKING:
    from ekd_edge.errors import ConfigError, DataError, EkdError, ExportError, ModelFileError
    from ekd_export.convert.c_source import write_c_source
    from ekd_export.evaluation.held_out import EvaluationReport, evaluate
    from ekd_export.pipeline import ExportResult
    from ekd_export.quantization.recipes import RECIPES, Recipe
    from ekd_export.run_export import export
    from ekd_export.signing import Signed, new_key, sign

    __version__: str

__all__ = [
    "RECIPES",
    "ConfigError",
    "DataError",
    "EkdError",
    "EvaluationReport",
    "ExportError",
    "ExportResult",
    "ModelFileError",
    "Recipe",
    "Signed",
    "__version__",
    "evaluate",
    "export",
    "new_key",
    "sign",
    "write_c_source",
]

_ERRORS = ("ConfigError", "DataError", "EkdError", "ExportError", "ModelFileError")
_MODULES = {
    "EvaluationReport": "ekd_export.evaluation.held_out",
    "ExportResult": "ekd_export.pipeline",
    "RECIPES": "ekd_export.quantization.recipes",
    "Recipe": "ekd_export.quantization.recipes",
    "Signed": "ekd_export.signing",
    "evaluate": "ekd_export.evaluation.held_out",
    "export": "ekd_export.run_export",
    "new_key": "ekd_export.signing",
    "sign": "ekd_export.signing",
    "write_c_source": "ekd_export.convert.c_source",
} | dict.fromkeys(_ERRORS, "ekd_edge.errors")

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
