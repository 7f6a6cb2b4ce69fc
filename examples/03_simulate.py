"""Simulate a network in this process: a seed replays byte for byte, another seed is another world.

Run: python examples/03_simulate.py
"""

from netgpt.core.storage import SimulatedStorage
from netgpt.network.scenario_file import load_scenario
from netgpt.world.report import render
from netgpt.world.simulated import simulate

campus = load_scenario("campus")
logs = []
for seed in (1, 2, 1):
    output = SimulatedStorage()  # DiskStorage(Path("runs/simulate")) keeps the files
    report = simulate(campus, seed=seed, duration_s=45, output=output)
    logs.append(output.read("events.jsonl"))
    print(render(report))
    print()

print(f"seed 1 twice: {'the same' if logs[0] == logs[2] else 'different'} {len(logs[0])} bytes of events")
print(f"seeds 1 and 2: {'the same' if logs[0] == logs[1] else 'different'} events")
