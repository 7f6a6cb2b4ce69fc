"""Unit and link-budget arithmetic, answered with the steps written out.

Decides: the numbers and the wording. The key is the numbers alone, so that no held-out calculation was
ever trained on in any wording. The grader reads the last number and its unit. Every answer is exact: the
inputs are chosen so that no rounding is needed.

Equations: EIRP = P + G - L; received power = EIRP - path loss; margin = SNR - required SNR (all in dB);
x dBm = 10^(x/10) mW with 3 dB taken as a factor of 2, as engineers do; slot = 1/2^mu ms (TS 38.211 4.3.2).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from netgpt.corpus.reading import same_quantity
from netgpt.corpus.task import Family, Task, pick, user

NAME = "arithmetic"
SUBCARRIERS_PER_BLOCK, SYMBOLS_PER_SLOT = 12, 14


def _decimal(value: Fraction) -> str:
    """`value` without trailing zeros: 0.125, 12, -3.5."""
    return np.format_float_positional(float(value), trim="-")


def _task(form: str, grade: int, key: str, question: str, answer: str) -> Task:
    return Task(family=NAME, form=form, grade=grade, key=f"{form}/{key}", messages=user(question), answer=answer)


def _eirp(chance: np.random.Generator) -> Task:
    power, gain, loss = int(chance.integers(10, 50)), int(chance.integers(2, 25)), int(chance.integers(1, 7))
    question = pick(
        chance,
        (
            f"What is the EIRP of {power} dBm with {gain} dBi gain and {loss} dB cable loss?",
            f"A transmitter has {power} dBm, an antenna of {gain} dBi and {loss} dB cable loss. What is its EIRP?",
            f"EIRP for {power} dBm, {gain} dBi, {loss} dB loss?",
        ),
    )
    gained = power + gain
    return _task("eirp", 2, f"{power},{gain},{loss}", question, f"{power} + {gain} = {gained}; {gained} - {loss} = {gained - loss} dBm")


def _received(chance: np.random.Generator) -> Task:
    eirp, path_loss = int(chance.integers(20, 75)), int(chance.integers(70, 150))
    question = pick(
        chance,
        (
            f"The EIRP is {eirp} dBm and the path loss {path_loss} dB. What power arrives?",
            f"What is the received power at {eirp} dBm EIRP and {path_loss} dB path loss?",
            f"Received power: {eirp} dBm EIRP, {path_loss} dB path loss?",
        ),
    )
    return _task("received", 1, f"{eirp},{path_loss}", question, f"{eirp} - {path_loss} = {eirp - path_loss} dBm")


def _margin(chance: np.random.Generator) -> Task:
    signal, noise, required = -int(chance.integers(60, 100)), -int(chance.integers(90, 125)), int(chance.integers(0, 25))
    snr = signal - noise
    question = pick(
        chance,
        (
            f"Signal {signal} dBm, noise {noise} dBm, required SNR {required} dB. What is the margin?",
            f"What is the link margin with {signal} dBm signal, {noise} dBm noise and {required} dB required SNR?",
            f"Link margin for signal {signal} dBm, noise {noise} dBm, needed SNR {required} dB?",
        ),
    )
    steps = f"SNR {signal} + {-noise} = {snr} dB; {snr} - {required} = {snr - required} dB"
    return _task("margin", 3, f"{signal},{noise},{required}", question, steps)


def _milliwatts(chance: np.random.Generator) -> Task:
    tens, step = int(chance.integers(-3, 6)), pick(chance, (-3, 0, 3, 6))
    power = Fraction(10) ** tens * Fraction(2) ** (step // 3)
    dbm, base = 10 * tens + step, _decimal(Fraction(10) ** tens)
    factor = {-3: f"{base} / 2 = ", 0: "", 3: f"{base} x 2 = ", 6: f"{base} x 4 = "}[step]
    steps = f"{dbm} dBm = {10 * tens} dBm {'+' if step >= 0 else '-'} {abs(step)} dB; {10 * tens} dBm = {base} mW; "
    question = pick(chance, (f"How many mW are {dbm} dBm?", f"Convert {dbm} dBm to mW.", f"{dbm} dBm in mW?", f"What is {dbm} dBm in milliwatts?"))
    return _task("milliwatts", 2, f"{dbm}", question, f"{steps}{factor}{_decimal(power)} mW")


def _slots(chance: np.random.Generator) -> Task:
    mu, count = int(chance.integers(0, 4)), int(chance.integers(2, 100))
    duration = _decimal(Fraction(count, 2**mu))
    spacing = 15 * 2**mu
    question = pick(
        chance,
        (
            f"How long are {count} slots at {spacing} kHz?",
            f"How many ms do {count} slots take at {spacing} kHz?",
            f"{count} slots at {spacing} kHz in ms?",
        ),
    )
    return _task("slots", 1, f"{mu},{count}", question, f"{count} x {_decimal(Fraction(1, 2**mu))} ms = {duration} ms")


def _transfer(chance: np.random.Generator) -> Task:
    seconds, rate = int(chance.integers(1, 41)), pick(chance, (2, 4, 8, 10, 16, 20, 40, 50, 80, 100, 200, 400, 800))
    megabytes = Fraction(seconds * rate, 8)
    question = pick(
        chance,
        (
            f"How long does {_decimal(megabytes)} MB take at {rate} Mbit/s?",
            f"Time to send {_decimal(megabytes)} MB over {rate} Mbit/s?",
            f"A model of {_decimal(megabytes)} MB is sent at {rate} Mbit/s. How many seconds does it take?",
        ),
    )
    megabits = seconds * rate
    return _task("transfer", 3, f"{megabits},{rate}", question, f"{_decimal(megabytes)} x 8 = {megabits} Mbit; {megabits} / {rate} = {seconds} s")


def _elements(chance: np.random.Generator) -> Task:
    blocks = int(chance.integers(2, 274))
    per_block = SUBCARRIERS_PER_BLOCK * SYMBOLS_PER_SLOT
    parts = [digit * 10**place for place, digit in enumerate(map(int, reversed(str(blocks)))) if digit][::-1]
    products = "; ".join(f"{part} x {per_block} = {part * per_block}" for part in parts)
    total = f"; sum {blocks * per_block}" if len(parts) > 1 else ""
    question = pick(
        chance,
        (
            f"How many resource elements do {blocks} PRBs have in a slot?",
            f"Resource elements of {blocks} resource blocks in one slot?",
            f"A slot has {blocks} PRBs. How many resource elements is that?",
        ),
    )
    return _task("elements", 3, f"{blocks}", question, f"{products}{total} RE")


FORMS: dict[int, tuple[Callable[[np.random.Generator], Task], ...]] = {
    1: (_received, _slots),
    2: (_eirp, _milliwatts),
    3: (_margin, _transfer, _elements),
}


def draw(chance: np.random.Generator, grade: int) -> Task:
    return pick(chance, FORMS[grade])(chance)


FAMILY = Family(
    name=NAME,
    summary="dB sums, dBm to mW, slots to ms, bytes over a rate, resource elements",
    draw=draw,
    accepts=lambda task, reply: same_quantity(reply, task.answer),
)
