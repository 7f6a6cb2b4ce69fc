"""The optimiser of a run: Muon for the matrices of the layers, AdamW for the embedding and the norms.

Muon orthogonalises the momentum of a matrix, so that rare directions (facts seen a few times) move as far
as common ones. Knows no schedule: it is told the share of the peak rates before each step.

Sources: Muon (Jordan et al. 2024) as `torch.optim.Muon`, its step scaled to AdamW's (arXiv 2502.16982);
decoupled weight decay arXiv 1711.05101.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from netgpt.learn.recipe import Recipe

ADAM_STATE, MUON_STATE = ("exp_avg", "exp_avg_sq"), ("momentum_buffer",)


class Optimizer:
    """Both optimisers under one roof."""

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
        matrices = [parameter for parameter, name in self._names.items() if _is_layer_matrix(name, parameter)]
        others = [parameter for parameter, name in self._names.items() if not _is_layer_matrix(name, parameter)]
        muon = torch.optim.Muon(matrices, lr=recipe.peak_rate, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw")
        adam = torch.optim.AdamW(others, lr=recipe.embedding_rate, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.0)
        self._parts = ((muon, recipe.peak_rate, MUON_STATE), (adam, recipe.embedding_rate, ADAM_STATE))

    def step(self, share: float) -> None:
        """One update from the gradients, at `share` (0 to 1) of the peak rates; the gradients are dropped."""
        for part, peak_rate, _ in self._parts:
            for group in part.param_groups:
                group["lr"] = share * peak_rate
            part.step()
            part.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs, by `<kind>.<parameter name>`, on the CPU."""
        return {
            f"{kind}.{self._names[parameter]}": held[kind].detach().cpu().contiguous()
            for part, _, kinds in self._parts
            for parameter, held in part.state.items()
            for kind in kinds
        }

    def restore(self, state: dict[str, Tensor], step: int) -> None:
        """Take back what `state` gave after `step` updates.

        Raises:
            KeyError: a part of it is missing.
        """
        for part, _, kinds in self._parts:
            for parameter in (parameter for group in part.param_groups for parameter in group["params"]):
                part.state[parameter] = {kind: state[f"{kind}.{self._names[parameter]}"].to(parameter.device) for kind in kinds}
                if kinds is ADAM_STATE:
                    part.state[parameter]["step"] = torch.tensor(float(step))


def _is_layer_matrix(name: str, parameter: Tensor) -> bool:
    return parameter.dim() == 2 and "embed_tokens" not in name and "lm_head" not in name
