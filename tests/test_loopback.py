"""A network is nobody else's business."""

import json

import psutil


def test_a_network_listens_and_speaks_on_loopback_alone(network) -> None:
    answered = network.run("netgpt", "ask", "What is the packet delay budget of 5QI 1?")
    assert answered.returncode == 0, answered.stderr
    processes = json.loads(network.run("netgpt", "ps", "--json").stdout)
    sockets = [socket for one in processes for socket in psutil.Process(one["pid"]).net_connections(kind="inet")]
    assert any(socket.status == psutil.CONN_LISTEN for socket in sockets)
    addresses = {end.ip.removeprefix("::ffff:") for socket in sockets for end in (socket.laddr, socket.raddr) if end}
    assert addresses == {"127.0.0.1"}
