"""Ask a door one question with the openai client, and read how the answer came about.

Run: python examples/01_ask.py [http://127.0.0.1:8080]
"""

import sys

from openai import OpenAI

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"
client = OpenAI(base_url=f"{url}/v1", api_key="not needed")

for model in ("netgpt-device", "netgpt-edge", "netgpt-cloud"):
    reply = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "What is the role of NWDAF?"}],
        temperature=0,
        max_tokens=48,
    )
    account = reply.model_extra["netgpt"]  # beside what OpenAI's API has
    made_by = ", ".join(f"{span['tokens']} tokens on {span['node']}" for span in account["origin"])
    print(f"{model}: {reply.choices[0].message.content!r}")
    print(f"    {made_by}; payload bytes {account['link_bytes']}")
