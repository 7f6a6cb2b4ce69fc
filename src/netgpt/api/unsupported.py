"""Parameters of OpenAI's API, and of servers that take more, which are not implemented here: pure tables.

What would change the answer is refused by name, unless its value changes nothing; what cannot change it is ignored. A parameter that
nobody here has heard of is ignored too, since clients send vendors' extras. So the tables hold what is common, not all that ever was: each
name is also a property of the OpenAPI document, which tools must be able to read.
"""

from __future__ import annotations

Inert = dict[str, tuple[object, ...]]  # a parameter, and the values with which it changes nothing

# Of vLLM, SGLang, llama.cpp, Ollama, TGI and hosted APIs; each may stand beside OpenAI's in a body of either route for text.
# A chat body may have 100 parameters in all: of more schemathesis, as strangers use it, makes no requests.
FOREIGN: Inert = {
    "min_p": (0,),
    "typical_p": (1,),
    "min_tokens": (0,),
    "max_new_tokens": (),
    "n_predict": (-1,),
    "ignore_eos": (False,),
    "repetition_penalty": (1,),
    "repeat_penalty": (1,),
    "length_penalty": (1,),
    "mirostat": (0,),
    "use_beam_search": (False,),
    "stop_token_ids": ([],),
    "include_stop_str_in_output": (False,),
    "skip_special_tokens": (True,),
    "bad_words": ([],),
    "allowed_token_ids": (),
    "logits_processors": ([],),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
    "structured_outputs": (),
    "json_schema": (),
    "grammar": ("",),
    "regex": (),
    "ebnf": (),
    "format": ("",),
    "options": ({},),
    "prompt_logprobs": (0,),
    "truncate_prompt_tokens": (),
    "return_token_ids": (False,),
}

CHAT: Inert = {
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "audio": (),
    "moderation": (),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "web_search_options": (),
    "chat_template": (),
    "chat_template_kwargs": ({},),
    "continue_final_message": (False,),
    "add_generation_prompt": (True,),
    "add_special_tokens": (False,),
    "documents": ([],),
    "echo": (False,),
    "reasoning": ({}, {"enabled": False}, {"effort": "none"}),
    "think": (False,),
    "thinking": ({"type": "disabled"},),
    **FOREIGN,
}

COMPLETION: Inert = {
    "echo": (False,),
    "suffix": ("",),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    **FOREIGN,
    "compress": (False,),  # a raw prompt has no parts
}

EMBEDDING: Inert = {"dimensions": (), "truncate_prompt_tokens": (), "input_type": (), "prompt_name": ()}

# OpenAI's own that say nothing of the answer: whom it is for, where it is billed, kept or guessed in advance.
HARMLESS = frozenset({
    "metadata",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
})  # fmt: skip
