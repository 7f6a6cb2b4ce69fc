"""The `hash` engine: a language model without weights, whose next token depends on every earlier one.

Two models agree on a token with a set probability, so speculation has something to accept and to reject;
and one lost or doubled token changes all that follows, so no fault can hide. The simulator checks every
answer in this way.

Run: python examples/04_hash_language.py
"""

from netgpt.engine.hash_engine import HashLaw, absorb
from netgpt.models.generation import Sampling
from netgpt.models.tokenizer import ByteTokenizer

GREEDY = Sampling()
TOKENIZER = ByteTokenizer()


def write(law: HashLaw, ids: list[int], count: int) -> list[int]:
    """`count` more tokens by this law."""
    state, answer = absorb(0, ids), []
    for position in range(len(ids), len(ids) + count):
        token, _, _ = law.choose(state, GREEDY, position)
        answer.append(token)
        state = absorb(state, [token])
    return answer


def text(ids: list[int]) -> str:
    return repr(TOKENIZER.decode(ids).decode())


prompt = list(TOKENIZER.encode("hello"))
target = HashLaw("cloud", agreement=1.0)
answer = write(target, prompt, 40)
print(f"the model `cloud` after 'hello'    {text(answer)}")

# The same tokens on any machine, in one go or in two: this is what fail-over relies on.
again = write(target, prompt + answer[:17], 23)
print(f"continued from its 17th token      {text(again)}  {'the same' if again == answer[17:] else 'DIFFERENT'}")

broken = write(target, prompt + answer[:8] + answer[9:17], 23)
print(f"continued without its 9th token    {text(broken)}")

# A smaller model drafts; the target accepts its tokens while they are its own.
draft = HashLaw("device", agreement=0.8)
accepted = total = 0
for start in range(0, 2000, 4):
    ids = list(TOKENIZER.encode(f"prompt {start}"))
    own, theirs = write(target, ids, 4), write(draft, ids, 4)
    accepted += next((n for n, (a, b) in enumerate(zip(own, theirs, strict=True)) if a != b), 4)
    total += 4
print(f"of {total} drafted tokens, 4 at a time, {accepted / total:.0%} are accepted at 80 % agreement a token")
