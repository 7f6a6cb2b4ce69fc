"""Messages between nodes, the transports that carry them, and the tokens that let a node in.

messages, netgpt.proto   what is said, and its public definition
codec, schema, fault     messages and errors to bytes and back
grpc_transport           the emulated and the deployed world
memory_transport         the simulated world
payload                  sizes and byte accounts, the same in all worlds
identity                 join tokens and credentials
"""
