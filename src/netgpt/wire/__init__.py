"""Messages between nodes, the transports that carry them, and the tokens that let a node in.

messages, netgpt.proto   what is said, and its public definition
codec, schema, fault     messages and errors to bytes and back
grpc_transport, grpc_tls the emulated and the deployed world, in plain text and over mutual TLS
memory_transport         the simulated world
payload                  sizes and byte accounts, the same in all worlds
routed_transport         around to the link shaper's ports
identity                 who calls
shaper_*                 links between emulated nodes; mode packet's namespaces: namespaces, namespace_*, tun
certificates             X.509 as a network uses it; own_identity keeps a process's own, join_token buys one
"""
