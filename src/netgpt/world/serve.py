"""The three processes of an emulated or deployed network, each as one coroutine.

Each takes its configuration, says `ready` with its ports once it can answer, and runs until `stop`. With an
identity they speak mutual TLS and renew their certificates. How processes are started and watched is the
supervisor's matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from netgpt.core.chance import SystemChance
from netgpt.core.clock import WallClock
from netgpt.core.scheduling import TaskGroup, first_error
from netgpt.core.storage import DiskStorage
from netgpt.telemetry.events import EventLog
from netgpt.telemetry.metrics import Metrics
from netgpt.wire.own_identity import Identity, IdentityFile
from netgpt.world.config import ControllerConfig, DoorConfig, EngineConfig
from netgpt.world.identities import make_check, make_transport, revocation_file, token_authority

Ready = Callable[[dict[str, int]], None]


async def serve_controller(config: ControllerConfig, ready: Ready, stop: asyncio.Event) -> None:
    """The control plane: gRPC for nodes, HTTP for people. Its event log lies in the home."""
    from netgpt.api.control import create_control_app
    from netgpt.api.server import serve_http
    from netgpt.controller.authority import CertificateAuthority
    from netgpt.controller.gate import CertificateGate, TokenGate
    from netgpt.controller.service import Controller
    from netgpt.node.certification import keep_renewed

    clock = WallClock()
    authority = CertificateAuthority(Path(config.authority_folder), clock.date_s) if config.identity_file else None
    gate = CertificateGate(authority) if authority else TokenGate(token_authority(config.network_key_file))
    controller = Controller(EventLog(clock, DiskStorage(Path(config.home) / "events"), "controller.jsonl"), gate, clock)
    transport = make_transport(config.identity_file)
    listener = await transport.listen(f"{config.host}:{config.port}", controller.handle)
    try:
        async with TaskGroup() as tasks:
            tasks.create_task(controller.watch(), name="watch")
            if authority is not None:

                async def renew() -> Identity:
                    return authority.controller_identity()

                tasks.create_task(keep_renewed(IdentityFile(Path(config.identity_file)), renew, clock, controller.record), name="renew")
            await serve_http(
                create_control_app(controller),
                host=config.http_host,
                port=config.http_port,
                ready=lambda http_port: ready({"port": _port(listener.address), "http_port": http_port}),
                stop=stop,
            )
            tasks.cancel()
    finally:
        await listener.close()


async def serve_engine(config: EngineConfig, ready: Ready, stop: asyncio.Event) -> None:
    """One model, behind gRPC. The only process that loads torch, and only if its model needs it."""
    from netgpt.node.service import EngineService
    from netgpt.world.assemble import make_engine

    engine = make_engine(config, WallClock())
    service = EngineService(config.node, engine, make_check(config.identity_file, config.network_key_file), version=config.wire_version)
    listener = await make_transport(config.identity_file).listen(f"{config.host}:{config.port}", service.handle)
    try:
        ready({"port": _port(listener.address)})
        await stop.wait()
    finally:
        await listener.close()
        await engine.close()


async def serve_door(config: DoorConfig, ready: Ready, stop: asyncio.Event) -> None:
    """A node's door: HTTP for its users, gRPC to engines and to the controller.

    Raises:
        CertificateRevoked: this node is no member of the network any more.
    """
    from netgpt.api.app import create_door_app
    from netgpt.api.server import serve_http
    from netgpt.world.assemble import Node, make_tokenizer

    clock = WallClock()
    chance = SystemChance()
    metrics = Metrics()
    log = EventLog(clock, DiskStorage(Path(config.home) / "events"), f"{config.node}.jsonl", sync=False)
    log.recover()
    identity = Path(config.identity_file) if config.identity_file else None
    node = Node(
        config,
        transport=make_transport(config.identity_file),
        tokenizer=make_tokenizer(config),
        clock=clock,
        chance=chance,
        metrics=metrics,
        record=log.record,
        heed_revoked=revocation_file(identity).write if identity else None,
    )
    app = create_door_app(node.door, node_id=config.node, metrics=metrics, ready=node.is_ready, chance=chance)
    try:
        await node.membership.join()
        async with TaskGroup() as tasks:
            tasks.create_task(node.membership.live(), name="live")
            if identity:
                tasks.create_task(node.keep_certified(IdentityFile(identity)), name="renew")
            await serve_http(app, host=config.http_host, port=config.http_port, ready=lambda port: ready({"http_port": port}), stop=stop)
            tasks.cancel()
        await node.membership.leave()
    except BaseExceptionGroup as errors:
        raise first_error(errors) from None
    finally:
        await node.close()


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
