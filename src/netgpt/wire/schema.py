"""The protobuf classes of `netgpt.proto`, built when this module loads.

They are built from the compiled descriptor `netgpt.binpb` rather than from generated code, because
generated code refuses to run with another major version of protobuf than the one that made it. A test
compiles `netgpt.proto` and compares.
"""

from __future__ import annotations

from importlib import resources

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message


def _load() -> FileDescriptor:
    files = descriptor_pb2.FileDescriptorSet.FromString(resources.files("netgpt.wire").joinpath("netgpt.binpb").read_bytes())
    pool = descriptor_pool.DescriptorPool()  # our own: another package's netgpt.proto is not our concern
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool.FindFileByName("netgpt.proto")


FILE: FileDescriptor = _load()


def message_class(name: str) -> type[Message]:
    """The protobuf class of message `name`; KeyError if `netgpt.proto` has none."""
    return message_factory.GetMessageClass(FILE.message_types_by_name[name])
