"""An int8 model file as C source for microcontrollers: the model's bytes and all constants of the signal chain.

NAME.h and NAME.c are generated; `ekd_signal.h`, written next to them, is the signal chain in C. Numbers have 17
significant digits (9 for float), so that a compiler reproduces them exactly.
"""

import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np

from ekd_edge.atomic_files import write_whole
from ekd_edge.errors import ConfigError, ExportError
from ekd_edge.model.file import ModelFile, load_model_file
from ekd_edge.model.find import describe_signoff
from ekd_edge.model.manifest import Manifest, Quantization
from ekd_edge.signal.bridge import longest_bridge
from ekd_edge.signal.filter import steady_state
from ekd_edge.signal.normalize import LOG_FLOOR, VARIANCE_FLOOR
from ekd_edge.signal.spec import NormalizationMode, SignalSpec

__all__ = ["SIGNAL_HEADER", "write_c_source"]

SIGNAL_HEADER = "ekd_signal.h"

_STEM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_MODES: dict[NormalizationMode, str] = {
    "log-ema": "EKD_LOG_EMA",
    "ema": "EKD_EMA",
    "ema-zscore": "EKD_EMA_ZSCORE",
    "window": "EKD_WINDOW_MEAN",
    "none": "EKD_NONE",
}
_BYTES_A_LINE = 28


def write_c_source(
    model: ModelFile | Path | str, output: Path | str | None = None, *, arena_bytes: int | None = None
) -> tuple[Path, Path, Path]:
    """Write an int8 model file as C99 source.

    Args:
        model: the model file, or its path.
        output: the C file, NAME.c; NAME.h and ekd_signal.h are written next to it. None writes NAME.c next to the model
            file NAME.tflite.
        arena_bytes: memory that the model needs in TFLite Micro, where it was measured; it is noted in the header.

    Returns:
        The paths of NAME.c, NAME.h and ekd_signal.h.

    Raises:
        ModelFileError: the model file is missing or damaged.
        ExportError: the model is not int8.
        ConfigError: the name is not one for a C file, or the files cannot be written.
    """
    model_file = model if isinstance(model, ModelFile) else load_model_file(Path(model))
    manifest, path = model_file.manifest, model_file.path
    quantization = manifest.quantization
    if manifest.kind != "int8" or quantization is None:
        raise ExportError(f"{path} is {manifest.kind}: C source is made of int8 models, so export with --int8")
    source = path.with_suffix(".c") if output is None else Path(output)
    if source.suffix != ".c" or not _STEM.fullmatch(source.stem):
        raise ConfigError(f"{source.name!r} cannot be the name of a C file: use letters, digits, '-' and '_', and .c")
    header, signal = source.with_suffix(".h"), source.with_name(SIGNAL_HEADER)
    write_whole(signal, Path(__file__).with_name("csrc").joinpath(SIGNAL_HEADER).read_bytes())
    write_whole(header, _header(manifest, quantization, arena_bytes).encode())
    write_whole(source, _source(header.name, model_file).encode())
    return source, header, signal


