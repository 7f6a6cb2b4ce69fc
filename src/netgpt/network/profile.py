"""Hardware profiles as data: what a machine can do, with where each figure comes from.

`hardware/` beside this module has one TOML file per class of machine. A class says what share of the
peak figures inference gets (fitted by `netgpt bench hardware`), its profiles say what the peaks are.
`this-machine` has the same format; `netgpt hardware measure` writes it to the home.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from netgpt.core.errors import ScenarioInvalid
from netgpt.core.spelling import check_keys, did_you_mean

THIS_MACHINE = "this-machine"
MEASURED_FILE = "hardware/this-machine.toml"  # in the home
BASES = ("fitted", "assumed", "measured")
MAY_BE_ZERO = ("_s", "score_bytes", "step_tokens")  # ends of an efficiency's keys
RATES = ("fp32", "bf16", "fp8", "int8")


@dataclass(frozen=True, kw_only=True)
class Efficiency:
    """What a kind of software gets out of a class of machine.

    Wide weights are those that the arithmetic takes as they are (fp32, bf16, fp8); packed ones (int8, int4)
    are unpacked on the way.
    """

    stack: str  # "compiled": vLLM, TensorRT-LLM, MLC and the makers' own; "llama.cpp"
    prefill_wide: float  # shares of the peak arithmetic
    prefill_packed: float
    decode_wide: float  # shares of the peak bandwidth
    decode_packed: float
    layer_overhead_s: float = 0.0  # of every step, for each layer
    step_overhead_s: float = 0.0  # of every step
    token_overhead_s: float = 0.0  # for each token and layer: what is neither a matrix nor attention
    call_overhead_s: float = 0.0  # of every prompt: a call comes in, a session begins, its first token goes out
    step_tokens: int = 0  # most tokens of a prompt that one step computes; 0: all
    score_bytes: float = 0.0  # moved per attention score; 0: attention is fused
    basis: str

    def prefill(self, packed: bool) -> float:
        return self.prefill_packed if packed else self.prefill_wide

    def decode(self, packed: bool) -> float:
        return self.decode_packed if packed else self.decode_wide


@dataclass(frozen=True, kw_only=True)
class HardwareProfile:
    """A machine: peak figures of its data sheet, and the efficiencies of its class, the default stack's first."""

    id: str
    kind: str  # the class
    name: str
    aliases: tuple[str, ...] = ()
    flops: Mapping[str, float]  # dense, a multiply-add counted as two, 1/s, by precision of `RATES`
    memory_bytes_per_s: float
    memory_bytes: float  # installed
    usable: float  # the share of it that weights and KV may take
    idle_w: float
    busy_w: float
    source: str
    date: str  # when the source was read
    efficiencies: tuple[Efficiency, ...]

    @property
    def usable_bytes(self) -> float:
        return self.memory_bytes * self.usable

    def efficiency(self, stack: str = "") -> Efficiency:
        """Of that stack, or of the default one where the class has not got it."""
        return next((one for one in self.efficiencies if one.stack == stack), self.efficiencies[0])


