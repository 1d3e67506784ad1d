"""The mathematics of NGF against slow definitions, in float64."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ngf.defenses._fine_tuning import gradient_matrices
from ngf.optim.kfac import KFAC, Tap, diagonal_fisher, sampled_output_gradients, split_matrix, weight_matrix
from ngf.optim.natural_gradient import KroneckerInverse, SoftmaxFisher, solve, with_ones


@pytest.fixture
def problem():
    """Features with ones (N, D+1), weights (C, D+1), labels."""
    rng = torch.Generator().manual_seed(0)
    features = with_ones(torch.randn(40, 6, generator=rng, dtype=torch.float64).relu())
    weights = 0.5 * torch.randn(5, 7, generator=rng, dtype=torch.float64)
    labels = torch.randint(0, 5, (40,), generator=rng)
    return features, weights, labels


def dense(fisher: SoftmaxFisher, shape: tuple[int, int]) -> torch.Tensor:
    size = shape[0] * shape[1]
    columns = [(fisher @ e.view(shape)).flatten() for e in torch.eye(size, dtype=torch.float64)]
    return torch.stack(columns, 1)


def test_closed_form_fisher_is_the_hessian_and_the_expected_outer_product(problem):
    features, weights, labels = problem
    fisher = SoftmaxFisher(features, (features @ weights.T).softmax(1))
    matrix = dense(fisher, weights.shape)

    def loss(flat):
        return F.cross_entropy(features @ flat.view_as(weights).T, labels)

    assert torch.allclose(matrix, torch.autograd.functional.hessian(loss, weights.flatten()), atol=1e-12)
    outer = torch.zeros_like(matrix)
    for row, p in zip(features, fisher.p, strict=True):
        for label in range(5):
            gradient = torch.outer(p - F.one_hot(torch.tensor(label), 5), row).flatten()
            outer += p[label] * torch.outer(gradient, gradient) / len(features)
    assert torch.allclose(matrix, outer, atol=1e-12)
    assert torch.isclose(fisher.trace(), matrix.trace())
    assert torch.allclose(fisher.diagonal().flatten(), matrix.diagonal())


@pytest.mark.parametrize("damping", [1e-1, 1e-4])
@pytest.mark.parametrize("extra", [False, True])
def test_exact_step_agrees_with_dense_cholesky(problem, damping, extra):
    features, weights, labels = problem
    p = (features @ weights.T).softmax(1)
    fisher = SoftmaxFisher(features, p)
    gradient = (p - F.one_hot(labels, 5)).T @ features / len(labels)
    diagonal = torch.rand(gradient.shape, dtype=torch.float64) if extra else None
    matrix = dense(fisher, weights.shape) + damping * torch.eye(weights.numel(), dtype=torch.float64)
    if extra:
        matrix += torch.diag(diagonal.flatten())
    expected = torch.cholesky_solve(gradient.flatten()[:, None], torch.linalg.cholesky(matrix))[:, 0]
    found = solve(fisher, gradient, damping=damping, extra_diagonal=diagonal, tolerance=1e-12, max_iterations=500)
    assert torch.allclose(found.value.flatten(), expected, rtol=1e-8, atol=1e-10)


def test_damping_of_zero_is_refused(problem):
    features, weights, _ = problem
    fisher = SoftmaxFisher(features, (features @ weights.T).softmax(1))
    with pytest.raises(ValueError, match="damping"):
        solve(fisher, weights, damping=0.0)


def test_exact_step_is_invariant_under_a_change_of_features(problem):
    """h -> A h, W -> W A^-1 leaves the function; the natural gradient step then changes it alike."""
    features, weights, labels = problem
    rng = torch.Generator().manual_seed(1)
    A = torch.eye(7, dtype=torch.float64) + 0.3 * torch.randn(7, 7, generator=rng, dtype=torch.float64)

    def change_of_logits(h, w):
        p = (h @ w.T).softmax(1)
        gradient = (p - F.one_hot(labels, 5)).T @ h / len(labels)
        step = solve(SoftmaxFisher(h, p), gradient, damping=1e-10, tolerance=1e-12, max_iterations=2000).value
        # The softmax null space (one number added to all logits of an image) changes no prediction.
        logits = h @ step.T
        return logits - logits.mean(1, keepdim=True), h @ gradient.T

    plain, plain_sgd = change_of_logits(features, weights)
    other, other_sgd = change_of_logits(features @ A.T, weights @ torch.linalg.inv(A))
    assert torch.allclose(plain, other, atol=1e-5)
    assert not torch.allclose(plain_sgd, other_sgd, atol=1e-2)


def test_kronecker_inverse_is_the_inverse():
    rng = torch.Generator().manual_seed(0)
    a, g = (torch.randn(n + 3, n, generator=rng, dtype=torch.float64) for n in (4, 3))
    A, G = a.T @ a, g.T @ g
    v = torch.randn(3, 4, generator=rng, dtype=torch.float64)
    dense_matrix = torch.kron(G, A) + 0.1 * torch.eye(12, dtype=torch.float64)
    expected = torch.linalg.solve(dense_matrix, v.flatten()).view(3, 4)
    assert torch.allclose(KroneckerInverse(G, A, 0.1) @ v, expected)


def small_conv(bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=bias), nn.BatchNorm2d(3), nn.ReLU(),
                         nn.Conv2d(3, 4, 2, bias=bias), nn.Flatten(), nn.Linear(16, 3)).double().eval()


@pytest.mark.parametrize("layer", ["0", "3", "5"])
@pytest.mark.parametrize("bias", [True, False])
def test_rows_reproduce_autograd_gradients(layer, bias):
    """sum over positions of g a^T, from the tapped inputs and outputs, is the gradient of the weights."""
    model = small_conv(bias)
    images = torch.randn(4, 2, 6, 6, dtype=torch.float64)
    layers = {layer: model.get_submodule(layer)}
    with Tap(layers) as tap:
        logits = model(images)
    found = sampled_output_gradients(tap, logits, torch.Generator().manual_seed(3))
    loss = F.cross_entropy(logits, labels_of(logits), reduction="sum")
    expected = gradient_matrices(loss, layers)[layer]
    from ngf.optim.kfac import input_rows, output_rows
    g, a = output_rows(layers[layer], found[layer]), input_rows(layers[layer], tap.inputs[layer])
    assert torch.allclose(torch.einsum("nto,nti->oi", g, a), expected)


def labels_of(logits):
    from ngf.optim.kfac import sample_labels
    return sample_labels(logits, torch.Generator().manual_seed(3))


def test_kfac_is_exact_for_one_image():
    """With one image and one drawn label a linear layer's Fisher is g g^T (x) a a^T itself."""
    model = small_conv()
    layers = {"5": model[5]}
    image = torch.randn(1, 2, 6, 6, dtype=torch.float64)
    with Tap(layers) as tap:
        logits = model(image)
    gradients = sampled_output_gradients(tap, logits, torch.Generator().manual_seed(0))
    kfac = KFAC(layers, damping=0.01)
    kfac.update(tap, gradients)
    kfac.invert()
    one = torch.outer(gradients["5"][0], with_ones(tap.inputs["5"])[0]).flatten()
    matrix = torch.outer(one, one) + 0.01 * torch.eye(len(one), dtype=torch.float64)
    v = torch.randn(3, 17, dtype=torch.float64)
    expected = torch.linalg.solve(matrix, v.flatten()).view(3, 17)
    assert torch.allclose(kfac.precondition("5", v), expected)
    assert torch.isclose(kfac.quadratic_form("5", v), (one @ v.flatten()) ** 2)


