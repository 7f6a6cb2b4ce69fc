"""The three processes of an emulated or deployed network, each as one coroutine.

Each takes its configuration, says `ready` with its ports once it can answer, and runs until `stop`. With an
identity they speak mutual TLS and renew their certificates. How processes are started and watched is the
supervisor's matter.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from netgpt.api.hosts import check_bind, split_names
from netgpt.api.key_file import KeyFile, scope_secret, secrets_folder
from netgpt.core.chance import SystemChance
from netgpt.core.clock import Clock, WallClock
from netgpt.core.scheduling import TaskGroup, first_error
from netgpt.core.storage import DiskStorage
from netgpt.core.transport import Transport
from netgpt.network.offer import Offer
from netgpt.telemetry.events import EventLog
from netgpt.telemetry.metrics import Metrics
from netgpt.wire.near_transport import NearTransport
from netgpt.wire.own_identity import Identity, IdentityFile
from netgpt.wire.routed_transport import RoutedTransport
from netgpt.world.config import ControllerConfig, DoorConfig, EngineConfig, ShaperConfig, address
from netgpt.world.identities import make_check, make_transport, revocation_file, token_authority

if TYPE_CHECKING:
    from netgpt.api.auth import Guard

Ready = Callable[[dict[str, int]], None]
FIRST_LOOK_S = 3.0  # a door whose upstream does not answer is up all the same


def make_guard(config: ControllerConfig | DoorConfig | ShaperConfig, clock: Clock, metrics: Metrics) -> Guard:
    """Who may call this process over HTTP, by the keys of its home.

    Raises:
        UsageError: it would serve other machines, and no key exists.
    """
    from netgpt.api.auth import Guard

    keys = KeyFile(DiskStorage(secrets_folder(Path(config.home))), clock)
    check_bind(config.http_host, has_key=keys.made().any_valid(clock.date_s()))
    return Guard(keys=keys, clock=clock, bind=config.http_host, allowed_hosts=split_names(config.allowed_hosts), metrics=metrics)


async def serve_controller(config: ControllerConfig, ready: Ready, stop: asyncio.Event) -> None:
    """The control plane: gRPC for nodes, HTTP for people. Its event log lies in the home."""
    from netgpt.api.control import create_control_app
    from netgpt.api.server import serve_http
    from netgpt.controller.authority import CertificateAuthority
    from netgpt.controller.gate import CertificateGate, TokenGate
    from netgpt.controller.service import Controller
    from netgpt.node.certification import keep_renewed

    clock, metrics = WallClock(), Metrics()
    guard = make_guard(config, clock, metrics)
    authority = CertificateAuthority(Path(config.authority_folder), clock.date_s) if config.identity_file else None
    gate = CertificateGate(authority) if authority else TokenGate(token_authority(config.network_key_file))
    controller = Controller(EventLog(clock, DiskStorage(Path(config.home) / "events"), "controller.jsonl"), gate, clock)
    transport = make_transport(config.identity_file)
    listener = await transport.listen(address(config.host, config.port), controller.handle)
    try:
        async with TaskGroup() as tasks:
            tasks.create_task(controller.watch(), name="watch")
            if authority is not None:
                own = IdentityFile(Path(config.identity_file))

                async def renew(_: Identity) -> Identity:
                    return authority.controller_identity()

                def is_outdated(identity: Identity) -> bool:
                    return identity.roots != authority.roots.ids

                tasks.create_task(keep_renewed(own, renew, clock, controller.record, is_outdated=is_outdated), name="renew")
            await serve_http(
                create_control_app(controller, metrics=metrics, guard=guard),
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
    from netgpt.world.assemble import make_engine, make_keeper, make_offer, make_tokenizer, measure_pace

    clock = WallClock()
    engine, tokenizer = make_engine(config, clock), make_tokenizer(config)
    offer = make_offer(config, measure_pace(engine))
    check = make_check(config.identity_file, config.network_key_file)
    keeper = make_keeper(engine, tokenizer, clock, entries=config.cache_entries)
    service = EngineService(config.node, engine, check, tokenizer, version=config.wire_version, keeper=keeper, offer=offer)
    listener = await make_transport(config.identity_file).listen(address(config.host, config.port), service.handle)
    try:
        ready({"port": _port(listener.address)})
        await stop.wait()
    finally:
        await listener.close()
        await engine.close()


async def serve_door(config: DoorConfig, ready: Ready, stop: asyncio.Event) -> None:
    """A node's door: HTTP for its users, gRPC to engines and to the controller. An upstream is asked from here.

    Raises:
        CertificateRevoked: this node is no member of the network any more.
    """
    clock = WallClock()
    own = IdentityFile(Path(config.identity_file)) if config.identity_file else None
    transport = NearTransport(RoutedTransport(make_transport(config.identity_file), config.ways), lambda: own.read().facts.peer if own else None)
    if config.upstream is None:
        await _serve_users(config, transport, clock, lambda port: ready({"http_port": port}), stop)
        return

    from netgpt.node.service import EngineService
    from netgpt.world.assemble import make_keeper
    from netgpt.world.upstream import upstream_engine

    engine = upstream_engine(config, config.upstream, clock, os.environ)
    check = make_check(config.identity_file, config.upstream.network_key_file)
    told = config.upstream
    keeper = make_keeper(engine, None, clock, entries=told.cache_entries)
    offer = Offer(price_prompt=told.price_prompt, price_answer=told.price_answer, quality=told.quality)
    service = EngineService(config.node, engine, check, version=config.wire_version, keeper=keeper, offer=offer)
    listener = await transport.listen(address(config.upstream.host, config.upstream.port), service.handle)
    try:
        engine.start()
        await engine.first_look(within_s=FIRST_LOOK_S)
        here = replace(config, engine_address=listener.address)
        await _serve_users(here, transport, clock, lambda port: ready({"http_port": port, "port": _port(listener.address)}), stop)
    finally:
        await listener.close()
        await engine.close()


async def _serve_users(config: DoorConfig, transport: Transport, clock: Clock, ready: Callable[[int], None], stop: asyncio.Event) -> None:
    from netgpt.api.app import create_door_app
    from netgpt.api.server import serve_http
    from netgpt.world.assemble import Node, make_tokenizer

    chance = SystemChance()
    metrics = Metrics()
    guard = make_guard(config, clock, metrics)
    log = EventLog(clock, DiskStorage(Path(config.home) / "events"), f"{config.node}.jsonl", sync=False)
    log.recover()
    identity = Path(config.identity_file) if config.identity_file else None
    node = Node(
        config,
        transport=transport,
        tokenizer=make_tokenizer(config),
        clock=clock,
        chance=chance,
        metrics=metrics,
        record=log.record,
        scope_secret=scope_secret(Path(config.home)),
        heed_revoked=revocation_file(identity).write if identity else None,
    )
    app = create_door_app(node.door, node_id=config.node, metrics=metrics, ready=node.is_ready, chance=chance, guard=guard)
    try:
        await node.membership.join()
        async with TaskGroup() as tasks:
            tasks.create_task(node.live(), name="live")
            if identity:
                tasks.create_task(node.keep_certified(IdentityFile(identity)), name="renew")
            await serve_http(app, host=config.http_host, port=config.http_port, ready=ready, stop=stop)
            tasks.cancel()
        await node.membership.leave()
    except BaseExceptionGroup as errors:
        raise first_error(errors) from None
    finally:
        await node.close()


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