def read_profiles(text: str, where: str) -> tuple[HardwareProfile, ...]:
    """The profiles of one class's file.

    Raises:
        ScenarioInvalid: not such a file: an unknown or missing key, a figure that is not above 0.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioInvalid(f"{where} is not valid TOML: {error}", hint="mend the line that the message names") from error
    check_keys(table, {"class", "description", "usable", "efficiency", "profile"}, where, ScenarioInvalid)
    for key in ("class", "usable", "efficiency", "profile"):
        if not table.get(key):
            raise ScenarioInvalid(f"{where} lacks {key!r}", hint=f"add {key}", param=key)
    efficiencies = tuple(_efficiency(row, f"efficiency {n} of {where}") for n, row in enumerate(table["efficiency"], start=1))
    usable = _figure(table["usable"], "usable", where)
    return tuple(_profile(row, table["class"], usable, efficiencies, f"profile {n} of {where}") for n, row in enumerate(table["profile"], start=1))


def _efficiency(row: Mapping[str, Any], where: str) -> Efficiency:
    _check_row(Efficiency, row, set(), where)
    figures = {key: _figure(value, key, where, zero=key.endswith(MAY_BE_ZERO)) for key, value in row.items() if key not in ("stack", "basis")}
    if row["basis"] not in BASES:
        raise ScenarioInvalid(f"{where} has the unknown basis {row['basis']!r}", hint=did_you_mean(str(row["basis"]), BASES), param="basis")
    step_tokens = int(figures.pop("step_tokens", 0))
    return Efficiency(stack=row["stack"], basis=row["basis"], step_tokens=step_tokens, **figures)


def _profile(row: Mapping[str, Any], kind: str, usable: float, efficiencies: tuple[Efficiency, ...], where: str) -> HardwareProfile:
    _check_row(HardwareProfile, row, {"kind", "usable", "efficiencies"}, where)
    check_keys(row["flops"], RATES, f"'flops' of {where}", ScenarioInvalid)
    flops = {rate: _figure(value, rate, where) for rate, value in row["flops"].items()}
    if "bf16" not in flops:
        raise ScenarioInvalid(f"'flops' of {where} lacks 'bf16'", hint="add the 16-bit rate: bf16 = ...", param="flops")
    figures = {key: _figure(row[key], key, where) for key in ("memory_bytes_per_s", "memory_bytes", "idle_w", "busy_w")}
    return HardwareProfile(
        id=str(row["id"]),
        kind=kind,
        name=str(row["name"]),
        aliases=tuple(row.get("aliases", ())),
        flops=flops,
        usable=usable,
        source=str(row["source"]),
        date=str(row["date"]),
        efficiencies=efficiencies,
        **figures,
    )


def _check_row(kind: type[Efficiency] | type[HardwareProfile], row: Mapping[str, Any], set_elsewhere: set[str], where: str) -> None:
    known = {field.name: field for field in fields(kind) if field.name not in set_elsewhere}
    check_keys(row, known, where, ScenarioInvalid)
    for name, field in known.items():
        if name not in row and field.default is MISSING:
            raise ScenarioInvalid(f"{where} lacks {name!r}", hint=f"add {name} = ...", param=name)


def _figure(value: object, key: str, where: str, *, zero: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (value > 0 or (zero and value == 0)):
        raise ScenarioInvalid(f"{key!r} of {where} is {value!r}", hint="give a number above 0", param=key)
    return float(value)


@cache
def profiles() -> Mapping[str, HardwareProfile]:
    """The profiles that come with the package, by id, class by class."""
    folder = resources.files("netgpt.network") / "hardware"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".toml")), key=lambda entry: entry.name)
    return {one.id: one for entry in files for one in read_profiles(entry.read_text(encoding="utf-8"), entry.name)}


def profile_names() -> tuple[str, ...]:
    """Every name that a node's `profile` may have."""
    return (*profiles(), *(alias for one in profiles().values() for alias in one.aliases), THIS_MACHINE)


def find_profile(name: str, home: Path | None = None) -> HardwareProfile:
    """The profile of that id or alias.

    Args:
        home: where `this-machine` has been written.

    Raises:
        ScenarioInvalid: unknown name; `this-machine` has not been measured, or its file is damaged.
    """
    if name == THIS_MACHINE:
        return _measured(home)
    for one in profiles().values():
        if name == one.id or name in one.aliases:
            return one
    raise ScenarioInvalid(f"unknown hardware profile {name!r}", hint=did_you_mean(name, profile_names()), param="profile")


def _measured(home: Path | None) -> HardwareProfile:
    try:
        text = (home / MEASURED_FILE).read_text(encoding="utf-8") if home else ""
    except FileNotFoundError:
        text = ""
    if not text:
        raise ScenarioInvalid("this machine has not been measured", hint="run: netgpt hardware measure", param="profile")
    return read_profiles(text, MEASURED_FILE)[0]
