"""The mathematics of NGF against slow definitions, in float64."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ngf.defenses.fine_tuning.loop import gradient_matrices, parameters
from ngf.optim.kfac import (
    KFAC,
    Tap,
    diagonal_fisher,
    exact_form,
    image_gradients,
    image_norms,
    input_rows,
    num_groups,
    output_rows,
    sample_labels,
    sampled_output_gradients,
    split_matrix,
    weight_matrix,
)
from ngf.optim.natural_gradient import (
    FewImagesInverse,
    KroneckerInverse,
    SoftmaxFisher,
    eigenvectors,
    preconditioner_of,
    solve,
    with_ones,
)


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

    assert torch.allclose(
        matrix, torch.autograd.functional.hessian(loss, weights.flatten()), atol=1e-12
    )
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
    matrix = dense(fisher, weights.shape) + damping * torch.eye(
        weights.numel(), dtype=torch.float64
    )
    if extra:
        matrix += torch.diag(diagonal.flatten())
    expected = torch.cholesky_solve(gradient.flatten()[:, None], torch.linalg.cholesky(matrix))[
        :, 0
    ]
    found = solve(
        fisher,
        gradient,
        damping=damping,
        extra_diagonal=diagonal,
        tolerance=1e-12,
        max_iterations=500,
    )
    assert torch.allclose(found.value.flatten(), expected, rtol=1e-8, atol=1e-10)


def test_damping_of_zero_is_refused(problem):
    features, weights, _ = problem
    fisher = SoftmaxFisher(features, (features @ weights.T).softmax(1))
    with pytest.raises(ValueError, match="damping"):
        solve(fisher, weights, damping=0.0)


def test_exact_step_is_invariant_under_a_change_of_features(problem):
    """h -> A h, W -> W A^-1 leaves the function; the natural gradient step then changes it
    alike.
    """
    features, weights, labels = problem
    rng = torch.Generator().manual_seed(1)
    A = torch.eye(7, dtype=torch.float64) + 0.3 * torch.randn(
        7, 7, generator=rng, dtype=torch.float64
    )

    def change_of_logits(h, w):
        p = (h @ w.T).softmax(1)
        gradient = (p - F.one_hot(labels, 5)).T @ h / len(labels)
        step = solve(
            SoftmaxFisher(h, p), gradient, damping=1e-10, tolerance=1e-12, max_iterations=2000
        ).value
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
    assert torch.allclose(KroneckerInverse.of(G, A, 0.1) @ v, expected)


@pytest.mark.parametrize("damping", [1e-1, 1e-3])
def test_few_images_have_the_same_inverse(damping):
    """With fewer images than features the eigenvectors of (N, N) do, and the exact step stays
    exact.
    """
    rng = torch.Generator().manual_seed(0)
    features = with_ones(torch.randn(5, 24, generator=rng, dtype=torch.float64).relu())
    fisher = SoftmaxFisher(
        features, torch.randn(5, 4, generator=rng, dtype=torch.float64).softmax(1)
    )
    v = torch.randn(4, 25, generator=rng, dtype=torch.float64)
    few = preconditioner_of(fisher, damping)
    assert isinstance(few, FewImagesInverse)
    assert torch.allclose(few @ v, KroneckerInverse.of(*fisher.kronecker(), damping) @ v)
    matrix = dense(fisher, v.shape) + damping * torch.eye(v.numel(), dtype=torch.float64)
    found = solve(fisher, v, damping=damping, tolerance=1e-12)
    assert torch.allclose(found.value.flatten(), torch.linalg.solve(matrix, v.flatten()))
    assert found.iterations < 60
    many = SoftmaxFisher(features[:, -8:], fisher.p)
    assert isinstance(preconditioner_of(many, damping), KroneckerInverse)


def test_eigenvectors_that_float32_does_not_give_come_from_float64(monkeypatch):
    """LAPACK now and then finds none for a matrix of low rank."""
    eigh = torch.linalg.eigh

    def fails(matrix):
        if matrix.dtype == torch.float32:
            raise torch.linalg.LinAlgError("The algorithm failed to converge.")
        return eigh(matrix)

    monkeypatch.setattr(torch.linalg, "eigh", fails)
    a = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    values, basis = eigenvectors(a.T @ a)
    assert values.dtype == basis.dtype == torch.float32
    assert torch.allclose(basis @ torch.diag(values) @ basis.T, a.T @ a, atol=1e-5)


def small_conv(bias: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    return (
        nn.Sequential(
            nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=bias),
            nn.BatchNorm2d(3),
            nn.ReLU(),
            nn.Conv2d(3, 4, 2, bias=bias),
            nn.Flatten(),
            nn.Linear(16, 3),
        )
        .double()
        .eval()
    )


@pytest.mark.parametrize("layer", ["0", "3", "5"])
@pytest.mark.parametrize("bias", [True, False])
def test_rows_reproduce_autograd_gradients(layer, bias):
    """sum over positions of g a^T, from the tapped inputs and outputs, is the gradient of the
    weights.
    """
    model = small_conv(bias)
    images = torch.randn(4, 2, 6, 6, dtype=torch.float64)
    layers = {layer: model.get_submodule(layer)}
    with Tap(layers) as tap:
        logits = model(images)
    found = sampled_output_gradients(tap, logits, torch.Generator().manual_seed(3))
    loss = F.cross_entropy(logits, labels_of(logits), reduction="sum")
    expected = gradient_matrices(loss, layers)[layer]
    g, a = output_rows(layers[layer], found[layer]), input_rows(layers[layer], tap.inputs[layer])
    assert torch.allclose(torch.einsum("nto,nti->oi", g, a), expected)


def labels_of(logits):
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
    found = diagonal_fisher(
        model, layers, images, torch.Generator().manual_seed(0), draws=400, chunk=3
    )
    expected = {name: 0.0 for name in layers}
    for image in images:
        p = model(image[None]).softmax(1)[0].detach()
        for label in range(3):
            loss = F.cross_entropy(model(image[None]), torch.tensor([label]))
            for name, gradient in gradient_matrices(loss, layers).items():
                expected[name] = expected[name] + p[label] * gradient.square() / len(images)
    for name in layers:
        assert torch.allclose(found[name].sum(), expected[name].sum(), rtol=0.1)
        assert (
            torch.corrcoef(torch.stack([found[name].flatten(), expected[name].flatten()]))[0, 1]
            > 0.98
        )


class Tokens(nn.Module):
    """A network with every kind of layer that shares its weights over positions or has groups
    of its own.
    """

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, stride=2, padding=1, bias=bias)
        self.grouped = nn.Conv2d(6, 4, 3, padding=1, groups=2, bias=bias)
        self.depthwise = nn.Conv2d(4, 8, 3, padding=2, dilation=2, groups=4, bias=bias)
        self.norm = nn.LayerNorm(8, bias=bias)
        self.tokens = nn.Linear(8, 5, bias=bias)
        self.linear = nn.Linear(5, 3, bias=bias)

    def forward(self, images):
        x = self.depthwise(torch.tanh(self.grouped(torch.tanh(self.stem(images)))))
        return self.linear(torch.tanh(self.tokens(self.norm(x.flatten(2).mT))).mean(1))


def tokens_net(bias: bool = True) -> Tokens:
    torch.manual_seed(0)
    net = Tokens(bias).double().eval()
    with torch.no_grad():
        net.norm.weight.add_(0.3 * torch.randn(8))  # away from 1
    return net


LAYERS = ("stem", "grouped", "depthwise", "norm", "tokens", "linear")


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_of_single_images_come_from_rows(name, bias):
    """With groups, tokens and LayerNorm too: the gradient of each image, its squared length,
    and the mean of both.
    """
    net = tokens_net(bias)
    images = torch.randn(4, 2, 6, 6, dtype=torch.float64)
    layers = {name: net.get_submodule(name)}
    with Tap(layers) as tap:
        logits = net(images)
    labels = labels_of(logits)
    found = sampled_output_gradients(tap, logits, torch.Generator().manual_seed(3))
    g, a = output_rows(layers[name], found[name]), input_rows(layers[name], tap.inputs[name])
    expected = torch.stack(
        [
            gradient_matrices(F.cross_entropy(net(image[None]), label[None]), layers)[name]
            for image, label in zip(images, labels, strict=True)
        ]
    )
    assert torch.allclose(image_gradients(g, a), expected)
    assert torch.allclose(image_norms(g, a), expected.square().sum((1, 2)))
    wide = g.repeat_interleave(
        9, -1
    )  # so many outputs that the norms come from products of positions
    assert torch.allclose(image_norms(wide, a), 9 * expected.square().sum((1, 2)))


def one_draw(
    net: nn.Module, names: tuple[str, ...], images: torch.Tensor, sharing: str = "expand"
) -> tuple[KFAC, dict[str, torch.Tensor]]:
    """Factors from one drawn label an image, and the gradients for these labels, from autograd."""
    layers = {name: net.get_submodule(name) for name in names}
    with Tap(layers) as tap:
        logits = net(images)
    kfac = KFAC(layers, damping=0.01, sharing=sharing)
    kfac.update(tap, sampled_output_gradients(tap, logits, torch.Generator().manual_seed(0)))
    kfac.invert()
    drawn = sample_labels(logits, torch.Generator().manual_seed(0))
    return kfac, gradient_matrices(F.cross_entropy(logits, drawn), layers)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["grouped", "depthwise", "norm"])
def test_groups_are_exact_for_one_image_and_one_position(name, bias):
    """There the Fisher matrix of each group is g g^T (x) a a^T; what is left out is what
    groups have across.
    """
    net = tokens_net(bias)
    kfac, gradients = one_draw(net, (name,), torch.randn(1, 2, 1, 1, dtype=torch.float64))
    gradient, groups = gradients[name], num_groups(net.get_submodule(name))
    assert groups == {"grouped": 2, "depthwise": 4, "norm": 8}[name]
    blocks = [torch.outer(part.flatten(), part.flatten()) for part in gradient.chunk(groups)]
    matrix = torch.block_diag(*blocks)
    v = torch.randn(gradient.shape, dtype=torch.float64)
    damped = matrix + 0.01 * torch.eye(len(matrix), dtype=torch.float64)
    assert torch.allclose(
        kfac.precondition(name, v), torch.linalg.solve(damped, v.flatten()).view_as(v)
    )
    assert torch.isclose(kfac.quadratic_form(name, v), v.flatten() @ matrix @ v.flatten())


def test_a_grouped_convolution_is_its_groups_apart():
    """The natural gradient of two convolutions side by side is that of the grouped one."""
    torch.manual_seed(0)
    whole = nn.Conv2d(6, 4, 3, padding=1, groups=2).double()
    parts = [nn.Conv2d(3, 2, 3, padding=1).double() for _ in range(2)]
    images, errors = (
        torch.randn(5, 6, 4, 4, dtype=torch.float64),
        torch.randn(5, 4, 4, 4, dtype=torch.float64),
    )
    v = torch.randn(4, 28, dtype=torch.float64)

    def factors(layer, inputs, gradients):
        with Tap({"layer": layer}) as tap:
            layer(inputs)
        kfac = KFAC({"layer": layer}, damping=0.1)
        kfac.update(tap, {"layer": gradients})
        kfac.invert()
        return kfac

    kfac = factors(whole, images, errors)
    alone = [
        factors(*each) for each in zip(parts, images.chunk(2, 1), errors.chunk(2, 1), strict=True)
    ]
    expected = [
        each.precondition("layer", part) for each, part in zip(alone, v.chunk(2), strict=True)
    ]
    assert torch.allclose(kfac.precondition("layer", v), torch.cat(expected))
    forms = [
        each.quadratic_form("layer", part) for each, part in zip(alone, v.chunk(2), strict=True)
    ]
    assert torch.isclose(kfac.quadratic_form("layer", v), sum(forms))
    again = KFAC({"layer": whole}, damping=0.1)
    again.load_state_dict(kfac.state_dict())
    assert torch.equal(again.precondition("layer", v), kfac.precondition("layer", v))


def test_tokens_are_exact_in_a_linear_network():
    """KFAC-expand: y = V W a for each token, loss sum over tokens of |y - target|^2 / 2; the Fisher
    matrix (a unit Gaussian around y) of W is mean over images of sum over tokens of (V^T V) (x) (a
    a^T).
    """
    torch.manual_seed(0)
    first, second = nn.Linear(4, 3).double(), nn.Linear(3, 2, bias=False).double()
    tokens = torch.randn(6, 5, 4, dtype=torch.float64)
    # For each image all residuals sqrt(2) e_k in turn, whose mean outer product is that of Gaussian
    # ones: the identity.
    inputs = tokens.repeat_interleave(2, 0)
    residuals = math.sqrt(2) * torch.eye(2, dtype=torch.float64).repeat(6, 1)[:, None].expand(
        -1, 5, -1
    )
    with Tap({"first": first}) as tap:
        outputs = second(first(inputs))
    gradients = torch.autograd.grad(outputs, tap.outputs["first"], residuals)
    kfac = KFAC({"first": first}, damping=0.1)
    kfac.update(tap, {"first": gradients[0]})
    kfac.invert()
    a = torch.cat([tokens, torch.ones(6, 5, 1, dtype=torch.float64)], 2)
    matrix = torch.kron(
        second.weight.T @ second.weight, torch.einsum("nti,ntj->ij", a, a) / 6
    ).detach()
    v = torch.randn(3, 5, dtype=torch.float64)
    damped = matrix + 0.1 * torch.eye(15, dtype=torch.float64)
    assert torch.allclose(
        kfac.precondition("first", v), torch.linalg.solve(damped, v.flatten()).view(3, 5)
    )
    assert torch.isclose(kfac.quadratic_form("first", v), v.flatten() @ matrix @ v.flatten())


def test_reduced_tokens_are_exact_in_a_linear_network_that_averages_them():
    """KFAC-reduce: y = V mean over tokens of W a, loss |y - target|^2 / 2; the Fisher matrix (a
    unit Gaussian around y) of W is (V^T V) (x) mean over images of (mean a) (mean a)^T.
    """
    torch.manual_seed(0)
    first, second = nn.Linear(4, 3).double(), nn.Linear(3, 2, bias=False).double()
    tokens = torch.randn(6, 5, 4, dtype=torch.float64)
    residuals = math.sqrt(2) * torch.eye(2, dtype=torch.float64).repeat(
        6, 1
    )  # as above, for each image
    with Tap({"first": first}) as tap:
        outputs = second(first(tokens.repeat_interleave(2, 0)).mean(1))
    gradients = torch.autograd.grad(outputs, tap.outputs["first"], residuals)
    kfac = KFAC({"first": first}, damping=0.1, sharing="reduce")
    kfac.update(tap, {"first": gradients[0]})
    kfac.invert()
    a = torch.cat([tokens.mean(1), torch.ones(6, 1, dtype=torch.float64)], 1)
    matrix = torch.kron(second.weight.T @ second.weight, a.T @ a / 6).detach()
    v = torch.randn(3, 5, dtype=torch.float64)
    damped = matrix + 0.1 * torch.eye(15, dtype=torch.float64)
    assert torch.allclose(
        kfac.precondition("first", v), torch.linalg.solve(damped, v.flatten()).view(3, 5)
    )
    assert torch.isclose(kfac.quadratic_form("first", v), v.flatten() @ matrix @ v.flatten())


def test_one_position_is_the_same_expanded_or_reduced():
    net = tokens_net()
    (expand, _), (reduce, _) = (
        one_draw(net, ("grouped", "norm", "linear"), torch.ones(3, 2, 1, 1).double(), sharing)
        for sharing in ("expand", "reduce")
    )
    for name in ("grouped", "norm", "linear"):
        assert torch.equal(expand.inputs[name], reduce.inputs[name])
        assert torch.allclose(expand.outputs[name], reduce.outputs[name])
    with pytest.raises(ValueError, match="sharing = 'both' is not known. Allowed: expand, reduce"):
        KFAC({"linear": net.linear}, damping=0.1, sharing="both")


def test_layers_that_rows_cannot_be_cut_for_are_refused_by_name():
    for layer, message in (
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "pads its images by 'reflect'"),
        (nn.Conv2d(4, 4, 3, padding="same"), "'same'"),
        (nn.LayerNorm((4, 4)), "several dimensions"),
    ):
        with pytest.raises(ValueError, match=f"mixer .*{message}.* another layer"):
            KFAC({"mixer": layer}, damping=0.1)


def test_a_layer_that_is_used_twice_is_refused():
    layer = nn.Linear(3, 3)
    with pytest.raises(ValueError, match="shared is used twice"), Tap({"shared": layer}):
        layer(layer(torch.ones(1, 3)))


@pytest.mark.parametrize("layer", ["0", "2"])
def test_an_overwritten_layer_is_refused(layer):
    """The gradient at an output that was overwritten would be that of what came after."""
    net = nn.Sequential(
        nn.Linear(3, 3), nn.ReLU(inplace=True), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)
    )
    with Tap({layer: net.get_submodule(layer)}) as tap:
        logits = net(torch.randn(2, 3))
    if layer == "0":
        with pytest.raises(ValueError, match="output of 0 is overwritten.*inplace=False"):
            sampled_output_gradients(tap, logits, torch.Generator())
    else:
        assert sampled_output_gradients(tap, logits, torch.Generator())["2"].shape == (2, 3)


def test_matrix_form_and_back():
    layer = copy.deepcopy(small_conv()[0])
    matrix = weight_matrix(layer.weight, layer.bias)
    weight, bias = split_matrix(layer, matrix)
    assert torch.equal(weight, layer.weight)
    assert torch.equal(bias, layer.bias)


def dense_fisher(net: nn.Module, name: str, images: torch.Tensor) -> torch.Tensor:
    """Mean of J^T (diag p - p p^T) J over images, J from autograd, in the order of the matrix form
    (out, in [+ 1]).
    """
    layer = net.get_submodule(name)
    total = 0.0
    for image in images:
        logits = net(image[None])[0]
        rows = [
            torch.cat([g.flatten() for g in gradient_matrices(logit, {name: layer}).values()])
            for logit in logits
        ]
        jacobian, p = torch.stack(rows), logits.detach().softmax(0)
        total = total + jacobian.T @ (torch.diag(p) - torch.outer(p, p)) @ jacobian / len(images)
    return total


@pytest.mark.parametrize("name", LAYERS)
def test_the_scale_makes_the_form_that_of_the_exact_product(name):
    """On every kind of layer: v^T F v from one difference of logits is the dense one, and the
    factors take its size for the direction that they were scaled by.
    """
    net = tokens_net()
    images = torch.randn(6, 2, 6, 6, dtype=torch.float64)
    kfac, gradients = one_draw(net, (name,), images)
    layer, v = net.get_submodule(name), kfac.precondition(name, gradients[name])
    matrix = dense_fisher(net, name, images)
    expected = (v.flatten() @ matrix @ v.flatten()).item()
    logits, length = net(images).detach(), 1e-7 / v.norm().item()
    with torch.no_grad():
        for parameter, part in zip(parameters(layer), split_matrix(layer, v), strict=True):
            parameter.sub_(part, alpha=length)
        moved = net(images)
        for parameter, part in zip(parameters(layer), split_matrix(layer, v), strict=True):
            parameter.add_(part, alpha=length)
    exact = exact_form(logits, moved, length)
    assert exact == pytest.approx(expected, rel=1e-5)
    before = kfac.quadratic_form(name, v).item()
    kfac.rescale({name: (v, exact)})
    assert kfac.quadratic_form(name, v).item() == pytest.approx(expected, rel=1e-5)
    assert kfac.scales[name] == pytest.approx(expected / before, rel=1e-5)
    factors = torch.kron(*(kfac.outputs[name], kfac.inputs[name])) if name == "stem" else None
    if factors is not None:  # the scale is in the inverse, too
        damped = kfac.scales[name] * factors + 0.01 * torch.eye(len(factors), dtype=torch.float64)
        wanted = torch.linalg.solve(damped, v.flatten()).view_as(v)
        assert torch.allclose(kfac.precondition(name, v), wanted)


def test_scales_are_a_geometric_mean_that_forgets():
    kfac, _ = one_draw(tokens_net(), ("linear",), torch.randn(3, 2, 6, 6).double())
    v = torch.arange(18, dtype=torch.float64).view(3, 6)
    form = kfac.quadratic_form("linear", v).item()
    for ratio in (2.0, 8.0):
        kfac.rescale({"linear": (v, ratio * form)})
    # the past has the weight 0.8: ln c = (0.8 ln 2 + ln 8) / 1.8
    assert kfac.scales["linear"] == pytest.approx(math.exp((0.8 + 3) / 1.8 * math.log(2)))
    kfac.rescale({"linear": (0 * v, 0.0)})
    assert kfac.scales["linear"] == pytest.approx(math.exp((0.8 + 3) / 1.8 * math.log(2)))


def test_factors_forget_the_first_batch_like_any_other():
    net = tokens_net()
    layers = {"linear": net.linear}
    kfac, seen = KFAC(layers, damping=0.1, decay=0.5), []
    for seed in range(4):
        images = torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(seed)).double()
        with Tap(layers) as tap:
            logits = net(images)
        kfac.update(tap, sampled_output_gradients(tap, logits, torch.Generator().manual_seed(0)))
        rows = input_rows(net.linear, tap.inputs["linear"])[:, 0]
        seen.append(rows.T @ rows / 3)
    weights = [0.5**3, 0.5**2, 0.5, 1.0]
    expected = sum(w * a for w, a in zip(weights, seen, strict=True)) / sum(weights)
    assert torch.allclose(kfac.inputs["linear"], expected)
