"""Stream an answer, and stop reading early: the door then frees what the answer held on every node.

Run: python examples/02_stream.py [http://127.0.0.1:8080]
"""

import sys

from openai import OpenAI

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"
client = OpenAI(base_url=f"{url}/v1", api_key="not needed")
messages = [{"role": "user", "content": "Explain in one sentence what a handover is."}]

whole = client.chat.completions.create(model="auto", messages=messages, max_tokens=64, stream=True)
for chunk in whole:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
print()

pieces = []
with client.chat.completions.create(model="auto", messages=messages, max_tokens=64, stream=True) as early:
    for chunk in early:
        pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        if len(pieces) == 3:
            break  # leaving the block closes the connection, and that cancels the request
print(f"left after {len(pieces)} pieces: {''.join(pieces)!r}")
