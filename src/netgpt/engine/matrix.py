"""A weight matrix laid out for small products: y = x W^T + b, for one to a few hundred rows x.

Measured on 2 cores of a Xeon with AMX beside other work, 384 to 2048 values: bfloat16 is fastest as oneDNN's prepacked
linear (2.5 times `F.linear` at one row, 1.8 times at 16), the operator that torch.compile itself uses on
a CPU. In float32 the matrix is best the left factor once there are 8 to 32 rows (1.3 times `F.linear`).

Axes: N rows, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Matrix = Callable[[Tensor], Tensor]  # x_NI -> y_NO, contiguous, same dtype

LEFT_ROWS = range(8, 33)
LEFT_VALUES = 2**17  # of a matrix that is worth it


def laid_out(weight_OI: Tensor, bias_O: Tensor | None = None) -> Matrix:
    """The product with `weight_OI`, which must not change any more, in the layout that suits its dtype and this machine."""
    weight_OI = weight_OI.detach().contiguous()
    if weight_OI.dtype == torch.bfloat16 and torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return _prepacked(weight_OI, bias_O)
    if weight_OI.dtype == torch.float32 and weight_OI.numel() >= LEFT_VALUES:
        return _left_or_right(weight_OI, bias_O)
    return lambda x_NI: F.linear(x_NI, weight_OI, bias_O)


def _left_or_right(weight_OI: Tensor, bias_O: Tensor | None) -> Matrix:
    def product(x_NI: Tensor) -> Tensor:
        if len(x_NI) not in LEFT_ROWS:
            return F.linear(x_NI, weight_OI, bias_O)
        y_NO = torch.mm(weight_OI, x_NI.t()).t().contiguous()
        return y_NO if bias_O is None else y_NO.add_(bias_O)

    return product


def _prepacked(weight_OI: Tensor, bias_O: Tensor | None) -> Matrix:
    packed = torch.ops.mkldnn._reorder_linear_weight(weight_OI, None)
    product = torch.ops.mkldnn._linear_pointwise.default
    return lambda x_NI: product(x_NI, packed, bias_O, "none", [], "")