def _header(manifest: Manifest, quantization: Quantization, arena_bytes: int | None) -> str:
    spec = manifest.signal
    rate_hz = spec.rate_hz
    decay = math.exp(-1.0 / (spec.normalization.time_constant_s * float(rate_hz)))
    arena = (
        "" if arena_bytes is None else f"#define EKD_ARENA_BYTES {arena_bytes}L /* as TFLite Micro needed on a PC */\n"
    )
    signoff = describe_signoff(manifest)
    modes = "\n".join(f"#define {name} {number}" for number, name in enumerate(_MODES.values()))
    return f"""\
/* Written by ekd-export: an int8 model of skin conductance and its constants; ekd_signal.h has the signal chain. */
#ifndef EKD_MODEL_H
#define EKD_MODEL_H

#ifdef __cplusplus
extern "C" {{
#endif

#define EKD_MODEL_SHA256 "{manifest.sha256}"
#define EKD_MODEL_BYTES {manifest.size_bytes}L
{arena}#define EKD_SYNTHETIC {int(manifest.training.synthetic)} /* 1: trained on synthetic data, no person recorded */
#define EKD_SIGNED_OFF {int(not signoff)} /* {signoff or "passed its sign-off"} */
extern const unsigned char ekd_model[EKD_MODEL_BYTES]; /* a TFLite flatbuffer, aligned to 16 bytes */

/* real = scale * (int8 - zero point) */
#define EKD_INPUT_SCALE {_float(quantization.input.scale)}
#define EKD_INPUT_ZERO_POINT ({quantization.input.zero_point})
#define EKD_OUTPUT_SCALE {_float(quantization.output.scale)}
#define EKD_OUTPUT_ZERO_POINT ({quantization.output.zero_point})

#define EKD_TARGETS {len(manifest.targets)}
#define EKD_CLASSES {manifest.n_classes}
extern const char *const ekd_targets[EKD_TARGETS];
extern const char *const ekd_labels[EKD_TARGETS][EKD_CLASSES]; /* in the order of the logits */

/* samples of the model's input */
#define EKD_UNIT {_text(spec.unit)}
#define EKD_RATE_NUMERATOR {rate_hz.numerator}L /* Hz, an exact fraction */
#define EKD_RATE_DENOMINATOR {rate_hz.denominator}L
#define EKD_WINDOW_SAMPLES {spec.window_samples}L
#define EKD_HOP_SAMPLES {spec.hop_samples}L
#define EKD_SETTLE_SAMPLES {math.ceil(Fraction(spec.settle_s) * rate_hz)}L
#define EKD_BRIDGE_SAMPLES {longest_bridge(spec.bridge_s, rate_hz)}L /* longest gap to interpolate, see ekd_signal.h */

/* the causal filter: b0 b1 b2 1 a1 a2 of each section, and its state after a constant input of 1 */
#define EKD_SECTIONS {len(spec.sos)}
extern const double ekd_filter_sos[EKD_SECTIONS + 1][6]; /* the last one is spare */
extern const double ekd_filter_start[EKD_SECTIONS + 1][2];

/* normalization */
{modes}
#define EKD_NORMALIZATION {_MODES[spec.normalization.mode]}
#define EKD_TIME_CONSTANT_S {_double(spec.normalization.time_constant_s)}
#define EKD_DECAY {_double(decay)} /* of the running means, a sample */
#define EKD_GAIN {_double(spec.normalization.gain)}
#define EKD_LOG_FLOOR {_double(LOG_FLOOR)}
#define EKD_VARIANCE_FLOOR {_double(VARIANCE_FLOOR)}
#define EKD_BOUNDED {int(spec.normalization.bound != "none")} /* 1: y / sqrt(1 + (y / EKD_LIMIT)^2) after the gain */
#define EKD_LIMIT {_double(spec.normalization.limit)}

#ifdef __cplusplus
}}
#endif

#endif
"""


def _source(header: str, model_file: ModelFile) -> str:
    targets = model_file.manifest.targets
    labels = [f"{{{', '.join(map(_text, target.labels))}}}" for target in targets]
    return f"""\
#include "{header}"

#if defined(__cplusplus)
#define EKD_ALIGNED alignas(16)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define EKD_ALIGNED _Alignas(16)
#elif defined(__GNUC__)
#define EKD_ALIGNED __attribute__((aligned(16)))
#else
#error "define EKD_ALIGNED for this compiler: it aligns an array to 16 bytes"
#endif

const char *const ekd_targets[EKD_TARGETS] = {{{", ".join(_text(target.name) for target in targets)}}};
const char *const ekd_labels[EKD_TARGETS][EKD_CLASSES] = {{{", ".join(labels)}}};

const double ekd_filter_sos[EKD_SECTIONS + 1][6] = {{
{_sections(model_file.manifest.signal)}}};
const double ekd_filter_start[EKD_SECTIONS + 1][2] = {{
{_starts(model_file.manifest.signal)}}};

EKD_ALIGNED const unsigned char ekd_model[EKD_MODEL_BYTES] = {{
{_bytes(model_file.flatbuffer)}}};
"""


def _sections(spec: SignalSpec) -> str:
    rows = [*spec.sos, (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)]
    return "".join(f"    {{{', '.join(map(_double, row))}}},\n" for row in rows)


def _starts(spec: SignalSpec) -> str:
    rows = [*steady_state(np.array(spec.sos, np.float64).reshape(-1, 6)).tolist(), (0.0, 0.0)]
    return "".join(f"    {{{', '.join(map(_double, row))}}},\n" for row in rows)


def _bytes(data: bytes) -> str:
    lines = (data[i : i + _BYTES_A_LINE] for i in range(0, len(data), _BYTES_A_LINE))
    return "".join("    " + "".join(f"{byte}," for byte in line) + "\n" for line in lines)


def _double(value: float) -> str:
    """A C double; it has a point or an exponent, so that C does not read it as an integer."""
    text = f"{value:.17g}"
    return text if any(mark in text for mark in ".en") else f"{text}.0"


def _float(value: float) -> str:
    text = f"{value:.9g}"
    return (text if any(mark in text for mark in ".e") else f"{text}.0") + "f"


def _text(text: str) -> str:
    """A C string in UTF-8; bytes other than plain ASCII are octal escapes, and no trigraph can occur."""
    escaped = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode()
    )
    return f'"{escaped}"'