def test_diagonal_fisher_matches_single_images():
    model = small_conv()
    layers = {"0": model[0], "5": model[5]}
    images = torch.randn(7, 2, 6, 6, dtype=torch.float64)
    found = diagonal_fisher(model, layers, images, torch.Generator().manual_seed(0), draws=400, chunk=3)
    expected = {name: 0.0 for name in layers}
    for image in images:
        p = model(image[None]).softmax(1)[0].detach()
        for label in range(3):
            loss = F.cross_entropy(model(image[None]), torch.tensor([label]))
            for name, gradient in gradient_matrices(loss, layers).items():
                expected[name] = expected[name] + p[label] * gradient.square() / len(images)
    for name in layers:
        assert torch.allclose(found[name].sum(), expected[name].sum(), rtol=0.1)
        assert torch.corrcoef(torch.stack([found[name].flatten(), expected[name].flatten()]))[0, 1] > 0.98


def test_grouped_convolutions_are_refused_by_name():
    with pytest.raises(ValueError, match="grouped convolution"):
        KFAC({"depthwise": nn.Conv2d(4, 4, 3, groups=4)}, damping=0.1)


def test_matrix_form_and_back():
    layer = copy.deepcopy(small_conv()[0])
    matrix = weight_matrix(layer.weight, layer.bias)
    weight, bias = split_matrix(layer, matrix)
    assert torch.equal(weight, layer.weight)
    assert torch.equal(bias, layer.bias)
