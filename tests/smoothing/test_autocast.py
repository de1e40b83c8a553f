"""Under autocast a smoothed loss is computed in the types of the plain one."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pprs
from pprs.smoothing import Noise, Perturbation, _autocast, at_perturbed

SAMPLES = 3


def numbers(*shape):
    return torch.rand(SAMPLES, *shape, generator=torch.Generator().manual_seed(0)) + 0.1


X, Y, VOLUME = numbers(4, 4), numbers(4, 4).flip(0), numbers(1, 4, 4, 4)
LABELS = torch.arange(4)
FUNCTIONS = {
    "l1_loss": (F.l1_loss, X, Y),
    "mse_loss": (F.mse_loss, X, Y),
    "smooth_l1_loss": (F.smooth_l1_loss, X, Y),
    "huber_loss": (F.huber_loss, X, Y),
    "cross_entropy": (lambda x: F.cross_entropy(x, LABELS), X),
    "label smoothing": (lambda x: F.cross_entropy(x, LABELS, label_smoothing=0.1), X),
    "cross_entropy of probabilities": (F.cross_entropy, X, Y),
    "nll_loss": (lambda x: F.nll_loss(x, LABELS), X),
    "kl_div": (lambda x, y: F.kl_div(x, y, reduction="batchmean"), X, Y),
    "binary_cross_entropy_with_logits": (F.binary_cross_entropy_with_logits, X, Y),
    "poisson_nll_loss": (F.poisson_nll_loss, X, Y),
    "hinge_embedding_loss": (F.hinge_embedding_loss, X, Y),
    "cosine_embedding_loss": (lambda x, y: F.cosine_embedding_loss(x, y, torch.ones(4)), X, Y),
    "triplet_margin_loss": (lambda x, y: F.triplet_margin_loss(x, y, x + y), X, Y),
    "cosine_similarity": (F.cosine_similarity, X, Y),
    "softmax": (lambda x: F.softmax(x, -1), X),
    "layer_norm": (lambda x: F.layer_norm(x, (4,)), X),
    "norm": (lambda x: x.norm(dim=-1), X),
    "normalize": (F.normalize, X),
    "sum": (lambda x: x.sum(), X),
    "mean": (lambda x: x.mean(), X),
    "prod": (lambda x: x.prod(), X),
    "cumsum": (lambda x: x.cumsum(-1), X),
    "pow": (lambda x: x**3, X),
    "exp": (torch.exp, X),
    "logsumexp": (lambda x: x.logsumexp(-1), X),
    "cdist": (torch.cdist, X, Y),
    "trace": (torch.trace, X),
    "svdvals": (torch.linalg.svdvals, X),
    "fft": (lambda x: torch.fft.rfft(x).abs(), X),
    "quantile": (lambda x: x.quantile(0.3), X),
    "max_pool3d": (lambda x: F.max_pool3d(x, 2), VOLUME),
    "adaptive_avg_pool3d": (lambda x: F.adaptive_avg_pool3d(x, 2), VOLUME),
    "matmul": (torch.matmul, X, Y),
    "addmm": (lambda x, y: torch.addmm(x, x, y), X, Y),
    "vecdot": (torch.linalg.vecdot, X, Y),
    "dot": (lambda x, y: x[0].dot(y[0]), X, Y),
    "mv": (lambda x, y: x.mv(y[0]), X, Y),
    "tensordot": (torch.tensordot, X, Y),
    "conv1d": (lambda x, y: F.conv1d(x, y[:, :, None]), X, Y),
    "conv_transpose1d": (lambda x, y: F.conv_transpose1d(x, y[:, :, None]), X, Y),
    "attention": (lambda x, y: F.scaled_dot_product_attention(x[None], y[None], y[None]), X, Y),
    "cat": (lambda x, y: torch.cat([x, y]), X, Y),
    "index_copy": (lambda x, y: x.index_copy(0, LABELS[:2], y[:2]), X, Y),
}


def smoothed(function, *inputs):
    law, parameter = Perturbation(0.1, SAMPLES), nn.Parameter(torch.zeros(2))
    samples = law.samples_of(SAMPLES, 1)
    targets = law.targets({"p": parameter}, {"p": 0.1}, Noise(0, 0), samples)
    return at_perturbed(function, targets, samples, *inputs)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("case", FUNCTIONS)
def test_a_function_gives_the_types_and_values_that_it_gives_without_samples(case):
    function, *inputs = FUNCTIONS[case]
    tried = 0
    for kinds in ("single", "half", "mixed"):
        given = list(inputs)
        if kinds != "single":
            given[0] = given[0].bfloat16()
        if kinds == "half":
            given = [x.bfloat16() for x in given]
        with torch.autocast(X.device.type, dtype=torch.bfloat16):
            try:
                expected = torch.stack(
                    [function(*(x[sample] for x in given)) for sample in range(SAMPLES)]
                )
            except RuntimeError:
                continue  # torch has no such mixture by itself
            found = smoothed(function, *given)
        tried += 1
        assert found.dtype == expected.dtype
        # On a GPU torch rounds inside some losses, which then end in single precision.
        coarse = expected.dtype == torch.bfloat16 or (X.is_cuda and kinds != "single")
        rounded = 2e-2 if coarse else 1e-5
        torch.testing.assert_close(found, expected, rtol=rounded, atol=rounded)
    assert tried >= 1


def test_every_function_that_autocast_knows_is_known_by_name():
    """On a CPU and elsewhere: what torch lists later must not be forgotten without a word."""
    inner = (  # what other functions are made of, or what no module calls
        "_addmm_activation _convolution _grid_sampler_2d_cpu_fallback _lu_with_info "
        "_native_multi_head_attention _scaled_dot_product_flash_attention _thnn_fused_gru_cell "
        "_thnn_fused_lstm_cell cudnn_convolution cudnn_convolution_transpose grid_sampler_2d "
        "grid_sampler_3d mkldnn_rnn_layer multilabel_margin_loss_forward nll_loss2d "
        "native_layer_norm max_unpool2d max_unpool3d"
    )
    for device in ("cpu", "cuda"):
        known = {
            name.removeprefix("aten::").split(".")[0] for name in _autocast._registered(device)
        }
        found = {name for _, name in _autocast._functions(known)}
        found |= {*_autocast._NAMES.values(), *inner.split()}
        known = {name for name in known if "::" not in name}  # not torch's own
        assert {n for n in known - found if not n.lstrip("_").startswith("upsample_")} == set()
        assert set((_autocast._LOWER + " " + _autocast._WIDEST).split()) & known


def test_what_a_gpu_computes_in_single_precision_is_cast_before_vmap_takes_it_apart():
    policies = _autocast._policies("cuda")
    for function in (F.softmax, F.layer_norm, F.cross_entropy, F.normalize, torch.Tensor.pow):
        assert policies[function] == "single"
    assert policies[torch.Tensor.__matmul__] == "lower"
    assert policies[torch.tensordot] == "widest"
    assert F.binary_cross_entropy not in policies


# Torch's own, of the plain model.
OF_PLAIN = pytest.mark.filterwarnings("ignore:Mismatch dtype")


def seeded(*layers):
    torch.manual_seed(0)
    return nn.Sequential(*[layer() for layer in layers])


MODELS = {
    "batch norm": lambda: (
        seeded(
            lambda: nn.Conv2d(3, 8, 3, padding=1),
            lambda: nn.BatchNorm2d(8).eval(),
            nn.ReLU,
            lambda: nn.ConvTranspose2d(8, 4, 2),
            lambda: nn.PReLU(4),
            lambda: nn.GroupNorm(2, 4),
            nn.Flatten,
            lambda: nn.Linear(4 * 25, 4),
        ),
        torch.randn(4, 3, 4, 4),
    ),
    "layer norm": lambda: (
        seeded(
            lambda: nn.Linear(8, 16),
            lambda: nn.LayerNorm(16),
            nn.GELU,
            lambda: nn.RMSNorm(16),
            lambda: nn.Linear(16, 4),
        ),
        torch.randn(4, 8),
    ),
}


@OF_PLAIN
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("case", MODELS)
def test_small_perturbations_lose_what_autocast_loses(case, dtype):
    model, x = MODELS[case]()

    def gradients(smooth, cast):
        def closure():
            with torch.autocast("cpu", dtype=dtype, enabled=cast):
                return F.cross_entropy(model(x), LABELS)

        model.zero_grad()
        (pprs.smooth(closure, model, 1e-7, 4, seed=0) if smooth else closure()).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    exact = gradients(False, False)
    lost = (gradients(False, True) - exact).norm()
    assert (gradients(True, True) - exact).norm() < 2 * lost + 0.01 * exact.norm()


@OF_PLAIN
@pytest.mark.skipif(torch.get_default_device().type == "cuda", reason="torch has none there")
def test_norms_of_another_type_than_their_inputs_run_without_autocast():
    model, x = MODELS["layer norm"]()
    model = model.bfloat16()
    model[1] = nn.LayerNorm(16)  # as in models that keep these in single precision
    expected = model(x.bfloat16()).square().mean()
    found = pprs.smooth(lambda: model(x.bfloat16()).square().mean(), model, 1e-7, 4, seed=0)
    assert found.dtype == expected.dtype
    assert found.item() == pytest.approx(expected.item(), rel=0.05)
