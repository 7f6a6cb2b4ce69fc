"""`calibration.json`: what `netgpt calibrate` fits, as text. Numbers alone, none of anybody's content; shipped with the package, or of a home."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netgpt.core.errors import UsageError
from netgpt.inference.boosting import LEAVES, NODES, Forest
from netgpt.inference.confidence import FEATURES, Calibration, Calibrations
from netgpt.inference.curve import Curve
from netgpt.inference.routing import KINDS, Nearest, Router
from netgpt.inference.surface import SURFACE
from netgpt.inference.words import KNOWN, SAID, Words

FORMAT = 4
COLUMN, NUMBER, MARK = "<u2", "<f4", "<u4"  # of features, of bounds and leaves, of words
SURFACES = (*SURFACE, *KNOWN, *SAID)
HOME_FILE = "calibration.json"  # in the home


def write_calibrations(calibrations: Calibrations, path: Path) -> None:
    """As JSON, readable again by `read_calibrations`."""
    models, routers = calibrations.models, calibrations.routers
    words = list(dict.fromkeys((*(one.words for one in (*models.values(), *routers.values())), *(one.said for one in models.values()))))
    table = {
        "format": FORMAT,
        "features": FEATURES,
        "surface": SURFACES,
        "price": calibrations.price,
        "models": {name: {**_calibration_row(one), "words": words.index(one.words), "said": words.index(one.said)} for name, one in models.items()},
        "routers": {name: {**_router_row(one), "words": words.index(one.words)} for name, one in routers.items()},
        "words": [base64.b64encode(one.table).decode("ascii") for one in words],  # those of one fit are the same
    }
    path.write_text(json.dumps(table, separators=(",", ":")).replace('},"', '},\n"') + "\n", encoding="utf-8")


def read_calibrations(text: str, where: str) -> Calibrations:
    """Calibrations as `write_calibrations` wrote them.

    Raises:
        UsageError: not such a file, or one of another release's features.
    """
    how = "fit it anew: netgpt calibrate --recording FILE"
    try:
        table = json.loads(text)
        if table["format"] != FORMAT or (tuple(table["features"]), tuple(table["surface"])) != (FEATURES, SURFACES):
            raise UsageError(f"calibration {where} is of another release", hint=how, param="calibration")
        words = [_words(text) for text in table["words"]]
        return Calibrations(
            price=float(table["price"]),
            models={name: _calibration(row, words[row["words"]], words[row["said"]]) for name, row in table["models"].items()},
            routers={name: _router(row, words[row["words"]]) for name, row in table["routers"].items()},
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UsageError(f"{where} is no calibration: {error!r}", hint=how, param="calibration") from error


@cache
def shipped_calibrations() -> Calibrations:
    """Of the models that come with the package."""
    return read_calibrations(resources.files("netgpt.inference").joinpath("calibration.json").read_text(encoding="utf-8"), "calibration.json")


def calibrations_at(home: Path | None) -> Calibrations:
    """Those that were fitted for this home, else the shipped ones; raises UsageError where its file is damaged."""
    path = home / HOME_FILE if home else None
    if path is None or not path.is_file():
        return shipped_calibrations()
    return read_calibrations(path.read_text(encoding="utf-8"), str(path))


def _calibration_row(one: Calibration) -> dict[str, Any]:
    return {
        "model": one.model,
        "tasks": one.tasks,
        "right": asdict(one.right),
        "others": {name: asdict(curve) for name, curve in one.others.items()},
        "agrees": {name: asdict(curve) for name, curve in one.agrees.items()},
        "forests": {name: _forest_row(forest) for name, forest in one.forests.items()},
    }


def _words(text: str) -> Words:
    rows = _array(text, MARK)
    if np.any(np.diff(rows.astype(np.int64)) <= 0):
        raise ValueError("its words are not in their order")
    return Words(table=rows.tobytes())


def _calibration(row: Mapping[str, Any], words: Words, said: Words) -> Calibration:
    others, agrees = ({name: _curve(curve) for name, curve in row[key].items()} for key in ("others", "agrees"))
    forests = {name: _forest(forest) for name, forest in row["forests"].items()}
    return Calibration(
        model=str(row["model"]),
        tasks=int(row["tasks"]),
        right=_curve(row["right"]),
        others=others,
        agrees=agrees,
        forests=forests,
        words=words,
        said=said,
    )


def _curve(row: Mapping[str, Any], width: int = len(FEATURES)) -> Curve:
    lists = {name: tuple(map(float, row[name])) for name in ("mean", "scale", "weights", "knots", "heights")}
    counts = tuple(map(int, row["counts"]))
    of_features, of_pools = ({len(lists[name]) for name in names} for names in (("mean", "scale", "weights"), ("knots", "heights")))
    if (of_features, of_pools) != ({width}, {len(counts)}):
        raise ValueError("its lists have other lengths than its features")
    if min(counts, default=0) < 1:
        raise ValueError("a probability was fitted on no outcome")
    return Curve(bias=float(row["bias"]), counts=counts, **lists)


def _base64(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(values.astype(kind).tobytes()).decode("ascii")


def _array(text: str, kind: str) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=kind)


def _forest_row(forest: Forest) -> dict[str, Any]:
    return {
        "width": forest.width,
        "bias": forest.bias,
        "columns": _base64(forest.columns_TS, COLUMN),
        "bounds": _base64(forest.bounds_TS, NUMBER),
        "leaves": _base64(forest.leaves_TL, NUMBER),
    }


def _forest(row: Mapping[str, Any]) -> Forest:
    columns_TS = _array(row["columns"], COLUMN).astype(np.int64).reshape(-1, NODES)
    bounds_TS, leaves_TL = (_array(row[key], NUMBER).astype(np.float64).reshape(-1, size) for key, size in (("bounds", NODES), ("leaves", LEAVES)))
    width = int(row["width"])
    if not len(columns_TS) == len(bounds_TS) == len(leaves_TL) or (columns_TS.size and not 0 <= columns_TS.min() <= columns_TS.max() < width):
        raise ValueError("its trees have other lengths, or ask for features that there are not")
    return Forest(width=width, bias=float(row["bias"]), columns_TS=columns_TS, bounds_TS=bounds_TS, leaves_TL=leaves_TL)


def _router_row(one: Router) -> dict[str, Any]:
    near = one.nearest
    return {
        "tasks": one.tasks,
        "models": one.models,
        "kind": one.kind,
        "price": one.price,
        "forests": [_forest_row(forest) for forest in one.forests],
        "plain": asdict(one.plain),
        "shares": one.shares,
        "nearest": {
            "near": near.near,
            "far": near.far,
            "mean": near.mean_F.tolist(),
            "scale": near.scale_F.tolist(),
            "axes": near.axes_FK.ravel().tolist(),
            "step": near.step,
            "points": _base64(near.points_MK, "i1"),
            "right": _base64(np.packbits(near.right_MO), "u1"),
        },
    }


def _router(row: Mapping[str, Any], words: Words) -> Router:
    models, forests = tuple(map(str, row["models"])), tuple(_forest(forest) for forest in row["forests"])
    shares = tuple(map(float, row["shares"]))
    if not len(forests) == len(models) == len(shares) or row["kind"] not in KINDS:
        raise ValueError("it has not one forest a model, or decides in an unknown way")
    nearest = _nearest(row["nearest"], len(models))
    if len(nearest.mean_F) != len(SURFACE) + len(KNOWN) or len({forest.width for forest in forests}) > 1 or forests[0].width < len(nearest.mean_F):
        raise ValueError("its parts read features of different widths")
    return Router(
        tasks=int(row["tasks"]),
        models=models,
        kind=row["kind"],
        price=float(row["price"]),
        forests=forests,
        nearest=nearest,
        plain=_curve(row["plain"], forests[0].width - len(SURFACE)),
        shares=shares,
        words=words,
    )


def _nearest(row: Mapping[str, Any], models: int) -> Nearest:
    mean_F, scale_F = (np.array(row[key], dtype=np.float64) for key in ("mean", "scale"))
    axes_FK = np.array(row["axes"], dtype=np.float64).reshape(len(mean_F), -1)
    points_MK = _array(row["points"], "i1").reshape(-1, axes_FK.shape[1])
    right_MO = np.unpackbits(_array(row["right"], "u1"), count=len(points_MK) * models).astype(np.bool_).reshape(-1, models)
    if len(scale_F) != len(mean_F) or not len(points_MK):
        raise ValueError("its lists have different lengths, or it knows no prompt")
    return Nearest(
        mean_F=mean_F,
        scale_F=scale_F,
        axes_FK=axes_FK,
        points_MK=points_MK,
        step=float(row["step"]),
        right_MO=right_MO,
        near=float(row["near"]),
        far=float(row["far"]),
    )
