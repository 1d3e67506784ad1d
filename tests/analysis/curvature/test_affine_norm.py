import pytest
import torch
from torch import nn

from analysis.curvature.affine_norm import AffineNorm, with_affine_norms


@pytest.mark.parametrize(
    ("kind", "shape", "options"),
    [
        (nn.BatchNorm1d, (5, 3), {}),
        (nn.BatchNorm1d, (5, 3, 4), {}),
        (nn.BatchNorm2d, (5, 3, 4, 4), {"eps": 0.1}),
        (nn.BatchNorm2d, (5, 3, 4, 4), {"affine": False}),
        (nn.BatchNorm3d, (5, 3, 2, 2, 2), {}),
    ],
)
def test_it_is_batch_norm_in_eval_mode(kind, shape, options):
    torch.manual_seed(0)
    norm = kind(3, dtype=torch.float64, **options)
    for _ in range(3):
        norm(torch.randn(shape, dtype=torch.float64) * 3 + 1)
    norm.eval().requires_grad_(False)
    for parameter in norm.parameters():
        parameter.uniform_(-1, 1)
    x = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(AffineNorm(norm)(x), norm(x))


def test_parameters_keep_their_names_and_identities():
    class Own(nn.BatchNorm2d):
        """Of somebody else, who may compute something else."""

    shared = nn.BatchNorm2d(3)
    model = nn.ModuleDict({"a": nn.Sequential(nn.Conv2d(3, 3, 1), shared), "b": Own(3)}).eval()
    before = dict(model.named_parameters())
    after = dict(with_affine_norms(model).named_parameters())
    assert before.keys() == after.keys()
    assert all(after[name] is parameter for name, parameter in before.items())
    assert type(model["a"][1]) is AffineNorm and type(model["b"]) is Own
