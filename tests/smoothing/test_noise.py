"""The generator: known answers, quality of its output, and that names alone decide the draws."""

import math

import pytest
import torch
from scipy import stats
from scipy.special import ndtr

from pprs.smoothing import Noise, Role, _philox, has_native_kernels
from pprs.smoothing._philox import Segments
from pprs.smoothing.native import build, kernels

CPU = torch.device("cpu")
FALSE_ALARMS = 1e-6  # of each test here: its seeds are fixed, so it passes or fails for ever

needs_compiler = pytest.mark.skipif(
    not has_native_kernels() or torch.get_default_device().type != "cpu",
    reason="no C compiler, or no CPU",
)


def limit(tests):
    return stats.norm.isf(FALSE_ALARMS / 2 / tests)


@pytest.mark.parametrize(
    ("key", "counter", "words"),
    [  # the authors' known answers for philox4x32-10
        (0, [0] * 4, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        (2**64 - 1, [2**32 - 1] * 4, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            0x299F31D0A4093822,
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_its_known_answers(key, counter, words):
    found = _philox.philox(key, tuple(torch.tensor(word) for word in counter))
    assert [int(word) for word in found] == [int(word, 16) for word in words.split()]


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("count", [1, 17, 64, 5000])
@pytest.mark.parametrize("starts", [[[0]], [[5, 1000, 64]], [[2**36 + 7], [3], [5], [9]]], ids=str)
@pytest.mark.parametrize("share", [1, 2])
def test_the_native_stream_is_the_defined_one(dtype, count, starts, share):
    segments = Segments(torch.tensor(starts, device=CPU), count, samples=4, first=3, share=share)
    expected = _philox.normals(0xDEADBEEFCAFEBABE, 3, segments, dtype)
    found = kernels.normals(0xDEADBEEFCAFEBABE, 3, segments, dtype)
    tolerance = 4e-6 if dtype == torch.float32 else 1e-13
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@needs_compiler
@pytest.mark.parametrize("flags", ["-mno-avx512f", "-mno-avx512f -mno-avx2"])
def test_a_machine_with_fewer_vector_units_draws_the_same(flags, monkeypatch, tmp_path):
    segments = Segments(torch.tensor([[0], [2**36 + 7]], device=CPU), 5000, samples=2)
    expected = kernels.normals(0xDEADBEEFCAFEBABE, 3, segments, torch.float32)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "_FLAGS", [[*words, *flags.split()] for words in build._FLAGS[:1]])
    library = kernels._library.__wrapped__()
    if library is None:
        pytest.skip("this compiler is not one for x86")
    monkeypatch.setattr(kernels, "_library", lambda: library)
    found = kernels.normals(0xDEADBEEFCAFEBABE, 3, segments, torch.float32)
    torch.testing.assert_close(found, expected, rtol=0, atol=4e-6)


@needs_compiler
def test_perturbing_at_once_adds_the_same_draws():
    parameter = torch.randn(7, 33, dtype=torch.float64, device=CPU)
    noise = Noise(1, 2)
    drawn = noise.normals("w", Role.PARAMETER, (2, 7, 33), torch.float64, CPU)
    pairs = torch.stack([drawn, -drawn], 1).flatten(0, 1)
    found = noise.perturbed("w", parameter, 0.3, 4, 2)
    torch.testing.assert_close(found, parameter + 0.3 * pairs, rtol=1e-14, atol=1e-14)


def test_without_a_compiler_the_draws_are_the_same(monkeypatch):
    draw = lambda: Noise(3, 1).normals("w", Role.FORWARD, (2, 100), torch.float32, CPU)  # noqa: E731
    before = draw()
    monkeypatch.setattr(kernels, "_library", lambda: None)
    torch.testing.assert_close(draw(), before, rtol=0, atol=4e-6)


def test_the_cache_survives_a_compiler_that_fails(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "false")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernels._library.__wrapped__() is None
    assert list((tmp_path / "pprs").iterdir()) == []


def sample(role=Role.FORWARD, streams=4, count=2_500_000, dtype=torch.float32, seed=0):
    return Noise(seed, 0).normals("w", role, (streams, count), dtype, CPU).double()


def moment_z_scores(x):
    """z-scores of the first six moments, with the variances of a standard normal's powers."""
    n, found = x.numel(), []
    for power in range(1, 7):
        expected = 0 if power % 2 else math.prod(range(1, power, 2))
        variance = math.prod(range(1, 2 * power, 2)) - expected**2
        found.append(((x**power).mean().item() - expected) / math.sqrt(variance / n))
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_moments_are_those_of_a_normal(dtype):
    x = sample(dtype=dtype, count=2_500_000 if dtype == torch.float32 else 250_000)
    assert max(map(abs, moment_z_scores(x))) < limit(6)


def test_the_moment_test_rejects_a_size_wrong_by_a_half_percent():
    assert max(map(abs, moment_z_scores(sample() * 1.005))) > limit(6)


def tail_z_scores(x):
    found = []
    for bound in (2, 3, 4, 4.5, 5):
        for count in ((x > bound).sum().item(), (x < -bound).sum().item()):
            expected = x.numel() * ndtr(-bound)
            # Exact Poisson tails: beyond 5 sigma only a handful is expected.
            p = min(stats.poisson.cdf(count, expected), stats.poisson.sf(count - 1, expected))
            found.append(stats.norm.isf(p))
    return found


@pytest.mark.slow
def test_tails_are_those_of_a_normal_up_to_5_sigma():
    x = torch.cat([sample(seed=seed) for seed in range(4)])
    assert max(tail_z_scores(x)) < limit(10)
    assert x.abs().max() > 5
    assert max(tail_z_scores(x.clamp(-4.4, 4.4))) > limit(10)


def test_the_distribution_function_is_that_of_a_normal():
    x = sample(count=250_000).flatten().cpu().numpy()
    assert stats.kstest(x, "norm").pvalue > FALSE_ALARMS
    assert stats.kstest(x + 0.01, "norm").pvalue < FALSE_ALARMS


def test_streams_roles_names_steps_and_neighbours_are_uncorrelated():
    n, rows = 1_000_000, []

    def add(noise, name, role):
        rows.extend(noise.normals(name, role, (3, n), torch.float32, CPU))

    for role in Role:
        add(Noise(0, 0), "a", role)
    for noise, name in [
        (Noise(0, 0), "b"),
        (Noise(0, 1), "a"),
        (Noise(1, 0), "a"),
        (Noise(0, 0, 1), "a"),
    ]:
        add(noise, name, Role.FORWARD)
    rows += [rows[3].roll(shift) for shift in (1, 2, 4, 16, 32, 64, 4096)]
    x = torch.stack(rows)
    off = torch.triu(torch.corrcoef(x), 1).abs().max().item() * math.sqrt(n)
    of_sizes = torch.triu(torch.corrcoef(x**2), 1).abs().max().item() * math.sqrt(n)
    pairs = len(rows) * (len(rows) - 1)
    assert max(off, of_sizes) < limit(pairs)
    x[1] += 0.01 * x[0]
    assert torch.triu(torch.corrcoef(x), 1).abs().max().item() * math.sqrt(n) > limit(pairs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_rows_are_entries_of_the_parameter_s_draws(dtype):
    noise = Noise(4, 2)
    whole = noise.normals("e", Role.PARAMETER, (3, 11, 6), dtype, CPU)
    index = torch.tensor([[[0, 10], [3, 3]], [[1, 2], [4, 0]], [[9, 9], [9, 5]]], device=CPU)
    rows = noise.rows("e", index, 6, dtype, share=1)
    for sample in range(3):
        assert torch.equal(rows[sample], whole[sample][index[sample]])
    assert torch.equal(
        noise.normals("e", Role.PARAMETER, (1, 11, 6), dtype, CPU, first=2)[0], whole[2]
    )


@pytest.mark.parametrize("native", [pytest.param(True, marks=needs_compiler), False])
def test_no_rows_are_drawn_of_no_indices(native, monkeypatch):
    if not native:
        monkeypatch.setattr(kernels, "_library", lambda: None)
    index = torch.zeros(3, 0, 2, dtype=torch.int64)
    assert Noise(0, 0).rows("e", index, 6, torch.float32, share=1).shape == (3, 0, 2, 6)


def test_half_precision_is_rounded_from_single():
    draw = lambda dtype: Noise(0, 0).normals("w", Role.FORWARD, (2, 50), dtype, CPU)  # noqa: E731
    assert torch.equal(draw(torch.bfloat16), draw(torch.float32).bfloat16())
