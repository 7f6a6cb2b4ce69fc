"""Every layout gives the plain product."""

from __future__ import annotations

import pytest
import torch

from netgpt.engine.matrix import LEFT_VALUES, laid_out


@pytest.mark.parametrize("rows", [1, 2, 8, 16, 32, 33, 200])
@pytest.mark.parametrize("shape", [(40, 24), (520, 256)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("has_bias", [False, True])
def test_a_laid_out_matrix_gives_the_plain_product(rows: int, shape: tuple[int, int], dtype: torch.dtype, has_bias: bool) -> None:
    assert 40 * 24 < LEFT_VALUES < 520 * 256
    chance = torch.Generator().manual_seed(1)
    weight_OI = torch.randn(shape, generator=chance).to(dtype)
    bias_O = torch.randn(shape[0], generator=chance).to(dtype) if has_bias else None
    x_NI = torch.randn(rows, shape[1], generator=chance).to(dtype)
    expected = x_NI.double() @ weight_OI.double().T + (0 if bias_O is None else bias_O.double())
    with torch.inference_mode():
        found = laid_out(weight_OI, bias_O)(x_NI)
    assert found.dtype == dtype
    assert found.is_contiguous()
    tolerance = 1e-4 if dtype == torch.float32 else 0.3
    torch.testing.assert_close(found.double(), expected, atol=tolerance, rtol=tolerance / 10)
